#include "gui/page.h"

#include "app/command_line.h"
#include "gui/state/view_state.h"

namespace orrery::gui {

Page::Page(ViewState& state, const QString& key, const QString& title, QWidget* parent) : QWidget(parent), state_(state), key_(key), title_(title) {
  setObjectName(key);
  setAccessibleName(title);
}

QString Page::command() const { return QString::fromStdString(app::command_line(state_.question(), "simulate")); }

}  // namespace orrery::gui
