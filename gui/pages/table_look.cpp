#include "gui/pages/table_look.h"

#include <QHeaderView>
#include <QTableView>

namespace orrery::gui {

void set_up_table(QTableView& view) {
  view.setSortingEnabled(true);
  view.setSelectionBehavior(QAbstractItemView::SelectRows);
  view.setShowGrid(false);
  view.setTabKeyNavigation(false);
  view.setWordWrap(false);
  view.verticalHeader()->hide();
  view.verticalHeader()->setDefaultSectionSize(view.fontMetrics().height() + 8);
  view.horizontalHeader()->setHighlightSections(false);
  view.setStyleSheet(QStringLiteral(
      "QTableView::item { padding: 0 6px; } QHeaderView::section { padding: 4px 6px; }"
      "QHeaderView::up-arrow, QHeaderView::down-arrow { subcontrol-origin: border; subcontrol-position: top center; width: 9px; height: 6px; }"));
}

}  // namespace orrery::gui
