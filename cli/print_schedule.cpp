// A schedule as text: a Gantt chart of letters, and a table by rank.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cli/print.h"
#include "cli/terminal.h"

namespace orrery::cli {
namespace {

using program::Pass;
using program::PassKind;

constexpr std::int64_t kMostPasses = 100'000;
constexpr std::size_t kKinds = 5;  // forward, backward, input_grad, weight_grad, forward_backward

std::size_t index(PassKind kind) { return std::min<std::size_t>(static_cast<std::size_t>(kind), kKinds - 1); }

// "B3": the letter says what is done, the number for which micro-batch; then the chunk or the split as a letter, or ' for the far direction.
std::string half_label(const program::Schedule& s, const Pass& half) {
  static constexpr std::string_view kLetters = "FBIW";
  static_assert(static_cast<int>(PassKind::forward) == 0 && static_cast<int>(PassKind::weight_grad) == 3);
  std::string out = fmt::format("{}{}", kLetters[index(half.kind)], half.microbatch);
  if (s.placement == program::Placement::mirrored) return half.direction == 1 ? out + "'" : out;
  const std::size_t part = s.splits > 1 ? half.split : half.chunk;
  if (s.splits == 1 && s.chunks == 1) return out;
  return part < 26 ? out + static_cast<char>('a' + part) : fmt::format("{}.{}", out, part);
}

std::string label(const program::Schedule& s, const Pass& pass) {
  if (pass.kind != PassKind::forward_backward) return half_label(s, pass);
  return half_label(s, program::forward_half(pass)) + "&" + half_label(s, program::backward_half(pass));
}

// A row per rank, a column for a stretch of time; longer than a line: in blocks one below the other.
class Gantt {
 public:
  Gantt(const app::ScheduleReport& report, std::size_t width) : report_(report), s_(report.schedule) {
    margin_ = fmt::format("rank {} ", s_.ranks - 1).size();
    line_ = std::max<std::size_t>(width, margin_ + 20) - margin_;
    scale();
  }

  std::string text() {
    const std::size_t columns = column(report_.replay.makespan);
    std::vector<std::string> letters(report_.replay.passes.size());
    std::vector<std::string> kinds(letters.size());  // by column the pass's kind, or ' ' where the rank idles
    for (std::size_t r = 0; r < letters.size(); ++r) draw(r, columns, letters[r], kinds[r]);
    std::string out;
    for (std::size_t from = 0; from < columns; from += line_) {
      const std::size_t to = std::min(from + line_, columns);
      if (from > 0) out += "\n";
      out += ruler(from, to);
      for (std::size_t r = 0; r < letters.size(); ++r) {
        out += fmt::format("{:<{}}", fmt::format("rank {}", r), margin_);
        out += styled(letters[r], kinds[r], from, to) + "\n";
      }
    }
    return out;
  }

 private:
  // So many columns a unit of time that the label of every pass fits, and one column more where the whole still fits on a line.
  void scale() {
    std::array<std::size_t, kKinds> longest{};
    std::array<std::int64_t, kKinds> time{};
    for (std::size_t r = 0; r < s_.order.size(); ++r)
      for (std::size_t k = 0; k < s_.order[r].size(); ++k) {
        const std::size_t kind = index(s_.order[r][k].kind);
        longest[kind] = std::max(longest[kind], label(s_, s_.order[r][k]).size());
        time[kind] = report_.replay.passes[r][k].end - report_.replay.passes[r][k].start;
      }
    const auto makespan = static_cast<double>(std::max<std::int64_t>(1, report_.replay.makespan));
    for (const bool loose : {true, false}) {
      loose_ = loose;
      columns_ = 0, per_ = 1;
      for (std::size_t k = 0; k < kKinds; ++k) {
        const double wanted = static_cast<double>(longest[k] + (loose ? 1 : 0)), takes = static_cast<double>(time[k]);
        if (longest[k] > 0 && takes > 0 && wanted * per_ > columns_ * takes) columns_ = wanted, per_ = takes;
      }
      if (columns_ * makespan / per_ <= static_cast<double>(line_)) break;
    }
    const auto most = static_cast<double>(20 * line_);
    if (columns_ * makespan / per_ > most) columns_ = most, per_ = makespan;
  }

  std::size_t column(std::int64_t time) const { return static_cast<std::size_t>(std::floor(static_cast<double>(time) * columns_ / per_)); }

  void draw(std::size_t rank, std::size_t columns, std::string& letters, std::string& kinds) const {
    letters.assign(columns, '.');
    kinds.assign(columns, ' ');
    for (std::size_t k = 0; k < s_.order[rank].size(); ++k) {
      const program::PassTimes& t = report_.replay.passes[rank][k];
      const std::size_t from = column(t.start), cells = column(t.end) - from;
      if (cells == 0) continue;
      std::string cell = label(s_, s_.order[rank][k]).substr(0, cells);
      cell.resize(cells, '-');
      if (loose_) cell.back() = ' ';
      letters.replace(from, cells, cell);
      std::fill_n(kinds.begin() + static_cast<std::ptrdiff_t>(from), cells, static_cast<char>('0' + index(s_.order[rank][k].kind)));
    }
  }

  std::string ruler(std::size_t from, std::size_t to) const {
    constexpr double kApart = 10;  // columns between marks, or more
    std::int64_t step = report_.costs.unit;
    for (bool five = true; static_cast<double>(step) * columns_ / per_ < kApart && step <= report_.replay.makespan; five = !five)
      step *= five ? 5 : 2;
    std::string out(to - from, ' ');
    for (std::int64_t t = 0; t <= report_.replay.makespan; t += step) {
      const std::size_t at = column(t);
      if (at < from || at >= to) continue;
      const std::string mark = app::time_text(report_, t);
      if (at - from + mark.size() <= out.size()) out.replace(at - from, mark.size(), mark);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    return fmt::format("{:<{}}{}{}{}\n", "time", margin_, style().dim, out, style().reset);
  }

  static std::string styled(const std::string& letters, const std::string& kinds, std::size_t from, std::size_t to) {
    const Style& s = style();
    if (s.reset.empty()) return letters.substr(from, to - from);
    std::string out;
    for (std::size_t c = from; c < to;) {
      std::size_t end = c;
      while (end < to && kinds[end] == kinds[c]) ++end;
      out += fmt::format("{}{}{}", kinds[c] == ' ' ? s.dim : s.passes[static_cast<std::size_t>(kinds[c] - '0')], letters.substr(c, end - c), s.reset);
      c = end;
    }
    return out;
  }

  const app::ScheduleReport& report_;
  const program::Schedule& s_;
  std::size_t margin_ = 0, line_ = 0;
  double columns_ = 1, per_ = 1;  // columns per so much time
  bool loose_ = false;
};

std::string legend(const program::Schedule& s) {
  std::array<bool, kKinds> occurs{};
  for (const auto& rank : s.order)
    for (const Pass& pass : rank) occurs[index(pass.kind)] = true;
  if (occurs[index(PassKind::forward_backward)]) occurs[0] = occurs[1] = true;
  std::string out;
  for (std::size_t k = 0; k < kKinds; ++k) {
    static constexpr std::array<std::string_view, kKinds> kMeaning{"F forward", "B backward", "I input gradient", "W weight gradient",
                                                                   "F&B the two overlapped"};
    if (occurs[k]) out += fmt::format("{}{}", out.empty() ? "" : ", ", kMeaning[k]);
  }
  out += "; the number is that of the micro-batch";
  if (s.placement == program::Placement::mirrored)
    out += "; ': of the direction that enters at the last rank";
  else if (s.splits > 1)
    out += "; a, b, …: the split of its sequence";
  else if (s.chunks > 1)
    out += fmt::format("; a, b, …: the rank's chunk{}", s.placement == program::Placement::vee ? ", on the way there and back" : "");
  return out + "; . idle\n";
}

}  // namespace

std::string text(const app::ScheduleReport& r, std::size_t width) {
  const program::Schedule& s = r.schedule;
  const program::PassCosts& c = r.costs.costs;
  const auto time = [&](std::int64_t t) { return app::time_text(r, t); };
  std::string out = fmt::format("{}{}: {} rank{}, {} micro-batch{}{}\n", style().bold, s.name, s.ranks, s.ranks == 1 ? "" : "s", s.microbatches,
                                s.microbatches == 1 ? "" : "es", style().reset);
  std::string facts = fmt::format("{} stages", program::stages(s));
  if (s.placement != program::Placement::loop)
    facts += s.placement == program::Placement::vee ? " in a vee, two on each rank" : ", each on two ranks: one for each direction";
  else if (s.chunks > 1)
    facts += fmt::format(", {} on each rank", s.chunks);
  if (s.splits > 1) facts += fmt::format("; sequences in {} splits", s.splits);
  if (!s.versions.empty()) facts += fmt::format("; weight versions by rank {}", fmt::join(s.versions, " "));
  out += fmt::format("{}; a pass takes F {}, I {}, W {}, B = I + W{}{}\n\n", facts, time(c.forward), time(c.input_grad), time(c.weight_grad),
                     c.forward_backward ? fmt::format(", F&B {}", time(*c.forward_backward)) : "",
                     c.latency > 0 ? fmt::format("; between ranks {}", time(c.latency)) : "");
  std::int64_t passes = 0;
  for (const auto& rank : s.order) passes += static_cast<std::int64_t>(rank.size());
  if (passes <= kMostPasses)
    out += Gantt(r, width).text() + legend(s) + "\n";
  else
    out += fmt::format("({} passes: too many for a picture)\n\n", passes);

  const auto percent = [&](double share) { return fmt::format("{:.1f} %", 100 * share); };
  out += fmt::format("makespan         {}\n", time(r.replay.makespan));
  out += fmt::format("bubble           {} of the makespan on the rank that idles most ({}; mean of all ranks {})\n", time(r.idle_in_makespan),
                     percent(r.bubble_in_makespan), percent(r.mean_bubble_in_makespan));
  out += fmt::format("bubble in spans  {}, between a rank's own first and last pass\n", time(r.idle_in_span));
  if (r.steady_bubble)
    out += fmt::format("steady bubble    {}: no flush between updates, so that the start and the end above come once in a training\n",
                       percent(*r.steady_bubble));
  const bool split = r.replay.peak_until_input_grad != r.replay.peak_until_weight_grad;
  const std::string what = s.splits > 1 ? "splits" : s.chunks > 1 ? "chunks" : "micro-batches";
  out += fmt::format("\n{:>6}{:>10}{:>10}{:>10}   most activations at once, of {}{}\n", "rank", "busy", "idle", "in span", what,
                     split ? " (held until W; until I only)" : "");
  for (std::size_t k = 0; k < r.replay.busy.size(); ++k)
    out +=
        fmt::format("{:>6}{:>10}{:>10}{:>10}   {}{}\n", k, time(r.replay.busy[k]), time(r.replay.idle_in_makespan[k]), time(r.replay.idle_in_span[k]),
                    r.replay.peak_until_weight_grad[k], split ? fmt::format(" ({})", r.replay.peak_until_input_grad[k]) : "");
  return out;
}

}  // namespace orrery::cli
