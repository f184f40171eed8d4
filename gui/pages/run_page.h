// The question's plan run for real on this machine's CPU: its loss as it falls, its steps, and the prediction beside the measurement.
#pragma once

#include <memory>
#include <optional>

#include "app/run.h"
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
  void show_step(const executor::StepReport& step);
  void show_run();

  QSpinBox* steps_;
  QComboBox* data_;
  JobBar* bar_;
  QFrame* refusal_;
  QLabel* reason_;
  QPushButton *mend_, *to_timeline_, *to_compare_;
  Figure loss_, time_, rate_, memory_;
  CurveChart *losses_, *times_;
  WaterfallChart* waterfall_;
  QLabel* verdict_;
  std::vector<executor::StepReport> done_;
  std::int64_t of_ = 0;
  double predicted_ = 0;
  Job job_;
};

}  // namespace orrery::gui
