#include "gui/message_strip.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>
#include <QShortcut>
#include <QTimer>
#include <QToolButton>

#include "gui/theme.h"

namespace orrery::gui {

MessageStrip::MessageStrip(QWidget* parent)
    : QFrame(parent), sign_(new QLabel), label_(new QLabel), buttons_(new QHBoxLayout), leaves_(new QTimer(this)) {
  setObjectName("card");
  setAccessibleName(tr("Message"));
  label_->setWordWrap(true);
  label_->setTextInteractionFlags(Qt::TextSelectableByMouse | Qt::TextSelectableByKeyboard);
  label_->setTextFormat(Qt::PlainText);
  auto* close = new QToolButton;
  close->setText(QStringLiteral("\u00d7"));
  close->setAutoRaise(true);
  close->setToolTip(tr("Close this message (Esc)"));
  auto* escape =
      new QShortcut(Qt::Key_Escape, this, nullptr, nullptr, Qt::WidgetWithChildrenShortcut);  // elsewhere Esc stops a job, or clears a selection
  connect(escape, &QShortcut::activated, this, &QWidget::hide);
  connect(close, &QToolButton::clicked, this, &QWidget::hide);
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(12, 6, 6, 6);
  row->addWidget(sign_, 0, Qt::AlignTop);
  row->addWidget(label_, 1);
  row->addLayout(buttons_);
  row->addWidget(close, 0, Qt::AlignTop);
  leaves_->setSingleShot(true);
  connect(leaves_, &QTimer::timeout, this, &QWidget::hide);
  hide();
}

QString MessageStrip::text() const { return label_->text(); }

void MessageStrip::restyle() {
  const bool bad = tone_ == Tone::bad, good = tone_ == Tone::good;
  sign_->setObjectName(bad ? "bad" : good ? "good" : "dim");
  sign_->setText(bad ? QStringLiteral("\u25b2") : good ? QStringLiteral("\u2713") : QStringLiteral("\u2022"));
  sign_->setAccessibleName(bad ? tr("Error") : good ? tr("Done") : tr("Note"));
  sign_->setStyleSheet(QStringLiteral("color: %1").arg((bad ? theme().bad : good ? theme().good : theme().dim).name()));
}

void MessageStrip::say(const QString& text, Tone tone, const Choices& choices) {
  constexpr int kGoodNews = 6000;  // milliseconds
  tone_ = tone;
  restyle();
  label_->setText(text);
  while (QLayoutItem* item = buttons_->takeAt(0)) {
    delete item->widget();
    delete item;
  }
  for (const auto& [words, action] : choices) {
    auto* button = new QPushButton(words);
    connect(button, &QPushButton::clicked, this, [this, action = action] {
      hide();
      action();
    });
    buttons_->addWidget(button);
  }
  show();
  leaves_->stop();
  if (tone == Tone::good && choices.empty()) leaves_->start(kGoodNews);
}

}  // namespace orrery::gui
