// The question's plan run for real on this machine's CPU: its loss as it falls, its throughput, and the newest step beside what was predicted.
#pragma once

#include <memory>
#include <optional>

#include "app/run.h"
#include "gui/charts/step_chart.h"
#include "gui/page.h"
#include "gui/state/job.h"

class QComboBox;
class QFrame;
class QLabel;
class QPushButton;
class QSpinBox;

namespace orrery::gui {

class CurveChart;
class JobBar;
class WaterfallChart;

class RunPage : public Page {
  Q_OBJECT

 public:
  explicit RunPage(ViewState& state, QWidget* parent = nullptr);
  ~RunPage() override;

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;
  QString command() const override;
  std::optional<QString> running() const override;
  void stop() override;
  bool settled() const override;
  std::vector<Result> results() const override;
  QString action() const override { return tr("Run"); }
  void act() override { run(); }

  void run();

 private:
  struct Figure {
    QLabel *value, *note;
  };
  Figure make_figure(const QString& title);
  void refresh();  // whether the question can be run here, and the way out where it cannot
  void use_tiny();
  void forget();         // what an earlier run left on the page
  void show_expected();  // before the first: what the answer predicts
  void show_step(const executor::StepReport& step);
  // A step of the run that goes on, beside its prediction.
  struct Live {
    std::shared_ptr<const executor::StepTimeline> step;
    StepChart::Step drawn;
    std::optional<app::CompareReport> compared;
  };
  static Live live(std::shared_ptr<const executor::StepTimeline> step, const std::shared_ptr<const view::SpanIndex>& predicted,
                   const std::optional<app::Summary>& summary);
  void show_live(const Live& live, const app::Inputs& inputs);
  void show_run();
  void set_predicted(const Plan& plan, const app::SimulateReport* report);

  QSpinBox* steps_;
  QComboBox* data_;
  JobBar* bar_;
  QFrame* refusal_;
  QLabel* reason_;
  QPushButton *mend_, *to_timeline_, *to_compare_;
  Figure loss_, time_, rate_, memory_;
  CurveChart *losses_, *rates_;
  StepChart* step_chart_;
  WaterfallChart* waterfall_;
  QLabel *verdict_, *remark_;
  std::vector<executor::StepReport> done_;
  std::int64_t of_ = 0;
  double predicted_ = 0, tokens_ = 0;                 // of a step: its seconds, as predicted, and its tokens
  std::int64_t predicted_peak_ = 0;                   // bytes
  std::shared_ptr<const view::SpanIndex> of_answer_;  // the predicted timeline's, of the run on the page
  std::shared_ptr<const Timeline> laid_;              // over the prediction, last
  Job job_;
};

}  // namespace orrery::gui
