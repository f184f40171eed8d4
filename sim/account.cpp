#include "sim/account.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <map>
#include <numeric>
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
  for (RankView& v : ranks_)
    for (std::uint32_t m = 0; m < v.met.size(); ++m) v.issued[v.met[m].position].met = m;
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
      return meeting(position)->start;
  }
  return 0;
}

// Issues the last two periods again. Calls visit(Moment) for the last one, in issue order, after `issued` is known for the instruction and all before
// it.
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
    for (std::uint32_t i = 0; i < body.size(); ++i) {
      cancel_.check();
      const program::PassInstance instance = body[i];
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
        if (last) visit(Moment{i, k, position, pass.first + k, start, finish, free});
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
  std::vector<std::uint32_t>& known = kind_of_step_[role];
  if (known.empty()) known.assign(layout.steps.size(), kNoRecord);
  if (known[step] != kNoRecord) return known[step];
  const program::Instruction& in = layout.role->instructions[step];
  const WorkClass work = layout.classes[step];
  const bool priced = in.opcode != program::Opcode::wait && in.opcode != program::Opcode::host_wait;
  const double slowness = in.opcode == program::Opcode::compute ? machine_.folding.classes()[role].slowness : 1;
  const auto [at, fresh] =
      kinds_.try_emplace({priced ? shape_of(layout, step) : UINT32_MAX, in.opcode, work, slowness}, static_cast<std::uint32_t>(out.kinds.size()));
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
      kind.energy = entry.energy * slowness;
      if (entry.source < machine_.cost->sources.size()) kind.source = machine_.cost->sources[entry.source].name;
    } else {
      kind.name = in.opcode == program::Opcode::wait ? "wait" : "host_wait";
    }
    out.kinds.push_back(std::move(kind));
  }
  return known[step] = at->second;
}

// What the step begins with. On a stream work starts in issue order, and the host waits in issue order.
std::int64_t Account::earliest_start() const {
  std::int64_t earliest = INT64_MAX;
  for (const RankView& view : ranks_) {
    const program::Role& role = *view.role->role;
    std::vector<std::uint64_t> runs_on;  // by pass: its streams, and bit 63 for waits of the host
    const auto bit = [&](std::uint32_t step) {
      return std::uint64_t{1} << (view.role->steps[step].kind == StepKind::host_wait ? 63U : view.role->steps[step].stream);
    };
    for (const program::PassTemplate& pass : role.passes) {
      std::uint64_t& mask = runs_on.emplace_back();
      for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) mask |= bit(i);
    }
    std::uint64_t seen = 0;
    for (std::uint32_t p = 0; p < role.body.size(); ++p) {
      const program::PassTemplate& pass = role.passes[role.body[p].pass];
      if ((runs_on[role.body[p].pass] & ~seen) == 0) continue;
      for (std::uint32_t k = 0; k < pass.count; ++k) {
        if (seen & bit(pass.first + k)) continue;
        seen |= bit(pass.first + k);
        earliest = std::min(earliest, view.start(view.n + view.role->body_base[p] + k, view.role->steps[pass.first + k]));
      }
    }
  }
  return earliest;
}

std::vector<std::uint32_t> Account::stream_places(const RankView& view) const {
  const program::Role& role = *view.role->role;
  std::vector<std::uint32_t> times(role.passes.size(), 0), places(machine_.program->streams.size() + 1, 0);
  for (const program::PassInstance& p : role.body) ++times[p.pass];
  for (std::size_t t = 0; t < times.size(); ++t)
    for (std::uint32_t i = role.passes[t].first; i < role.passes[t].first + role.passes[t].count; ++i)
      places[role.instructions[i].stream + 1U] += times[t];
  for (std::size_t s = 1; s < places.size(); ++s) places[s] += places[s - 1];
  return places;
}

// Waits of the host stand among the spans of a stream that they do not hold.
void Account::sort_streams(Recording& recording, const RankView& view, Timeline& out) const {
  const std::vector<std::uint32_t> places = stream_places(view);
  const auto first = out.spans.begin() + recording.as.front().second;
  const auto earlier = [](const Span& a, const Span& b) { return a.start < b.start; };
  for (std::size_t s = 0; s + 1 < places.size(); ++s) {
    const auto begin = first + places[s], end = first + places[s + 1];
    if (std::is_sorted(begin, end, earlier)) continue;
    std::vector<std::uint32_t> order(places[s + 1] - places[s]), now(order.size());
    std::iota(order.begin(), order.end(), std::uint32_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return begin[a].start < begin[b].start; });
    std::vector<Span> sorted;
    sorted.reserve(order.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) {
      sorted.push_back(begin[order[i]]);
      now[order[i]] = i;
    }
    std::copy(sorted.begin(), sorted.end(), begin);
    for (std::uint32_t& place : recording.place)
      if (place >= places[s] && place < places[s + 1]) place = places[s] + now[place - places[s]];
  }
}

void Account::add_arrows(std::uint32_t r, const Recording& recording) {
  const RankView& view = ranks_[r];
  const program::Role& role = *view.role->role;
  for (const Met& m : view.met) {
    if (m.position < view.n || m.partner == kNoRecord || m.partner < ranks_[m.partner_rank].n) continue;
    const program::Instruction& in = role.instructions[view.issued[m.position].step];
    if (in.opcode != program::Opcode::send) continue;
    for (const auto& [rank, first] : recording.as)
      arrows_.push_back({rank, program::peer_of(*machine_.program, rank, in), m.position - view.n, m.partner - ranks_[m.partner_rank].n});
  }
}

void Account::add_memory(std::uint32_t r, std::int64_t as_rank, std::int64_t origin, const program::MemoryReport& report, Timeline& out) const {
  const LoweredRole& layout = machine_.roles[machine_.ranks[r].role];
  const auto rank = static_cast<std::uint32_t>(as_rank);
  out.memory.push_back({.time = {}, .rank = rank, .bytes = report.at_start});
  std::int64_t time = 0;
  for (const program::MemoryReport::Step& step : report.curve) {
    const std::uint32_t position = layout.body_base[step.pass] + step.instruction + ranks_[r].n;
    time = std::max(time, (step.bytes > out.memory.back().bytes ? ranks_[r].start(position) : ranks_[r].finish(position)) - origin);
    out.memory.push_back({.time = Picoseconds{time}, .rank = rank, .bytes = step.bytes});
  }
}

// Which ranks to record, and in whose name: one that was folded away did exactly what its representative did.
std::vector<Account::Recording> Account::recordings(const Options& options, Timeline& out) const {
  const program::Program& program = *machine_.program;
  std::vector<std::pair<std::int64_t, std::uint32_t>> list;  // rank, and which was simulated in its place
  if (options.ranks.empty()) {
    for (std::uint32_t r = 0; r < ranks_.size(); ++r) list.emplace_back(machine_.ranks[r].rank, r);
  } else {
    std::map<std::int64_t, std::uint32_t> simulated;
    std::map<std::uint32_t, std::uint32_t> representative;
    for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
      simulated.emplace(machine_.ranks[r].rank, r);
      representative.emplace(machine_.ranks[r].role, r);
    }
    for (const std::int64_t rank : std::set<std::int64_t>(options.ranks.begin(), options.ranks.end())) {
      if (rank < 0 || rank >= program.ranks())
        throw Error{"ranks", fmt::format("there is no rank {}: this plan has ranks 0 to {}", rank, program.ranks() - 1)};
      const auto found = simulated.find(rank);
      list.emplace_back(rank, found != simulated.end() ? found->second : representative.at(machine_.folding.class_of(rank)));
    }
  }
  std::sort(list.begin(), list.end());
  std::vector<Recording> recordings(ranks_.size());
  std::size_t spans = 0;
  for (const auto& [rank, r] : list) {
    cancel_.check();
    recordings[r].as.emplace_back(rank, static_cast<std::uint32_t>(spans));
    spans += ranks_[r].n;
    if (out.ranks.size() <= static_cast<std::size_t>(rank)) out.ranks.resize(static_cast<std::size_t>(rank) + 1);
    out.ranks[static_cast<std::size_t>(rank)] = program::label(program, rank);
  }
  out.spans.resize(spans);
  return recordings;
}

void Account::finish_timeline(const Options& options, const std::vector<Recording>& recordings, const std::vector<Link>& critical,
                              std::int64_t origin, Timeline& out) {
  struct Recorded {
    std::int64_t rank = 0;
    std::uint32_t simulated = 0, first = 0;
  };
  std::vector<Recorded> in_order;
  for (std::uint32_t r = 0; r < ranks_.size(); ++r)
    for (const auto& [rank, first] : recordings[r].as) in_order.push_back({rank, r, first});
  std::sort(in_order.begin(), in_order.end(), [](const Recorded& a, const Recorded& b) { return a.rank < b.rank; });

  std::map<const program::Role*, program::MemoryReport> reports;
  const auto report_of = [&](const program::Role& role) -> const program::MemoryReport& {
    if (options.memory.valid()) return options.memory.get()[static_cast<std::size_t>(&role - machine_.program->roles.data())];
    const auto [at, fresh] = reports.try_emplace(&role);
    if (fresh) at->second = program::memory(*machine_.program, role);
    return at->second;
  };
  std::size_t samples = 0;
  for (const Recorded& recorded : in_order) samples += report_of(*ranks_[recorded.simulated].role->role).curve.size() + 1;
  out.memory.reserve(samples);
  for (const Recorded& recorded : in_order) {
    cancel_.check();
    add_memory(recorded.simulated, recorded.rank, origin, report_of(*ranks_[recorded.simulated].role->role), out);
  }
  // Several recorded ranks of one class share the ranks that it stands for.
  out.weights.assign(out.ranks.size(), 0);
  out.all_ranks = machine_.program->ranks();
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    const std::vector<std::pair<std::int64_t, std::uint32_t>>& as = recordings[r].as;
    const auto sharing = static_cast<std::int64_t>(as.size()), weight = machine_.ranks[r].weight;
    for (std::int64_t i = 0; i < sharing; ++i)
      out.weights[static_cast<std::size_t>(as[static_cast<std::size_t>(i)].first)] = weight / sharing + (i < weight % sharing ? 1 : 0);
  }
  const auto span_of = [&](std::int64_t rank, std::uint32_t position) {
    const auto at = std::lower_bound(in_order.begin(), in_order.end(), rank, [](const Recorded& a, std::int64_t b) { return a.rank < b; });
    return at == in_order.end() || at->rank != rank ? kNoRecord : at->first + recordings[at->simulated].place[position];
  };
  for (const Arrow& a : arrows_)
    if (const std::uint32_t to = span_of(a.to_rank, a.to); to != kNoRecord) out.flows.push_back({span_of(a.from_rank, a.from), to});
  std::sort(out.flows.begin(), out.flows.end(), [](const Flow& a, const Flow& b) { return a.from < b.from; });
  for (const Link& link : critical)
    if (const Recording& recording = recordings[link.rank]; !recording.as.empty())
      out.critical.push_back(recording.as.front().second + recording.place[link.position]);
  std::reverse(out.critical.begin(), out.critical.end());
}

void Account::write(const Options& options, Result& result) {
  const program::Program& program = *machine_.program;
  WaterfallBuilder waterfall{ranks_.size()};
  const std::int64_t origin = engine_.end(period_ - 1);
  std::vector<Recording> recordings(ranks_.size());
  std::int64_t earliest = 0;
  if (options.record) {
    result.timeline.emplace();
    result.timeline->origin = "simulated";
    result.timeline->step = result.step;
    for (const program::StreamDecl& s : program.streams) result.timeline->streams.push_back(s.name);
    recordings = this->recordings(options, *result.timeline);
    kind_of_step_.resize(machine_.roles.size());
    earliest = earliest_start();
  }

  result.trace_hash = 0;
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    const SimulatedRank& who = machine_.ranks[r];
    const RankView& view = ranks_[r];
    const LoweredRole& layout = *view.role;
    const bool record = !recordings[r].as.empty();
    std::vector<std::uint32_t> places;
    if (record) {
      places = stream_places(view);
      recordings[r].place.resize(view.n);
    }
    const auto add_span = [&](const Moment& m) -> Span& {
      const program::Instruction& in = layout.role->instructions[m.step];
      const std::uint32_t place = recordings[r].place[m.position - view.n] = places[in.stream]++;
      Span& span = result.timeline->spans[recordings[r].as.front().second + place];
      span.start = Picoseconds{m.start - earliest};
      span.end = Picoseconds{m.finish - earliest};
      span.rank = static_cast<std::uint32_t>(recordings[r].as.front().first);
      span.kind = span_kind(who.role, m.step, *result.timeline);
      span.pass = m.pass;
      span.instruction = static_cast<std::uint16_t>(m.instruction);
      span.stream = in.stream;
      span.layer = in.layer;
      span.microbatch = layout.role->body[m.pass].of(in);
      span.recompute = (in.flags & program::kRecompute) != 0;
      return span;
    };
    // Sums first, so that the waterfall is told once per class. By class, and whether it is recomputation.
    struct Work {
      std::int64_t busy = 0, ideal = 0;
    };
    std::array<std::array<Work, 2>, kWorkClasses> work_done{};
    Waits waited;
    std::uint64_t hash = 0;
    const std::uint64_t key = mix(who.role + 1);
    replay(r, [&](const Moment& m) {
      const auto [start, finish, free] = std::tuple{m.start, m.finish, m.free};
      const Step& step = layout.steps[m.step];
      // Summed, so that the order of ranks does not matter; ranks are known by their stage, so that folding does not either.
      hash += mix((static_cast<std::uint64_t>(start - origin) ^ key) * 0xff51afd7ed558ccdU +
                  static_cast<std::uint64_t>(finish - origin) * 0x9e3779b97f4a7c15U + (std::uint64_t{m.position} << 8U | step.stream));
      const bool computes = step.stream == program::kComputeStream;
      // A wait of the host delays what is issued after it, and shows there.
      Span* const span = record ? &add_span(m) : nullptr;
      if (start > free && step.kind != StepKind::host_wait && (computes || record)) {
        const Waits w = explain_wait(r, m.position, free);
        if (span) {
          span->waited = Picoseconds{start - free};
          span->transfer = Picoseconds{w.by_cause[static_cast<std::size_t>(w.cause)].transfer};
          span->cause = w.cause;
        }
        if (computes)
          for (std::size_t c = 0; c < w.by_cause.size(); ++c) {
            waited.by_cause[c].waited += w.by_cause[c].waited;
            waited.by_cause[c].transfer += w.by_cause[c].transfer;
          }
      }
      if (step.kind == StepKind::host_wait) return;
      if (!computes || finish == start) return;
      const std::uint32_t index = m.step;
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
    if (record) {
      sort_streams(recordings[r], view, *result.timeline);
      add_arrows(r, recordings[r]);
      std::vector<Span>& spans = result.timeline->spans;
      for (const auto& [rank, first] : recordings[r].as) {
        if (first == recordings[r].as.front().second) continue;
        std::copy_n(spans.begin() + recordings[r].as.front().second, view.n, spans.begin() + first);
        for (std::uint32_t i = first; i < first + view.n; ++i) spans[i].rank = static_cast<std::uint32_t>(rank);
      }
    }
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
  if (result.timeline) finish_timeline(options, recordings, chain, earliest, *result.timeline);
}

}  // namespace orrery::sim
