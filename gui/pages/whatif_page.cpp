#include "gui/pages/whatif_page.h"

#include <fmt/format.h>

#include <QGridLayout>
#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QStyle>
#include <QVBoxLayout>
#include <algorithm>

#include "app/command_line.h"
#include "app/compare.h"
#include "core/quantity_text.h"
#include "gui/charts/strip_chart.h"
#include "gui/charts/waterfall_chart.h"
#include "gui/pages/knob_widget.h"
#include "gui/pages/problems_card.h"
#include "gui/state/view_state.h"
#include "gui/view/edit.h"

namespace orrery::gui {
namespace {

constexpr int kKnobs = 472;

QString words(const std::string& text) { return QString::fromStdString(text); }

void tint(QLabel* label, const char* name) {
  if (label->objectName() == name) return;
  label->setObjectName(name);
  label->style()->unpolish(label);
  label->style()->polish(label);
}

// What the question itself says of a path; nothing where it says nothing.
std::optional<std::string> said_of(const app::PlanFlags& question, const std::string& path) {
  const auto last =
      std::find_if(question.settings.rbegin(), question.settings.rend(), [&](const std::string& s) { return s.starts_with(path + "="); });
  return last == question.settings.rend() ? std::nullopt : std::optional(last->substr(path.size() + 1));
}

}  // namespace

WhatIfPage::WhatIfPage(ViewState& state, QWidget* parent) : Page(state, "whatif", tr("What-if"), parent) {
  auto* whole = new QVBoxLayout(this);
  whole->setContentsMargins(16, 4, 16, 12);
  whole->setSpacing(8);
  problems_ = new ProblemsCard(state);
  whole->addWidget(problems_);
  auto* halves = new QHBoxLayout;
  halves->setSpacing(20);
  auto* scroll = new QScrollArea;
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setFixedWidth(kKnobs);
  scroll->setFocusPolicy(Qt::NoFocus);
  auto* content = new QWidget;
  column_ = new QVBoxLayout(content);
  column_->setContentsMargins(0, 0, 8, 0);
  column_->setSpacing(3);
  scroll->setWidget(content);
  halves->addWidget(scroll);
  halves->addWidget(make_results(), 1);
  whole->addLayout(halves, 1);
  connect(problems_, &ProblemsCard::field_wanted, this, [this](const QString& path) {
    if (KnobWidget* widget = knob(path.toStdString()))
      widget->setFocus();
    else
      this->state().go_to("setup");
  });
  connect(&state, &ViewState::answer_changed, this, &WhatIfPage::refresh);
  connect(&state, &ViewState::question_changed, this, &WhatIfPage::refresh);
  connect(&state, &ViewState::pin_changed, this, &WhatIfPage::refresh);
}

QWidget* WhatIfPage::make_results() {
  auto* results = new QWidget;
  auto* column = new QVBoxLayout(results);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(8);
  auto* bar = new QHBoxLayout;
  pin_ = new QPushButton(tr("Pin this plan"));
  pin_->setToolTip(tr("Changes are told against it from now on (Ctrl+P)"));
  back_ = new QPushButton(tr("Back to the pinned plan"));
  back_->setToolTip(tr("All knobs as they were when it was pinned"));
  bar->addWidget(pin_);
  bar->addWidget(back_);
  bar->addStretch(1);
  column->addLayout(bar);
  connect(pin_, &QPushButton::clicked, this, [this] { state().pin(); });
  connect(back_, &QPushButton::clicked, this, &WhatIfPage::reset_all);

  auto* card = new QFrame;
  card->setObjectName("card");
  card->setAccessibleName(tr("Figures"));
  table_ = new QGridLayout(card);
  table_->setContentsMargins(12, 8, 12, 8);
  table_->setHorizontalSpacing(20);
  table_->setVerticalSpacing(3);
  table_->setColumnStretch(0, 1);
  const QStringList heads{QString(), tr("now"), tr("pinned"), tr("change")};
  for (int c = 0; c < heads.size(); ++c) {
    auto* head = new QLabel(heads[c]);
    head->setObjectName("dim");
    table_->addWidget(head, 0, c, c == 0 ? Qt::AlignLeft : Qt::AlignRight);
  }
  for (int c = 1; c < 4; ++c) table_->setColumnMinimumWidth(c, 84);
  sentence_ = new QLabel;
  sentence_->setObjectName("section");
  sentence_->setWordWrap(true);
  sentence_->setTextFormat(Qt::PlainText);
  sentence_->setAccessibleName(tr("What moved most"));
  auto* figures = new QWidget;
  auto* inside = new QVBoxLayout(figures);
  inside->setContentsMargins(0, 0, 0, 0);
  inside->setSpacing(8);
  column->addWidget(figures, 1);
  inside->addWidget(card);
  inside->addWidget(sentence_);
  waterfall_ = new WaterfallChart(tr("No figures yet"), tr("They come with the first legal plan"));
  inside->addWidget(waterfall_, 1);
  strip_ = new StripChart;
  strip_->setFixedHeight(116);
  connect(strip_, &StripChart::clicked, this, [this] { state().go_to("timeline"); });
  inside->addWidget(strip_);
  dim_when_stale(figures);
  return results;
}

QList<const Chart*> WhatIfPage::charts() const { return {waterfall_, strip_}; }

QString WhatIfPage::command() const {
  const auto& pinned = state().pinned();
  const app::PlanFlags& now = state().last_good() ? state().last_good()->question : state().question();  // whose figures stand here
  if (!pinned || pinned->question == now) return words(app::command_line(now, "simulate"));
  return words(app::shell_line(app::compare_words({{}, pinned->question}, {{}, now})));
}

std::optional<QString> WhatIfPage::csv() const {
  if (figures_.empty()) return std::nullopt;
  QString out = QStringLiteral("figure,now,pinned,change\r\n");
  for (const view::Figure& f : figures_)
    out += QStringLiteral("%1,\"%2\",\"%3\",\"%4\"\r\n").arg(words(f.name), words(f.now), words(f.pinned), words(f.change));
  return out;
}

bool WhatIfPage::settled() const { return problems_->settled() && !legal_.busy() && !indices_.busy(); }

KnobWidget* WhatIfPage::knob(const std::string& path) const {
  const auto found = knobs_.find(path);
  return found == knobs_.end() ? nullptr : found->second;
}

QString WhatIfPage::sentence() const { return sentence_->text(); }

void WhatIfPage::showEvent(QShowEvent* event) {
  Page::showEvent(event);
  refresh();
}

void WhatIfPage::refresh() {
  if (!isVisible()) return;
  const std::shared_ptr<const Answer> answer = state().answer(), good = state().last_good();
  const app::SimulateReport* now = good ? good->report() : nullptr;
  const app::SimulateReport* pinned = state().pinned() ? state().pinned()->report() : nullptr;
  pin_->setEnabled(answer && answer->explored && !(state().pinned() && state().pinned()->question == state().question()));
  back_->setEnabled(state().pinned() && !(state().pinned()->question == state().question()));

  if (now) {
    figures_ = view::figures(*now, pinned);
    while (cells_.size() < figures_.size()) {
      std::array<QLabel*, 4> row{};
      for (int c = 0; c < 4; ++c) {
        row[static_cast<std::size_t>(c)] = new QLabel;
        table_->addWidget(row[static_cast<std::size_t>(c)], static_cast<int>(cells_.size()) + 1, c, c == 0 ? Qt::AlignLeft : Qt::AlignRight);
      }
      row[1]->setObjectName("section");
      row[2]->setObjectName("dim");
      cells_.push_back(row);
    }
    const bool stale = state().waiting() || (answer && !answer->explored);
    for (std::size_t i = 0; i < figures_.size(); ++i) {
      const view::Figure& f = figures_[i];
      cells_[i][0]->setText(words(f.name));
      cells_[i][0]->setToolTip(words(f.about));
      cells_[i][1]->setText(words(f.now));
      cells_[i][1]->setEnabled(!stale);
      cells_[i][1]->setAccessibleName(words(f.name));
      cells_[i][2]->setText(words(f.pinned));
      cells_[i][3]->setText(words(f.change));
      cells_[i][3]->setAccessibleName(tr("change of %1").arg(words(f.name)));
      tint(cells_[i][3], f.judgement == view::Judgement::better ? "good" : f.judgement == view::Judgement::worse ? "bad" : "dim");
    }
    app::CompareReport report = app::compare(pinned ? pinned->summary : now->summary, now->summary);
    sentence_->setText(pinned ? words(view::change_sentence(report))
                              : tr("Turn a knob: the plan as it is gets pinned, and what changes is told against it."));
    if (pinned && !now->fits)
      sentence_->setText(
          sentence_->text() +
          tr(" It does not fit: %1 of a device's %2.").arg(words(format_bytes(now->capacity - now->headroom)), words(format_bytes(now->capacity))));
    report.a.label = pinned ? tr("pinned").toStdString() : report.a.label;
    report.b.label = tr("now").toStdString();
    waterfall_->show_report(std::move(report));
  }
  if (answer && answer->timeline() && state().settled()) {
    const std::shared_ptr<const Timeline> timeline(answer->explored, answer->timeline());
    indices_.ask([this, timeline, until = pinned ? to_picoseconds(pinned->step_time) : Picoseconds{}]() -> std::function<void()> {
      auto index = std::make_shared<const view::SpanIndex>(timeline);
      return [this, index, until] { strip_->show_index(index, until); };
    });
  }
  // Stops are looked for once the numbers are there, so as not to compete with them.
  if (answer && answer->inputs && state().settled()) find_knobs();
}

void WhatIfPage::find_knobs() {
  const std::shared_ptr<const Answer> answer = state().answer();
  if (knobs_.empty()) show_knobs(view::knobs(answer->question, *answer->inputs));
  legal_.ask([this, answer](const std::atomic<bool>* cancel) -> std::function<void()> {
    std::vector<view::Knob> knobs = view::knobs(answer->question, *answer->inputs);
    for (view::Knob& knob : knobs) knob = view::with_stops(std::move(knob), answer->question, *answer->inputs, cancel);
    return [this, answer, knobs = std::move(knobs)] {
      if (state().question() == answer->question) show_knobs(knobs);
    };
  });
}

void WhatIfPage::show_knobs(const std::vector<view::Knob>& knobs) {
  std::vector<std::string> order;
  order.reserve(knobs.size());
  for (const view::Knob& knob : knobs) order.push_back(knob.path);
  if (order != order_) {
    while (QLayoutItem* item = column_->takeAt(0)) {
      if (item->widget()) item->widget()->deleteLater();
      delete item;
    }
    knobs_.clear();
    order_ = order;
    std::string group;
    for (const view::Knob& knob : knobs) {
      if (knob.group != group) {
        group = knob.group;
        auto* head = new QLabel(group == "Plan" ? tr("Plan") : tr("Machine, times what it has"));
        head->setObjectName("section");
        head->setContentsMargins(0, knobs_.empty() ? 0 : 10, 0, 2);
        column_->addWidget(head);
      }
      auto* widget = new KnobWidget(knob);
      knobs_[knob.path] = widget;
      column_->addWidget(widget);
      connect(widget, &KnobWidget::turned, this, [this, widget](int position, quint64 gesture) { turn(widget->knob(), position, gesture); });
      connect(widget, &KnobWidget::reset_wanted, this, [this, widget] { reset(widget->knob()); });
    }
    column_->addStretch(1);
  }
  const auto& pinned = state().pinned();
  for (const view::Knob& knob : knobs) {
    KnobWidget* widget = knobs_.at(knob.path);
    widget->show_knob(knob);
    // A part of the machine can go back to what the cluster has; a part of the plan to what is pinned.
    const bool moved =
        knob.kind == view::KnobKind::factor ? knob.said : pinned && said_of(pinned->question, knob.path) != said_of(state().question(), knob.path);
    widget->show_reset(moved);
  }
}

void WhatIfPage::turn(const view::Knob& knob, int position, quint64 gesture) {
  if (!state().pinned()) state().pin();
  const QString what = QStringLiteral("%1 = %2").arg(words(knob.label), words(view::text_at(knob, position)).simplified());
  state().set(view::settings_at(knob, position), what, gesture);
}

void WhatIfPage::reset(const view::Knob& knob) {
  const auto& pinned = state().pinned();
  if (knob.kind == view::KnobKind::factor || !pinned) return state().set(knob.path, "");
  state().set(knob.path, said_of(pinned->question, knob.path).value_or(""));
}

void WhatIfPage::reset_all() {
  if (state().pinned()) state().ask(state().pinned()->question, tr("back to the pinned plan"));
}

}  // namespace orrery::gui
