#include "gui/pages/search_bar.h"

#include <QHBoxLayout>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QToolButton>
#include <algorithm>
#include <functional>
#include <utility>

#include "gui/view/span_search.h"

namespace orrery::gui {
namespace {

constexpr std::size_t kAtOnce = 150'000;   // spans that are searched within a frame; more on another thread
constexpr std::size_t kNumbered = 10'000;  // matches among which the selected one's number is told

}  // namespace

SearchBar::SearchBar(QWidget* parent)
    : QWidget(parent), field_(new QLineEdit), found_(new QLabel), previous_(new QToolButton), next_(new QToolButton) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(6);
  field_->setAccessibleName(tr("Search spans"));
  field_->setPlaceholderText(tr("Search: attention, mb 3, layer 12, >1ms"));
  field_->setToolTip(
      tr("Words that must all hold: part of an operator's or a class's name; mb, layer, rank or pass with a number; a word of a rank's "
         "name; recompute; waited; >TIME. Enter or N: the next in time, Shift: the one before. Esc: out."));
  field_->setClearButtonEnabled(true);
  field_->setMinimumWidth(220);
  field_->setMaximumWidth(380);
  field_->installEventFilter(this);
  row->addWidget(field_, 1);
  const auto button = [&](QToolButton* tool, const QString& text, const QString& name, const QString& tip) {
    tool->setText(text);
    tool->setAccessibleName(name);
    tool->setToolTip(tip);
    tool->setAutoRaise(true);
    row->addWidget(tool);
  };
  button(previous_, QStringLiteral("‹"), tr("Previous match"), tr("The match before in time (Shift+N)"));
  button(next_, QStringLiteral("›"), tr("Next match"), tr("The next match in time (N)"));
  found_->setObjectName("dim");
  row->addWidget(found_);
  connect(field_, &QLineEdit::textChanged, this, &SearchBar::search);
  connect(field_, &QLineEdit::returnPressed, this, [this] { go(true); });
  connect(previous_, &QToolButton::clicked, this, [this] { go(false); });
  connect(next_, &QToolButton::clicked, this, [this] { go(true); });
  tell();
}

void SearchBar::search_in(std::shared_ptr<const view::SpanIndex> index) {
  index_ = std::move(index);
  search();
}

void SearchBar::start() {
  field_->setFocus();
  field_->selectAll();
}

void SearchBar::clear() { field_->clear(); }

void SearchBar::search() {
  finding_.forget();
  matches_ = nullptr;
  const QString text = field_->text().trimmed();
  if (!text.isEmpty() && index_) {
    const view::SpanQuery query = view::parse_query(text.toStdString(), index_->timeline());
    found_->setText(QString::fromStdString(query.problem));
    const auto look = [index = index_, query] {
      auto found = view::find(index->timeline(), query);
      std::sort(found.begin(), found.end(), [&](view::SpanId a, view::SpanId b) { return index->place(a) < index->place(b); });
      return std::make_shared<const std::vector<view::SpanId>>(std::move(found));
    };
    if (query.problem.empty() && index_->timeline().spans.size() > kAtOnce) {
      finding_.ask([this, look]() -> std::function<void()> {
        return [this, all = look()] {
          matches_ = all;
          found();
        };
      });
    } else if (query.problem.empty()) {
      matches_ = look();
    }
  }
  found();
}

void SearchBar::found() {
  tell();
  Q_EMIT matches_changed();
}

void SearchBar::set_selected(view::SpanId span) {
  if (span == std::exchange(selected_, span)) return;
  tell();
}

void SearchBar::tell() {
  const bool any = matches_ && !matches_->empty();
  previous_->setEnabled(any);
  next_->setEnabled(any);
  if (!matches_) {
    if (field_->text().trimmed().isEmpty()) found_->clear();
    return;
  }
  if (!any) {
    found_->setText(tr("none"));
    return;
  }
  QString text = matches_->size() == 1 ? tr("1 match") : tr("%L1 matches").arg(matches_->size());
  if (selected_ != view::kNoSpan && matches_->size() <= kNumbered && std::find(matches_->begin(), matches_->end(), selected_) != matches_->end()) {
    // Its number in time.
    const std::vector<Span>& spans = index_->timeline().spans;
    const auto key = [&](view::SpanId id) { return std::pair{spans[id].start, id}; };
    const auto before = std::count_if(matches_->begin(), matches_->end(), [&](view::SpanId id) { return key(id) < key(selected_); });
    text = tr("%L1 of %L2").arg(before + 1).arg(matches_->size());
  }
  found_->setText(text);
}

void SearchBar::go(bool forward) {
  if (!matches_ || matches_->empty()) return;
  Q_EMIT wanted(view::next_match(*matches_, index_->timeline(), selected_, forward));
}

bool SearchBar::eventFilter(QObject* watched, QEvent* event) {
  if (watched == field_ && event->type() == QEvent::KeyPress) {
    const auto* key = static_cast<const QKeyEvent*>(event);
    if (key->key() == Qt::Key_Escape) {
      // Out of the field first, with what was found; another Esc, in the chart, ends the search.
      Q_EMIT left();
      return true;
    }
    if ((key->key() == Qt::Key_Return || key->key() == Qt::Key_Enter) && (key->modifiers() & Qt::ShiftModifier) != 0) {
      go(false);
      return true;
    }
  }
  return QWidget::eventFilter(watched, event);
}

}  // namespace orrery::gui
