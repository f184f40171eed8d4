// A grid of what-ifs, each point simulated, as rows of a table.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "app/inputs.h"
#include "app/simulate.h"

namespace orrery::app {

// One axis of the grid: a PATH as in --set, and its values as text.
struct SweepAxis {
  std::string path;
  std::vector<std::string> values;
  std::string where = "--grid";  // what a bad path or value is told at: the flag, or the file's field
  bool operator==(const SweepAxis&) const = default;
};

// "parallel.tp=1,2,4" -> axis. Throws Error.
SweepAxis parse_axis(const std::string& text);

// A document {"orrery": "sweep/1", "plan": FILE or null, "model": …, "cluster": …, "set": ["PATH=VALUE"…], "grid": {PATH: [values…]…}}.
struct Sweep {
  PlanFlags base;
  std::vector<SweepAxis> axes;
  std::vector<Given> file_settings{};  // those of base.settings that come from the file, to be told there
};
Sweep read_sweep(std::string_view text, const std::string& file);

struct SweepRow {
  std::vector<std::string> values;  // one per axis
  std::string status;               // "ok", "does not fit", why it was refused, or "internal error: …"
  double step_time_s = 0, tokens_per_s_per_gpu = 0, mfu = 0, bubble_fraction = 0, exposed_communication_s = 0;
  std::int64_t peak_memory_bytes = 0;
  double energy_j = 0;  // of one step, all devices
  bool operator==(const SweepRow&) const = default;
};

struct SweepReport {
  std::vector<SweepAxis> axes;
  std::vector<SweepRow> rows;        // the last axis varies fastest; those not reached when cancelled are left out
  std::int64_t internal_errors = 0;  // rows that we could not fill for a reason that is no fault of the user's
  bool cancelled = false;
};

struct SweepOptions {
  unsigned threads = 0;
  std::function<void(std::int64_t done, std::int64_t of)> progress;
  const std::atomic<bool>* cancel = nullptr;
  std::function<SimulateReport(const Inputs&)> simulate;  // what fills a row; empty: app::simulate
};

// A point with an illegal plan is a row that says so; a document that cannot be read is an Error.
SweepReport sweep(const Sweep& sweep, const SweepOptions& options = {});

// RFC 4180, with a header line. Empty numbers where a point was refused.
std::string to_csv(const SweepReport& report);
// {"orrery": "table/1", "rows": [{PATH: value…, "status": …, …}…]}
std::string to_json(const SweepReport& report);

// A report again from what to_csv or to_json made of it, numbers to the digits that stand there; the values of its axes are those that occur, in the
// order in which they do. Throws Error for anything else, at the line.
SweepReport read_sweep_report(std::string_view text, const std::string& file);

}  // namespace orrery::app
