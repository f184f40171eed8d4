#include "executor/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <utility>

#include "core/error.h"
#include "executor/device.h"

namespace orrery::executor {

using program::Program;

namespace {

// Whether the first step has more than those that follow it.
bool begins_otherwise(const Program& program) {
  return std::any_of(program.roles.begin(), program.roles.end(), [](const program::Role& role) { return !role.prologue.empty(); });
}

}  // namespace

void StepTotals::add(const StepTotals& other, const Program& program) {
  loss.resize(std::max(loss.size(), other.loss.size()));
  for (std::size_t i = 0; i < other.loss.size(); ++i) loss[i] += other.loss[i];
  add_norm(other.norm, program);
  begin = std::min(begin, other.begin);
  end = std::max(end, other.end);
  peak = std::max(peak, other.peak);
  ranks += other.ranks;
  timed = timed && other.timed;
}

void StepTotals::add_norm(double other, const Program& program) {
  if (program.update_every == 0)  // the same on every rank, or, with post-validation, whole on the last stage only
    norm = std::isnan(other) ? other : std::max(norm, other);
  else
    norm += other;  // each stage's own
}

Progress::Progress(const Program& program, const RunOptions& options, std::int64_t first, std::int64_t ranks, bool agreed)
    : program_(program), options_(options), first_(first), ranks_(ranks), agreed_(agreed), decisions_(static_cast<std::size_t>(first), true) {
  if (!options.timeline || agreed) next_record_.reset();
}

bool Progress::goes_on(std::int64_t step) {
  std::unique_lock lock(mutex_);
  if (agreed_) {
    changed_.wait(lock, [&] { return static_cast<std::int64_t>(decisions_.size()) > step || stopped_; });
    if (stopped_) return false;
  }
  while (static_cast<std::int64_t>(decisions_.size()) <= step) {
    decide_next(options_.cancel && options_.cancel->load());
    if (next_record_ && decisions_.back()) want_record(static_cast<std::int64_t>(decisions_.size()) - 1);
  }
  return decisions_[static_cast<std::size_t>(step)];
}

void Progress::decide(bool cancel) {
  const std::lock_guard lock(mutex_);
  decide_next(cancel);
  changed_.notify_all();
}

void Progress::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

void Progress::finished(std::int64_t step, std::size_t place, RankRunner& rank) {
  const double loss = rank.take_loss(), norm = rank.squared_gradient_norm();
  const StepRecord& record = rank.records().back();
  hand_over(step - 1, place, rank);
  const std::lock_guard lock(mutex_);
  while (static_cast<std::int64_t>(steps_.size()) <= step - first_) {
    steps_.emplace_back();
    // Of the stage that computes it: the last.
    steps_.back().loss.resize(static_cast<std::size_t>(program_.mesh_at(program_.ranks() - 1).extent(program::kReplicaAxes)));
  }
  StepTotals& s = steps_[static_cast<std::size_t>(step - first_)];
  const program::Coordinates& c = rank.coordinates();
  const program::Mesh& mesh = rank.mesh();
  if (mesh.place(c, program::kTpAxis) == 0 && rank.role().loss_buffer >= 0)
    s.loss[static_cast<std::size_t>(mesh.place(c, program::kReplicaAxes))] += loss;  // both ends of a mirrored pipeline have some
  // Where stages have norms of their own, of this stage's last update.
  if (program_.update_every == 0 || (mesh.place(c, program::kTpAxis) == 0 && mesh.place(c, program::kReplicaAxes) == 0)) s.add_norm(norm, program_);
  s.begin = std::min(s.begin, record.begin_ns);
  s.end = std::max(s.end, record.end_ns);
  s.peak = std::max(s.peak, rank.memory().peak_live);
  s.timed = record.timed;
  if (++s.ranks == ranks_) changed_.notify_all();
}

void Progress::fail(std::int64_t rank, std::exception_ptr why) {
  const std::lock_guard lock(mutex_);
  if (failure_) return;
  failure_ = std::move(why);
  failed_rank_ = rank;
}

bool Progress::failed() {
  const std::lock_guard lock(mutex_);
  return failure_ != nullptr;
}

void Progress::left() {
  const std::lock_guard lock(mutex_);
  ++left_;
  changed_.notify_all();
}

std::optional<StepTotals> Progress::wait_for(std::int64_t step) {
  std::unique_lock lock(mutex_);
  const std::int64_t i = step - first_;
  const auto complete = [&] { return static_cast<std::int64_t>(steps_.size()) > i && steps_[static_cast<std::size_t>(i)].ranks == ranks_; };
  changed_.wait(lock, [&] { return complete() || left_ == ranks_; });
  if (!complete()) return std::nullopt;
  return steps_[static_cast<std::size_t>(i)];
}

std::vector<StepRecord> Progress::take_records(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  const auto found = wanted_.find(step);
  if (found == wanted_.end()) return {};
  std::vector<StepRecord> records = std::move(found->second);
  wanted_.erase(wanted_.begin(), std::next(found));
  if (std::any_of(records.begin(), records.end(), [](const StepRecord& r) { return !r.timed || r.spans.empty(); })) return {};
  return records;
}

void Progress::no_records_until(Clock::time_point time) {
  const std::lock_guard lock(mutex_);
  if (next_record_) next_record_ = std::max(*next_record_, time);
}

void Progress::rethrow() {
  if (failure_) std::rethrow_exception(named(failed_rank_, failure_));
}

std::exception_ptr Progress::named(std::int64_t rank, const std::exception_ptr& failure) {
  const std::string where = fmt::format("rank {}", rank);
  try {
    std::rethrow_exception(failure);
  } catch (const OutOfMemory& e) {
    const std::string what = e.where().empty() ? e.message() : fmt::format("{}: {}", e.where(), e.message());
    return std::make_exception_ptr(OutOfMemory(where, what, e.hint(), e.wanted(), e.free()));
  } catch (const Error& e) {
    return std::make_exception_ptr(Error(where, e.where().empty() ? e.message() : fmt::format("{}: {}", e.where(), e.message()), e.hint()));
  } catch (const std::bad_alloc&) {
    return std::make_exception_ptr(
        Error(where, "there is not enough memory for its buffers", "take a smaller micro-batch, more stages or recomputation"));
  } catch (const std::exception& e) {
    return std::make_exception_ptr(Error(where, e.what()));
  }
}

void Progress::decide_next(bool cancel) {
  const auto next = static_cast<std::int64_t>(decisions_.size());
  if (cancel && next < options_.steps && !cancelled_at_) cancelled_at_ = next;
  decisions_.push_back(next < options_.steps && !cancel && !cancelled_at_);
}

// No rank has begun the step: all will see that it is wanted.
void Progress::want_record(std::int64_t step) {
  const Clock::time_point now = Clock::now();
  if (now < *next_record_ || (step == 0 && begins_otherwise(program_))) return;
  wanted_[step].resize(static_cast<std::size_t>(ranks_));
  next_record_ = now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.timeline_every.v));
}

// A step's record is whole when the next is done: what it started at its end may go on until then.
void Progress::hand_over(std::int64_t step, std::size_t place, const RankRunner& rank) {
  if (!options_.timeline || rank.records().size() < 2) return;
  {
    const std::lock_guard lock(mutex_);
    if (!wanted_.contains(step)) return;
  }
  StepRecord copy = rank.records()[rank.records().size() - 2];
  const std::lock_guard lock(mutex_);
  wanted_[step][place] = std::move(copy);
}

}  // namespace orrery::executor
