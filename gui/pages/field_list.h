// All fields of the question in groups that fold, with a filter.
#pragma once

#include <QScrollArea>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "app/fields.h"
#include "gui/pages/field_row.h"

class QToolButton;
class QVBoxLayout;

namespace orrery::gui {

class ElidedLabel;

class FieldList : public QScrollArea {
  Q_OBJECT

 public:
  explicit FieldList(QWidget* parent = nullptr);

  // `says`: whether the question says something about a path.
  void show_fields(std::vector<app::EditableField> fields, const std::function<bool(const std::string&)>& says);
  // Of which document, while there is no filter; all documents' fields are searched.
  void show_document(app::DocumentKind document);
  app::DocumentKind document() const { return document_; }
  void filter(const QString& text, bool only_changed);
  // Of the filter, by document.
  int matches(app::DocumentKind document) const;

  // The row of a path ("segments[0].devices" too), made if it was not there; of a group ("parallel") its first. Null: there is none.
  FieldRow* row(const std::string& path);
  // Unfolds the group, scrolls there and gives it the keyboard.
  bool go_to(const std::string& path);
  void clear_problems();   // but those of refused edits
  void forget_refusals();  // what was refused goes with the next answer

 Q_SIGNALS:
  void row_made(orrery::gui::FieldRow* row);

 private:
  struct Group {
    QWidget* whole = nullptr;
    QToolButton* head = nullptr;
    ElidedLabel* summary = nullptr;
    QWidget* body = nullptr;
    QVBoxLayout* rows = nullptr;
    app::DocumentKind document = app::DocumentKind::plan;
  };
  void rebuild();
  void fill(Group& group, const std::string& title);
  void lay_out();
  Group& group_of(const app::EditableField& field);
  static std::string key(const app::EditableField& field);

  std::vector<app::EditableField> fields_;
  std::set<std::string> said_, folded_;
  QVBoxLayout* column_;
  QWidget* nothing_;
  std::map<std::string, Group> groups_;  // by document and title
  std::vector<std::string> order_;
  std::map<std::string, FieldRow*> rows_;
  app::DocumentKind document_ = app::DocumentKind::plan;
  std::string filter_;
  bool only_changed_ = false;
};

}  // namespace orrery::gui
