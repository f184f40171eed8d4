#include "gui/state/job.h"

#include <QMetaObject>
#include <chrono>
#include <exception>

namespace orrery::gui {
namespace {

std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

void Job::Control::progress(std::int64_t done, std::int64_t of, const std::string& note) {
  constexpr std::int64_t kApart = 33'000'000;  // nanoseconds
  const std::int64_t at = now();
  if (at - last_ < kApart && done != of) return;
  last_ = at;
  Job* job = &job_;
  post([job, done, of, text = QString::fromStdString(note)] { Q_EMIT job->progressed(done, of, text); });
}

void Job::Control::post(std::function<void()> action) { QMetaObject::invokeMethod(&job_, std::move(action), Qt::QueuedConnection); }

Job::Job(QObject* parent) : QObject(parent) {}

Job::~Job() {
  cancel_ = true;
  if (thread_.joinable()) thread_.join();
}

double Job::seconds() const { return static_cast<double>(running_ ? now() - began_ : took_) * 1e-9; }

void Job::start(std::function<void(Control&)> task) {
  Q_ASSERT(!running_);
  cancel_ = false;
  running_ = true;
  began_ = now();
  if (thread_.joinable()) thread_.join();  // the last task's, which has ended
  thread_ = std::thread([this, task = std::move(task)] {
    Control control(*this);
    std::optional<Error> error;
    try {
      task(control);
    } catch (const Error& e) {
      error = e;
    } catch (const std::exception& e) {
      error = Error("internal error", e.what(), "please report it");
    }
    control.post([this, error] {
      running_ = false;
      took_ = now() - began_;
      if (error) Q_EMIT failed(*error);
      Q_EMIT finished();
    });
  });
}

}  // namespace orrery::gui
