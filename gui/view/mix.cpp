#include "gui/view/mix.h"

#include <algorithm>
#include <numeric>

namespace orrery::view {

namespace {

std::uint8_t share_of(std::int64_t time, double scale) {
  return static_cast<std::uint8_t>(std::clamp(static_cast<double>(time) * scale + 0.5, 1.0, 255.0));
}

}  // namespace

std::size_t slot(WorkClass work, bool recompute) {
  if (work == WorkClass::control) return kSlots;
  if (recompute && !is_communication(work)) return kRecomputeSlot;
  return static_cast<std::size_t>(hue(work));
}

std::string_view slot_name(std::size_t slot) {
  if (slot == kWaitingSlot) return "waiting";
  return slot == kRecomputeSlot ? "run again" : name(static_cast<Hue>(slot));
}

int Mix::busy() const { return std::min(255, std::accumulate(share.begin(), share.end(), 0)); }

std::size_t Mix::dominant() const {
  const auto most = std::max_element(share.begin(), share.end());
  return *most == 0 ? kSlots : static_cast<std::size_t>(most - share.begin());
}

Mix MixSum::mix(double scale) const {
  Mix m;
  std::int64_t waited = 0, most = 0;
  for (std::uint32_t bits = touched_; bits != 0; bits &= bits - 1) {
    const std::size_t part = lowest(bits);
    const std::int64_t time = times_[part];
    if (time <= 0) continue;
    if (part < kSlots) {
      m.share[part] = share_of(time, scale);
      continue;
    }
    waited += time;
    if (time > most) {
      most = time;
      m.cause = static_cast<WaitCause>(part - kSlots);
    }
  }
  if (waited > 0) m.waiting = share_of(waited, scale);
  return m;
}

}  // namespace orrery::view
