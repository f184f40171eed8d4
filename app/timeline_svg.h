// A timeline as a picture for documents: ranks and their streams from top to bottom, time from left to right.
#pragma once

#include <string>

#include "core/timeline.h"

namespace orrery::app {

// SVG text. Each rank has a lane for its compute stream and one for each communication stream that did something; spans narrower than a third of a
// pixel are drawn together. Colours are Okabe and Ito's, which colour-blind readers tell apart; recomputation is hatched.
std::string timeline_svg(const Timeline& timeline, const std::string& title);

}  // namespace orrery::app
