#include "app/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "core/files.h"

namespace orrery::app {
namespace {

constexpr std::int64_t kMicro = 2'000'000;  // of 1: six decimals, and a half of the last

// "1.25" in 1/kMicro; -1 where it is no such number.
std::int64_t in_micro(std::string_view text) {
  std::int64_t whole = 0, part = 0, unit = kMicro;
  std::size_t digits = 0, decimals = 0;
  bool point = false;
  for (const char c : text) {
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9' || ++digits > 13) return -1;
    if (!point) {
      whole = whole * 10 + (c - '0');
    } else {
      if (++decimals > 6) return -1;
      unit /= 10;
      part += unit * (c - '0');
    }
  }
  return digits == 0 || whole > 1'000'000 ? -1 : whole * kMicro + part;
}

// An Error about a field of the schedule's input, told at the flag that gave it.
Error at_flag(const Error& e) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kFlags{{{"ranks", "--ranks"},
                                                                                 {"microbatches", "--microbatches"},
                                                                                 {"chunks", "--chunks"},
                                                                                 {"group", "--group"},
                                                                                 {"rounds", "--rounds"},
                                                                                 {"splits", "--splits"},
                                                                                 {"replicas", "--replicas"},
                                                                                 {"memory_limit", "--memory-limit"}}};
  for (const auto& [field, flag] : kFlags)
    if (e.where() == field) return {std::string(flag), e.message(), e.hint()};
  return e;
}

std::int64_t largest(const std::vector<std::int64_t>& values) { return values.empty() ? 0 : *std::max_element(values.begin(), values.end()); }

bool is_file(const std::string& name) { return name.ends_with(".csv"); }

program::Schedule of_file(const ScheduleRequest& request) {
  program::Schedule s = program::read_schedule_csv(read_text_file(request.name), request.name);
  const auto agree = [&](const std::optional<std::int64_t>& said, std::int64_t has, const char* flag, const char* what) {
    if (said && *said != has)
      throw Error(flag, fmt::format("{} has {} {}, not {}", request.name, has, what, *said), "a file says it by itself: leave the flag out");
  };
  agree(request.ranks, s.ranks, "--ranks", "ranks");
  agree(request.microbatches, s.microbatches, "--microbatches", "micro-batches");
  agree(request.chunks, s.chunks, "--chunks", "chunks per rank");
  const auto meaningless = [](bool given, const char* flag) {
    if (given) throw Error(flag, "says nothing about a file, whose order is fixed", "leave it out");
  };
  meaningless(request.group.has_value(), "--group");
  meaningless(request.rounds, "--rounds");
  meaningless(request.splits.has_value(), "--splits");
  meaningless(!request.replicas.empty(), "--replicas");
  return s;
}

program::Schedule made(const ScheduleRequest& request, const program::PassCosts& costs) {
  const std::vector<std::string> known = program::schedule_names();
  if (std::find(known.begin(), known.end(), request.name) == known.end()) {
    std::string hint = did_you_mean(request.name, known);
    if (hint.starts_with("known: ")) hint += "; or a file: order.csv";
    throw Error("orrery schedule", fmt::format("'{}' is not a schedule", request.name), hint);
  }
  const auto needs = [&](const std::optional<std::int64_t>& value, const char* flag, const char* example) {
    if (!value) throw Error(flag, fmt::format("schedule '{}' needs a number of {}", request.name, flag + 2), example);
    return *value;
  };
  program::ScheduleInput input;
  input.ranks = needs(request.ranks, "--ranks", "e.g. --ranks 4");
  input.microbatches = needs(request.microbatches, "--microbatches", "e.g. --microbatches 8");
  input.chunks = request.chunks.value_or(program::schedule_chunks(request.name).usual);
  input.group = request.group, input.splits = request.splits, input.rounds = request.rounds, input.replicas = request.replicas;
  if (program::schedule_takes(request.name, "costs")) input.costs = costs;
  if (program::schedule_takes(request.name, "memory_limit")) input.memory_limit = request.memory_limit;
  try {
    return program::make_schedule(request.name, input);
  } catch (const Error& e) {
    throw at_flag(e);
  }
}

}  // namespace

ScaledCosts parse_costs(const std::string& text) {
  static const std::vector<std::string> kNames{"F", "B", "I", "W", "FB", "p2p"};
  std::array<std::optional<std::int64_t>, 6> given;
  for (std::size_t from = 0; !text.empty() && from <= text.size();) {
    const std::size_t to = std::min(text.find(',', from), text.size());
    const std::string item = text.substr(from, to - from);
    from = to + 1;
    const auto equals = item.find('=');
    const std::string name = item.substr(0, equals);
    const auto at = std::find(kNames.begin(), kNames.end(), name);
    if (equals == std::string::npos)
      throw Error("--cost", fmt::format("'{}' is not PASS=TIME", item), "write it like F=1,B=2 or F=1,I=1.2,W=.8,FB=3,p2p=0");
    if (at == kNames.end()) throw Error("--cost", fmt::format("'{}' is not a pass", name), did_you_mean(name, kNames));
    auto& slot = given[static_cast<std::size_t>(at - kNames.begin())];
    if (slot) throw Error("--cost", fmt::format("{} is given twice", name));
    slot = in_micro(std::string_view(item).substr(equals + 1));
    if (*slot < 0)
      throw Error("--cost", fmt::format("{}: '{}' is not a time", name, item.substr(equals + 1)), "a number of up to six decimals, at most 1000000");
  }
  auto& [f, b, i, w, pair, latency] = given;
  if (b && !i && !w) i = w = *b / 2;
  if (b && i && !w) w = *b - *i;
  if (b && w && !i) i = *b - *w;
  if (!i) i = kMicro;
  if (!w) w = kMicro;
  if (b && (*i < 0 || *w < 0 || *i + *w != *b)) throw Error("--cost", "B is not I + W", "leave one of the three out");
  ScaledCosts out;
  out.costs = {.forward = f.value_or(kMicro), .input_grad = *i, .weight_grad = *w, .latency = latency.value_or(0), .forward_backward = pair};
  std::int64_t common = kMicro;
  for (const std::int64_t t : {out.costs.forward, *i, *w, out.costs.latency, pair.value_or(0)}) common = std::gcd(common, t);
  out.unit = kMicro / common;
  for (std::int64_t* t : {&out.costs.forward, &out.costs.input_grad, &out.costs.weight_grad, &out.costs.latency}) *t /= common;
  if (pair) out.costs.forward_backward = *pair / common;
  return out;
}

namespace {

// What twice as many micro-batches take more is what the pipeline takes when it is full.
std::optional<double> steady_bubble(ScheduleRequest request, const ScheduleReport& report) {
  constexpr std::int64_t kMost = 65535;  // micro-batches of a schedule
  if (report.schedule.update_every == 0 || 2 * report.schedule.microbatches > kMost) return {};
  request.microbatches = 2 * report.schedule.microbatches;
  const program::Replay twice = program::replay(made(request, report.costs.costs), report.costs.costs);
  const auto more = static_cast<double>(twice.makespan - report.replay.makespan);
  double busy = 0;
  for (std::size_t r = 0; r < twice.busy.size(); ++r) busy += static_cast<double>(twice.busy[r] - report.replay.busy[r]);
  return more > 0 ? 1 - busy / more / static_cast<double>(twice.busy.size()) : 0;
}

}  // namespace

ScheduleReport schedule(const ScheduleRequest& request) {
  ScheduleReport report;
  report.costs = parse_costs(request.costs);
  if (is_file(request.name)) {
    try {
      report.schedule = of_file(request);
    } catch (const Error& e) {
      if (e.where() != "schedule") throw;
      report.fault = Error(request.name, e.message(), e.hint());
      return report;
    }
  } else {
    report.schedule = made(request, report.costs.costs);
  }
  const program::Schedule& s = report.schedule;
  if (s.placement == program::Placement::loop && s.chunks > 1) report.args.push_back(s.chunks);
  for (const auto& own : {request.group, request.splits})
    if (own) report.args.push_back(*own);
  try {
    program::check(s, request.memory_limit);
  } catch (const Error& e) {
    report.fault = Error(request.name, e.message(), e.hint());
    return report;
  }
  report.replay = program::replay(s, report.costs.costs);
  report.idle_in_makespan = largest(report.replay.idle_in_makespan);
  report.idle_in_span = largest(report.replay.idle_in_span);
  if (const auto makespan = static_cast<double>(report.replay.makespan); makespan > 0) {
    report.bubble_in_makespan = static_cast<double>(report.idle_in_makespan) / makespan;
    double sum = 0;
    for (const std::int64_t idle : report.replay.idle_in_makespan) sum += static_cast<double>(idle);
    report.mean_bubble_in_makespan = sum / makespan / static_cast<double>(s.order.size());
  }
  report.steady_bubble = steady_bubble(request, report);
  return report;
}

std::string time_text(const ScheduleReport& report, std::int64_t time) {
  const std::int64_t unit = report.costs.unit;
  return time % unit == 0 ? fmt::format("{}", time / unit) : fmt::format("{}", static_cast<double>(time) / static_cast<double>(unit));
}

std::string to_csv(const ScheduleReport& report, program::CsvForm form) {
  try {
    return program::write_schedule_csv(report.schedule, form);
  } catch (const Error& e) {
    throw Error(form == program::CsvForm::full ? "--csv-full" : "--csv", e.message(), e.hint());
  }
}

std::string in_short(const ScheduleReport& report) {
  return fmt::format("makespan {}; at most {} of it idle ({:.1f} %), {} in the ranks' spans; activations {}",
                     time_text(report, report.replay.makespan), time_text(report, report.idle_in_makespan), 100 * report.bubble_in_makespan,
                     time_text(report, report.idle_in_span), fmt::join(report.replay.peak_until_weight_grad, " "));
}

}  // namespace orrery::app
