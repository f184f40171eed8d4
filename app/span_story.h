// All that is known of one span of a timeline: what ran, on what, how fast, priced by whom, what it needed before it could start, and why it waited.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "app/simulate.h"
#include "core/timeline.h"

namespace orrery::app {

inline constexpr std::uint32_t kNoSpan = std::numeric_limits<std::uint32_t>::max();

// Something that had to be there before a span could start.
struct Needed {
  enum class How : std::uint8_t {
    stream,       // what ran on its stream before it
    instruction,  // of the same pass
    event,        // signalled by another pass
    issued,       // all that was issued on another stream until then
    host,         // the host that issues it
    message,      // the other end of a message
    member,       // another rank of its collective
    seen,         // nothing says that it was needed, but it ended last before the span started (of a trace without its program)
  };
  How how = How::stream;
  std::uint32_t span = kNoSpan;  // index into Timeline::spans; kNoSpan: the host, or a rank of which no recorded time tells
  bool previous = false;         // it is of the step before: as `span` is, one step earlier
  // From when on it was there: when it ended; of the other end of a message and the members of a collective, when they were ready to begin.
  Picoseconds at{};
  bool last = false;   // what was there last, and so decided when the span started; of one at most
  std::string text{};  // "all_gather of layer 3 over tp"
};

// Plain values for whoever shows them; lines() has them as text. What is not known is empty, or 0 where 0 means nothing.
struct SpanStory {
  std::uint32_t span = 0;
  std::string operation;  // "linear_forward"
  WorkClass work = WorkClass::control;
  std::string rank;             // "pp3 dp0 tp0"
  std::int64_t stands_for = 1;  // ranks that did the same at the same time, itself included
  std::string stream;
  std::string pass;       // "forward of micro-batch 3, stage 5"
  std::string direction;  // "forward", "backward", "input_grad", "optimizer", …
  // With sequence splits: of whole sequences, which only a program tells; of a timeline alone as its spans number them: micro-batch x splits + split.
  std::optional<std::int64_t> microbatch;
  std::optional<std::int64_t> split, chunk, stage, layer;
  bool recompute = false, critical = false;
  std::string shape;             // "8192 tokens x 16384 in x 6656 out, bf16"
  std::string group;             // "tp: 8 ranks within nvlink", "pp3 dp0 tp0 to pp4 dp0 tp0 over infiniband"
  std::int64_t group_ranks = 0;  // 2 for messages; 0: no communication

  double flops = 0;               // executed by one rank
  std::int64_t bytes = 0;         // memory traffic; of communication the payload
  FlopsPerSecond flop_rate;       // achieved
  double share_of_peak = 0;       // of the device's peak in the span's type
  BytesPerSecond byte_rate;       // of communication the payload's
  BytesPerSecond wire_rate;       // of communication what the busiest link (cost/link_traffic.h) carried one way, by the algorithm it is priced with
  double share_of_bandwidth = 0;  // of the device's memory, or of that link
  std::string bandwidth_of;       // "memory", or the network level of that link: "nvlink"

  Picoseconds start, end, duration, waited, transfer;
  WaitCause cause = WaitCause::none;
  std::string source;  // of its price; empty for a measured run
  std::optional<Grade> grade;
  std::optional<double> sigma;  // relative
  Joules energy;                // above idle, of one rank; 0: unknown
  std::optional<Grade> energy_grade;

  std::vector<Needed> needed;
  std::string why;  // it started when it did, in one or two sentences
};

// Of the simulated timeline of the report, which must be there: what the program says about the instruction, and its dependencies.
SpanStory explain_span(const Explored& explored, std::uint32_t span);
// Of a timeline alone (a trace, or a measured run): what it says itself.
SpanStory explain_span(const Timeline& timeline, std::uint32_t span);
// Of a run of the same plan: what the program says, with the times of the run. A timeline that is of another program is taken alone.
SpanStory explain_span(const Explored& explored, const Timeline& measured, std::uint32_t span);

// Whether a timeline (a trace, or a run's) is of the program: each of its spans is one of its instructions.
bool of_program(const Explored& explored, const Timeline& timeline);

// What is known, by name, in the order in which people ask: {"Operator", "linear_forward"}, …. Without `needed` and `why`.
std::vector<std::pair<std::string, std::string>> lines(const SpanStory& story);

std::string_view name(Needed::How how);

}  // namespace orrery::app
