// The question and the figures of its answer, in one line above every page.
#pragma once

#include <QFrame>

class QLabel;

namespace orrery::gui {

class ViewState;

class Summary : public QFrame {
  Q_OBJECT

 public:
  explicit Summary(ViewState& state, QWidget* parent = nullptr);

 private:
  void refresh();

  ViewState& state_;
  QLabel *what_, *how_;
  struct Figure {
    QLabel *value, *name;
  };
  Figure make(const QString& name, const QString& tip);
  Figure step_, rate_, mfu_, memory_;
};

}  // namespace orrery::gui
