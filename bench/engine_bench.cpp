// How fast the engine is, beside the least that any simulator of the same program must do: one longest-path pass over its instruction graph, already
// expanded to arrays. Llama-3.1-405B on 16,384 H100 (tp 8, pp 16, 1F1B, sequence 8192), 16 and 128 micro-batches.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/cluster_json.h"
#include "core/model_json.h"
#include "cost/cost.h"
#include "program/compile.h"
#include "sim/account.h"
#include "sim/engine.h"
#include "sim/machine.h"
#include "sim/simulate.h"

namespace {

using namespace orrery;

struct Case {
  Cluster cluster;
  program::Program program;
  cost::Table cost;
  sim::Machine machine;
};

const Case& llama_405b(std::int64_t microbatches) {
  static std::map<std::int64_t, std::unique_ptr<Case>> cases;
  std::unique_ptr<Case>& c = cases[microbatches];
  if (c) return *c;
  Plan plan;
  plan.model = "llama-3.1-405b";
  plan.cluster = "dgx-h100:16384";
  plan.parallel.tp = 8;
  plan.parallel.sp = true;
  plan.parallel.pp = 16;
  plan.batch = {.global = 128 * microbatches, .micro = 1, .sequence = 8192};
  plan.stages = std::vector<std::int64_t>(16, 8);
  plan.stages->front() = plan.stages->back() = 7;
  c = std::make_unique<Case>();
  c->cluster = load_cluster(plan.cluster);
  c->program = program::compile(load_model(plan.model), c->cluster, plan);
  c->cost = cost::price(c->program, c->cluster, nullptr);
  c->machine = sim::lay_out(c->program, c->cost, c->cluster, false, 8);
  return *c;
}

// One period of all simulated ranks as a graph in topological order. Instructions that meet are one node. `release` is when the host issues a node.
struct Graph {
  std::vector<std::uint32_t> first, predecessors;  // of node i: predecessors[first[i] … first[i + 1])
  std::vector<std::int64_t> duration, release;
  std::uint64_t instructions = 0;

  std::int64_t longest_path(std::vector<std::int64_t>& finish) const {
    std::int64_t last = 0;
    for (std::size_t i = 0; i < duration.size(); ++i) {
      std::int64_t start = release[i];
      for (std::uint32_t p = first[i]; p < first[i + 1]; ++p) start = std::max(start, finish[predecessors[p]]);
      finish[i] = start + duration[i];
      last = std::max(last, finish[i]);
    }
    return last;
  }
};

// Issues every rank's list as far as its predecessors have nodes, rank after rank, until all are through: nodes of one rank lie together, which is
// the best order for the pass's caches.
Graph expand(const sim::Machine& machine) {
  constexpr std::uint32_t kNone = UINT32_MAX, kPosted = UINT32_MAX - 1;
  struct Rank {
    std::size_t pass = 0, step = 0;
    std::int64_t host = 0;
    std::vector<std::uint32_t> latest, nodes;  // by slot of `times`; by instruction of the current pass and those before
    std::vector<std::uint32_t> writer;         // by slot: the instruction (index into nodes)
    std::vector<std::uint32_t> sequence;
  };
  struct Meeting {
    std::vector<std::uint32_t> predecessors;
    std::vector<std::pair<std::size_t, std::uint32_t>> members;  // rank, index into its nodes
    std::int64_t duration = 0, release = 0;
  };
  Graph g;
  g.first.push_back(0);
  const auto add = [&](const std::vector<std::uint32_t>& predecessors, std::int64_t duration, std::int64_t release) {
    g.predecessors.insert(g.predecessors.end(), predecessors.begin(), predecessors.end());
    g.first.push_back(static_cast<std::uint32_t>(g.predecessors.size()));
    g.duration.push_back(duration);
    g.release.push_back(release);
    return static_cast<std::uint32_t>(g.duration.size() - 1);
  };
  std::vector<Rank> ranks(machine.ranks.size());
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const sim::LoweredRole& role = machine.roles[machine.ranks[r].role];
    ranks[r].writer.assign(role.slots, kNone);
    ranks[r].sequence.assign(machine.ranks[r].links.size(), 0);
  }
  std::map<std::tuple<bool, std::uint32_t, std::uint32_t>, Meeting> meetings;  // point-to-point?, link, sequence
  std::map<std::pair<std::uint32_t, bool>, std::uint32_t> channel_sequence;    // channel, send?
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      Rank& rank = ranks[r];
      const sim::LoweredRole& role = machine.roles[machine.ranks[r].role];
      const auto& body = role.role->body;
      for (bool blocked = false; !blocked && rank.pass < body.size();) {
        const program::PassTemplate& pass = role.role->passes[body[rank.pass].pass];
        if (rank.step == pass.count) {
          ++rank.pass;
          rank.step = 0;
          continue;
        }
        const sim::Step& step = role.steps[pass.first + rank.step];
        if (step.kind == sim::StepKind::host_wait) throw std::logic_error("the baseline has no host that waits");
        const auto base = static_cast<std::uint32_t>(rank.nodes.size() - rank.step);
        std::vector<std::uint32_t> predecessors;
        const auto need = [&](std::uint32_t instruction) {
          if (instruction == kNone) return;
          if (rank.nodes[instruction] == kPosted) blocked = true;
          predecessors.push_back(rank.nodes[instruction]);
        };
        need(rank.writer[step.stream]);
        for (std::uint32_t k = step.dependencies; k < step.dependencies + step.dependency_count; ++k) {
          const sim::StepDependency& d = role.dependencies[k];
          need(d.local ? base + d.index : rank.writer[d.index + (body[rank.pass].microbatch & d.mask)]);
        }
        if (blocked) break;
        moved = true;
        rank.host += step.issue;
        const auto me = static_cast<std::uint32_t>(rank.nodes.size());
        const bool point_to_point = step.kind == sim::StepKind::send || step.kind == sim::StepKind::recv;
        if (point_to_point || step.kind == sim::StepKind::meet) {
          const std::uint32_t link = machine.ranks[r].links[step.link];
          const std::uint32_t k = point_to_point ? channel_sequence[{link, step.kind == sim::StepKind::send}]++ : rank.sequence[step.link]++;
          Meeting& m = meetings[{point_to_point, link, k}];
          m.predecessors.insert(m.predecessors.end(), predecessors.begin(), predecessors.end());
          m.members.emplace_back(r, me);
          m.duration = std::max(m.duration, step.duration);
          m.release = std::max(m.release, rank.host);
          rank.nodes.push_back(kPosted);
          if (m.members.size() == (point_to_point ? 2 : machine.meeting_size[link])) {
            const std::uint32_t node = add(m.predecessors, m.duration, m.release);
            for (const auto& [who, instruction] : m.members) ranks[who].nodes[instruction] = node;
          }
        } else {
          rank.nodes.push_back(add(predecessors, step.duration, rank.host));
        }
        rank.writer[step.stream] = me;
        rank.writer[step.signal + (body[rank.pass].microbatch & step.signal_mask)] = me;
        ++rank.step;
        ++g.instructions;
      }
    }
  }
  for (std::size_t r = 0; r < ranks.size(); ++r)
    if (ranks[r].pass < machine.roles[machine.ranks[r].role].role->body.size()) throw std::logic_error("the baseline's ranks wait for each other");
  return g;
}

const Graph& graph(std::int64_t microbatches) {
  static std::map<std::int64_t, Graph> graphs;
  const auto at = graphs.find(microbatches);
  return at != graphs.end() ? at->second : graphs.emplace(microbatches, expand(llama_405b(microbatches).machine)).first->second;
}

void rate(benchmark::State& state, std::uint64_t instructions) {
  state.counters["instructions/s"] = benchmark::Counter(static_cast<double>(instructions), benchmark::Counter::kIsRate);
}

void longest_path(benchmark::State& state) {
  const Graph& g = graph(state.range(0));
  std::vector<std::int64_t> finish(g.duration.size());
  std::uint64_t n = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(g.longest_path(finish));
    n += g.instructions;
  }
  rate(state, n);
}

void engine(benchmark::State& state) {
  const Case& c = llama_405b(state.range(0));
  std::uint64_t n = 0;
  for (auto _ : state) {
    sim::Engine e{c.machine, 8, 0};
    e.run();
    n += graph(state.range(0)).instructions * static_cast<std::uint64_t>(e.periods());
  }
  rate(state, n);
}

void whole_simulation(benchmark::State& state) {
  const Case& c = llama_405b(state.range(0));
  std::uint64_t n = 0;
  for (auto _ : state) n += sim::simulate(c.program, c.cost, c.cluster).instructions;
  rate(state, n);
}

// Processor time, which other work on the machine does not inflate as it does the wall clock's.
double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Both in turn, so that whatever else the machine does hits both alike: engine time per instruction over baseline time per instruction.
void engine_over_longest_path(benchmark::State& state) {
  const Case& c = llama_405b(state.range(0));
  const Graph& g = graph(state.range(0));
  std::vector<std::int64_t> finish(g.duration.size());
  std::vector<double> engine_ratio, simulate_ratio;
  for (auto _ : state) {
    const double t0 = seconds();
    const std::int64_t makespan = g.longest_path(finish);
    const double t1 = seconds();
    sim::Engine e{c.machine, 8, 0};
    e.run();
    const double t2 = seconds();
    const sim::Result result = sim::simulate(c.program, c.cost, c.cluster);
    const double t3 = seconds();
    if (makespan != result.makespan.v) throw std::logic_error("engine and baseline disagree about the makespan");
    const double baseline = (t1 - t0);
    const auto periods = static_cast<double>(result.periods);
    engine_ratio.push_back((t2 - t1) / periods / baseline);
    simulate_ratio.push_back((t3 - t2) / periods / baseline);
  }
  const auto median = [](std::vector<double>& v) {
    std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
    return v[v.size() / 2];
  };
  state.counters["engine"] = median(engine_ratio);
  state.counters["simulate"] = median(simulate_ratio);
}

BENCHMARK(longest_path)->Arg(16)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK(engine)->Arg(16)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK(whole_simulation)->Arg(16)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK(engine_over_longest_path)->Arg(16)->Arg(128)->Unit(benchmark::kMillisecond);

}  // namespace
