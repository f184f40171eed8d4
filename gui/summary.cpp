#include "gui/summary.h"

#include <fmt/format.h>

#include <QHBoxLayout>
#include <QLabel>
#include <QStyle>
#include <QVBoxLayout>

#include "core/quantity_text.h"
#include "gui/pages/elided_label.h"
#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

QString words(const std::string& text) { return QString::fromStdString(text); }

// A label's object name chooses its colour in the style sheet.
void tint(QLabel* label, const char* name) {
  if (label->objectName() == name) return;
  label->setObjectName(name);
  label->style()->unpolish(label);
  label->style()->polish(label);
}

// "-12.3 %" beside a pinned answer.
QString against(double now, double pinned) {
  return pinned > 0 && now != pinned ? words(fmt::format("  {:+.1f} %", 100 * (now / pinned - 1))) : QString();
}

}  // namespace

Summary::Figure Summary::make(const QString& name, const QString& tip) {
  Figure figure{new QLabel, new QLabel(name)};
  figure.value->setObjectName("figure");
  figure.name->setObjectName("dim");
  figure.value->setAccessibleName(name);
  figure.value->setToolTip(tip);
  figure.name->setToolTip(tip);
  auto* column = new QVBoxLayout;
  column->setSpacing(0);
  column->addWidget(figure.value, 0, Qt::AlignRight);
  column->addWidget(figure.name, 0, Qt::AlignRight);
  static_cast<QHBoxLayout*>(layout())->addLayout(column);
  return figure;
}

Summary::Summary(ViewState& state, QWidget* parent) : QFrame(parent), state_(state), what_(new ElidedLabel), how_(new ElidedLabel) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(16, 8, 16, 8);
  row->setSpacing(28);
  what_->setObjectName("title");
  how_->setObjectName("dim");
  for (QLabel* label : {what_, how_}) {
    label->setTextInteractionFlags(Qt::TextSelectableByMouse);
    label->setSizePolicy(QSizePolicy::Ignored, QSizePolicy::Preferred);
  }
  auto* column = new QVBoxLayout;
  column->setSpacing(0);
  column->addWidget(what_);
  column->addWidget(how_);
  row->addLayout(column, 1);
  step_ = make(tr("step time"), tr("Time of one training step, in the steady state"));
  rate_ = make(tr("tokens/s per device"), tr("Tokens that each device trains on in a second"));
  mfu_ = make(tr("MFU"), tr("Model FLOPs utilisation: the model's own FLOPs (causal attention counted half) over the peak of the devices"));
  memory_ = make(tr("memory"), tr("Peak of the fullest pipeline stage, and what a device has"));
  connect(&state, &ViewState::answer_changed, this, &Summary::refresh);
  connect(&state, &ViewState::question_changed, this, &Summary::refresh);
  connect(&state, &ViewState::pin_changed, this, &Summary::refresh);
  refresh();
}

void Summary::refresh() {
  const auto& answer = state_.answer();
  const auto& good = state_.last_good();
  const bool stale = state_.waiting() || (answer && !answer->explored);
  const app::SimulateReport* report = good ? good->report() : nullptr;
  if (answer && answer->inputs) {
    what_->setText(words(answer->inputs->model.name) + QStringLiteral(" on ") + words(answer->inputs->plan.cluster));
  } else {
    what_->setText(words(state_.question().plan.empty() ? state_.question().model : state_.question().plan));
  }
  if (answer && !answer->refusals.empty()) {
    const program::Refusal& first = answer->refusals.front();
    how_->setText(tr("illegal: %1").arg(words(first.reason)));
    tint(how_, "bad");
  } else if (answer && answer->error) {
    how_->setText(words(answer->error->what()).section('\n', 0, 0));
    tint(how_, "bad");
  } else {
    how_->setText(report ? words(report->label) : QString());
    tint(how_, "dim");
  }
  how_->setToolTip(how_->text());
  const app::SimulateReport* pinned = state_.pinned() ? state_.pinned()->report() : nullptr;
  const auto show = [&](Figure& figure, const QString& value, const char* good_or_bad = "figure") {
    figure.value->setText(report ? value : QStringLiteral("\u2013"));
    figure.value->setEnabled(!stale);
    tint(figure.value, good_or_bad);
  };
  if (!report) {
    for (Figure* figure : {&step_, &rate_, &mfu_, &memory_}) show(*figure, {});
    return;
  }
  show(step_, words(format_seconds(report->step_time)) + (pinned ? against(report->step_time.v, pinned->step_time.v) : QString()));
  show(rate_, words(fmt::format("{:.0f}", report->tokens_per_s_per_gpu)) +
                  (pinned ? against(report->tokens_per_s_per_gpu, pinned->tokens_per_s_per_gpu) : QString()));
  show(mfu_, words(format_percent(report->mfu)));
  show(memory_, words(format_bytes(report->capacity - report->headroom)));
  memory_.name->setText(report->fits ? tr("of %1 memory").arg(words(format_bytes(report->capacity)))
                                     : tr("memory: over %1").arg(words(format_bytes(report->capacity))));
  tint(memory_.name, report->fits ? "dim" : "bad");
}

}  // namespace orrery::gui
