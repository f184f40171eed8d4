// The search field of the timeline: what it looks for, how much it found, and the way from one to the next.
#pragma once

#include <QWidget>
#include <memory>
#include <vector>

#include "gui/state/latest.h"
#include "gui/view/span_index.h"

class QLabel;
class QLineEdit;
class QToolButton;

namespace orrery::gui {

class SearchBar : public QWidget {
  Q_OBJECT

 public:
  explicit SearchBar(QWidget* parent = nullptr);

  void search_in(std::shared_ptr<const view::SpanIndex> index);  // searches it for what stands in the field; null: nothing is found
  void start();                                                  // the field gets the keyboard
  void clear();
  void go(bool forward);                 // emits wanted() for the next match after the selected span, or the one before
  void set_selected(view::SpanId span);  // kNoSpan: nothing; says which of the matches it is
  // By place; null: no search is on.
  const std::shared_ptr<const std::vector<view::SpanId>>& matches() const { return matches_; }
  bool busy() const { return finding_.busy(); }

 Q_SIGNALS:
  void matches_changed();
  void wanted(orrery::view::SpanId span);
  void left();  // Esc: the keyboard belongs elsewhere again, and what was found stays

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void search();
  void found();  // matches_ are there
  void tell();

  QLineEdit* field_;
  QLabel* found_;
  QToolButton *previous_, *next_;
  Latest finding_;
  std::shared_ptr<const view::SpanIndex> index_;
  std::shared_ptr<const std::vector<view::SpanId>> matches_;
  view::SpanId selected_ = view::kNoSpan;
};

}  // namespace orrery::gui
