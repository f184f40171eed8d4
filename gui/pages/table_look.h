// How tables of figures look.
#pragma once

class QTableView;

namespace orrery::gui {

// Rows that are selected whole and sorted by a click on a heading, without a grid; the mark of what they are sorted by stands above the heading's
// words.
void set_up_table(QTableView& view);

}  // namespace orrery::gui
