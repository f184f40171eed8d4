#include "gui/pages/run_page.h"

#include <fmt/format.h>

#include <QComboBox>
#include <QFileDialog>
#include <QFrame>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QSpinBox>
#include <QSplitter>
#include <QStringList>
#include <algorithm>
#include <cmath>

#include "app/command_line.h"
#include "app/compare.h"
#include "core/error.h"
#include "core/quantity_text.h"
#include "core/timeline_json.h"
#include "executor/data/tokens.h"
#include "gui/charts/curve_chart.h"
#include "gui/charts/waterfall_chart.h"
#include "gui/pages/job_bar.h"
#include "gui/state/view_state.h"
#include "gui/view/differences.h"
#include "gui/view/examples.h"
#include "gui/view/span_index.h"

namespace orrery::gui {
namespace {

QString of(const std::string& text) { return QString::fromStdString(text); }

std::string loss_text(double v) { return fmt::format("{:.3f}", v); }
std::string rate_text(double v) { return format_count(std::round(v)); }
std::int64_t most(const std::vector<std::int64_t>& v) { return v.empty() ? 0 : *std::max_element(v.begin(), v.end()); }

constexpr std::size_t kMostSpans = 100'000;  // indexed within some milliseconds

}  // namespace

RunPage::RunPage(ViewState& state, QWidget* parent) : Page(state, "run", tr("Run"), parent) {
  auto* page = new QVBoxLayout(this);
  page->setContentsMargins(14, 10, 14, 10);
  page->setSpacing(8);
  auto* row = new QHBoxLayout;
  steps_ = new QSpinBox;
  steps_->setRange(1, 1'000'000);
  steps_->setValue(20);
  steps_->setAccessibleName(tr("steps"));
  steps_->setToolTip(tr("Optimizer steps to run"));
  data_ = new QComboBox;
  data_->setEditable(true);
  data_->addItem(QStringLiteral("markov"));
  data_->setInsertPolicy(QComboBox::NoInsert);
  data_->setMinimumContentsLength(18);
  data_->setAccessibleName(tr("data"));
  data_->setToolTip(tr("markov: text made up by a Markov chain, whose entropy is known; or a file, whose bytes are the tokens, or an llm.c .bin"));
  auto* file = new QPushButton(tr("File…"));
  file->setAccessibleName(tr("choose data"));
  const auto dim = [](const QString& text, QWidget* buddy) {
    auto* label = new QLabel(text);
    label->setObjectName("dim");
    label->setBuddy(buddy);
    return label;
  };
  bar_ = new JobBar(job_, tr("Run"));
  bar_->start_button()->setToolTip(tr("Runs the question's plan on this machine's CPU, one thread a rank (Ctrl+Return)"));
  row->addWidget(dim(tr("Steps"), steps_));
  row->addWidget(steps_);
  row->addWidget(dim(tr("on"), data_));
  row->addWidget(data_);
  row->addWidget(file);
  row->addWidget(bar_, 1);
  page->addLayout(row);

  refusal_ = new QFrame;
  refusal_->setObjectName("card");
  auto* refused = new QHBoxLayout(refusal_);
  refused->setContentsMargins(12, 8, 12, 8);
  reason_ = new QLabel;
  reason_->setWordWrap(true);
  reason_->setAccessibleName(tr("why it cannot run"));
  mend_ = new QPushButton(tr("Switch to a tiny model on this CPU"));
  mend_->setToolTip(tr("Asks for cpu-llama-tiny on four ranks of this machine; undo takes it back"));
  refused->addWidget(reason_, 1);
  refused->addWidget(mend_);
  page->addWidget(refusal_);

  auto* figures = new QHBoxLayout;
  figures->setSpacing(8);
  loss_ = make_figure(tr("loss, nats per token"));
  time_ = make_figure(tr("time per step"));
  rate_ = make_figure(tr("tokens per second"));
  memory_ = make_figure(tr("peak memory per rank"));
  for (const Figure& figure : {loss_, time_, rate_, memory_}) figures->addWidget(figure.value->parentWidget(), 1);
  page->addLayout(figures);

  losses_ = new CurveChart("loss", tr("loss (nats per token)"), loss_text, tr("No loss yet"), tr("Run: the curve grows with every step"));
  rates_ =
      new CurveChart("throughput", tr("tokens per second"), rate_text, tr("No steps yet"), tr("Every step's throughput, beside what was predicted"));
  rates_->start_at_zero();
  rates_->set_story([this](double rate) {
    return fmt::format("{} tokens/s{}", rate_text(rate), rate > 0 ? ", " + format_seconds(Seconds{tokens_ / rate}) : std::string());
  });
  losses_->setToolTip(tr("Mean loss of the global batch at each step, in nats per token"));
  rates_->setToolTip(tr("Tokens of the global batch by the time from the end of one step to the end of the next, on the slowest rank"));
  step_chart_ = new StepChart(tr("No step measured yet"), tr("What every rank does, under what was predicted"));
  step_chart_->setToolTip(
      tr("What every rank did in the step, under what was predicted; the thin row is the difference. Click for the whole timeline"));
  waterfall_ = new WaterfallChart(tr("Prediction and run"), tr("Where the step goes, predicted and measured"));
  auto* upper = new QSplitter(Qt::Horizontal);
  upper->addWidget(losses_);
  upper->addWidget(rates_);
  upper->setSizes({550, 550});
  auto* lower = new QWidget;
  auto* column = new QVBoxLayout(lower);
  column->setContentsMargins(0, 6, 0, 0);
  auto* outcome = new QHBoxLayout;
  verdict_ = new QLabel;
  verdict_->setObjectName("section");
  verdict_->setWordWrap(true);
  verdict_->setAccessibleName(tr("verdict"));
  remark_ = new QLabel;
  remark_->setObjectName("dim");
  remark_->setWordWrap(true);
  remark_->setAccessibleName(tr("remark"));
  auto* said = new QVBoxLayout;
  said->setSpacing(0);
  said->addWidget(verdict_);
  said->addWidget(remark_);
  to_timeline_ = new QPushButton(tr("Over the prediction"));
  to_timeline_->setToolTip(tr("Lays the measured timeline over the predicted one"));
  to_compare_ = new QPushButton(tr("Compare in detail"));
  outcome->addLayout(said, 1);
  outcome->addWidget(to_timeline_);
  outcome->addWidget(to_compare_);
  column->addLayout(outcome);
  auto* beside = new QSplitter(Qt::Horizontal);
  beside->addWidget(step_chart_);
  beside->addWidget(waterfall_);
  beside->setSizes({550, 550});
  column->addWidget(beside, 1);
  auto* split = new QSplitter(Qt::Vertical);
  split->addWidget(upper);
  split->addWidget(lower);
  split->setSizes({260, 280});
  for (QSplitter* each : {upper, beside, split}) each->setChildrenCollapsible(false);
  page->addWidget(split, 1);

  connect(bar_, &JobBar::wanted, this, &RunPage::run);
  connect(mend_, &QPushButton::clicked, this, &RunPage::use_tiny);
  connect(file, &QPushButton::clicked, this, [this] {
    auto* dialog = new QFileDialog(this, tr("A text to train on, or an llm.c .bin"));
    dialog->setAttribute(Qt::WA_DeleteOnClose);
    connect(dialog, &QFileDialog::fileSelected, this, [this](const QString& path) { data_->setEditText(path); });
    dialog->open();
  });
  connect(to_timeline_, &QPushButton::clicked, this, [this] { this->state().go_to("timeline"); });
  connect(step_chart_, &StepChart::clicked, this, [this] { this->state().go_to("timeline"); });
  connect(to_compare_, &QPushButton::clicked, this, [this] { this->state().go_to("compare"); });
  connect(&job_, &Job::failed, this, [this](const Error& error) {
    bar_->say(QString::fromUtf8(error.what()), true);
    if (const auto& measured = this->state().measured(); measured && measured->live) {
      Other last = *measured;
      last.live = false;
      last.name = tr("the last step of a run that failed");
      this->state().set_measured(std::move(last));
    }
  });
  connect(&job_, &Job::finished, this, &RunPage::refresh);
  connect(&state, &ViewState::answer_changed, this, &RunPage::refresh);
  connect(&state, &ViewState::run_changed, this, &RunPage::show_run);
  remark_->hide();
  refresh();
  show_run();
}

RunPage::~RunPage() { job_.cancel(); }

RunPage::Figure RunPage::make_figure(const QString& title) {
  auto* card = new QFrame;
  card->setObjectName("card");
  auto* column = new QVBoxLayout(card);
  column->setContentsMargins(12, 6, 12, 6);
  column->setSpacing(0);
  Figure figure{new QLabel(QStringLiteral("–")), new QLabel};
  figure.value->setObjectName("figure");
  figure.value->setAccessibleName(title);
  figure.note->setObjectName("dim");
  auto* name = new QLabel(title);
  name->setObjectName("dim");
  column->addWidget(name);
  column->addWidget(figure.value);
  column->addWidget(figure.note);
  return figure;
}

void RunPage::refresh() {
  const auto& answer = state().answer();
  QString why;
  bool tiny = false;
  if (!answer || !answer->inputs) {
    why = answer && answer->error ? QString::fromUtf8(answer->error->what()) : QString();
  } else if (answer->inputs->cluster.device.kind != DeviceKind::cpu_core) {
    why = tr("The question's cluster, %1, is not this machine: a run here needs CPU ranks, and a model that they can hold.")
              .arg(of(answer->inputs->plan.cluster));
    tiny = true;
  } else if (!answer->refusals.empty()) {
    why = tr("The plan is not legal: %1. Setup says how to mend it.").arg(of(answer->refusals.front().reason));
  }
  reason_->setText(why);
  mend_->setVisible(tiny);
  refusal_->setVisible(!why.isEmpty() && !job_.running());
  bar_->start_button()->setEnabled(why.isEmpty() && answer && answer->inputs);
  if (done_.empty() && !job_.running()) show_expected();
}

void RunPage::show_expected() {
  const auto& answer = state().answer();
  const app::SimulateReport* report = answer && bar_->start_button()->isEnabled() ? answer->report() : nullptr;
  set_predicted(report ? answer->inputs->plan : Plan{}, report);
  StepChart::Step step;
  if (report && answer->timeline() && answer->timeline()->spans.size() <= kMostSpans)
    step.predicted = std::make_shared<const view::SpanIndex>(std::shared_ptr<const Timeline>(answer->explored, answer->timeline()));
  step_chart_->show_step(std::move(step));
}

void RunPage::use_tiny() {
  app::PlanFlags question = view::examples().back().question;  // as `orrery demo` does: something that trains on any machine's CPU
  state().ask(std::move(question), tr("a tiny model on this machine"));
}

void RunPage::run() {
  const auto& answer = state().answer();
  if (job_.running() || state().waiting() || !bar_->start_button()->isEnabled()) return;
  if (!state().settled()) {  // its timeline, with which the steps are compared, is there in a moment
    connect(&state(), &ViewState::answer_changed, this, &RunPage::run, static_cast<Qt::ConnectionType>(Qt::SingleShotConnection));
    return;
  }
  const app::Inputs inputs = *answer->inputs;
  const std::string source = data_->currentText().trimmed().toStdString();
  const std::int64_t steps = steps_->value();
  of_ = steps;
  forget();
  set_predicted(inputs.plan, answer->report());
  verdict_->setText(tr("The newest step that is done, and what was predicted"));
  bar_->say({});
  const std::shared_ptr<const Timeline> timeline(answer->explored, answer->timeline());
  const auto summary = answer->report() ? std::optional(answer->report()->summary) : std::nullopt;
  job_.start([this, inputs, source, steps, timeline, summary](Job::Control& control) {
    control.progress(0, steps, "making the parameters");
    const auto predicted = timeline ? std::make_shared<const view::SpanIndex>(timeline) : nullptr;
    control.post([this, predicted] { of_answer_ = predicted; });
    if (const auto entropy = executor::open_tokens(source, inputs.model.vocab, inputs.plan.batch.sequence, inputs.plan.seed)->entropy_rate())
      control.post([this, rate = *entropy] { losses_->set_levels({{rate, tr("entropy of the source")}}); });
    app::RunSettings settings;
    settings.data = source;
    settings.steps = steps;
    settings.cancel = control.cancel();
    settings.progress = [&](const executor::StepReport& step) {
      control.progress(step.step + 1, steps, fmt::format("step {} of {}", step.step + 1, steps));
      control.post([this, step] { show_step(step); });
    };
    settings.timeline = [&](const std::shared_ptr<const executor::StepTimeline>& step) {
      control.post([this, inputs, shown = live(step, predicted, summary)] { show_live(shown, inputs); });
    };
    const auto report = std::make_shared<const app::RunReport>(app::run(inputs, settings));
    control.post([this, report] { state().set_run(report); });
  });
  bar_->refresh();
  refresh();
}

void RunPage::forget() {
  done_.clear();
  of_answer_ = nullptr;
  laid_ = nullptr;
  for (CurveChart* chart : {losses_, rates_}) {
    chart->clear(of_);
    chart->set_levels({});
  }
  for (const Figure& figure : {loss_, time_, rate_, memory_}) {
    figure.value->setText(QStringLiteral("–"));
    figure.note->clear();
  }
  step_chart_->show_step({});
  waterfall_->show_report(std::nullopt);
  remark_->hide();
  to_timeline_->setEnabled(false);
  to_compare_->setEnabled(false);
}

void RunPage::set_predicted(const Plan& plan, const app::SimulateReport* report) {
  predicted_ = report ? report->step_time.v : 0;
  predicted_peak_ = report ? most(report->summary.peak_memory_by_stage) : 0;
  tokens_ = static_cast<double>(plan.batch.global * plan.batch.sequence);
  rates_->set_levels(predicted_ > 0 ? std::vector<CurveChart::Level>{{tokens_ / predicted_, tr("predicted")}} : std::vector<CurveChart::Level>{});
  time_.note->setText(predicted_ > 0 ? tr("predicted %1").arg(of(format_seconds(Seconds{predicted_}))) : QString());
  rate_.note->setText(predicted_ > 0 ? tr("predicted %1").arg(of(rate_text(tokens_ / predicted_))) : QString());
  memory_.note->setText(predicted_peak_ > 0 ? tr("predicted %1").arg(of(format_bytes(Bytes{predicted_peak_}))) : QString());
}

// On the run's own thread: indices of long steps take a while.
RunPage::Live RunPage::live(std::shared_ptr<const executor::StepTimeline> step, const std::shared_ptr<const view::SpanIndex>& predicted,
                            const std::optional<app::Summary>& summary) {
  Live out;
  out.drawn.predicted = predicted;
  out.drawn.measured = std::make_shared<const view::SpanIndex>(std::shared_ptr<const Timeline>(step, &step->timeline));
  if (predicted) out.drawn.differences = std::make_shared<const view::Differences>(predicted, out.drawn.measured);
  out.drawn.name = tr("step %1").arg(step->step + 1);
  if (summary) {
    app::Summary a = *summary, b = app::summarise(step->timeline, fmt::format("measured, step {}", step->step + 1));
    a.label = "predicted";
    out.compared = app::compare(std::move(a), std::move(b));
  }
  out.step = std::move(step);
  return out;
}

void RunPage::show_live(const Live& live, const app::Inputs& inputs) {
  if (job_.cancelled()) return;  // what was done follows at once
  step_chart_->show_step(live.drawn);
  waterfall_->show_report(live.compared);
  laid_ = state().lay_step(inputs, {live.step, &live.step->timeline}, tr("running: %1").arg(live.drawn.name), laid_);
  to_timeline_->setEnabled(true);
}

void RunPage::show_step(const executor::StepReport& step) {
  done_.push_back(step);
  const auto at = static_cast<double>(step.step + 1);
  losses_->add({at, step.loss});
  rates_->add({at, step.tokens_per_second});
  loss_.value->setText(of(loss_text(step.loss)));
  loss_.note->setText(tr("%1 at the first step").arg(of(loss_text(done_.front().loss))));
  time_.value->setText(of(format_seconds(step.period)));
  rate_.value->setText(of(rate_text(step.tokens_per_second)));
  memory_.value->setText(of(format_bytes(Bytes{step.peak_live})));
}

void RunPage::show_run() {
  const auto& run = state().run();
  if (!run) {
    to_timeline_->setEnabled(false);
    to_compare_->setEnabled(false);
    verdict_->setText(tr("A run measures what the question's answer predicts"));
    return;
  }
  const executor::RunResult& r = run->result;
  if (done_.size() != r.steps.size()) {  // a run that this page has not seen
    of_ = static_cast<std::int64_t>(r.steps.size());
    forget();
    set_predicted(run->inputs.plan, &run->predicted);
    for (const executor::StepReport& step : r.steps) show_step(step);
    if (const auto shown = state().shown(); shown && shown->timeline() && shown->inputs->plan == run->inputs.plan)
      of_answer_ = std::make_shared<const view::SpanIndex>(std::shared_ptr<const Timeline>(shown->explored, shown->timeline()));
    if (run->entropy_rate) losses_->set_levels({{*run->entropy_rate, tr("entropy of the source")}});
  }
  to_timeline_->setEnabled(!r.timeline.spans.empty());
  to_compare_->setEnabled(!r.steps.empty());
  if (r.steps.empty()) {
    waterfall_->show_report(std::nullopt);
    verdict_->setText(tr("Stopped before its first step was done."));
    bar_->say(tr("stopped"));
    return;
  }
  const double measured = r.step_time.v, predicted = run->predicted.step_time.v;
  time_.value->setText(of(format_seconds(r.step_time)));
  time_.note->setText(tr("median; predicted %1 (%2)")
                          .arg(of(format_seconds(Seconds{predicted})),
                               measured > 0 ? of(fmt::format("{:+.1f} %", 100 * (predicted - measured) / measured)) : QString("–")));
  if (measured > 0) rate_.value->setText(of(rate_text(tokens_ / measured)));
  rate_.note->setText(run->noise > 0 ? tr("steps vary by ± %1").arg(of(format_percent(run->noise))) : QString());
  const std::int64_t peak = most(run->measured.peak_memory_by_stage), expected = most(run->predicted.summary.peak_memory_by_stage);
  memory_.value->setText(of(format_bytes(Bytes{peak})));
  memory_.note->setText(peak == expected ? tr("as predicted, to the byte") : tr("predicted %1").arg(of(format_bytes(Bytes{expected}))));
  app::Summary a = run->predicted.summary, b = run->measured;
  a.label = "predicted";
  b.label = fmt::format("measured, step {}", r.timeline_step + 1);
  waterfall_->show_report(app::compare(std::move(a), std::move(b)));
  StepChart::Step step;
  if (!r.timeline.spans.empty()) {
    step.measured = std::make_shared<const view::SpanIndex>(std::shared_ptr<const Timeline>(run, &r.timeline));
    step.predicted = of_answer_;
    if (of_answer_) step.differences = std::make_shared<const view::Differences>(of_answer_, step.measured);
    step.name = tr("step %1").arg(r.timeline_step + 1);
  }
  step_chart_->show_step({});  // with a scale of its own
  step_chart_->show_step(std::move(step));
  QString verdict =
      r.cancelled
          ? tr("Stopped after %1 of %2 steps.").arg(r.steps.size()).arg(std::max<std::int64_t>(of_, static_cast<std::int64_t>(r.steps.size())))
          : tr("%1 steps of %2.").arg(r.steps.size()).arg(of(run->predicted.label));
  QStringList remarks;
  if (r.emulated) remarks << tr("Low precision was computed in fp32 and rounded: the times say nothing.");
  if (!run->inputs.profile) remarks << tr("Without a profile of this machine the prediction is by its data sheet; “orrery profile” measures one.");
  verdict_->setText(verdict);
  remark_->setText(remarks.join(' '));
  remark_->setVisible(!remarks.isEmpty());
  bar_->say(r.cancelled          ? tr("stopped; what was done is kept")
            : job_.seconds() > 0 ? tr("done in %1").arg(of(format_seconds(Seconds{job_.seconds()})))
                                 : QString());
}

QList<const Chart*> RunPage::charts() const { return {losses_, rates_, step_chart_, waterfall_}; }

std::optional<QString> RunPage::csv() const {
  if (done_.empty()) return std::nullopt;
  QString out = "step,loss,gradient_norm,period_s,tokens_per_s,peak_live_bytes\r\n";
  for (const executor::StepReport& s : done_)
    out +=
        of(fmt::format("{},{:.9g},{:.9g},{:.9g},{:.9g},{}\r\n", s.step + 1, s.loss, s.gradient_norm, s.period.v, s.tokens_per_second, s.peak_live));
  return out;
}

QString RunPage::command() const {
  return of(app::command_line(state().question(), "run",
                              {"--data", data_->currentText().trimmed().toStdString(), "--steps", std::to_string(steps_->value())}));
}

std::optional<QString> RunPage::running() const {
  if (!job_.running()) return std::nullopt;
  return tr("a run, step %1 of %2").arg(done_.size()).arg(of_);
}

void RunPage::stop() { job_.cancel(); }

bool RunPage::settled() const { return !job_.running(); }

std::vector<Page::Result> RunPage::results() const {
  const auto& run = state().run();
  if (!run) return {};
  std::vector<Result> out{{"run.json", app::to_json(*run)}};
  if (!run->result.timeline.spans.empty()) out.push_back({"trace.json", write_chrome_trace(run->result.timeline), true});
  return out;
}

}  // namespace orrery::gui
