// Answers questions on a thread of its own; the newest question wins.
#pragma once

#include <QObject>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "app/inputs.h"
#include "app/simulate.h"
#include "core/error.h"
#include "program/compile.h"

namespace orrery::gui {

// What is known about a question. Of `error`, `refusals` and `explored` exactly one says something.
struct Answer {
  app::PlanFlags question;
  std::optional<app::Inputs> inputs;       // nothing where they could not be read
  std::vector<program::Refusal> refusals;  // why the plan is illegal
  std::optional<Error> error;              // what else is wrong
  std::shared_ptr<const app::Explored> explored;
  std::uint64_t number = 0;  // of the question, as ask() counts them
  double seconds = 0;        // from ask() until it was there
  bool complete = false;     // nothing more follows: the timeline is there as well

  const app::SimulateReport* report() const { return explored ? &explored->report : nullptr; }
  const Timeline* timeline() const { return explored && explored->report.timeline ? &*explored->report.timeline : nullptr; }
};

// Each question is answered twice: first in numbers, then, when no newer one has come for a moment, with the timeline as well. A newer question
// cancels what is being worked on, but not an answer in numbers when the last one is 100 ms old, unless it takes more than 300 ms: a slider that
// moves on faster than answers can be found still shows some on its way.
class Asker : public QObject {
  Q_OBJECT

 public:
  explicit Asker(QObject* parent = nullptr);
  ~Asker() override;

  std::uint64_t ask(const app::PlanFlags& question);

 Q_SIGNALS:
  void answered(std::shared_ptr<const orrery::gui::Answer> answer);  // on the Asker's thread

 private:
  struct Waiting {
    app::PlanFlags question;
    std::uint64_t number = 0;
    std::int64_t asked = 0;
  };
  void work();
  void answer(const Waiting& waiting);
  // True when a newer question came meanwhile.
  bool overtaken(double seconds);
  void tell(const Waiting& waiting, const std::shared_ptr<const Answer>& found, bool last);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Waiting> next_;
  bool end_ = false;
  std::uint64_t asked_ = 0;
  std::int64_t told_ = 0;   // when the last answer was
  std::int64_t began_ = 0;  // when what is being worked on was begun
  bool recording_ = false;  // works on a timeline
  std::atomic<bool> cancel_ = false;
  std::thread thread_;
};

// Without a thread: what ask() leads to, with the timeline or without; nothing when cancelled.
std::shared_ptr<const Answer> answer_to(const app::PlanFlags& question, bool timeline, const std::atomic<bool>* cancel = nullptr);

}  // namespace orrery::gui
