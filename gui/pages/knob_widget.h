// One knob: its name, a slider, switch or choice, its value and a reset.
#pragma once

#include <QWidget>
#include <cstdint>
#include <optional>

#include "gui/view/knobs.h"

class QCheckBox;
class QComboBox;
class QLabel;
class QSlider;
class QToolButton;

namespace orrery::gui {

class KnobWidget : public QWidget {
  Q_OBJECT

 public:
  explicit KnobWidget(const view::Knob& knob, QWidget* parent = nullptr);

  const view::Knob& knob() const { return knob_; }
  // The same knob after an answer; while it is being dragged, when it is let go.
  void show_knob(const view::Knob& knob);
  bool dragging() const;
  void show_reset(bool shown);

 Q_SIGNALS:
  // It was turned. One drag is one gesture; so is each key.
  void turned(int position, quint64 gesture);
  void reset_wanted();

 private:
  void say(int position);

  view::Knob knob_;
  std::optional<view::Knob> held_;  // came while this one was dragged
  QLabel *name_, *value_;
  QSlider* slider_ = nullptr;
  QCheckBox* box_ = nullptr;
  QComboBox* combo_ = nullptr;
  QToolButton* reset_;
  std::uint64_t gesture_ = 0;
};

}  // namespace orrery::gui
