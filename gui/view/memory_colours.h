// The colours of what memory holds: states in blues, what comes and goes in warm colours and green.
#pragma once

#include "app/memory_story.h"
#include "gui/view/palette.h"

namespace orrery::view {

Colour colour(app::MemoryCategory category, bool dark);

}  // namespace orrery::view
