// What is simulated: model, cluster and plan, and every field of them.
#pragma once

#include <memory>
#include <vector>

#include "app/fields.h"
#include "app/mend.h"
#include "gui/page.h"
#include "gui/state/latest.h"

class QCheckBox;
class QComboBox;
class QFrame;
class QGridLayout;
class QLabel;
class QLineEdit;
class QTabBar;
class QToolButton;
class QVBoxLayout;

namespace orrery::gui {

struct Answer;
class CatalogModel;
class ElidedLabel;
class FieldList;
class FieldRow;
class ProblemsCard;
class ScheduleChart;

class SetupPage : public Page {
  Q_OBJECT

 public:
  explicit SetupPage(ViewState& state, QWidget* parent = nullptr);

  QList<const Chart*> charts() const override;
  std::optional<QString> csv() const override;  // every field: path, value, default, what it is
  bool settled() const override;

  FieldList& fields() { return *list_; }
  ProblemsCard& problems() { return *problems_; }

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  QFrame* make_documents();
  QFrame* make_help();
  void refresh();
  void show_problems();
  void watch(FieldRow* row);
  void edit(FieldRow* row, const QString& text);
  void check(FieldRow* row, const QString& text);
  void reset(const FieldRow* row);
  void explain(FieldRow* row);
  void show_help(const FieldRow& row, const std::vector<app::LegalValue>* legal);
  void choose_model(const QString& name);
  void choose_cluster(const QString& name, const QString& devices);
  void show_document(app::DocumentKind document);
  void update_filter();

  QComboBox *model_ = nullptr, *cluster_ = nullptr;
  QLineEdit *devices_ = nullptr, *find_ = nullptr;
  ElidedLabel *model_facts_ = nullptr, *cluster_facts_ = nullptr, *plan_file_ = nullptr, *profile_ = nullptr;
  QLabel* document_problem_ = nullptr;
  QToolButton* no_profile_ = nullptr;
  CatalogModel *models_ = nullptr, *clusters_ = nullptr;
  QCheckBox* only_changed_ = nullptr;
  QTabBar* tabs_ = nullptr;
  ProblemsCard* problems_ = nullptr;
  FieldList* list_ = nullptr;
  ScheduleChart* schedule_ = nullptr;
  QLabel *help_title_ = nullptr, *help_text_ = nullptr, *help_more_ = nullptr;
  QWidget* chips_ = nullptr;
  FieldRow* looked_at_ = nullptr;
  Latest legal_, pictures_;
  std::shared_ptr<const Answer> shown_;
  bool wanted_ = false;  // shown at least once: the lists are filled then
};

}  // namespace orrery::gui
