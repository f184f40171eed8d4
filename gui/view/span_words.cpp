#include "gui/view/span_words.h"

#include <fmt/format.h>

#include <cstdlib>

#include "core/quantity_text.h"
#include "gui/view/axis.h"

namespace orrery::view {

std::string_view words(WaitCause cause) {
  switch (cause) {
    case WaitCause::none:
      return "idle";
    case WaitCause::host:
      return "waiting for the host";
    case WaitCause::compute:
      return "waiting for another stream's kernels";
    case WaitCause::tp:
      return "waiting for tp communication";
    case WaitCause::cp:
      return "waiting for cp communication";
    case WaitCause::ep:
      return "waiting for ep communication";
    case WaitCause::pp:
      return "bubble: waiting for a pipeline peer";
    case WaitCause::dp:
      return "waiting for dp communication";
  }
  return {};
}

std::string place(Picoseconds time) { return format_time(time, Picoseconds{1'000'000}); }

std::string describe(const Timeline& timeline, SpanId span) {
  const Span& s = timeline.spans[span];
  std::string text = timeline.kinds[s.kind].name;
  if (s.recompute) text += " (run again)";
  if (s.microbatch != 0xffff) text += fmt::format("  ·  mb {}", s.microbatch);
  if (s.layer != 0xffff) text += fmt::format("  ·  layer {}", s.layer);
  text += fmt::format("  ·  {} at {}", format_seconds(s.end - s.start), place(s.start));
  if (s.waited.v > 0) text += fmt::format(", after {} {}", format_seconds(s.waited), words(s.cause));
  return text;
}

std::string describe(const Delta& delta) {
  const auto part = [](Picoseconds v, std::string_view more, std::string_view less, std::string_view same) {
    return v.v == 0 ? std::string(same) : fmt::format("{} {}", format_seconds(Picoseconds{std::abs(v.v)}), v.v > 0 ? more : less);
  };
  return fmt::format("{}, {}", part(delta.longer, "longer", "shorter", "as long"), part(delta.later, "later", "earlier", "at the same time"));
}

std::string describe_wait(const SpanIndex& index, SpanId span) {
  const Span& s = index.timeline().spans[span];
  const Picoseconds length = s.waited.v > 0 ? index.wait_before(span).length() : s.end - s.start;
  return fmt::format("{}, {}", words(s.cause), format_seconds(length));
}

std::string rank_name(const Timeline& timeline, std::uint32_t rank) {
  return rank < timeline.ranks.size() && !timeline.ranks[rank].empty() ? timeline.ranks[rank] : fmt::format("rank {}", rank);
}

std::string describe_row(const Timeline& timeline, std::uint32_t rank, std::string_view stream) {
  return fmt::format("{} {}", rank_name(timeline, rank), stream);
}

}  // namespace orrery::view
