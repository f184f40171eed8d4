#include "gui/pages/field_list.h"

#include <fmt/format.h>

#include <QHBoxLayout>
#include <QLabel>
#include <QPointer>
#include <QScrollBar>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "gui/pages/elided_label.h"
#include "gui/view/edit.h"

namespace orrery::gui {
namespace {

// Unfolded at first: what is changed most.
const std::set<std::string> kOpen{"Batch", "Parallelism", "Pipeline", "Sharding", "Recomputation", "Cluster", "Model"};

QString words(const std::string& text) { return QString::fromStdString(text); }

}  // namespace

FieldList::FieldList(QWidget* parent) : QScrollArea(parent) {
  setWidgetResizable(true);
  setFrameShape(QFrame::NoFrame);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setFocusPolicy(Qt::NoFocus);
  setAccessibleName(tr("Fields"));
  auto* content = new QWidget;
  column_ = new QVBoxLayout(content);
  column_->setContentsMargins(0, 0, 8, 8);
  column_->setSpacing(2);
  auto* nothing = new QLabel(tr("No field is called so. Try a word of what it does: \"bucket\", \"latency\", \"memory\"."));
  nothing->setObjectName("dim");
  nothing->setWordWrap(true);
  nothing->setVisible(false);
  nothing_ = nothing;
  column_->addWidget(nothing_);
  column_->addStretch(1);
  setWidget(content);
}

std::string FieldList::key(const app::EditableField& field) { return fmt::format("{}/{}", static_cast<int>(field.document), field.group); }

void FieldList::show_fields(std::vector<app::EditableField> fields, const std::function<bool(const std::string&)>& says) {
  const bool same =
      std::equal(fields.begin(), fields.end(), fields_.begin(), fields_.end(), [](const app::EditableField& a, const app::EditableField& b) {
        return a.field.path == b.field.path && a.field.kind == b.field.kind && a.group == b.group && a.field.nullable == b.field.nullable;
      });
  fields_ = std::move(fields);
  said_.clear();
  for (const app::EditableField& f : fields_)
    if (says(f.field.path)) said_.insert(f.field.path);
  if (!same) rebuild();
  for (const app::EditableField& f : fields_)
    if (const auto row = rows_.find(f.field.path); row != rows_.end()) row->second->show_field(f, said_.count(f.field.path) > 0);
  lay_out();
}

void FieldList::rebuild() {
  for (auto& [name, group] : groups_) group.whole->deleteLater();
  groups_.clear();
  order_.clear();
  rows_.clear();
  for (const app::EditableField& f : fields_) group_of(f);
}

FieldList::Group& FieldList::group_of(const app::EditableField& field) {
  const std::string name = key(field);
  if (const auto found = groups_.find(name); found != groups_.end()) return found->second;
  Group group;
  group.document = field.document;
  group.whole = new QWidget;
  auto* column = new QVBoxLayout(group.whole);
  column->setContentsMargins(0, 4, 0, 0);
  column->setSpacing(0);
  auto* line = new QHBoxLayout;
  line->setSpacing(10);
  group.head = new QToolButton;
  group.head->setText(words(field.group));
  group.head->setAutoRaise(true);
  group.head->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  QFont strong = group.head->font();
  strong.setWeight(QFont::DemiBold);
  group.head->setFont(strong);
  group.head->setAccessibleName(tr("Group %1").arg(words(field.group)));
  if (kOpen.count(field.group) == 0) folded_.insert(name);
  connect(group.head, &QToolButton::clicked, this, [this, name] {
    if (folded_.erase(name) == 0) folded_.insert(name);
    lay_out();
  });
  group.summary = new ElidedLabel;
  group.summary->setObjectName("dim");
  line->addWidget(group.head);
  line->addWidget(group.summary, 1);
  column->addLayout(line);
  group.body = new QWidget;
  group.rows = new QVBoxLayout(group.body);
  group.rows->setContentsMargins(22, 0, 0, 6);
  group.rows->setSpacing(0);
  column->addWidget(group.body);
  column_->insertWidget(column_->count() - 1, group.whole);
  order_.push_back(name);
  return groups_.emplace(name, group).first->second;
}

void FieldList::fill(Group& group, const std::string& name) {
  if (group.rows->count() > 0) return;
  for (const app::EditableField& f : fields_) {
    if (key(f) != name) continue;
    auto* row = new FieldRow(f);
    row->show_field(f, said_.count(f.field.path) > 0);
    group.rows->addWidget(row);
    rows_[f.field.path] = row;
    Q_EMIT row_made(row);
  }
}

void FieldList::lay_out() {
  const bool filtered = !filter_.empty() || only_changed_;
  std::map<std::string, int> shown;
  std::map<std::string, std::string> summaries;
  std::map<std::string, bool> wanted;  // by path
  for (const app::EditableField& f : fields_) {
    const bool changed = f.differs() || said_.count(f.field.path) > 0;
    const bool fits = (filter_.empty() || app::matches(f, filter_)) && (!only_changed_ || changed) && (filtered || f.document == document_);
    wanted[f.field.path] = fits;
    if (fits) ++shown[key(f)];
    if (f.differs()) {
      std::string& text = summaries[key(f)];
      text += fmt::format("{}{} {}", text.empty() ? "" : ",  ", f.label, view::shown_text(f.field).empty() ? "null" : view::shown_text(f.field));
    }
  }
  bool any = false;
  for (const std::string& name : order_) {
    Group& group = groups_.at(name);
    const bool visible = shown[name] > 0, open = visible && (filtered || folded_.count(name) == 0);
    if (open) fill(group, name);
    group.head->setArrowType(open ? Qt::DownArrow : Qt::RightArrow);
    group.head->setAccessibleDescription(open ? tr("unfolded") : tr("folded"));
    group.summary->setText(open ? QString() : words(summaries[name]));
    group.body->setVisible(open);
    group.whole->setVisible(visible);
    any = any || visible;
  }
  for (const auto& [path, row] : rows_) row->setVisible(wanted[path]);
  nothing_->setVisible(!any && !fields_.empty());
}

void FieldList::show_document(app::DocumentKind document) {
  document_ = document;
  lay_out();
  verticalScrollBar()->setValue(0);
}

void FieldList::filter(const QString& text, bool only_changed) {
  filter_ = text.trimmed().toStdString();
  only_changed_ = only_changed;
  lay_out();
}

int FieldList::matches(app::DocumentKind document) const {
  return static_cast<int>(std::count_if(fields_.begin(), fields_.end(), [&](const app::EditableField& f) {
    return f.document == document && (filter_.empty() || app::matches(f, filter_)) &&
           (!only_changed_ || f.differs() || said_.count(f.field.path) > 0);
  }));
}

FieldRow* FieldList::row(const std::string& path) {
  const app::EditableField* field = app::find_field(fields_, path);
  if (field == nullptr) {
    const auto inside =
        std::find_if(fields_.begin(), fields_.end(), [&](const app::EditableField& f) { return f.field.path.starts_with(path + "."); });
    if (path.empty() || inside == fields_.end()) return nullptr;
    field = &*inside;
  }
  fill(groups_.at(key(*field)), key(*field));
  return rows_.at(field->field.path);
}

bool FieldList::go_to(const std::string& path) {
  FieldRow* wanted = row(path);
  if (wanted == nullptr) return false;
  document_ = wanted->field().document;
  folded_.erase(key(wanted->field()));
  lay_out();
  wanted->focus_editor();
  QTimer::singleShot(0, this, [this, guarded = QPointer<FieldRow>(wanted)] {
    if (guarded) ensureWidgetVisible(guarded, 0, 80);
  });  // once there is a layout
  return true;
}

void FieldList::forget_refusals() {
  for (const auto& [path, row] : rows_) row->forget_refusal();
}

void FieldList::clear_problems() {
  for (const auto& [path, row] : rows_)
    if (!row->refused()) row->show_problem({});
}

}  // namespace orrery::gui
