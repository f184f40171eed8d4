// Everything that a page draws, as one picture: its charts under their names, placed as they stand on it, below its title and what it is of.
#pragma once

#include <QByteArray>
#include <QImage>

namespace orrery::gui {

class Page;

// Charts that are not to be seen on the page are left out; those in a scroll area are drawn whole. `scale` device pixels per logical one.
QImage picture_of(const Page& page, double scale = 2);
QByteArray svg_of(const Page& page);

}  // namespace orrery::gui
