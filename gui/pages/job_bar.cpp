#include "gui/pages/job_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QProgressBar>
#include <QPushButton>
#include <QStyle>

namespace orrery::gui {

JobBar::JobBar(Job& job, const QString& start, QWidget* parent) : QWidget(parent), job_(job) {
  auto* row = new QHBoxLayout(this);
  row->setContentsMargins(0, 0, 0, 0);
  start_ = new QPushButton(start);
  start_->setDefault(true);
  cancel_ = new QPushButton(tr("Cancel"));
  cancel_->setToolTip(tr("Stops, and keeps what was done (Esc)"));
  cancel_->setShortcut(Qt::Key_Escape);
  bar_ = new QProgressBar;
  bar_->setFixedWidth(180);
  bar_->setAccessibleName(tr("progress"));
  note_ = new QLabel;
  note_->setWordWrap(true);
  note_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  note_->setAccessibleName(tr("outcome"));
  row->addWidget(start_);
  row->addWidget(cancel_);
  row->addWidget(bar_);
  row->addWidget(note_, 1);
  connect(start_, &QPushButton::clicked, this, &JobBar::wanted);
  connect(cancel_, &QPushButton::clicked, this, [this] {
    job_.cancel();
    cancel_->setEnabled(false);
    note_->setText(tr("stopping…"));
  });
  connect(&job_, &Job::progressed, this, [this](qint64 done, qint64 of, const QString& text) {
    if (!job_.running()) return;
    bar_->setRange(0, of > 0 ? 1000 : 0);
    if (of > 0) bar_->setValue(static_cast<int>(1000 * done / of));
    if (!job_.cancelled() && !text.isEmpty()) note_->setText(text);
  });
  connect(&job_, &Job::finished, this, &JobBar::refresh);
  refresh();
}

void JobBar::refresh() {
  const bool running = job_.running();
  start_->setVisible(!running);
  cancel_->setVisible(running);
  cancel_->setEnabled(true);
  bar_->setVisible(running);
  if (running) {
    bar_->setRange(0, 0);
    note_->clear();
  }
  const char* name = !running && bad_ ? "bad" : "dim";
  note_->setObjectName(name);
  note_->style()->unpolish(note_);
  note_->style()->polish(note_);
  if (!running) note_->setText(said_);
}

void JobBar::say(const QString& text, bool bad) {
  said_ = text;
  bad_ = bad;
  refresh();
}

}  // namespace orrery::gui
