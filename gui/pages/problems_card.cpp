#include "gui/pages/problems_card.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QToolButton>
#include <QVBoxLayout>

#include "core/settings.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

constexpr std::size_t kMost = 3;  // told in full; what is mended first often takes others away

QString words(const std::string& text) { return QString::fromStdString(text); }

}  // namespace

void apply_mend(ViewState& state, const QStringList& settings) {
  std::vector<std::pair<std::string, std::string>> edits;
  QStringList what;
  for (const QString& text : settings) {
    const Setting s = parse_setting(text.toStdString());
    edits.emplace_back(s.path, s.value);
    what << words(s.path + " = " + s.value);
  }
  state.set(edits, what.join(", "));
}

ProblemsCard::ProblemsCard(ViewState& state, QWidget* parent) : QFrame(parent), state_(state), column_(new QVBoxLayout(this)) {
  setObjectName("card");
  setAccessibleName(tr("Why this plan is not simulated"));
  column_->setContentsMargins(12, 8, 12, 8);
  column_->setSpacing(6);
  connect(&state, &ViewState::answer_changed, this, &ProblemsCard::refresh);
  refresh();
}

void ProblemsCard::refresh() {
  mends_.forget();
  const std::shared_ptr<const Answer> answer = state_.answer();
  std::vector<Problem> problems;
  if (answer && answer->error) {
    std::string where = answer->error->where();
    problems.push_back({"", (where.empty() ? "" : where + ": ") + answer->error->message(), answer->error->hint(), {}});
  } else if (answer) {
    for (const program::Refusal& r : answer->refusals) problems.push_back({r.field, r.reason, r.hint, {}});
  }
  show_problems(problems);
  if (problems.empty()) return;
  const std::shared_ptr<const Answer> readable = answer->inputs ? answer : state_.last_good();
  if (!readable || !readable->inputs) return;
  mends_.ask([this, answer, readable, problems](const std::atomic<bool>* cancel) mutable -> std::function<void()> {
    if (answer->error) {
      problems.front().mends = app::mends(answer->question, *readable->inputs, *answer->error, cancel);
    } else {
      for (std::size_t i = 0; i < std::min(kMost, problems.size()); ++i)
        problems[i].mends = app::mends(answer->question, *readable->inputs, answer->refusals[i], cancel);
    }
    return [this, problems] { show_problems(problems); };
  });
}

void ProblemsCard::show_problems(std::vector<Problem> problems) {
  problems_ = std::move(problems);
  while (QLayoutItem* item = column_->takeAt(0)) {
    if (item->widget()) item->widget()->deleteLater();
    delete item;
  }
  const bool error = state_.answer() && state_.answer()->error;
  if (!problems_.empty()) {
    const QString illegal = problems_.size() > 1
                                ? tr("This plan is illegal, for %1 reasons; the figures are of the last legal one").arg(problems_.size())
                                : tr("This plan is illegal; the figures are of the last legal one");
    auto* title = new QLabel(error ? tr("This cannot be read; the figures are of the last plan that could") : illegal);
    title->setObjectName("section");
    column_->addWidget(title);
  }
  for (std::size_t i = 0; i < std::min(kMost, problems_.size()); ++i) {
    const Problem& p = problems_[i];
    auto* box = new QWidget;
    auto* row = new QHBoxLayout(box);
    row->setContentsMargins(0, 0, 0, 0);
    auto* text = new QLabel(words(p.text));
    text->setObjectName("bad");
    text->setWordWrap(true);
    text->setTextFormat(Qt::PlainText);
    text->setTextInteractionFlags(Qt::TextSelectableByMouse);
    text->setToolTip(words(p.hint));
    row->addWidget(text, 1);
    if (p.mends.empty() && !p.hint.empty()) {
      auto* hint = new QLabel(words(p.hint));
      hint->setObjectName("dim");
      hint->setWordWrap(true);
      row->addWidget(hint, 1);
    }
    for (const app::Mend& mend : p.mends) {
      auto* button = new QPushButton(words(mend.words));
      button->setToolTip(mend.legal ? tr("Makes the plan legal") : tr("Takes this reason away; others stay"));
      QStringList settings;
      for (const std::string& s : mend.settings) settings << words(s);
      connect(button, &QPushButton::clicked, this, [this, settings] { apply_mend(state_, settings); });
      row->addWidget(button);
    }
    if (!p.field.empty()) {
      auto* go = new QToolButton;
      go->setText(tr("go to %1").arg(words(p.field)));
      go->setAutoRaise(true);
      const QString field = words(p.field);
      connect(go, &QToolButton::clicked, this, [this, field] { Q_EMIT field_wanted(field); });
      row->addWidget(go);
    }
    column_->addWidget(box);
  }
  if (problems_.size() > kMost) {
    auto* more = new QLabel(tr("and %1 more").arg(problems_.size() - kMost));
    more->setObjectName("dim");
    column_->addWidget(more);
  }
  setVisible(!problems_.empty());
  Q_EMIT problems_changed();
}

}  // namespace orrery::gui
