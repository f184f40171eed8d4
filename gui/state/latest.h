// Small tasks on a thread of their own, of which only the newest counts: what a page wants to know beside the answer.
#pragma once

#include <QObject>
#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "gui/state/job.h"

namespace orrery::gui {

class Latest : public QObject {
  Q_OBJECT

 public:
  explicit Latest(QObject* parent = nullptr);

  // `cancel` becomes true when nobody wants to know any more.
  using Work = std::function<std::function<void()>(const std::atomic<bool>* cancel)>;
  // `work` runs on another thread, and what it returns then runs on this one, unless a newer ask() came meanwhile. An ask() that waits its turn is
  // dropped when a newer one comes. `work` must not refer to what this thread may change.
  void ask(Work work);
  // The same for work so short that it need not stop in between.
  void ask(std::function<std::function<void()>()> work) {
    ask(Work([work = std::move(work)](const std::atomic<bool>* /*cancel*/) { return work(); }));
  }
  // Whatever is asked or being worked on is not wanted any more.
  void forget();
  bool busy() const { return asked_ != answered_; }

 private:
  void start();

  std::uint64_t asked_ = 0, answered_ = 0;
  Work next_;
  Job job_;
};

}  // namespace orrery::gui
