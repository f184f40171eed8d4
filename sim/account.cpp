#include "sim/account.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <set>
#include <tuple>

#include "core/error.h"
#include "program/memory.h"

namespace orrery::sim {
namespace {

constexpr std::uint32_t kHost = 1U << 31U;
constexpr std::uint32_t kNobody = kHost - 1;

bool meets(const Step& s) { return s.kind == StepKind::meet || s.kind == StepKind::send || s.kind == StepKind::recv; }

std::uint64_t mix(std::uint64_t z) {  // SplitMix64's finaliser (Steele, Lea, Flood 2014)
  z = (z ^ z >> 30U) * 0xbf58476d1ce4e5b9U;
  z = (z ^ z >> 27U) * 0x94d049bb133111ebU;
  return z ^ z >> 31U;
}

}  // namespace

Account::Account(const Machine& machine, const Engine& engine, Cancel cancel)
    : machine_(machine), engine_(engine), cancel_(cancel), period_(engine.periods() - 1) {
  ranks_.resize(machine.ranks.size());
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    RankView& v = ranks_[r];
    v.role = &machine.roles[machine.ranks[r].role];
    v.n = v.role->body;
    for (const std::size_t which : {std::size_t{0}, std::size_t{1}}) {
      const std::int64_t p = period_ - 1 + static_cast<std::int64_t>(which);
      if (p < 0) continue;
      v.finishes[which] = engine.finishes(r, p);
      v.starts[which] = engine.starts(r, p);
    }
    v.issued.resize(2 * std::size_t{v.n});
  }
  find_meetings();
}

void Account::find_meetings() {
  const auto position = [&](std::uint32_t r, std::uint32_t record) {
    const std::uint32_t p = engine_.position_of(r, record);
    if (p == kNoRecord) return kNoRecord;
    const std::int64_t period = engine_.period_of(r, record);
    return period == period_ ? p + ranks_[r].n : period == period_ - 1 ? p : kNoRecord;
  };
  for (std::int64_t p = std::max<std::int64_t>(0, period_ - 1); p <= period_; ++p)
    for (const Encounter& e : engine_.encounters(p)) {
      const std::uint32_t at = position(e.rank, e.record);
      if (at == kNoRecord) continue;
      ranks_[e.rank].met.push_back({.position = at,
                                    .partner_rank = e.partner_rank,
                                    .partner = position(e.partner_rank, e.partner_record),
                                    .ready = e.ready,
                                    .start = e.start});
    }
  for (RankView& v : ranks_) {
    cancel_.check();
    std::sort(v.met.begin(), v.met.end(), [](const Met& a, const Met& b) { return a.position < b.position; });
  }
}

const Account::Met* Account::RankView::meeting(std::uint32_t position, const Step& step) const {
  if (!meets(step)) return nullptr;
  const auto at = std::lower_bound(met.begin(), met.end(), position, [](const Met& m, std::uint32_t p) { return m.position < p; });
  return at != met.end() && at->position == position ? &*at : nullptr;
}

std::int64_t Account::RankView::start(std::uint32_t position, const Step& step) const {
  switch (step.kind) {
    case StepKind::work:
    case StepKind::inline_work:
    case StepKind::host_wait:
      return finish(position) - step.duration;
    case StepKind::shared_work:
    case StepKind::inline_shared:
      return position < n ? starts[0][position] : starts[1][position - n];
    case StepKind::meet:
    case StepKind::send:
    case StepKind::recv:
      return meeting(position, step)->start;
  }
  return 0;
}

// Issues the last two periods again. Calls visit(position, step, start, finish, when its stream was free) for the last one, in issue order, after
// `issued` is known for the instruction and all before it.
template <class Visit>
void Account::replay(std::uint32_t r, Visit visit) {
  RankView& view = ranks_[r];
  const LoweredRole& layout = *view.role;
  std::vector<std::uint32_t> latest(layout.slots, kNobody);  // by slot of `times`: the position that wrote it
  std::uint32_t held_by = kNobody;                           // the instruction for which the host waited last
  const auto& body = layout.role->body;
  for (std::int64_t p = std::max<std::int64_t>(0, period_ - 1); p <= period_; ++p) {
    const bool last = p == period_;
    const std::int64_t* const finishes = view.finishes[last ? 1 : 0];
    std::int64_t host = engine_.host_at_start(r, p);
    std::uint32_t base = last ? view.n : 0;
    for (const program::PassInstance& instance : body) {
      cancel_.check();
      const program::PassTemplate& pass = layout.role->passes[instance.pass];
      for (std::uint32_t k = 0; k < pass.count; ++k) {
        const Step& step = layout.steps[pass.first + k];
        const std::uint16_t microbatch = step.second ? instance.second : instance.microbatch;
        const std::uint32_t position = base + k;
        view.issued[position].step = pass.first + k;
        const std::int64_t finish = finishes[position - (last ? view.n : 0)];
        const std::int64_t start = step.kind == StepKind::work ? finish - step.duration : view.start(position, step);
        const bool host_wait = step.kind == StepKind::host_wait;
        const std::uint32_t tail = host_wait ? kNobody : latest[step.stream];
        // Before the first instruction of a stream that we see, it was free since the last period's end at the latest.
        const std::int64_t free = tail == kNobody ? std::min(engine_.end(p - 1), start) : view.finish(tail);
        std::int64_t ready = tail == kNobody ? INT64_MIN : free;
        std::uint32_t decider = tail;
        for (std::uint32_t j = step.dependencies; j < step.dependencies + step.dependency_count; ++j) {
          const StepDependency& d = layout.dependencies[j];
          const std::uint32_t on = d.local ? base + d.index : latest[d.index + (microbatch & d.mask)];
          if (on == kNobody) continue;
          const std::int64_t done = view.finish(on);
          if (done > ready) {
            ready = done;
            decider = on;
          }
        }
        const std::int64_t issued = host + step.issue;
        if (issued > ready) {
          ready = issued;
          decider = kHost | held_by;
        }
        // Something older than what we see decided.
        if (ready < start && !meets(step)) decider = kNobody;
        view.issued[position].decided_by = decider;
        host = issued;
        if (host_wait || step.kind == StepKind::inline_work || step.kind == StepKind::inline_shared) {
          host = finish;
          held_by = position;
        }
        if (!host_wait) latest[step.stream] = position;
        latest[step.signal + (microbatch & step.signal_mask)] = position;
        if (last) visit(position, step, start, finish, free);
      }
      base += pass.count;
    }
  }
}

// Follows, on the rank itself, what decided the start of the instruction, then what decided that one's, back to `from`.
Account::Waits Account::explain_wait(std::uint32_t r, std::uint32_t position, std::int64_t from) const {
  const RankView& view = ranks_[r];
  Waits out;
  std::int64_t t = view.start(position);
  const auto give = [&](WaitCause cause, std::int64_t since, bool transfer) {
    since = std::max(since, from);
    if (since >= t) return;
    auto& part = out.by_cause[static_cast<std::size_t>(cause)];
    part.waited += t - since;
    if (transfer) part.transfer += t - since;
    if (out.cause == WaitCause::none) out.cause = cause;
    t = since;
  };
  std::uint32_t at = position;
  while (t > from) {
    if (const Met* m = view.meeting(at); m != nullptr) give(wait_cause(view.work(at)), m->ready, false);  // it was ready, its peer was not
    std::uint32_t decider = view.issued[at].decided_by;
    if (decider != kNobody && decider & kHost) {
      decider &= ~kHost;
      give(WaitCause::host, decider == kNobody ? from : view.finish(decider), false);
    }
    if (decider == kNobody) {
      give(WaitCause::host, from, false);
      break;
    }
    at = decider;
    const WaitCause cause = wait_cause(view.work(at));
    give(WaitCause::host, view.finish(at), false);  // nothing, unless what decided is older than what we see
    give(cause, view.start(at), is_communication(view.work(at)));
  }
  return out;
}

CriticalPath Account::critical_path(std::int64_t step, std::vector<Link>& chain) const {
  CriticalPath out;
  std::array<std::int64_t, kWorkClasses> by_class{};
  std::int64_t nobody = 0;
  const std::int64_t end = engine_.end(period_), floor = end - step;
  std::uint32_t r = 0, at = kNobody;
  for (std::uint32_t i = 0; i < ranks_.size() && at == kNobody; ++i)
    for (std::uint32_t p = 2 * ranks_[i].n; p-- > ranks_[i].n;)
      if (ranks_[i].finish(p) == end) {
        r = i;
        at = p;
        break;
      }
  std::int64_t t = end;
  const auto give = [&](std::int64_t& to, std::int64_t since) {
    since = std::max(since, floor);
    if (since >= t) return;
    to += t - since;
    t = since;
  };
  while (t > floor) {
    const RankView& view = ranks_[r];
    if (at == kNobody) {
      give(nobody, floor);
      break;
    }
    give(nobody, view.finish(at));
    const std::int64_t before = t;
    give(by_class[static_cast<std::size_t>(view.work(at))], view.start(at));
    if (t < before && at >= view.n) chain.push_back({r, at - view.n});
    if (const Met* m = view.meeting(at); m != nullptr && m->ready < m->start && m->partner != kNoRecord) {
      at = m->partner;
      r = m->partner_rank;
    }
    at = ranks_[r].issued[at].decided_by;
    if (at != kNobody && at & kHost) {
      at &= ~kHost;
      give(nobody, at == kNobody ? floor : ranks_[r].finish(at));
    }
  }
  for (std::size_t c = 0; c < kWorkClasses; ++c)
    if (by_class[c] > 0) out.by_class.emplace_back(static_cast<WorkClass>(c), Picoseconds{by_class[c]});
  std::stable_sort(out.by_class.begin(), out.by_class.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  out.unattributed = Picoseconds{nobody};
  return out;
}

std::uint32_t Account::span_kind(std::uint32_t role, std::uint32_t step, Timeline& out) {
  const LoweredRole& layout = machine_.roles[role];
  const program::Instruction& in = layout.role->instructions[step];
  const WorkClass work = layout.classes[step];
  const bool priced = in.opcode != program::Opcode::wait && in.opcode != program::Opcode::host_wait;
  const auto [at, fresh] =
      kinds_.try_emplace({priced ? shape_of(layout, step) : UINT32_MAX, in.opcode, work}, static_cast<std::uint32_t>(out.kinds.size()));
  if (fresh) {
    SpanKind kind;
    kind.work = work;
    if (priced) {
      const program::Shape& shape = machine_.program->shapes[shape_of(layout, step)];
      const cost::Entry& entry = machine_.cost->entries[shape_of(layout, step)];
      kind.name = program::name(shape.op);
      kind.ideal = entry.ideal;
      kind.flops = program::flops(shape).v;
      kind.bytes = program::is_communication(shape.op) ? shape.bytes : program::traffic(shape).v;
      kind.energy = entry.energy;
      if (entry.source < machine_.cost->sources.size()) kind.source = machine_.cost->sources[entry.source].name;
    } else {
      kind.name = in.opcode == program::Opcode::wait ? "wait" : "host_wait";
    }
    out.kinds.push_back(std::move(kind));
  }
  return at->second;
}

void Account::add_spans(std::uint32_t r, std::int64_t as_rank, Timeline& out, const std::vector<Waits>& waits, std::int64_t origin) {
  const program::Program& program = *machine_.program;
  const LoweredRole& layout = machine_.roles[machine_.ranks[r].role];
  const RankView& view = ranks_[r];
  if (out.ranks.size() <= static_cast<std::size_t>(as_rank)) out.ranks.resize(static_cast<std::size_t>(as_rank) + 1);
  out.ranks[static_cast<std::size_t>(as_rank)] = program::label(program, as_rank);
  std::vector<std::vector<std::uint32_t>> by_stream(program.streams.size());  // positions
  std::vector<Span> spans;
  spans.reserve(view.n);
  for (std::uint32_t i = 0; i < layout.role->body.size(); ++i) {
    cancel_.check();
    const program::PassInstance instance = layout.role->body[i];
    const program::PassTemplate& pass = layout.role->passes[instance.pass];
    for (std::uint32_t k = 0; k < pass.count; ++k) {
      const std::uint32_t position = layout.body_base[i] + k;
      const program::Instruction& in = layout.role->instructions[pass.first + k];
      const Waits& w = waits[position];
      Span span;
      span.start = Picoseconds{view.start(position + view.n) - origin};
      span.end = Picoseconds{view.finish(position + view.n) - origin};
      for (const auto& part : w.by_cause) span.waited.v += part.waited;
      span.transfer = Picoseconds{w.by_cause[static_cast<std::size_t>(w.cause)].transfer};
      span.rank = static_cast<std::uint32_t>(as_rank);
      span.kind = span_kind(machine_.ranks[r].role, pass.first + k, out);
      span.pass = i;
      span.instruction = static_cast<std::uint16_t>(k);
      span.stream = in.stream;
      span.layer = in.layer;
      span.microbatch = instance.of(in);
      span.cause = w.cause;
      span.recompute = (in.flags & program::kRecompute) != 0;
      spans.push_back(span);
      by_stream[in.stream].push_back(position);
      if (in.opcode != program::Opcode::send) continue;
      const Met* m = view.meeting(position + view.n);
      if (m == nullptr || m->partner == kNoRecord || m->partner < ranks_[m->partner_rank].n) continue;
      arrows_.push_back({as_rank, program::peer_of(program, as_rank, in), position, m->partner - ranks_[m->partner_rank].n});
    }
  }
  std::vector<std::uint32_t>& places = places_[as_rank];
  places.resize(spans.size());
  const auto earlier = [&](std::uint32_t a, std::uint32_t b) { return spans[a].start < spans[b].start; };
  for (std::vector<std::uint32_t>& stream : by_stream) {
    if (!std::is_sorted(stream.begin(), stream.end(), earlier)) std::stable_sort(stream.begin(), stream.end(), earlier);
    for (const std::uint32_t position : stream) {
      places[position] = static_cast<std::uint32_t>(out.spans.size());
      out.spans.push_back(spans[position]);
    }
  }
}

void Account::add_memory(std::uint32_t r, std::int64_t as_rank, std::int64_t origin, Timeline& out) const {
  const LoweredRole& layout = machine_.roles[machine_.ranks[r].role];
  const program::MemoryReport report = program::memory(*machine_.program, *layout.role);
  const auto rank = static_cast<std::uint32_t>(as_rank);
  out.memory.push_back({.time = {}, .rank = rank, .bytes = report.at_start});
  std::int64_t time = 0;
  for (const program::MemoryReport::Step& step : report.curve) {
    const std::uint32_t position = layout.body_base[step.pass] + step.instruction + ranks_[r].n;
    time = std::max(time, (step.bytes > out.memory.back().bytes ? ranks_[r].start(position) : ranks_[r].finish(position)) - origin);
    out.memory.push_back({.time = Picoseconds{time}, .rank = rank, .bytes = step.bytes});
  }
}

void Account::add_timeline(const std::vector<std::vector<std::int64_t>>& recorded, const std::vector<std::vector<Waits>>& waits,
                           const std::vector<Link>& critical, std::int64_t origin, Timeline& out) {
  std::vector<std::pair<std::int64_t, std::uint32_t>> in_order;  // rank, and which was simulated in its place
  for (std::uint32_t r = 0; r < ranks_.size(); ++r)
    for (const std::int64_t rank : recorded[r]) in_order.emplace_back(rank, r);
  std::sort(in_order.begin(), in_order.end());
  std::size_t spans = 0;
  for (const auto& [rank, r] : in_order) spans += ranks_[r].n;
  out.spans.reserve(spans);
  for (const auto& [rank, r] : in_order) {
    add_spans(r, rank, out, waits[r], origin);
    add_memory(r, rank, origin, out);
  }
  // Several recorded ranks of one class share the ranks that it stands for.
  out.weights.assign(out.ranks.size(), 0);
  out.all_ranks = machine_.program->ranks();
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    const auto sharing = static_cast<std::int64_t>(recorded[r].size()), weight = machine_.ranks[r].weight;
    for (std::int64_t i = 0; i < sharing; ++i)
      out.weights[static_cast<std::size_t>(recorded[r][static_cast<std::size_t>(i)])] = weight / sharing + (i < weight % sharing ? 1 : 0);
  }
  for (const Arrow& a : arrows_)
    if (const auto to = places_.find(a.to_rank); to != places_.end()) out.flows.push_back({places_.at(a.from_rank)[a.from], to->second[a.to]});
  std::sort(out.flows.begin(), out.flows.end(), [](const Flow& a, const Flow& b) { return a.from < b.from; });
  for (auto link = critical.rbegin(); link != critical.rend(); ++link)
    if (!recorded[link->rank].empty()) out.critical.push_back(places_.at(recorded[link->rank].front())[link->position]);
}

void Account::write(const Options& options, Result& result) {
  const program::Program& program = *machine_.program;
  WaterfallBuilder waterfall{ranks_.size()};
  const std::int64_t origin = engine_.end(period_ - 1);
  // Which ranks to record, and in whose name: one that was folded away did exactly what its representative did.
  std::vector<std::vector<std::int64_t>> recorded(ranks_.size());
  if (options.record) {
    result.timeline.emplace();
    result.timeline->origin = "simulated";
    result.timeline->step = result.step;
    for (const program::StreamDecl& s : program.streams) result.timeline->streams.push_back(s.name);
    std::map<std::int64_t, std::uint32_t> simulated;
    std::map<std::uint32_t, std::uint32_t> representative;
    for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
      simulated.emplace(machine_.ranks[r].rank, r);
      representative.emplace(machine_.ranks[r].role, r);
    }
    if (options.ranks.empty())
      for (std::uint32_t r = 0; r < ranks_.size(); ++r) recorded[r].push_back(machine_.ranks[r].rank);
    for (const std::int64_t rank : std::set<std::int64_t>(options.ranks.begin(), options.ranks.end())) {
      if (rank < 0 || rank >= program.ranks())
        throw Error{"ranks", fmt::format("there is no rank {}: this plan has ranks 0 to {}", rank, program.ranks() - 1)};
      const auto found = simulated.find(rank);
      const std::uint32_t role = lowered_role(program, rank);
      recorded[found != simulated.end() ? found->second : representative.at(role)].push_back(rank);
    }
  }

  result.trace_hash = 0;
  std::int64_t earliest = INT64_MAX;
  std::vector<std::vector<Waits>> waits(ranks_.size());  // by position in the last period, of ranks to record
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    const SimulatedRank& who = machine_.ranks[r];
    const RankView& view = ranks_[r];
    const LoweredRole& layout = *view.role;
    const bool record = !recorded[r].empty();
    if (record) waits[r].resize(view.n);
    // Sums first, so that the waterfall is told once per class. By class, and whether it is recomputation.
    struct Work {
      std::int64_t busy = 0, ideal = 0;
    };
    std::array<std::array<Work, 2>, kWorkClasses> work_done{};
    Waits waited;
    std::uint64_t hash = 0;
    const std::uint64_t key = mix(who.role + 1);
    replay(r, [&](std::uint32_t position, const Step& step, std::int64_t start, std::int64_t finish, std::int64_t free) {
      // Summed, so that the order of ranks does not matter; ranks are known by their stage, so that folding does not either.
      hash += mix((static_cast<std::uint64_t>(start - origin) ^ key) * 0xff51afd7ed558ccdU +
                  static_cast<std::uint64_t>(finish - origin) * 0x9e3779b97f4a7c15U + (std::uint64_t{position} << 8U | step.stream));
      earliest = std::min(earliest, start);
      if (step.kind == StepKind::host_wait) return;  // it delays what is issued after it, and shows there
      const bool computes = step.stream == program::kComputeStream;
      if (start > free && (computes || record)) {
        const Waits w = explain_wait(r, position, free);
        if (record) waits[r][position - view.n] = w;
        if (computes)
          for (std::size_t c = 0; c < w.by_cause.size(); ++c) {
            waited.by_cause[c].waited += w.by_cause[c].waited;
            waited.by_cause[c].transfer += w.by_cause[c].transfer;
          }
      }
      if (!computes || finish == start) return;
      const std::uint32_t index = view.issued[position].step;
      const WorkClass work = layout.classes[index];
      if (is_communication(work)) {  // communication on the compute stream keeps it from computing
        auto& part = waited.by_cause[static_cast<std::size_t>(wait_cause(work))];
        part.waited += finish - start;
        part.transfer += finish - start;
        return;
      }
      const program::Instruction& in = layout.role->instructions[index];
      Work& done = work_done[static_cast<std::size_t>(work)][in.flags & program::kRecompute ? 1 : 0];
      done.busy += finish - start;
      done.ideal += machine_.cost->entries[shape_of(layout, index)].ideal.v;
    });
    for (std::size_t c = 0; c < kWorkClasses; ++c)
      for (const std::size_t again : {0U, 1U}) {
        const Work& done = work_done[c][again];
        if (done.busy > 0)
          waterfall.add(r, static_cast<WorkClass>(c), again == 1, Picoseconds{done.ideal}, Picoseconds{done.busy}, WaitCause::none, {}, {});
      }
    for (std::size_t c = 0; c < waited.by_cause.size(); ++c)
      if (const auto& part = waited.by_cause[c]; part.waited > 0)
        waterfall.add(r, WorkClass::control, false, {}, {}, static_cast<WaitCause>(c), Picoseconds{part.waited}, Picoseconds{part.transfer});
    result.trace_hash += hash * static_cast<std::uint64_t>(who.weight);
    result.simulated_ranks.push_back(who.rank);
    result.weights.push_back(who.weight);
    result.busy.push_back(waterfall.busy(r));
    double energy = 0;
    for (const program::PassInstance& p : layout.role->body) energy += layout.pass_energy[p.pass];
    result.energy.emplace_back(energy);
  }
  result.waterfall = waterfall.finish(result.step, result.weights, program.roles.size() > 1);
  std::vector<Link> chain;
  result.critical_path = critical_path(result.step.v, chain);
  if (result.timeline) add_timeline(recorded, waits, chain, earliest, *result.timeline);
}

}  // namespace orrery::sim
