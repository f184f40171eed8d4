#include "gui/state/latest.h"

namespace orrery::gui {

Latest::Latest(QObject* parent) : QObject(parent) {
  connect(&job_, &Job::finished, this, [this] {
    if (next_)
      start();
    else
      answered_ = asked_;  // also where the task failed
  });
}

void Latest::ask(Work work) {
  ++asked_;
  next_ = std::move(work);
  job_.cancel();
  if (!job_.running()) start();
}

void Latest::forget() {
  ++asked_;
  next_ = nullptr;
  job_.cancel();
  if (!job_.running()) answered_ = asked_;
}

void Latest::start() {
  job_.start([this, work = std::exchange(next_, nullptr), number = asked_](Job::Control& control) {
    const std::function<void()> done = work(control.cancel());
    control.post([this, done, number] {
      if (number != asked_) return;
      answered_ = number;
      if (done) done();
    });
  });
}

}  // namespace orrery::gui
