// The colours of classes of work, which colour-blind readers tell apart.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/timeline.h"

namespace orrery::view {

struct Colour {
  std::uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Colour&) const = default;
};

// How classes of work are told apart on screen: some that are seldom looked at by themselves share a colour.
enum class Hue : std::uint8_t { gemm, attention, other_compute, optimizer, tp, cp, ep, pp, dp, none };
inline constexpr std::size_t kHues = 10;

Hue hue(WorkClass work);
std::string_view name(Hue hue);  // "matrix products", "attention", "other kernels", "optimizer", "tp", …
// Okabe and Ito's palette (Color Universal Design, 2008); on a dark ground the same hues, lighter where they would be hard to see.
Colour colour(Hue hue, bool dark);

// WCAG 2.1's contrast ratio of two colours: 1 to 21.
double contrast(Colour a, Colour b);
// Black or white, whichever is easier to read on it.
Colour ink_on(Colour ground);
// a + share (b - a), by channel.
Colour mix(Colour a, Colour b, double share);

}  // namespace orrery::view
