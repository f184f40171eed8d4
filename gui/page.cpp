#include "gui/page.h"

#include <QSettings>
#include <QSplitter>

#include "app/command_line.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

// Splitters are told apart by their place and the number of their parts, so that another version's do not fit.
QString name(const QString& page, qsizetype place, const QSplitter& splitter) {
  return QStringLiteral("%1/splitter-%2-%3").arg(page).arg(place).arg(splitter.count());
}

}  // namespace

Page::Page(ViewState& state, const QString& key, const QString& title, QWidget* parent) : QWidget(parent), state_(state), key_(key), title_(title) {
  setObjectName(key);
  setAccessibleName(title);
}

QString Page::command() const { return QString::fromStdString(app::command_line(state_.question(), "simulate")); }

void Page::keep(QSettings& settings) const {
  const QList<QSplitter*> splitters = findChildren<QSplitter*>();
  for (qsizetype i = 0; i < splitters.size(); ++i) settings.setValue(name(key_, i, *splitters[i]), splitters[i]->saveState());
}

void Page::arrange(const QSettings& settings) {
  const QList<QSplitter*> splitters = findChildren<QSplitter*>();
  for (qsizetype i = 0; i < splitters.size(); ++i) splitters[i]->restoreState(settings.value(name(key_, i, *splitters[i])).toByteArray());
}

}  // namespace orrery::gui
