// What a stretch of time is made of: the slots that time is drawn as, and mixes of them.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/timeline.h"
#include "gui/view/palette.h"

namespace orrery::view {

// What time is drawn as: the hues of work, with computation that is run again apart.
inline constexpr std::size_t kSlots = kHues;  // Hue::none's place is that of recomputation: what does no work has no colour
inline constexpr std::size_t kRecomputeSlot = static_cast<std::size_t>(Hue::none);
inline constexpr std::size_t kWaitingSlot = kSlots;  // beside the slots, in legends and masks of what is highlighted
inline constexpr std::size_t kWaitCauses = 8;
std::size_t slot(WorkClass work, bool recompute);  // kSlots for control
std::string_view slot_name(std::size_t slot);      // "matrix products", …, "run again", "waiting"

// What a stretch of a lane is made of, each in 255ths of it. What is there at all has at least one.
struct Mix {
  std::array<std::uint8_t, kSlots> share{};
  std::uint8_t waiting = 0;           // the stream was free and its next instruction could not start
  WaitCause cause = WaitCause::none;  // of most of that

  bool empty() const { return *this == Mix{}; }
  int busy() const;              // the sum of the shares, at most 255
  std::size_t dominant() const;  // the slot with the largest share; kSlots where nothing is busy
  bool operator==(const Mix&) const = default;
};

// Times that are being added up to a Mix, part by part: slots, then causes of waiting. Few are not zero at a time, and only those are touched. All of
// it is inline: building an index adds up millions.
class MixSum {
 public:
  static std::size_t waiting(WaitCause cause) { return kSlots + static_cast<std::size_t>(cause); }  // the part

  bool any() const { return touched_ != 0; }
  void add(std::size_t part, std::int64_t time) {
    times_[part] += time;
    touched_ |= 1U << part;
  }
  void add(const MixSum& o) {
    for (std::uint32_t bits = o.touched_; bits != 0; bits &= bits - 1) add(lowest(bits), o.times_[lowest(bits)]);
  }
  void clear() {
    for (std::uint32_t bits = touched_; bits != 0; bits &= bits - 1) times_[lowest(bits)] = 0;
    touched_ = 0;
  }
  Mix mix(double scale) const;  // `scale`: 255 by the length of the stretch

 private:
  static std::size_t lowest(std::uint32_t bits) { return static_cast<std::size_t>(std::countr_zero(bits)); }

  std::array<std::int64_t, kSlots + kWaitCauses> times_{};
  std::uint32_t touched_ = 0;  // bits
};

}  // namespace orrery::view
