#include "sim/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "core/error.h"

namespace orrery::sim {
namespace {

constexpr std::uint32_t kAnyNumber = UINT32_MAX;

}  // namespace

Engine::Engine(const Machine& machine, std::int64_t max_periods, std::uint64_t shuffle, Cancel cancel)
    : machine_(machine), max_periods_(std::max<std::int64_t>(1, max_periods)), shuffle_(shuffle), cancel_(cancel) {
  // Without a clock, ranks stay within one period of each other: the one before (to compare with), the current one and the next.
  window_ = machine_.shared ? static_cast<std::size_t>(max_periods_) : std::min<std::size_t>(3, static_cast<std::size_t>(max_periods_));
  if (machine_.shared) {
    // Whoever could arrive must have said so before the clock passes that time.
    limit_ = max_periods_;
    lookahead_ = kAnyNumber;
  }
  channels_.resize(machine_.channels);
  for (const std::uint32_t size : machine_.meeting_size) {
    meetings_.emplace_back();
    meetings_.back().size = size;
  }
  nodes_.resize(machine_.nodes);
  encounters_.resize(window_ + 2);
  const auto periods = static_cast<std::size_t>(max_periods_) + 2;
  remaining_.assign(periods, static_cast<std::uint32_t>(machine_.ranks.size()));
  ends_.assign(periods, 0);
  ranks_.resize(machine_.ranks.size());
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    cancel_.check();
    const LoweredRole& layout = role(r);
    Rank& rank = ranks_[r];
    const std::size_t records = window_ * layout.body + layout.prologue + layout.epilogue;
    rank.finishes = std::make_unique_for_overwrite<std::int64_t[]>(records);  // storage of periods that never run is never touched
    if (machine_.shared) rank.starts = std::make_unique_for_overwrite<std::int64_t[]>(records);
    rank.times.assign(layout.slots, 0);
    rank.owner.assign(layout.slots, kNoRecord);
    rank.streams.resize(machine_.streams);
    rank.sequence.assign(machine_.ranks[r].links.size(), 0);
    rank.unresolved.assign(window_ + 2, 0);
    rank.ends.assign(periods, 0);
    rank.host_at_start.assign(window_ + 2, 0);
    rank.base = static_cast<std::uint32_t>(window_) * layout.body;
  }
}

std::size_t Engine::slot_of(const LoweredRole& layout, std::uint32_t record) const {
  if (record < window_ * layout.body) return record / layout.body;
  return record < window_ * layout.body + layout.prologue ? window_ : window_ + 1;
}

std::uint32_t Engine::position_of(std::uint32_t r, std::uint32_t record) const {
  return record < window_ * role(r).body ? record % role(r).body : kNoRecord;
}

std::int64_t Engine::period_of(std::uint32_t r, std::uint32_t record) const {
  const std::size_t at = slot_of(role(r), record);
  for (std::int64_t p = begun_; p >= 0; --p)
    if (slot(p) == at) return p;
  return -1;
}

std::uint64_t Engine::random() {  // SplitMix64 (Steele, Lea, Flood 2014)
  std::uint64_t z = shuffle_ += 0x9e3779b97f4a7c15U;
  z = (z ^ z >> 30U) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27U) * 0x94d049bb133111ebU;
  return z ^ z >> 31U;
}

// --- The whole run -------------------------------------------------------------------------------------------------------------------------------

void Engine::run() {
  enqueue_all();
  for (;;) {
    run_worklist();
    if (period_done()) {
      const std::int64_t p = periods_++;
      const auto close = [&](std::int64_t period) {
        for (const Rank& rank : ranks_)
          ends_[static_cast<std::size_t>(period + 1)] =
              std::max(ends_[static_cast<std::size_t>(period + 1)], rank.ends[static_cast<std::size_t>(period + 1)]);
      };
      if (p == 0) close(-1);
      close(p);
      steady_ = p > 0 && end(p) - end(p - 1) == end(p - 1) - end(p - 2) && alike(p);
      if (steady_ || periods_ == max_periods_) return;
      if (!machine_.shared) {
        limit_ = periods_;
        enqueue_all();
      }
    } else if (machine_.shared ? !step_clock() : !look_further()) {
      explain_deadlock();
    }
  }
}

// Every instruction of the period ran exactly one period later than before, and no host falls behind.
bool Engine::alike(std::int64_t period) const {
  const std::int64_t shift = end(period) - end(period - 1);
  const auto shared = [](const Step& s) { return s.kind == StepKind::shared_work || s.kind == StepKind::inline_shared; };
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    cancel_.check();
    const Rank& rank = ranks_[r];
    const std::int64_t *now = finishes(r, period), *before = finishes(r, period - 1);
    std::int64_t different = 0;
    for (std::uint32_t i = 0; i < role(r).body; ++i) different |= now[i] - before[i] - shift;
    if (machine_.shared) {
      now = starts(r, period);
      before = starts(r, period - 1);
      for (std::uint32_t i = 0; i < role(r).body; ++i)
        if (shared(role(r).steps[locate(role(r), i).step])) different |= now[i] - before[i] - shift;
    }
    if (different != 0) return false;
    // A host that runs further and further ahead changes nothing: it already waited for nobody.
    if (rank.host_at_start[slot(period)] - rank.host_at_start[slot(period - 1)] > shift) return false;
  }
  return true;
}

// Nobody can go on with what is known: issue beyond the instructions that wait; then, into the next period.
bool Engine::look_further() {
  for (const std::uint32_t much : {64U, 4096U, kAnyNumber}) {
    const std::uint64_t before = progress_;
    lookahead_ = much;
    enqueue_all();
    run_worklist();
    lookahead_ = 0;
    if (progress_ != before || period_done()) return true;
  }
  if (limit_ > periods_) return false;
  ++limit_;
  enqueue_all();
  return true;
}

void Engine::enqueue(std::uint32_t r) {
  Rank& rank = ranks_[r];
  if (rank.running) {
    rank.dirty = true;
  } else if (!rank.queued) {
    rank.queued = true;
    worklist_.push_back(r);
  }
}

void Engine::enqueue_all() {
  for (std::uint32_t r = static_cast<std::uint32_t>(ranks_.size()); r-- > 0;)
    if (!ranks_[r].finished) enqueue(r);
}

void Engine::run_worklist() {
  while (!worklist_.empty()) {
    if (shuffle_ != 0) std::swap(worklist_[random() % worklist_.size()], worklist_.back());
    cancel_.check();
    const std::uint32_t r = worklist_.back();
    worklist_.pop_back();
    ranks_[r].queued = false;
    run_rank(r);
  }
}

// --- One rank ------------------------------------------------------------------------------------------------------------------------------------

void Engine::run_rank(std::uint32_t r) {
  Rank& rank = ranks_[r];
  rank.running = true;
  do {
    rank.dirty = false;
    if (rank.waiting > 0) drain(r);
    advance(r);
  } while (rank.dirty);
  rank.running = false;
}

void Engine::advance(std::uint32_t r) {
  Rank& rank = ranks_[r];
  const program::Role& lists = *role(r).role;
  while (!rank.finished) {
    if (rank.between) {
      if (rank.period + 1 > limit_) return;
      begin(r, rank.period + 1);
    }
    const auto& list = rank.period < 0 ? lists.prologue : rank.period < max_periods_ ? lists.body : lists.epilogue;
    if (!issue_list(r, list)) return;
    end_list(r);
  }
}

// The first part of the records that holds no period still needed: the last complete one and all after it.
void Engine::assign_slot(std::int64_t period) {
  std::size_t free = 0;
  for (std::int64_t p = std::max<std::int64_t>(0, periods_ - 1); p < period; ++p)
    if (slots_[static_cast<std::size_t>(p)] == free) {
      ++free;
      p = std::max<std::int64_t>(0, periods_ - 1) - 1;
    }
  assert(free < window_);
  slots_.push_back(free);
}

void Engine::begin(std::uint32_t r, std::int64_t period) {
  Rank& rank = ranks_[r];
  const LoweredRole& layout = role(r);
  if (period > begun_) {
    begun_ = period;
    if (period < max_periods_) assign_slot(period);
    encounters_[slot(period)].clear();
  }
  rank.between = false;
  rank.period = period;
  rank.pass = rank.step = 0;
  rank.base = period < max_periods_ ? static_cast<std::uint32_t>(slot(period)) * layout.body
                                    : static_cast<std::uint32_t>(window_) * layout.body + layout.prologue;
  rank.host_at_start[slot(period)] = rank.host;
}

void Engine::end_list(std::uint32_t r) {
  Rank& rank = ranks_[r];
  std::int64_t& end = rank.ends[static_cast<std::size_t>(rank.period + 1)];
  for (std::size_t s = 0; s < rank.streams.size(); ++s) end = std::max(end, rank.times[s] == kUnknown ? rank.streams[s].done : rank.times[s]);
  rank.between = true;
  if (rank.period == max_periods_) rank.finished = true;
  if (rank.unresolved[slot(rank.period)] == 0) complete(r, rank.period);
}

void Engine::complete(std::uint32_t, std::int64_t period) { --remaining_[static_cast<std::size_t>(period + 1)]; }

// Issues from where the rank stands to the end of the list. False: it stands again.
bool Engine::issue_list(std::uint32_t r, const std::vector<program::PassInstance>& list) {
  Rank& rank = ranks_[r];
  const LoweredRole& layout = role(r);
  const program::PassTemplate* const passes = layout.role->passes.data();
  const StepDependency* const dependencies = layout.dependencies.data();
  std::int64_t* const times = rank.times.data();
  std::int64_t host = rank.host;
  std::uint32_t lookahead = lookahead_;
  if (host == kUnknown) return false;
  for (; rank.pass < list.size(); ++rank.pass) {
    cancel_.check();
    const program::PassInstance instance = list[rank.pass];
    const program::PassTemplate& pass = passes[instance.pass];
    const Step* const first = layout.steps.data() + pass.first;
    const Step* const last = first + pass.count;
    std::int64_t* const finishes = rank.finishes.get() + rank.base;
    std::int64_t* out = finishes + rank.step;
    const auto stand = [&](const Step* step) {
      rank.step = static_cast<std::uint32_t>(step - first);
      rank.host = host;
      return false;
    };
    for (const Step* step = first + rank.step; step != last; ++step, ++out) {
      const std::int64_t issued = host + step->issue;
      const std::uint16_t microbatch = step->second ? instance.second : instance.microbatch;
      std::int64_t ready = std::max(issued, times[step->stream]);
      for (const StepDependency *d = dependencies + step->dependencies, *end = d + step->dependency_count; d != end; ++d)
        ready = std::max(ready, d->local ? finishes[d->index] : times[d->index + (microbatch & d->mask)]);
      if (step->kind == StepKind::work && ready != kUnknown) [[likely]] {
        const std::int64_t finish = ready + step->duration;
        *out = finish;
        times[step->stream] = finish;
        times[step->signal + (microbatch & step->signal_mask)] = finish;
        host = issued;
        continue;
      }
      switch (step->kind) {
        case StepKind::host_wait: {
          // Waits for nothing but its dependencies; its stream goes on.
          ready = issued;
          for (const StepDependency *d = dependencies + step->dependencies, *end = d + step->dependency_count; d != end; ++d)
            ready = std::max(ready, d->local ? finishes[d->index] : times[d->index + (microbatch & d->mask)]);
          if (ready == kUnknown) return stand(step);
          *out = ready;
          times[step->signal + (microbatch & step->signal_mask)] = ready;
          host = ready;
          continue;
        }
        case StepKind::inline_work: {
          if (ready == kUnknown) return stand(step);
          const std::int64_t finish = ready + step->duration;
          *out = finish;
          times[step->stream] = finish;
          times[step->signal + (microbatch & step->signal_mask)] = finish;
          host = finish;
          continue;
        }
        case StepKind::inline_shared:
          if (ready == kUnknown) return stand(step);
          break;
        case StepKind::work:
        case StepKind::shared_work:
        case StepKind::meet:
        case StepKind::send:
        case StepKind::recv:
          if (ready == kUnknown) {
            if (lookahead == 0) return stand(step);
            --lookahead;
            queue_up(r, *step, static_cast<std::uint32_t>(step - layout.steps.data()), rank.base + static_cast<std::uint32_t>(out - finishes),
                     microbatch, issued);
            host = issued;
            continue;
          }
          break;
      }
      const std::uint32_t record = rank.base + static_cast<std::uint32_t>(out - finishes);
      const std::uint32_t sequence = next_sequence(r, *step);
      mark_unknown(rank, *step, record, microbatch, slot(rank.period));
      host = issued;
      rank.streams[step->stream].busy = true;
      if (step->kind == StepKind::inline_shared) {
        host = kUnknown;
        rank.host_owner = record;
      }
      start(r, static_cast<std::uint32_t>(step - layout.steps.data()), record, microbatch, ready, sequence);
      if (host == kUnknown) return stand(step + 1);
    }
    rank.base += pass.count;
    rank.step = 0;
  }
  rank.host = host;
  return true;
}

void Engine::mark_unknown(Rank& rank, const Step& step, std::uint32_t record, std::uint16_t microbatch, std::size_t period_slot) {
  rank.finishes[record] = kUnknown;
  const auto give = [&](std::size_t at) {
    rank.times[at] = kUnknown;
    rank.owner[at] = record;
  };
  if (rank.times[step.stream] != kUnknown) rank.streams[step.stream].done = rank.times[step.stream];
  give(step.stream);
  give(step.signal + (microbatch & step.signal_mask));
  ++rank.unresolved[period_slot];
}

// Meetings are counted in issue order, whenever their members come to be ready.
std::uint32_t Engine::next_sequence(std::uint32_t r, const Step& step) {
  switch (step.kind) {
    case StepKind::send:
      return channels_[machine_.ranks[r].links[step.link]].issued[0]++;
    case StepKind::recv:
      return channels_[machine_.ranks[r].links[step.link]].issued[1]++;
    case StepKind::meet:
      return ranks_[r].sequence[step.link]++;
    default:
      return 0;
  }
}

void Engine::queue_up(std::uint32_t r, const Step& step, std::uint32_t step_index, std::uint32_t record, std::uint16_t microbatch,
                      std::int64_t host) {
  Rank& rank = ranks_[r];
  if (rank.waiting == 0) rank.awaited.clear();
  Waiting w{.record = record,
            .step = step_index,
            .sequence = next_sequence(r, step),
            .microbatch = microbatch,
            .first = static_cast<std::uint32_t>(rank.awaited.size()),
            .count = 0,
            .ready = host};
  const LoweredRole& layout = role(r);
  for (std::uint32_t k = step.dependencies; k < step.dependencies + step.dependency_count; ++k) {
    const StepDependency& d = layout.dependencies[k];
    const std::uint32_t at = d.index + (microbatch & d.mask);
    const std::int64_t time = d.local ? rank.finishes[rank.base + d.index] : rank.times[at];
    if (time == kUnknown) {
      rank.awaited.push_back(d.local ? rank.base + d.index : rank.owner[at]);
      ++w.count;
    } else {
      w.ready = std::max(w.ready, time);
    }
  }
  mark_unknown(rank, step, record, microbatch, slot(rank.period));
  rank.streams[step.stream].queue.push_back(w);
  ++rank.waiting;
}

// Starts whatever waits at the head of a free stream and has all that it waited for.
void Engine::drain(std::uint32_t r) {
  Rank& rank = ranks_[r];
  for (bool again = true; again;) {
    again = false;
    for (Stream& stream : rank.streams) {
      while (!stream.empty() && !stream.busy) {
        Waiting w = stream.queue[stream.head];
        w.ready = std::max(w.ready, stream.done);
        for (std::uint32_t k = w.first; k < w.first + w.count; ++k) w.ready = std::max(w.ready, rank.finishes[rank.awaited[k]]);
        if (w.ready == kUnknown) break;
        if (++stream.head == stream.queue.size()) {
          stream.queue.clear();
          stream.head = 0;
        }
        --rank.waiting;
        again = true;
        const Step& step = role(r).steps[w.step];
        stream.busy = true;
        if (step.kind == StepKind::work)
          resolve({.rank = r, .record = w.record, .step = w.step, .microbatch = w.microbatch, .ready = w.ready}, w.ready, w.ready + step.duration);
        else
          start(r, w.step, w.record, w.microbatch, w.ready, w.sequence);
      }
    }
  }
}

// --- Meetings and shared work --------------------------------------------------------------------------------------------------------------------

Engine::Appointment& Engine::Calendar::at(std::uint32_t sequence) {
  for (;;) {
    Appointment& a = ring[sequence & (ring.size() - 1)];
    if (a.arrived == 0) {
      a.sequence = sequence;
      a.duration = 0;
      a.members.clear();
      return a;
    }
    if (a.sequence == sequence) return a;
    std::vector<Appointment> larger(2 * ring.size());
    for (Appointment& b : ring)
      if (b.arrived > 0) larger[b.sequence & (larger.size() - 1)] = std::move(b);
    ring = std::move(larger);
  }
}

// All that the instruction waits for on its own rank is there at `ready`.
void Engine::start(std::uint32_t r, std::uint32_t step_index, std::uint32_t record, std::uint16_t microbatch, std::int64_t ready,
                   std::uint32_t sequence) {
  const Step& step = role(r).steps[step_index];
  const Member me{.rank = r, .record = record, .step = step_index, .microbatch = microbatch, .ready = ready};
  if (step.kind == StepKind::shared_work || step.kind == StepKind::inline_shared) {
    schedule(ready, step.duration, {&me, 1});
    return;
  }
  const bool point_to_point = step.kind != StepKind::meet;
  const std::uint32_t link = machine_.ranks[r].links[step.link];
  Calendar& calendar = point_to_point ? channels_[link] : meetings_[link];
  Appointment& a = calendar.at(sequence);
  a.duration = std::max(a.duration, step.duration);
  a.members.push_back(me);
  if (++a.arrived < calendar.size) return;
  a.arrived = 0;
  meet(a.members, a.duration, point_to_point);
}

void Engine::meet(std::vector<Member>& members, std::int64_t duration, bool point_to_point) {
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) { return a.rank < b.rank; });
  const Member* last = &members[0];
  for (const Member& m : members)
    if (m.ready > last->ready) last = &m;
  for (const Member& m : members) {
    const Member* partner = !point_to_point ? last : &m == &members[0] ? &members[1] : &members[0];
    encounters_[slot_of(role(m.rank), m.record)].push_back({.rank = m.rank,
                                                            .record = m.record,
                                                            .partner_rank = partner->rank,
                                                            .partner_record = partner->record,
                                                            .ready = m.ready,
                                                            .start = last->ready});
  }
  const std::int64_t at = last->ready;
  if (std::any_of(members.begin(), members.end(), [&](const Member& m) { return role(m.rank).steps[m.step].shared; })) {
    schedule(at, duration, members);
  } else {
    for (const Member& m : members) resolve(m, at, at + duration);
  }
}

void Engine::resolve(const Member& m, std::int64_t start, std::int64_t finish) {
  Rank& rank = ranks_[m.rank];
  const LoweredRole& layout = role(m.rank);
  const Step& step = layout.steps[m.step];
  rank.finishes[m.record] = finish;
  if (machine_.shared) rank.starts[m.record] = start;
  const auto take = [&](std::size_t at) {
    if (rank.times[at] == kUnknown && rank.owner[at] == m.record) rank.times[at] = finish;
  };
  take(step.stream);
  take(step.signal + (m.microbatch & step.signal_mask));
  rank.streams[step.stream].done = finish;
  rank.streams[step.stream].busy = false;
  if (rank.host == kUnknown && rank.host_owner == m.record) rank.host = finish;
  ++progress_;
  const std::size_t in = slot_of(layout, m.record);
  // The period that the record's slot holds now: at most `window_` before the one being issued.
  std::int64_t period = rank.period;
  while (slot(period) != in) --period;
  rank.ends[static_cast<std::size_t>(period + 1)] = std::max(rank.ends[static_cast<std::size_t>(period + 1)], finish);
  if (--rank.unresolved[in] == 0 && (period < rank.period || rank.between)) complete(m.rank, period);
  enqueue(m.rank);
}

void Engine::schedule(std::int64_t start, std::int64_t duration, std::span<const Member> members) {
  std::uint32_t id = static_cast<std::uint32_t>(operations_.size());
  if (free_operations_.empty()) {
    operations_.emplace_back();
  } else {
    id = free_operations_.back();
    free_operations_.pop_back();
  }
  Operation& o = operations_[id];
  o.start = o.finish = start;
  o.duration = duration;
  o.parts = 0;
  o.members.assign(members.begin(), members.end());
  assert(start >= now_);
  push({.time = start, .id = id, .version = 0, .arrival = true});
}

// --- The clock -----------------------------------------------------------------------------------------------------------------------------------

void Engine::push(const Change& change) {
  heap_.push_back(change);
  std::push_heap(heap_.begin(), heap_.end(), [](const Change& a, const Change& b) { return a.time > b.time; });
}

bool Engine::step_clock() {
  const auto later = [](const Change& a, const Change& b) { return a.time > b.time; };
  const auto outdated = [&](const Change& c) { return !c.arrival && activities_[c.id].version != c.version; };
  const auto pop = [&] {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    const Change c = heap_.back();
    heap_.pop_back();
    return c;
  };
  while (!heap_.empty() && outdated(heap_.front())) pop();
  if (heap_.empty()) return false;
  now_ = heap_.front().time;
  std::vector<Change> batch;
  cancel_.check();
  while (!heap_.empty() && heap_.front().time == now_) {
    batch.clear();
    while (!heap_.empty() && heap_.front().time == now_)
      if (const Change c = pop(); !outdated(c)) batch.push_back(c);
    if (shuffle_ != 0)
      for (std::size_t i = batch.size(); i > 1; --i) std::swap(batch[i - 1], batch[random() % i]);
    for (const Change& c : batch)
      if (!c.arrival) depart(c.id);
    for (const Change& c : batch)
      if (c.arrival) arrive(c.id);
    run_worklist();
  }
  set_rates();
  return true;
}

void Engine::arrive(std::uint32_t operation) {
  Operation& o = operations_[operation];
  for (const Member& m : o.members) {
    const LoweredRole& layout = role(m.rank);
    if (!layout.steps[m.step].shared) {
      o.finish = o.start + o.duration;
      continue;
    }
    std::uint32_t id = static_cast<std::uint32_t>(activities_.size());
    if (free_activities_.empty()) {
      activities_.emplace_back();
    } else {
      id = free_activities_.back();
      free_activities_.pop_back();
    }
    const SimulatedRank& who = machine_.ranks[m.rank];
    Activity& a = activities_[id];
    a.left = static_cast<unsigned __int128>(o.duration) << kRateBits;
    a.since = now_;
    a.rate = 0;
    a.demand = {.cores = layout.shares[m.step].cores, .memory = layout.shares[m.step].memory, .weight = who.weight_on_node};
    a.operation = operation;
    a.node = who.node;
    Node& node = nodes_[who.node];
    a.place = static_cast<std::uint32_t>(node.active.size());
    node.active.push_back(id);
    node.changed = true;
    ++o.parts;
  }
}

void Engine::depart(std::uint32_t activity) {
  Activity& a = activities_[activity];
  Node& node = nodes_[a.node];
  node.changed = true;
  node.active[a.place] = node.active.back();
  activities_[node.active.back()].place = a.place;
  node.active.pop_back();
  ++a.version;
  free_activities_.push_back(activity);
  Operation& o = operations_[a.operation];
  o.finish = std::max(o.finish, now_);
  if (--o.parts > 0) return;
  for (const Member& m : o.members) resolve(m, o.start, o.finish);
  free_operations_.push_back(a.operation);
}

void Engine::set_rates() {
  for (Node& node : nodes_) {
    if (!node.changed) continue;
    node.changed = false;
    demands_.clear();
    for (const std::uint32_t id : node.active) demands_.push_back(&activities_[id].demand);
    share(machine_.cores, demands_);
    for (const std::uint32_t id : node.active) {
      Activity& a = activities_[id];
      if (a.demand.rate == a.rate) continue;
      a.left -= static_cast<unsigned __int128>(a.rate) * static_cast<std::uint64_t>(now_ - a.since);
      a.since = now_;
      a.rate = a.demand.rate;
      ++a.version;
      // At this rate; where that is beyond all time, the rate will rise before.
      const auto needed = std::min<unsigned __int128>((a.left + a.rate - 1) / a.rate, static_cast<std::uint64_t>(kUnknown - 1 - now_));
      push({.time = now_ + static_cast<std::int64_t>(needed), .id = id, .version = a.version, .arrival = false});
    }
  }
}

// --- When it does not end ------------------------------------------------------------------------------------------------------------------------

void Engine::explain_deadlock() const {
  std::string who;
  std::size_t standing = 0;
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    const Rank& rank = ranks_[r];
    const LoweredRole& layout = role(r);
    if (rank.period < 0 || rank.period >= max_periods_) continue;
    // The oldest instruction that has not ended, or else the one at which the rank stands.
    const std::uint32_t begin = static_cast<std::uint32_t>(slot(rank.period)) * layout.body;
    std::uint32_t at = begin;
    const std::uint32_t reached = rank.between ? begin + layout.body : rank.base + rank.step;
    while (at < reached && rank.finishes[at] != kUnknown) ++at;
    if (at - begin >= layout.body) continue;
    if (++standing > 4) continue;
    const Position p = locate(layout, at - begin);
    const program::PassInstance instance = layout.role->body[p.pass];
    who += fmt::format("{}rank {} ({}) waits at instruction {} ({}) of '{}', micro-batch {}", who.empty() ? "" : "; ", machine_.ranks[r].rank,
                       layout.role->name, p.instruction, program::name(layout.role->instructions[p.step].op), layout.role->passes[instance.pass].name,
                       instance.of(layout.role->instructions[p.step]));
  }
  if (standing > 4) who += fmt::format("; and {} more", standing - 4);
  throw Error{"program", "its ranks wait for each other for ever: " + who, "check the program: a deadlock is named there with its cycle"};
}

}  // namespace orrery::sim
