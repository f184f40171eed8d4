// A line in the window that says what happened, in place of a dialog; with buttons where something is to be decided.
#pragma once

#include <QFrame>
#include <QString>
#include <functional>
#include <utility>
#include <vector>

#include "gui/state/view_state.h"

class QHBoxLayout;
class QLabel;
class QTimer;

namespace orrery::gui {

class MessageStrip : public QFrame {
  Q_OBJECT

 public:
  explicit MessageStrip(QWidget* parent = nullptr);

  using Choices = std::vector<std::pair<QString, std::function<void()>>>;
  // Good news leave by themselves after some seconds; everything else stays until it is closed, answered, or another message comes.
  void say(const QString& text, Tone tone, const Choices& choices = {});
  QString text() const;

 private:
  void restyle();

  QLabel* sign_;
  QLabel* label_;
  QHBoxLayout* buttons_;
  QTimer* leaves_;
  Tone tone_ = Tone::hint;
};

}  // namespace orrery::gui
