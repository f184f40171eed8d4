// A second replay of schedules for the tests, by another algorithm: every pass a node of an explicit graph, its end the longest path to it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <queue>
#include <tuple>
#include <vector>

#include "program/schedules/replay.h"

namespace orrery::program::testing {

struct GraphReplay {
  bool acyclic = true;
  std::int64_t makespan = 0;
  std::vector<std::vector<PassTimes>> passes;
};

inline GraphReplay longest_paths(const Schedule& schedule, const PassCosts& costs) {
  struct Node {
    std::int64_t rank = 0, cost = 0, start = 0;
    std::size_t waits_for = 0;
    std::vector<std::pair<std::size_t, std::int64_t>> next{};  // node, latency
  };
  std::vector<Node> nodes;
  // Who gives the forward (0), input gradient (1) and weight gradient (2) of (direction, micro-batch, split, stage).
  using Key = std::tuple<int, std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  std::map<Key, std::size_t> giver;
  const auto key = [&](int result, std::int64_t rank, const Pass& half) {
    return Key{result, half.direction, half.microbatch, half.split, stage_of(schedule, rank, half.chunk)};
  };
  for (std::size_t r = 0; r < schedule.order.size(); ++r)
    for (const Pass& pass : schedule.order[r]) {
      const auto rank = static_cast<std::int64_t>(r);
      for_each_half(pass, [&](const Pass& half) {
        if (half.kind == PassKind::forward) giver[key(0, rank, half)] = nodes.size();
        if (half.kind == PassKind::backward || half.kind == PassKind::input_grad) giver[key(1, rank, half)] = nodes.size();
      });
      nodes.push_back({.rank = rank, .cost = costs.of(pass.kind)});
    }
  const auto edge = [&](std::size_t from, std::size_t to) {
    nodes[from].next.emplace_back(to, nodes[from].rank == nodes[to].rank ? 0 : costs.latency);
    ++nodes[to].waits_for;
  };
  const std::int64_t last = stages(schedule) - 1;
  std::size_t n = 0;
  for (std::size_t r = 0; r < schedule.order.size(); ++r)
    for (std::size_t k = 0; k < schedule.order[r].size(); ++k, ++n) {
      if (k > 0) edge(n - 1, n);
      for_each_half(schedule.order[r][k], [&](const Pass& half) {
        const auto [result, direction, microbatch, split, stage] = key(half.kind == PassKind::forward ? 0 : 1, static_cast<std::int64_t>(r), half);
        if (half.kind == PassKind::weight_grad) return edge(giver.at(Key{1, direction, microbatch, split, stage}), n);
        const bool forward = result == 0;
        if (!forward) edge(giver.at(Key{0, direction, microbatch, split, stage}), n);
        if (forward ? stage > 0 : stage < last) edge(giver.at(Key{result, direction, microbatch, split, stage + (forward ? -1 : 1)}), n);
        if (forward ? split > 0 : split + 1 < schedule.splits)
          edge(giver.at(Key{result, direction, microbatch, split + (forward ? -1 : 1), stage}), n);
      });
    }
  std::queue<std::size_t> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (nodes[i].waits_for == 0) ready.push(i);
  std::size_t done = 0;
  GraphReplay out;
  for (; !ready.empty(); ready.pop(), ++done) {
    const Node& node = nodes[ready.front()];
    const std::int64_t end = node.start + node.cost;
    out.makespan = std::max(out.makespan, end);
    for (const auto& [to, latency] : node.next) {
      nodes[to].start = std::max(nodes[to].start, end + latency);
      if (--nodes[to].waits_for == 0) ready.push(to);
    }
  }
  out.acyclic = done == nodes.size();
  n = 0;
  for (const auto& passes : schedule.order) {
    out.passes.emplace_back();
    for (std::size_t k = 0; k < passes.size(); ++k, ++n) out.passes.back().push_back({nodes[n].start, nodes[n].start + nodes[n].cost});
  }
  return out;
}

}  // namespace orrery::program::testing
