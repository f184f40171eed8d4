// A long task on a thread of its own, with progress and cancel.
#pragma once

#include <QObject>
#include <QString>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "core/error.h"

namespace orrery::gui {

// One task at a time. All signals arrive on the thread that the Job lives on. Destroying a Job cancels its task and waits for it.
class Job : public QObject {
  Q_OBJECT

 public:
  // What the task sees, from its own thread.
  class Control {
   public:
    const std::atomic<bool>* cancel() const { return &job_.cancel_; }
    bool cancelled() const { return job_.cancel_; }
    // At most about 30 a second are passed on.
    void progress(std::int64_t done, std::int64_t of, const std::string& note = {});
    // Runs `action` on the Job's thread, in order; it is dropped where the Job is gone by then.
    void post(std::function<void()> action);

   private:
    friend class Job;
    explicit Control(Job& job) : job_(job) {}
    Job& job_;
    std::int64_t last_ = 0;
  };

  explicit Job(QObject* parent = nullptr);
  ~Job() override;

  // Requires that none runs. An Error that leaves the task is passed on by failed(); finished() comes last in any case.
  void start(std::function<void(Control&)> task);
  void cancel() { cancel_ = true; }
  bool running() const { return running_; }
  bool cancelled() const { return cancel_; }
  double seconds() const;  // since its start, or that it took

 Q_SIGNALS:
  void progressed(qint64 done, qint64 of, const QString& note);
  void failed(const orrery::Error& error);
  void finished();

 private:
  std::thread thread_;
  std::atomic<bool> cancel_ = false;
  bool running_ = false;
  std::int64_t began_ = 0, took_ = 0;  // nanoseconds of the steady clock
};

}  // namespace orrery::gui
