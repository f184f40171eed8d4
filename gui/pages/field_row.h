// One field of the question: its name, an editor, what it is, and what is wrong with it.
#pragma once

#include <QWidget>
#include <vector>

#include "app/fields.h"
#include "app/mend.h"

class QComboBox;
class QHBoxLayout;
class QLabel;
class QLineEdit;
class QToolButton;

namespace orrery::gui {

class ElidedLabel;

class FieldRow : public QWidget {
  Q_OBJECT

 public:
  explicit FieldRow(const app::EditableField& field, QWidget* parent = nullptr);

  const app::EditableField& field() const { return field_; }
  // Another value of the same field. `said`: the question says something about it, which can be taken back.
  void show_field(const app::EditableField& field, bool said);
  // What is wrong with it, with a button for each way out; an empty text: nothing.
  void show_problem(const QString& text, const std::vector<app::Mend>& mends = {});
  QString problem() const;
  // What was committed cannot be: it stays with what is wrong with it through answers, until it is edited or the refusal is forgotten.
  void refuse(const QString& text, const std::vector<app::Mend>& mends);
  bool refused() const { return refused_; }
  void forget_refusal() { refused_ = false; }
  // Values that are legal given all others: the others are pale, and arrow keys step from one to the next.
  void show_legal(const std::vector<app::LegalValue>& legal);
  const std::vector<std::string>& legal() const { return legal_; }
  void focus_editor();
  QWidget* editor() const;

 Q_SIGNALS:
  void typing(const QString& text);     // not meant yet
  void committed(const QString& text);  // Enter, or a choice made
  void reset_wanted();
  void mend_wanted(const QStringList& settings);
  void focused();

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void commit();
  void fill_combo();

  app::EditableField field_;
  std::vector<std::string> legal_;
  QLabel* name_;
  QLineEdit* line_ = nullptr;
  QComboBox* combo_ = nullptr;
  QToolButton* reset_;
  ElidedLabel* about_;
  QWidget* problem_box_ = nullptr;
  QLabel* problem_ = nullptr;
  QHBoxLayout* mends_ = nullptr;
  bool refused_ = false;
};

}  // namespace orrery::gui
