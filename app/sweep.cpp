#include "app/sweep.h"

#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <thread>

#include "app/simulate.h"
#include "core/error.h"

namespace orrery::app {
namespace {

// An Error about a setting, told where the sweep has it: at an axis of the grid, or at its file's settings; the command line's own stay as they are.
Error at_source(const Error& e, const Sweep& sweep) {
  const auto told = [&](const std::string& path, const std::string& where) -> std::optional<Error> {
    const std::string setting = "--set " + path;
    if (e.where() != setting && !e.where().starts_with(setting + ": ")) return std::nullopt;
    return Error(where + " " + path + e.where().substr(setting.size()), e.message(), e.hint());
  };
  for (const SweepAxis& axis : sweep.axes)
    if (const auto out = told(axis.path, axis.where)) return *out;
  for (const Given& given : sweep.file_settings)
    if (const auto out = told(given.path, given.where)) return *out;
  return e;
}

struct Measured {
  SweepRow row;
  std::optional<Error> refusal;  // where the point's documents could not even be read
  bool internal_error = false;
};

Measured measure(const Sweep& sweep, const SweepOptions& options, const std::vector<std::string>& values) {
  Measured out;
  SweepRow& row = out.row;
  row.values = values;
  PlanFlags flags = sweep.base;
  for (std::size_t a = 0; a < sweep.axes.size(); ++a) flags.settings.push_back(sweep.axes[a].path + "=" + values[a]);
  bool read = false;
  try {
    Inputs inputs = load_inputs(flags);
    inputs.given.clear();  // the columns of the table are paths: so are the fields that a plan is refused for
    read = true;
    const SimulateReport r = options.simulate ? options.simulate(inputs) : simulate(inputs);
    row.status = r.fits ? "ok" : "does not fit";
    row.step_time_s = r.step_time.v;
    row.tokens_per_s_per_gpu = r.tokens_per_s_per_gpu;
    row.mfu = r.mfu;
    row.bubble_fraction = r.bubble_fraction;
    const Waterfall& w = r.summary.waterfall;
    row.exposed_communication_s = to_seconds(w.exposed_tp + w.exposed_cp + w.exposed_ep + w.exposed_pp + w.exposed_dp).v;
    for (const std::int64_t bytes : r.summary.peak_memory_by_stage) row.peak_memory_bytes = std::max(row.peak_memory_bytes, bytes);
  } catch (const Error& e) {
    const Error told = at_source(e, sweep);
    row.status = told.where().empty() ? told.message() : told.where() + ": " + told.message();
    if (!read) out.refusal = told;
  } catch (const std::exception& e) {  // on a thread of its own: whatever leaves it would end the program, and with it all other rows
    row.status = fmt::format("internal error: {}", e.what());
    out.internal_error = true;
  }
  return out;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

}  // namespace

SweepAxis parse_axis(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size())
    throw Error("--grid", fmt::format("'{}' is not PATH=VALUE,VALUE…", text), "e.g. --grid parallel.tp=1,2,4");
  SweepAxis axis{text.substr(0, equals), {}};
  std::string_view rest = std::string_view(text).substr(equals + 1);
  while (true) {
    const auto comma = rest.find(',');
    if (comma == 0 || rest.empty()) throw Error("--grid", fmt::format("'{}' has an empty value", text), "e.g. --grid parallel.tp=1,2,4");
    axis.values.emplace_back(rest.substr(0, comma));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  return axis;
}

SweepReport sweep(const Sweep& sweep, const SweepOptions& options) {
  for (std::size_t i = 0; i < sweep.axes.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (sweep.axes[i].path == sweep.axes[j].path)
        throw Error(sweep.axes[i].where + " " + sweep.axes[i].path, "is an axis already", "give all its values at once");
  SweepReport report;
  report.axes = sweep.axes;
  std::vector<std::vector<std::string>> points{{}};
  for (const SweepAxis& axis : sweep.axes) {
    std::vector<std::vector<std::string>> longer;
    for (const auto& point : points) {
      for (const std::string& value : axis.values) {
        longer.push_back(point);
        longer.back().push_back(value);
      }
    }
    points = std::move(longer);
    if (points.size() > 1'000'000) throw Error("--grid", "has more than a million points", "make the grid coarser");
  }
  std::vector<SweepRow> rows(points.size());
  std::vector<char> reached(points.size(), 0);
  std::optional<Error> refusal;  // of the first point that could not be read
  std::size_t refused_at = points.size(), refused = 0;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::int64_t done = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < points.size(); i = next++) {
      if (options.cancel && options.cancel->load()) return;
      Measured mine = measure(sweep, options, points[i]);
      rows[i] = std::move(mine.row);
      reached[i] = 1;
      const std::lock_guard lock(mutex);
      if (mine.internal_error) ++report.internal_errors;
      if (mine.refusal) {
        ++refused;
        if (i < refused_at) {
          refused_at = i;
          refusal = std::move(mine.refusal);
        }
      }
      ++done;
      if (options.progress) options.progress(done, static_cast<std::int64_t>(points.size()));
    }
  };
  const unsigned threads = options.threads ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> pool;
  for (unsigned t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  // Where not one point could be read, the fault is in what they share: one error, and not a table of them.
  if (refusal && refused == points.size()) throw Error(*refusal);
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (reached[i]) report.rows.push_back(std::move(rows[i]));
  report.cancelled = report.rows.size() < points.size();
  return report;
}

std::string to_csv(const SweepReport& report) {
  std::string out;
  for (const SweepAxis& axis : report.axes) out += csv_field(axis.path) + ",";
  out += "status,step_time_s,tokens_per_s_per_gpu,mfu,bubble_fraction,exposed_communication_s,peak_memory_bytes\r\n";
  for (const SweepRow& row : report.rows) {
    for (const std::string& value : row.values) out += csv_field(value) + ",";
    out += csv_field(row.status);
    out += row.step_time_s > 0 ? fmt::format(",{:.9g},{:.9g},{:.9g},{:.9g},{:.9g},{}\r\n", row.step_time_s, row.tokens_per_s_per_gpu, row.mfu,
                                             row.bubble_fraction, row.exposed_communication_s, row.peak_memory_bytes)
                               : std::string(",,,,,,\r\n");
  }
  return out;
}

}  // namespace orrery::app
