#include "app/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

#include "app/simulate.h"
#include "app/sweep_report.h"
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
    row.energy_j = r.energy.v;
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
  out += "status,step_time_s,tokens_per_s_per_gpu,mfu,bubble_fraction,exposed_communication_s,peak_memory_bytes,energy_j\r\n";
  for (const SweepRow& row : report.rows) {
    for (const std::string& value : row.values) out += csv_field(value) + ",";
    out += csv_field(row.status);
    out += row.step_time_s > 0 ? fmt::format(",{:.9g},{:.9g},{:.9g},{:.9g},{:.9g},{},{:.9g}\r\n", row.step_time_s, row.tokens_per_s_per_gpu, row.mfu,
                                             row.bubble_fraction, row.exposed_communication_s, row.peak_memory_bytes, row.energy_j)
                               : std::string(",,,,,,,\r\n");
  }
  return out;
}

namespace {

// The records of an RFC 4180 table and the line that each begins on.
struct Record {
  std::vector<std::string> fields;
  std::size_t line = 1;
};
std::vector<Record> records_of(std::string_view text, const std::string& file) {
  std::vector<Record> records;
  std::size_t line = 1, i = text.starts_with("\xef\xbb\xbf") ? 3 : 0;
  while (i < text.size()) {
    Record& record = records.emplace_back();
    record.line = line;
    for (bool more = true; more;) {
      std::string& field = record.fields.emplace_back();
      if (i < text.size() && text[i] == '"') {
        for (++i;; ++i) {
          if (i >= text.size()) throw Error(fmt::format("{}:{}", file, record.line), "has a quoted field without an end", "is the file cut off?");
          if (text[i] == '\n') ++line;
          if (text[i] != '"')
            field += text[i];
          else if (i + 1 < text.size() && text[i + 1] == '"')
            field += text[i++];
          else
            break;
        }
        ++i;
      }
      while (i < text.size() && text[i] != ',' && text[i] != '\n') field += text[i++];
      more = i < text.size() && text[i] == ',';
      if (!more && field.ends_with('\r')) field.pop_back();
      ++i;
    }
    ++line;
    if (record.fields.size() == 1 && record.fields[0].empty()) records.pop_back();
  }
  return records;
}

double number_of(const std::string& field, const std::string& column, const std::string& where) {
  double value = 0;
  const auto [end, failure] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (failure != std::errc{} || end != field.data() + field.size() || !std::isfinite(value))
    throw Error(where, fmt::format("{}: '{}' is not a number", column, field));
  return value;
}

SweepReport read_csv(std::string_view text, const std::string& file) {
  const std::vector<Record> records = records_of(text, file);
  const auto status = records.empty() ? std::vector<std::string>::const_iterator{}
                                      : std::find(records.front().fields.begin(), records.front().fields.end(), "status");
  if (records.empty() || status == records.front().fields.end())
    throw Error(file + ":1", "is not the table of a sweep: its header has no 'status'", "open what 'orrery sweep -o results.csv' writes");
  const std::vector<std::string>& header = records.front().fields;
  const auto axes = static_cast<std::size_t>(status - header.begin());
  SweepReport report;
  for (std::size_t a = 0; a < axes; ++a) report.axes.push_back({header[a], {}, file});
  for (std::size_t r = 1; r < records.size(); ++r) {
    const std::vector<std::string>& fields = records[r].fields;
    const std::string where = fmt::format("{}:{}", file, records[r].line);
    if (fields.size() != header.size())
      throw Error(where, fmt::format("has {} fields, and the header {}", fields.size(), header.size()), "is the file cut off?");
    SweepRow row;
    row.values.assign(fields.begin(), fields.begin() + static_cast<std::ptrdiff_t>(axes));
    row.status = fields[axes];
    for (std::size_t c = axes + 1; c < header.size(); ++c)
      if (!fields[c].empty()) put_figure(row, header[c], number_of(fields[c], header[c], where), file + ":1");
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace

void put_figure(SweepRow& row, const std::string& column, double value, const std::string& where) {
  if (column == "step_time_s")
    row.step_time_s = value;
  else if (column == "tokens_per_s_per_gpu")
    row.tokens_per_s_per_gpu = value;
  else if (column == "mfu")
    row.mfu = value;
  else if (column == "bubble_fraction")
    row.bubble_fraction = value;
  else if (column == "exposed_communication_s")
    row.exposed_communication_s = value;
  else if (column == "energy_j")
    row.energy_j = value;
  else if (column == "peak_memory_bytes" && value >= 0 && value < 0x1p62)
    row.peak_memory_bytes = static_cast<std::int64_t>(value);
  else
    throw Error(where,
                column == "peak_memory_bytes" ? "peak_memory_bytes is not a number of bytes" : fmt::format("'{}' is no column of a sweep", column));
}

SweepReport read_sweep_report(std::string_view text, const std::string& file) {
  const auto first = text.find_first_not_of(" \t\r\n");
  SweepReport report = first != std::string_view::npos && text[first] == '{' ? read_sweep_report_json(text, file) : read_csv(text, file);
  for (std::size_t a = 0; a < report.axes.size(); ++a) {
    std::vector<std::string>& values = report.axes[a].values;
    std::unordered_set<std::string> seen;
    for (const SweepRow& row : report.rows)
      if (seen.insert(row.values[a]).second) values.push_back(row.values[a]);
  }
  return report;
}

}  // namespace orrery::app
