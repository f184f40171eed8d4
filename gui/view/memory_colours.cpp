#include "gui/view/memory_colours.h"

#include <array>

namespace orrery::view {

Colour colour(app::MemoryCategory category, bool dark) {
  // Okabe and Ito's blue, sky blue (and a darker blue for what lies between them), orange, yellow, bluish green, reddish purple, grey.
  constexpr std::array<Colour, app::kMemoryCategories> kLight{
      {{0, 114, 178}, {86, 180, 233}, {20, 70, 120}, {230, 159, 0}, {226, 211, 40}, {0, 158, 115}, {204, 121, 167}, {140, 140, 146}}};
  constexpr std::array<Colour, app::kMemoryCategories> kDark{
      {{64, 150, 216}, {122, 200, 246}, {48, 100, 160}, {240, 172, 32}, {240, 228, 66}, {24, 178, 134}, {218, 145, 184}, {150, 152, 160}}};
  return (dark ? kDark : kLight)[static_cast<std::size_t>(category)];
}

}  // namespace orrery::view
