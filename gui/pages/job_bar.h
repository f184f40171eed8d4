// A button that starts a long task, its progress, and a button that stops it.
#pragma once

#include <QWidget>

#include "gui/state/job.h"

class QLabel;
class QProgressBar;
class QPushButton;

namespace orrery::gui {

class JobBar : public QWidget {
  Q_OBJECT

 public:
  // `start`: what the button says ("Search").
  JobBar(Job& job, const QString& start, QWidget* parent = nullptr);

  QPushButton* start_button() const { return start_; }
  // A line beside the buttons while nothing runs: what the last one brought, or why it failed.
  void say(const QString& text, bool bad = false);

 Q_SIGNALS:
  void wanted();  // the start button

 public Q_SLOTS:
  void refresh();  // after Job::start

 private:
  Job& job_;
  QPushButton *start_, *cancel_;
  QProgressBar* bar_;
  QLabel* note_;
  QString said_;
  bool bad_ = false;
};

}  // namespace orrery::gui
