#include "gui/pages/shown_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>

#include "gui/pages/elided_label.h"

namespace orrery::gui {
namespace {

QString words(const std::string& text) { return QString::fromStdString(text); }

}  // namespace

ShownBar::ShownBar(QWidget* parent)
    : QWidget(parent), own_(new ElidedLabel), other_(new ElidedLabel), third_(new ElidedLabel), back_(new QToolButton), uncover_(new QToolButton) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(12, 0, 12, 6);
  row->setSpacing(6);
  const auto label = [&](QLabel* each, const QString& name) {
    each->setAccessibleName(name);
    each->setSizePolicy(QSizePolicy::Maximum, QSizePolicy::Preferred);
    row->addWidget(each);
  };
  const auto button = [&](QToolButton* each, const QString& text, const QString& name, const QString& tip) {
    each->setText(text);
    each->setAccessibleName(name);
    each->setToolTip(tip);
    each->setAutoRaise(true);
    row->addWidget(each);
  };
  label(own_, tr("Shown"));
  button(back_, tr("Back to the prediction"), tr("Back to the prediction"), tr("Close the trace and show what is predicted for the plan"));
  back_->setAutoRaise(false);
  row->addSpacing(12);
  label(other_, tr("Laid over it"));
  button(uncover_, QStringLiteral("×"), tr("Take it away"), tr("Show the upper lanes alone"));
  row->addSpacing(12);
  label(third_, tr("Differences"));
  third_->setObjectName("dim");
  row->addStretch(1);
  connect(back_, &QToolButton::clicked, this, &ShownBar::prediction_wanted);
  connect(uncover_, &QToolButton::clicked, this, &ShownBar::uncover_wanted);
  show_what({});
}

void ShownBar::show_what(const Shown& shown) {
  setVisible(shown.opened || shown.over);
  back_->setVisible(shown.opened);
  for (QWidget* each : {static_cast<QWidget*>(other_), static_cast<QWidget*>(uncover_), static_cast<QWidget*>(third_)}) each->setVisible(shown.over);
  own_->setText(shown.over ? tr("Upper lanes  %1").arg(words(shown.names.own_title)) : tr("Opened  %1").arg(words(shown.names.own_title)));
  own_->setToolTip(shown.own_tip);
  if (!shown.over) return;
  other_->setText(tr("Lower lanes  %1").arg(words(shown.names.other_title)));
  other_->setToolTip(shown.other_tip);
  third_->setText(shown.both == 0 ? tr("They have no instruction in common") : tr("Third  how they differ, in %L1 instructions").arg(shown.both));
  third_->setToolTip(
      shown.both == 0
          ? tr("Instructions are the same where rank, stream, pass and place in it agree: these timelines are of different plans")
          : tr("Upper half: how much longer each instruction took below (twice, half as long). Lower half: how much later it began (up to "
               "a twentieth of the step)"));
}

}  // namespace orrery::gui
