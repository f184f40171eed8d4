#include "gui/page.h"

#include <QSettings>
#include <QSplitter>

#include "app/command_line.h"
#include "core/quantity_text.h"
#include "gui/state/view_state.h"
#include "gui/veil.h"

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

QString Page::trace_command(const std::vector<std::string>& more) const {
  std::vector<std::string> all{"orrery", "show", "timeline", state_.trace()->name.toStdString()};
  all.insert(all.end(), more.begin(), more.end());
  return QString::fromStdString(app::shell_line(all));
}

QString Page::without_command() const { return tr("no command prints what is on this page"); }

QString Page::caption() const {
  if (state_.trace()) return state_.trace()->name;
  const auto& good = state_.last_good();
  if (!good || !good->report()) return {};
  const app::SimulateReport& r = *good->report();
  return QString::fromStdString(r.model + " on " + r.plan.cluster + ": " + r.label + ", " + format_seconds(r.step_time) + " a step");
}

bool Page::stale() const { return state_.answer() && !state_.answer()->explored && state_.last_good(); }

void Page::dim_when_stale(QWidget* part, bool of_timeline) {
  dimmed_.push_back({new Veil(part, tr("of the last legal plan")), of_timeline});
  if (dimmed_.size() == 1) {
    connect(&state_, &ViewState::answer_changed, this, &Page::show_staleness);
    connect(&state_, &ViewState::timeline_changed, this, &Page::show_staleness);
  }
  show_staleness();
}

void Page::show_staleness() {
  for (const Dimmed& d : dimmed_) d.veil->setVisible(stale() && !(d.of_timeline && state_.trace()));
}

const app::PlanFlags& Page::shown_question() const { return state_.shown() ? state_.shown()->question : state_.question(); }

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
