#include "gui/pages/knob_widget.h"

#include <QCheckBox>
#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QSignalBlocker>
#include <QSlider>
#include <QStyle>
#include <QToolButton>
#include <QWheelEvent>
#include <algorithm>
#include <utility>

#include "gui/state/view_state.h"

namespace orrery::gui {
namespace {

constexpr int kNameWidth = 124, kValueWidth = 108;

QString words(const std::string& text) { return QString::fromStdString(text); }

// A list that is scrolled by the wheel must not turn what it passes.
template <class Base>
class Calm : public Base {
 public:
  using Base::Base;

 protected:
  void wheelEvent(QWheelEvent* event) override {
    if (this->hasFocus())
      Base::wheelEvent(event);
    else
      event->ignore();
  }
};

}  // namespace

KnobWidget::KnobWidget(const view::Knob& knob, QWidget* parent)
    : QWidget(parent), knob_(knob), name_(new QLabel(words(knob.label))), value_(new QLabel), reset_(new QToolButton) {
  setObjectName(words(knob.path));
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(8);
  name_->setFixedWidth(kNameWidth);
  row->addWidget(name_);
  const QString tip = words(knob.path + (knob.about.empty() ? "" : ": " + knob.about));
  name_->setToolTip(tip);
  QWidget* control = nullptr;
  if (knob.kind == view::KnobKind::choice) {
    control = combo_ = new Calm<QComboBox>;
    connect(combo_, &QComboBox::activated, this, [this](int at) { Q_EMIT turned(at, 0); });
    row->addWidget(combo_, 1);
  } else if (knob.kind == view::KnobKind::yes_no) {
    control = box_ = new QCheckBox;
    connect(box_, &QCheckBox::clicked, this, [this](bool on) {
      for (int i = 0; i <= view::most_position(knob_); ++i)
        if (knob_.stops[static_cast<std::size_t>(i)].value == (on ? "true" : "false")) Q_EMIT turned(i, 0);
    });
    row->addWidget(box_, 1);
  } else {
    control = slider_ = new Calm<QSlider>(Qt::Horizontal);
    slider_->setTickPosition(QSlider::TicksBelow);
    slider_->setPageStep(knob.kind == view::KnobKind::factor ? view::kOctave : 1);
    if (knob.kind == view::KnobKind::factor) slider_->setTickInterval(view::kOctave);
    connect(slider_, &QSlider::sliderPressed, this, [this] { gesture_ = ViewState::new_gesture(); });
    connect(slider_, &QSlider::sliderReleased, this, [this] {
      gesture_ = 0;
      if (!held_) return;
      // What came meanwhile may be of an earlier place: the slider stays where it was let go.
      view::Knob later = *std::exchange(held_, std::nullopt);
      const int at = slider_->value();
      if (later.kind == view::KnobKind::stops && !knob_.stops.empty())
        later.value = knob_.stops[static_cast<std::size_t>(std::clamp(at, 0, view::most_position(knob_)))].value;
      show_knob(later);
      if (later.kind == view::KnobKind::factor) {
        const QSignalBlocker quiet(slider_);
        slider_->setValue(at);
        say(at);
      }
    });
    connect(slider_, &QSlider::valueChanged, this, [this](int at) {
      say(at);
      Q_EMIT turned(at, slider_->isSliderDown() ? gesture_ : 0);
    });
    row->addWidget(slider_, 1);
  }
  control->setFocusPolicy(Qt::StrongFocus);
  control->setAccessibleName(words(knob.label));
  control->setToolTip(tip);
  name_->setBuddy(control);
  value_->setFixedWidth(kValueWidth);
  value_->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
  row->addWidget(value_);
  value_->setVisible(knob.kind != view::KnobKind::choice && knob.kind != view::KnobKind::yes_no);  // in the row: alone it would be a window
  reset_->setText(QStringLiteral("\u21ba"));
  reset_->setAutoRaise(true);
  reset_->setAccessibleName(tr("Reset %1").arg(words(knob.label)));
  reset_->setToolTip(knob.kind == view::KnobKind::factor ? tr("As the cluster has it: %1").arg(words(view::text_at(knob, 0)))
                                                         : tr("As in the pinned plan"));
  QSizePolicy keeps = reset_->sizePolicy();
  keeps.setRetainSizeWhenHidden(true);
  reset_->setSizePolicy(keeps);
  connect(reset_, &QToolButton::clicked, this, &KnobWidget::reset_wanted);
  row->addWidget(reset_);
  show_reset(false);
  show_knob(knob);
}

void KnobWidget::show_reset(bool shown) { reset_->setVisible(shown); }

bool KnobWidget::dragging() const { return slider_ && slider_->isSliderDown(); }

void KnobWidget::show_knob(const view::Knob& knob) {
  if (dragging()) {  // the stops must stay those of the slider's range
    held_ = knob;
    return;
  }
  held_.reset();
  knob_ = knob;
  const int at = view::position(knob_);
  if (slider_) {
    const QSignalBlocker quiet(slider_);
    slider_->setRange(view::least_position(knob_), view::most_position(knob_));
    slider_->setValue(at);
    slider_->setEnabled(view::most_position(knob_) > view::least_position(knob_));
  } else if (combo_) {
    const QSignalBlocker quiet(combo_);
    combo_->clear();
    for (int i = 0; i <= view::most_position(knob_); ++i) {
      const app::LegalValue& stop = knob_.stops[static_cast<std::size_t>(i)];
      QString text = words(stop.value);
      for (std::size_t k = 1; k < stop.settings.size(); ++k) text += tr("  with %1").arg(words(stop.settings[k]));
      combo_->addItem(text);
    }
    combo_->setCurrentIndex(at);
  } else {
    const QSignalBlocker quiet(box_);
    box_->setChecked(knob_.value == "true");
    box_->setEnabled(knob_.stops.size() > 1);
    box_->setText(knob_.value == "true" ? tr("on") : tr("off"));
  }
  say(at);
}

void KnobWidget::say(int position) {
  QString text = words(view::text_at(knob_, position));
  QString with;
  if (knob_.kind == view::KnobKind::stops && !knob_.stops.empty()) {
    const app::LegalValue& stop = knob_.stops[static_cast<std::size_t>(std::clamp(position, 0, view::most_position(knob_)))];
    for (std::size_t k = 1; k < stop.settings.size(); ++k) with += words(stop.settings[k]);
    if (!with.isEmpty()) text += QStringLiteral(" +");
  }
  value_->setText(text);
  value_->setToolTip(with.isEmpty() ? QString() : tr("changes %1 with it, which it needs").arg(with));
  if (slider_) slider_->setAccessibleDescription(text);
}

}  // namespace orrery::gui
