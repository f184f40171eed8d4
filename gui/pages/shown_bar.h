// A line over the timeline that says what its lanes show, where that is not just the prediction of the plan in the header.
#pragma once

#include <QWidget>

#include "gui/view/shown_names.h"

class QLabel;
class QToolButton;

namespace orrery::gui {

class ShownBar : public QWidget {
  Q_OBJECT

 public:
  explicit ShownBar(QWidget* parent = nullptr);

  struct Shown {
    view::ShownNames names;
    bool opened = false;  // the upper one is a trace, not the plan's prediction
    bool over = false;    // another lies over it
    QString own_tip, other_tip;
    std::size_t both = 0;  // instructions that both have
  };
  void show_what(const Shown& shown);  // hides itself where there is nothing to say

 Q_SIGNALS:
  void prediction_wanted();  // in place of the opened trace
  void uncover_wanted();

 private:
  QLabel *own_, *other_, *third_;
  QToolButton *back_, *uncover_;
};

}  // namespace orrery::gui
