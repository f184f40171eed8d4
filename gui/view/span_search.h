// Finding spans by words: "linear_forward", "mb 3 layer 12", "attention rank 2", "recompute >1ms".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/timeline.h"
#include "gui/view/span_index.h"

namespace orrery::view {

// What all words of a search ask for together.
struct SpanQuery {
  std::vector<bool> kinds;  // by kind: whether all words that name operators or classes are in it
  std::vector<bool> ranks;  // by rank; empty: any
  std::optional<std::uint16_t> microbatch, layer, stream;
  std::optional<std::uint32_t> rank, pass;
  bool recompute = false, waited = false;
  Picoseconds longer{-1};  // than this
  std::string problem;     // why nothing can be found; empty: something may be

  bool matches(const Span& span) const;
};

// Words are separated by blanks and all must hold: mb, layer, rank, pass with a number ("mb 3", "mb3", "mb=3"); "stream NAME"; "recompute"; "waited";
// ">TIME" (longer than, "1.5ms"); a word of a rank's name ("pp3"); anything else is part of an operator's, a class's or a colour's name. Letters'
// case does not matter.
SpanQuery parse_query(std::string_view text, const Timeline& timeline);

// All that match and take time, in the order of the timeline.
std::vector<SpanId> find(const Timeline& timeline, const SpanQuery& query);

// Of `matches`, the one that starts next after (or before) `from` in time, of those at one time in the order of their indices; round the end to the
// other. kNoSpan where there are none. Without `from`: the first (the last).
SpanId next_match(const std::vector<SpanId>& matches, const Timeline& timeline, SpanId from, bool forward);

}  // namespace orrery::view
