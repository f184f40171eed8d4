#include "gui/pages/field_row.h"

#include <QComboBox>
#include <QEvent>
#include <QGridLayout>
#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QSignalBlocker>
#include <QStandardItemModel>
#include <QStyle>
#include <QToolButton>
#include <algorithm>

#include "gui/pages/elided_label.h"
#include "gui/theme.h"
#include "gui/view/edit.h"

namespace orrery::gui {
namespace {

constexpr int kNameWidth = 144, kEditorWidth = 168;

QString words(const std::string& text) { return QString::fromStdString(text); }

QString null_words(const Field& field) {
  return field.null_means.empty() ? QObject::tr("not set") : QObject::tr("null: %1").arg(words(field.null_means));
}

bool is_chosen(const Field& field) { return field.kind == FieldKind::yes_no || field.kind == FieldKind::choice; }

void tint(QLabel* label, const char* name) {
  if (label->objectName() == name) return;
  label->setObjectName(name);
  label->style()->unpolish(label);
  label->style()->polish(label);
}

}  // namespace

FieldRow::FieldRow(const app::EditableField& field, QWidget* parent)
    : QWidget(parent),
      field_(field),
      name_(new QLabel(words(field.label))),
      reset_(new QToolButton),
      about_(new ElidedLabel(words(field.field.about))) {
  const Field& f = field_.field;
  setObjectName(words(f.path));
  auto* grid = new QGridLayout(this);
  grid->setContentsMargins(0, 1, 0, 1);
  grid->setHorizontalSpacing(8);
  grid->setVerticalSpacing(2);
  name_->setFixedWidth(kNameWidth);
  name_->setToolTip(words(f.path));
  grid->addWidget(name_, 0, 0);
  if (is_chosen(f)) {
    combo_ = new QComboBox;
    combo_->setFocusPolicy(Qt::StrongFocus);  // a wheel over the list must not change what it passes
    combo_->installEventFilter(this);
    fill_combo();
    connect(combo_, &QComboBox::activated, this, &FieldRow::commit);
  } else {
    line_ = new QLineEdit;
    line_->installEventFilter(this);
    line_->setPlaceholderText(f.nullable ? null_words(f) : QString());
    connect(line_, &QLineEdit::textEdited, this, &FieldRow::typing);
    connect(line_, &QLineEdit::editingFinished, this, &FieldRow::commit);
  }
  QWidget* editor = this->editor();
  editor->setFixedWidth(kEditorWidth);
  editor->setAccessibleName(words(f.path));
  QString tip = words(f.about.empty() ? f.path : f.path + ": " + f.about);
  if (!f.units.empty()) {
    QStringList units;
    for (const std::string& unit : f.units) units << words(unit);
    tip += tr("\nunits: %1").arg(units.join(", "));
  }
  editor->setToolTip(tip);
  editor->setAccessibleDescription(tip);
  name_->setBuddy(editor);
  grid->addWidget(editor, 0, 1);
  reset_->setText(QStringLiteral("\u21ba"));
  reset_->setAutoRaise(true);
  reset_->setAccessibleName(tr("Reset %1").arg(words(f.path)));
  QSizePolicy keeps = reset_->sizePolicy();
  keeps.setRetainSizeWhenHidden(true);
  reset_->setSizePolicy(keeps);
  connect(reset_, &QToolButton::clicked, this, &FieldRow::reset_wanted);
  grid->addWidget(reset_, 0, 2);
  about_->setObjectName("dim");
  grid->addWidget(about_, 0, 3);
  grid->setColumnStretch(3, 1);
  show_field(field, false);
}

QWidget* FieldRow::editor() const { return combo_ ? static_cast<QWidget*>(combo_) : line_; }

void FieldRow::fill_combo() {
  const QSignalBlocker quiet(combo_);
  const Field& f = field_.field;
  combo_->clear();
  if (f.kind == FieldKind::yes_no) {
    combo_->addItem(tr("yes"), QStringLiteral("true"));
    combo_->addItem(tr("no"), QStringLiteral("false"));
  }
  for (const std::string& choice : f.choices) combo_->addItem(words(choice), words(choice));
  if (f.nullable) combo_->addItem(null_words(f), QStringLiteral("null"));
}

void FieldRow::show_field(const app::EditableField& field, bool said) {
  field_ = field;
  const Field& f = field_.field;
  if (combo_ && !refused_) {
    const QSignalBlocker quiet(combo_);
    int at = combo_->findData(words(f.value));
    if (at < 0) at = combo_->findData(words(view::shown_text(f)));
    combo_->setCurrentIndex(at);
  } else if (line_ && !refused_ && (!line_->hasFocus() || !line_->isModified())) {
    line_->setText(words(view::shown_text(f)));
    line_->setCursorPosition(0);
    line_->setModified(false);
  }
  const bool differs = field_.differs();
  tint(name_, differs || (said && field_.document != app::DocumentKind::plan) ? "section" : "plain");
  reset_->setVisible(said || differs);
  reset_->setToolTip(f.fallback && !said ? tr("Back to the default, %1").arg(words(*f.fallback))
                     : f.fallback        ? tr("Take this edit back (default: %1)").arg(words(*f.fallback))
                                         : tr("Take this edit back"));
}

void FieldRow::show_problem(const QString& text, const std::vector<app::Mend>& mends) {
  if (!problem_box_) {
    if (text.isEmpty()) return;
    problem_box_ = new QWidget;
    auto* row = new QHBoxLayout(problem_box_);
    row->setContentsMargins(kNameWidth + 8, 0, 0, 4);
    problem_ = new QLabel;
    problem_->setObjectName("bad");
    problem_->setWordWrap(true);
    problem_->setTextFormat(Qt::PlainText);
    problem_->setTextInteractionFlags(Qt::TextSelectableByMouse);
    row->addWidget(problem_, 1);
    mends_ = new QHBoxLayout;
    row->addLayout(mends_);
    static_cast<QGridLayout*>(layout())->addWidget(problem_box_, 1, 0, 1, 4);
  }
  problem_->setText(text);
  editor()->setAccessibleDescription(text.isEmpty() ? editor()->toolTip() : text);
  while (QLayoutItem* item = mends_->takeAt(0)) {
    item->widget()->deleteLater();
    delete item;
  }
  for (const app::Mend& mend : mends) {
    auto* button = new QPushButton(words(mend.words));
    button->setToolTip(mend.legal ? tr("Makes the plan legal") : tr("Takes this reason away; others stay"));
    QStringList settings;
    for (const std::string& s : mend.settings) settings << words(s);
    connect(button, &QPushButton::clicked, this, [this, settings] { Q_EMIT mend_wanted(settings); });
    mends_->addWidget(button);
  }
  problem_box_->setVisible(!text.isEmpty());
  QPalette colours;
  if (!text.isEmpty()) colours.setColor(QPalette::Text, theme().bad);
  editor()->setPalette(colours);
}

QString FieldRow::problem() const { return problem_ && !problem_->text().isEmpty() ? problem_->text() : QString(); }

void FieldRow::show_legal(const std::vector<app::LegalValue>& legal) {
  legal_.clear();
  for (const app::LegalValue& value : legal) legal_.push_back(value.value);
  if (!combo_ || legal_.empty()) return;
  auto* items = qobject_cast<QStandardItemModel*>(combo_->model());
  for (int i = 0; items != nullptr && i < items->rowCount(); ++i) {
    QStandardItem* item = items->item(i);
    const bool fine = std::find(legal_.begin(), legal_.end(), item->data(Qt::UserRole).toString().toStdString()) != legal_.end();
    item->setData(fine ? QVariant() : QVariant(theme().faint), Qt::ForegroundRole);
    item->setToolTip(fine ? QString() : tr("refused with the plan as it is; choose it to see why"));
  }
}

void FieldRow::focus_editor() {
  editor()->setFocus(Qt::OtherFocusReason);
  if (line_) line_->selectAll();
}

void FieldRow::refuse(const QString& text, const std::vector<app::Mend>& mends) {
  refused_ = true;
  show_problem(text, mends);
}

void FieldRow::commit() {
  refused_ = false;
  if (combo_) {
    Q_EMIT committed(combo_->currentData().toString());
    return;
  }
  if (!line_->isModified()) return;
  line_->setModified(false);
  Q_EMIT committed(line_->text());
}

bool FieldRow::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() == QEvent::FocusIn) Q_EMIT focused();
  if (event->type() == QEvent::Wheel && combo_ && !combo_->hasFocus()) {
    event->ignore();
    return true;
  }
  if (event->type() == QEvent::KeyPress && line_) {
    const int key = static_cast<QKeyEvent*>(event)->key();
    if ((key == Qt::Key_Up || key == Qt::Key_Down) && field_.field.kind == FieldKind::whole && !legal_.empty()) {
      const std::string next = view::stepped(legal_, line_->text().toStdString(), key == Qt::Key_Up ? 1 : -1);
      line_->setText(next == "null" ? QString() : words(next));
      line_->setModified(true);
      commit();
      return true;
    }
    if (key == Qt::Key_Escape && (line_->isModified() || refused_)) {
      refused_ = false;
      line_->setModified(false);
      line_->setText(words(view::shown_text(field_.field)));
      Q_EMIT typing(line_->text());
      return true;
    }
  }
  return QWidget::eventFilter(watched, event);
}

}  // namespace orrery::gui
