// What the ranks of a process tell of their steps, and whether they all go on.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "executor/rank.h"
#include "executor/run.h"
#include "program/program.h"

namespace orrery::executor {

// What ranks report of one step.
struct StepTotals {
  std::vector<double> loss;  // local sums, by place among the ranks that hold the same parameters
  double norm = 0;
  std::int64_t begin = std::numeric_limits<std::int64_t>::max(), end = 0, peak = 0;
  std::int64_t ranks = 0;
  bool timed = true;

  void add(const StepTotals& other, const program::Program& program);
  void add_norm(double other, const program::Program& program);
};

// Shared by the ranks' threads and the one that waits for their steps.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // `first`: number of the first step. With `agreed`, whoever agrees with the other processes decides; otherwise whoever asks first.
  Progress(const program::Program& program, const RunOptions& options, std::int64_t first, std::int64_t ranks, bool agreed);

  // Every rank gets the same answer for the same step.
  bool goes_on(std::int64_t step);
  // What is agreed for the next step that nothing is agreed for yet.
  void decide(bool cancel);
  // Nobody will decide anything any more.
  void stop();

  // `place`: the rank's among those of this process.
  void finished(std::int64_t step, std::size_t place, RankRunner& rank);
  void fail(std::int64_t rank, std::exception_ptr why);
  bool failed();
  void left();

  // Blocks until step number `step` is complete on all ranks of this process, or (empty) all have left without it.
  std::optional<StepTotals> wait_for(std::int64_t step);
  // The ranks' records of step `step`, if they were wanted and all have handed them over; wait_for(step + 1) has returned. Nothing older is kept.
  std::vector<StepRecord> take_records(std::int64_t step);
  // Records of steps that begin before that time are not wanted.
  void no_records_until(Clock::time_point time);

  // Throws what the first failing rank threw, with the rank's name.
  void rethrow();
  static std::exception_ptr named(std::int64_t rank, const std::exception_ptr& failure);
  bool cancelled() const { return cancelled_at_.has_value(); }

 private:
  void decide_next(bool cancel);
  void want_record(std::int64_t step);
  void hand_over(std::int64_t step, std::size_t place, const RankRunner& rank);

  const program::Program& program_;
  const RunOptions& options_;
  const std::int64_t first_, ranks_;
  const bool agreed_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> decisions_;
  bool stopped_ = false;
  std::optional<std::int64_t> cancelled_at_;
  std::vector<StepTotals> steps_;
  std::exception_ptr failure_;
  std::int64_t failed_rank_ = -1;
  std::int64_t left_ = 0;
  std::map<std::int64_t, std::vector<StepRecord>> wanted_;                   // by step, and by rank
  std::optional<Clock::time_point> next_record_ = Clock::time_point::min();  // nothing: none are wanted
};

}  // namespace orrery::executor
