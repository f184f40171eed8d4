#include "gui/state/asker.h"

#include <QMetaObject>
#include <chrono>

#include "core/files.h"

namespace orrery::gui {
namespace {

constexpr double kPause = 0.06;  // seconds without a newer question before timelines are recorded: a slider that moves asks more often

// After which something new is due on screen: what takes no longer is felt to be at once (Miller 1968, "Response time in man-computer conversational
// transactions", topic 1: response to control activation).
constexpr double kDue = 0.1;

// What takes longer is not worth waiting for when something else is wanted.
constexpr double kLong = 0.3;

std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

std::shared_ptr<const Answer> answer_to(const app::PlanFlags& question, bool timeline, const std::atomic<bool>* cancel) {
  auto answer = std::make_shared<Answer>();
  answer->question = question;
  answer->complete = true;
  try {
    answer->inputs = app::load_inputs(question);
    answer->refusals = program::refusals(answer->inputs->model, answer->inputs->cluster, answer->inputs->plan);
    if (!answer->refusals.empty()) return answer;
    app::SimulateOptions options;
    options.timeline = timeline;
    options.operators = timeline;
    options.cancel = cancel;
    std::optional<app::Explored> explored = app::explore(*answer->inputs, options);
    if (!explored) return nullptr;
    answer->explored = std::make_shared<const app::Explored>(std::move(*explored));
  } catch (const Error& e) {
    answer->error = e;
  } catch (const std::exception& e) {
    answer->error = Error("internal error", e.what(), "please report it");
  }
  return answer;
}

Asker::Asker(QObject* parent) : QObject(parent), thread_([this] { work(); }) {}

Asker::~Asker() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
    cancel_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

std::uint64_t Asker::ask(const app::PlanFlags& question) {
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++asked_;
    const std::int64_t at = now();
    next_ = Waiting{question, number, at};
    const auto seconds_since = [at](std::int64_t then) { return static_cast<double>(at - then) * 1e-9; };
    if (recording_ || seconds_since(told_) < kDue || seconds_since(began_) > kLong) cancel_ = true;
  }
  wake_.notify_all();
  return number;
}

void Asker::work() {
  while (true) {
    Waiting waiting;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return next_ || end_; });
      if (end_) return;
      waiting = std::move(*next_);
      next_.reset();
      cancel_ = recording_ = false;
      began_ = now();
    }
    answer(waiting);
  }
}

bool Asker::overtaken(double seconds) {
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return next_ || end_; })) return true;
  recording_ = true;
  return false;
}

void Asker::tell(const Waiting& waiting, const std::shared_ptr<const Answer>& found, bool last) {
  const auto told = std::make_shared<Answer>(*found);
  told->number = waiting.number;
  told->complete = last;
  {
    const std::lock_guard lock(mutex_);
    told_ = now();
    told->seconds = static_cast<double>(told_ - waiting.asked) * 1e-9;
  }
  QMetaObject::invokeMethod(
      this, [this, told] { Q_EMIT answered(told); }, Qt::QueuedConnection);
}

void Asker::answer(const Waiting& waiting) {
  const auto find = [&](bool timeline) {
    std::shared_ptr<const Answer> found = answer_to(waiting.question, timeline, &cancel_);
    return cancel_ ? nullptr : found;
  };
  const std::shared_ptr<const Answer> numbers = find(false);
  if (!numbers) return;
  tell(waiting, numbers, !numbers->explored);
  if (!numbers->explored || overtaken(kPause)) return;
  if (const std::shared_ptr<const Answer> whole = find(true)) tell(waiting, whole, true);
}

}  // namespace orrery::gui
