// A span, and why something waits, in as many words as a line has room for.
#pragma once

#include <string>
#include <string_view>

#include "core/timeline.h"
#include "gui/view/differences.h"
#include "gui/view/span_index.h"

namespace orrery::view {

std::string_view words(WaitCause cause);  // "bubble: waiting for a pipeline peer"
std::string place(Picoseconds time);      // when, to a microsecond: "5.018256 s"

// "linear_forward  ·  mb 3  ·  layer 12  ·  1.2 ms at 5.018256 s, after 3 ms waiting for tp communication"
std::string describe(const Timeline& timeline, SpanId span);
// What the other timeline did with the same instruction: "50 us longer, 2 ms later".
std::string describe(const Delta& delta);
// The wait that ends where the span begins, or that it is: "waiting for the host, 3 ms".
std::string describe_wait(const SpanIndex& index, SpanId span);
// "pp0 tp0 compute"
std::string describe_row(const Timeline& timeline, std::uint32_t rank, std::string_view stream);
// Its name in the timeline, "rank 3" without one.
std::string rank_name(const Timeline& timeline, std::uint32_t rank);

}  // namespace orrery::view
