// Timelines as traces that chrome://tracing and ui.perfetto.dev open, and that come back exactly.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/timeline.h"

namespace orrery {

// Trace Event Format: ranks are processes, streams are threads, spans are complete events, flows are arrows, memory is a counter. Timestamps are
// microseconds, as the format wants; the exact picoseconds stand in each event's args, and the first event ("orrery") holds origin, step, streams,
// ranks and kinds. One event per line. Requires every span and sample to name a rank, stream and kind that exist.
std::string write_chrome_trace(const Timeline& timeline);

// The Timeline that write_chrome_trace was given. Throws Error at "file:line: traceEvents[i].field"; traces of other programs are refused with a
// hint.
Timeline read_timeline(std::string_view text, std::string_view file);

// The same from a file, which may be larger than other documents.
inline constexpr std::size_t kLargestTrace = std::size_t{2} << 30U;
Timeline load_timeline(const std::string& path);

}  // namespace orrery
