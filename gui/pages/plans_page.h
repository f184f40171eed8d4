// A search for plans: what it may vary, what it found as a table and as points, and what it refused.
#pragma once

#include <memory>
#include <vector>

#include "app/plan.h"
#include "gui/page.h"
#include "gui/state/job.h"

class QAction;
class QComboBox;
class QLabel;
class QLineEdit;
class QPushButton;
class QSpinBox;
class QStackedWidget;
class QTableView;
class QTreeView;

namespace orrery::gui {

class JobBar;
class PlanFilter;
class PlanTable;
class RefusedTree;
class ScatterChart;

class PlansPage : public Page {
  Q_OBJECT

 public:
  explicit PlansPage(ViewState& state, QWidget* parent = nullptr);
  ~PlansPage() override;

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;
  QString command() const override;
  std::optional<QString> running() const override;
  void stop() override;
  bool settled() const override;
  std::vector<Result> results() const override;
  void keep(QSettings& settings) const override;  // the columns that were chosen, too
  void arrange(const QSettings& settings) override;
  QString action() const override { return tr("Search"); }
  void act() override { search(); }

  // Starts a search of what the fields allow, from the question.
  void search();

 private:
  planner::Space space() const;  // throws Error at the field
  void propose();                // what the question's plan has, into fields that nobody has touched
  void show_report();
  void fit_columns();
  void show_points();
  void show_selection();
  std::vector<int> selected() const;  // rows of the model, in the order of the table
  void use_selected();
  void compare_selected();

  std::vector<std::pair<const char*, QLineEdit*>> fields_;  // by the name of the axis
  QSpinBox* keep_;
  JobBar* bar_;
  QLabel* about_;
  PlanTable* table_;
  PlanFilter* filter_;
  RefusedTree* refused_;
  QTableView* view_;
  QTreeView* tree_;
  QStackedWidget* stack_;
  QLabel* nothing_;
  QLineEdit* filter_text_;
  QPushButton *use_, *compare_;
  QComboBox *x_, *y_;
  ScatterChart* scatter_;
  std::vector<QAction*> columns_;
  std::vector<bool> chosen_columns_;  // touched by the user
  app::PlanFlags asked_;              // what the last search began with
  Plan asked_plan_;                   // of that
  Job searching_, comparing_;
};

}  // namespace orrery::gui
