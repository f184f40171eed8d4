// The passes of a compute stream, as pipelines' diagrams name them: F3, B3, W3.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/timeline.h"
#include "gui/view/axis.h"

namespace orrery::view {

// How a pass is called in a pipeline's diagrams.
enum class PassKind : std::uint8_t { forward, backward, weights, both, update, other };
std::string_view letter(PassKind kind);  // "F", "B", "W", "F+B", "update", ""

// Successive spans of one pass instance on the compute stream.
struct Pass {
  TimeRange range;
  std::uint32_t pass = 0;
  std::uint16_t microbatch = 0xffff;
  PassKind kind = PassKind::other;
};

// Tells passes apart while spans go by; of what kind one is, the names of the operators say that took most of its time.
class PassFinder {
 public:
  explicit PassFinder(const Timeline& timeline);

  // The stream's next span by start, at the times at which it is drawn. What has no length or does no work belongs to no pass.
  // Inline: there are millions.
  void add(const Span& span, TimeRange range) {
    if (span.end <= span.start || works_[span.kind] == 0) return;
    if (!open_ || span.pass != pass_.pass) open(span, range);
    pass_.range.end = std::max(pass_.range.end, range.end);
    if (pass_.microbatch == 0xffff) pass_.microbatch = span.microbatch;
    if (span.recompute) return;
    const std::uint8_t ways = ways_[span.kind];
    for (std::size_t bit = 0; bit < time_.size(); ++bit) {
      if ((ways >> bit & 1U) != 0) time_[bit] += range.length().v;
    }
  }
  // Those of the stream that ends here are appended to `out`; the next span begins another stream.
  void finish(std::vector<Pass>& out);

 private:
  void open(const Span& span, TimeRange range);
  void close();

  std::vector<std::uint8_t> ways_;   // by kind: bits
  std::vector<std::uint8_t> works_;  // by kind: 0 or 1
  std::vector<Pass> found_;
  Pass pass_;
  bool open_ = false;
  std::array<std::int64_t, 4> time_{};  // of pass_, by bit
};

}  // namespace orrery::view
