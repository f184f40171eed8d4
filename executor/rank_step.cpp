// A rank's steps: its passes, instruction by instruction or as one recorded piece of work, and when everything took place.
#include <algorithm>
#include <cstring>

#include "executor/rank.h"

namespace orrery::executor {

using program::Access;
using program::Instruction;
using program::Lifetime;
using program::Opcode;

void RankRunner::run_pass(const program::PassInstance& instance, std::uint32_t index) {
  const program::PassTemplate& pass = role_.passes[instance.pass];
  pass_step_ = step_ + instance.ahead;
  StepRecord& record = records_.back();
  results_.assign(pass.count, {});
  for (std::uint32_t i = 0; i < pass.count; ++i) {
    const Instruction& in = role_.instructions[pass.first + i];
    const std::span<const Access> accesses(role_.accesses.data() + in.accesses, in.access_count);
    const std::uint16_t microbatch = instance.of(in);
    gather_needs(in, microbatch);
    const std::int64_t live_before = live_;
    for (const Access& a : accesses)
      if (a.first) allocate(a.buffer, microbatch);
    if (live_ != live_before) sample_memory(record);

    Span span;
    span.rank = static_cast<std::uint32_t>(rank_);
    span.kind = 2 * program_.shape_of(in, coordinates_) + (in.flags & program::kOptimizer && in.opcode == Opcode::compute ? 1U : 0U);
    span.pass = index;
    span.instruction = static_cast<std::uint16_t>(i);
    span.stream = in.stream;
    span.layer = in.layer;
    span.microbatch = microbatch;
    span.recompute = in.flags & program::kRecompute;
    if (program::is_communication(in.op)) {
      results_[i] = last_on_stream_[in.stream] = communicate(in, microbatch);
      if (timed_) pending_.communication.emplace_back(static_cast<std::uint32_t>(record.spans.size()), results_[i].ticket);
      if (timed_) record.spans.push_back(span);
    } else if (is_wait(in) && in.opcode == Opcode::wait && in.stream != program::kComputeStream) {
      auto& later = stream_needs_[in.stream];
      later.insert(later.end(), needs_.begin(), needs_.end());
    } else if (!immediate_) {
      span.stream = program::kComputeStream;
      results_[i] = enqueue(in, microbatch, static_cast<std::uint32_t>(record.spans.size()), marked_[pass.first + i]);
      if (timed_) record.spans.push_back(span);
    } else {
      block(span);
      const std::int64_t start = now();
      if (!is_wait(in)) compute(in, microbatch);
      const std::int64_t end = is_wait(in) ? start : now();
      span.stream = program::kComputeStream;
      span.start = from_ns(start);
      span.end = from_ns(end);
      span.waited = from_ns(start - compute_free_ns_);
      compute_free_ns_ = end;
      record.spans.push_back(span);
    }
    if (in.signal != program::kNone) events_[first_event_[in.signal] + (role_.events[in.signal].per_microbatch ? microbatch : 0U)] = results_[i];

    const std::int64_t live_now = live_;
    for (const Access& a : accesses)
      if (a.last) release(a.buffer, microbatch);
    if (live_ != live_now) sample_memory(record);
  }
}

void RankRunner::sample_memory(StepRecord& record) {
  if (!timed_) return;
  if (!immediate_) pending_.memory.emplace_back(record.memory.size(), device_->mark());
  record.memory.push_back({from_ns(now()), static_cast<std::uint32_t>(rank_), live_});
}

// Puts into the compute queue what is to run next there, behind what it needs.
RankRunner::Started RankRunner::enqueue(const Instruction& in, std::uint16_t microbatch, std::uint32_t span, bool marked) {
  for (const Started& need : needs_) {
    if (need.ticket.v != 0) device_->wait(communicator_.enqueued(need.ticket));
    if (in.opcode != Opcode::host_wait) continue;
    if (need.ticket.v != 0)
      communicator_.wait(need.ticket);
    else
      device_->reached_ns(need.mark);
  }
  const Mark begin = timed_ ? device_->mark() : nullptr;
  if (!is_wait(in)) compute(in, microbatch);
  const Mark end = timed_ || marked ? device_->mark() : nullptr;
  if (timed_) pending_.compute.push_back({span, begin, end, needs_});
  return {{}, setting_.classes[2 * in.shape], end, ++order_};
}

// Fills in when communication of a recorded step took place, and what a device did.
void RankRunner::take_times(StepRecord& record, Pending& pending) {
  std::int64_t free_ns = record.begin_ns;
  for (const Enqueued& e : pending.compute) {
    Span& span = record.spans[e.span];
    const std::int64_t start = device_->reached_ns(e.begin) - setting_.origin_ns, end = device_->reached_ns(e.end) - setting_.origin_ns;
    span.start = from_ns(start);
    span.end = from_ns(std::max(start, end));
    span.waited = from_ns(std::max<std::int64_t>(0, start - free_ns));
    span.cause = WaitCause::host;
    std::int64_t latest = free_ns;
    for (const Started& need : e.needs) {
      if (need.ticket.v == 0) continue;
      const CommTimes times = communicator_.wait(need.ticket);
      const std::int64_t over = times.end_ns - setting_.origin_ns;
      if (over <= latest) continue;
      latest = over;
      span.cause = wait_cause(need.work);
      span.transfer = from_ns(over - std::max(free_ns, times.arrived_ns - setting_.origin_ns));
    }
    free_ns = std::max(start, end);
  }
  for (const auto& [sample, mark] : pending.memory) record.memory[sample].time = from_ns(device_->reached_ns(mark) - setting_.origin_ns);
  std::vector<std::int64_t> free(program_.streams.size(), record.begin_ns);
  for (const auto& [index, ticket] : pending.communication) {
    const CommTimes times = communicator_.wait(ticket);
    Span& span = record.spans[index];
    const std::int64_t arrived = times.arrived_ns - setting_.origin_ns, end = times.end_ns - setting_.origin_ns;
    span.start = from_ns(arrived);
    span.end = from_ns(end);
    span.waited = from_ns(std::max<std::int64_t>(0, arrived - free[span.stream]));
    span.cause = wait_cause(setting_.classes[span.kind]);
    free[span.stream] = end;
  }
  pending = {};
}

// Whether the update before was right not to clip.
bool RankRunner::validates() const {
  return clip_coefficient(setting_.plan.optimizer.clip, scalar(static_cast<std::uint32_t>(role_.validated_norm))) == 1;
}

// Leaves nothing of the passes since the step began, and makes the update of step `update` again. Whatever they sent has been received.
void RankRunner::redo(std::int64_t update) {
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) communicator_.wait(s.ticket);
  StepRecord& record = records_.back();
  for (std::uint32_t i = 0; i < role_.buffers.size(); ++i) {
    const program::Buffer& b = role_.buffers[i];
    if (b.alias >= 0 || b.lifetime == Lifetime::persistent) continue;
    for (std::size_t k = 0; k < program_.instances(b); ++k)
      if (program::Arena::Block& block = blocks_[first_slot_[i] + k]; block.offset >= 0) {
        arena_.release(block);
        block.offset = -1;
        live_ -= b.bytes * b.versions;
      }
  }
  sample_memory(record);
  // No pass of the step has its spans, nor those of what will be run again: the compute stream waits for all that.
  const bool anew = update < step_;
  const std::size_t spans = anew ? 0 : record.spans.size(), open = anew ? 0 : pending_.communication.size(),
                    queued = anew ? 0 : pending_.compute.size();
  const std::int64_t free = anew ? record.begin_ns : compute_free_ns_, current = step_;
  step_ = update;
  run_pass({role_.redo, 0}, 0);
  step_ = current, compute_free_ns_ = free;
  record.spans.resize(spans), pending_.communication.resize(open), pending_.compute.resize(queued);
  ++redone_;
}

void RankRunner::run_passes(bool last) {
  if (static_) {
    const std::int64_t update = step_ + 1;
    device_->upload(step_at_, &update, sizeof(update));
  }
  if (step_ == 0)
    for (const program::PassInstance& p : role_.prologue) run_pass(p, 0);
  const std::vector<program::PassInstance>& passes = last && !role_.epilogue.empty() ? role_.epilogue : role_.body;
  bool warm = false;
  for (std::uint32_t i = 0; i < passes.size(); ++i) {
    run_pass(passes[i], i);
    if (role_.validation == program::kNone || passes[i].pass != role_.validation) continue;
    // A step's first validation is of the update before, which step 0 does not have; the last step has one more, of its own.
    if ((warm || step_ > 0) && !validates()) {
      redo(warm ? step_ : step_ - 1);  // of an earlier step: all that this one has done is void
      for (std::uint32_t again = 0; !warm && again < i; ++again) run_pass(passes[again], again);
    }
    warm = true;
  }
}

// Nothing of the steps before is left to wait for: what is recorded and what is not cannot wait for one another.
void RankRunner::settle() {
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) communicator_.wait(s.ticket);
  std::fill(events_.begin(), events_.end(), Started{});
  std::fill(last_on_stream_.begin(), last_on_stream_.end(), Started{});
  for (std::vector<Started>& needs : stream_needs_) needs.clear();
}

void RankRunner::record_step(bool last) {
  settle();
  device_->begin_recording();
  run_passes(last);
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) device_->wait(communicator_.enqueued(s.ticket));
  recording_ = device_->end_recording();
  std::fill(last_on_stream_.begin(), last_on_stream_.end(), Started{});
  settle();
}

// Runs the recorded step, with this step's number and tokens.
void RankRunner::replay() {
  settle();
  std::size_t source = 0;
  const std::int64_t update = step_ + 1;
  std::memcpy(recording_->source(source++), &update, sizeof(update));
  pass_step_ = step_;
  for (const program::PassInstance& instance : role_.body) {
    const program::PassTemplate& pass = role_.passes[instance.pass];
    for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
      const Instruction& in = role_.instructions[i];
      if (!is_load(in)) continue;
      find_tokens(in, instance.of(in));
      std::memcpy(recording_->source(source++), tokens_.data(), tokens_.size() * sizeof(tokens_.front()));
    }
  }
  device_->replay(*recording_);
  ++replayed_;
}

void RankRunner::step(std::int64_t number, bool last) {
  step_ = number;
  StepRecord& record = records_.emplace_back();
  if (records_.size() > 1) {
    record.spans.reserve(records_[records_.size() - 2].spans.size());
    record.memory.reserve(records_[records_.size() - 2].memory.size());
  }
  record.step = number;
  record.begin_ns = compute_free_ns_ = now();
  record.timed = timed_ = immediate_ || is_timed(number, setting_.options);
  sample_memory(record);
  if (static_ && !recording_ && records_.size() > 1 && !timed_) record_step(last);  // the first step here has let the kernels choose how they work
  if (recording_ && !timed_)
    replay();
  else
    run_passes(last);
  device_->synchronise();
  record.end_ns = now();
  measured_.beside = device_->beside();
  if (records_.size() > 1) take_times(records_[records_.size() - 2], pending_before_);
  std::swap(pending_, pending_before_);
  timed_records_ += timed_ ? 1 : 0;
  for (; timed_records_ > setting_.records_kept; --timed_records_) {
    const auto oldest = std::find_if(records_.begin(), records_.end(), [](const StepRecord& r) { return r.timed; });
    *oldest = {oldest->step, oldest->begin_ns, oldest->end_ns, false, {}, {}};
  }
}

void RankRunner::finish() {
  if (!records_.empty()) take_times(records_.back(), pending_before_);
  for (const Started& s : last_on_stream_)
    if (s.ticket.v != 0) communicator_.wait(s.ticket);
}

}  // namespace orrery::executor
