// A grid of what-ifs as a map: the fields to vary, the run, and two of them against a figure.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/sweep.h"
#include "gui/page.h"
#include "gui/state/job.h"

class QComboBox;
class QLabel;
class QLineEdit;
class QPushButton;
class QToolButton;

namespace orrery::gui {

class HeatChart;
class JobBar;
struct Answer;

class SweepsPage : public Page {
  Q_OBJECT

 public:
  explicit SweepsPage(ViewState& state, QWidget* parent = nullptr);
  ~SweepsPage() override;

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;
  QString command() const override;
  std::optional<QString> running() const override;
  void stop() override;
  bool settled() const override;
  std::vector<Result> results() const override;
  QString action() const override { return tr("Sweep"); }
  void act() override { sweep(); }

  // Starts a sweep of the fields from the question.
  void sweep();
  // The table that `orrery sweep` printed (CSV or JSON), or a sweep to run.
  void open(const QString& file);

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  struct AxisEdit {
    QComboBox* path = nullptr;
    QLineEdit* values = nullptr;
    QToolButton* suggest = nullptr;
    std::string tried;   // the field that values were last looked for
    bool waits = false;  // values were asked for while others were looked for
  };
  AxisEdit make_axis(int number, const QString& path);
  std::vector<app::SweepAxis> axes() const;  // throws Error
  void fill_if_seen();
  void fill_paths();  // and first values
  void suggest(int axis, bool replace);
  void show_report();
  void show_map();
  void show_cell();
  void use(std::size_t cell);

  std::vector<AxisEdit> axes_;
  JobBar* bar_;
  QPushButton* open_;
  QComboBox *x_, *y_, *figure_;
  HeatChart* chart_;
  QLabel *cell_, *why_;
  QPushButton* use_;
  app::PlanFlags base_;  // what the sweep on show was made from; nothing of a file's table
  bool own_ = false;
  QString file_;
  bool wanted_ = false;  // a sweep, once its axes have the values that are being looked for
  Job sweeping_, suggesting_;
  std::shared_ptr<const Answer> filled_;  // that the fields are of
};

}  // namespace orrery::gui
