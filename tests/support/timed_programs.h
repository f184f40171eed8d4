// Programs with durations instead of shapes, for tests of time: every instruction names its picoseconds, no compiler and no cost model are needed.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "core/cluster.h"
#include "cost/cost.h"
#include "program/program.h"

namespace orrery::test {

// What an instruction of a timed program costs.
struct Cost {
  std::int64_t duration = 0;
  double core = 0, memory = 0;  // shares
  program::Operator op = program::Operator::linear_forward;
  std::int64_t ideal = 0;
  double energy = 0;
};

inline program::Dependency after(std::uint16_t local) { return {program::DependencyKind::local, local}; }
inline program::Dependency on_event(std::uint16_t event) { return {program::DependencyKind::event, event}; }
inline program::Dependency on_stream(std::uint16_t stream) { return {program::DependencyKind::issued, stream}; }

inline constexpr std::uint8_t kCompute = 0;  // streams of every timed program
inline constexpr std::uint8_t kSide = 1, kSendForward = 2, kRecvForward = 3, kSendBackward = 4, kRecvBackward = 5;

// A program under construction together with the cost table and the cluster that price it.
struct Timed {
  program::Program program;
  cost::Table cost;
  Cluster cluster;

  // tp, cp, dp, pp.
  explicit Timed(std::array<std::int64_t, 4> size = {1, 1, 1, 1}) {
    program.mesh = program::dense_mesh(size[0], size[1], size[2], size[3]);
    program.streams = {{"compute", program::StreamKind::compute},    {"side", program::StreamKind::comm},
                       {"send-forward", program::StreamKind::comm},  {"recv-forward", program::StreamKind::comm},
                       {"send-backward", program::StreamKind::comm}, {"recv-backward", program::StreamKind::comm}};
    program.roles.resize(static_cast<std::size_t>(size[3]));
    for (std::size_t p = 0; p < program.roles.size(); ++p) {
      program.roles[p].name = fmt::format("stage {}", p);
      program.roles[p].stage = static_cast<std::int64_t>(p);
    }
    cost.sources = {{.name = "test", .grade = Grade::assumed, .sigma = 0}};
    cluster.devices = cluster.node_size = program.mesh.ranks();
  }

  std::uint32_t shape(const Cost& c) {
    program::Shape s;
    s.op = c.op;
    program.shapes.push_back(s);
    cost.entries.push_back({.duration = Picoseconds{c.duration},
                            .ideal = Picoseconds{c.ideal},
                            .energy = Joules{c.energy},
                            .memory_share = static_cast<std::uint32_t>(c.memory * 65536),
                            .core_share = static_cast<std::uint32_t>(c.core * 65536)});
    return static_cast<std::uint32_t>(program.shapes.size() - 1);
  }
  std::uint16_t group(program::AxisMask axes, WorkClass work) {
    program.groups.push_back({.axes = axes});
    program.group_class.push_back(work);
    return static_cast<std::uint16_t>(program.groups.size() - 1);
  }
  std::uint16_t event(std::size_t role, bool per_microbatch = true) {
    auto& events = program.roles[role].events;
    events.push_back({.name = fmt::format("event {}", events.size()), .per_microbatch = per_microbatch});
    return static_cast<std::uint16_t>(events.size() - 1);
  }
  std::uint16_t pass(std::size_t role, program::PassKind kind = program::PassKind::forward) {
    program::Role& r = program.roles[role];
    r.passes.push_back({.name = fmt::format("pass {}", r.passes.size()), .kind = kind, .first = static_cast<std::uint32_t>(r.instructions.size())});
    return static_cast<std::uint16_t>(r.passes.size() - 1);
  }
  program::Instruction& add(std::size_t role, program::Opcode opcode, std::uint8_t stream, const std::vector<program::Dependency>& dependencies = {},
                            const Cost& c = {}, std::uint16_t signal = program::kNone) {
    program::Role& r = program.roles[role];
    program::Instruction in{.opcode = opcode, .op = c.op, .stream = stream};
    if (opcode == program::Opcode::wait || opcode == program::Opcode::host_wait)
      in.op = program::Operator::wait;
    else
      in.shape = shape(c);
    in.dependencies = static_cast<std::uint32_t>(r.dependencies.size());
    in.dependency_count = static_cast<std::uint8_t>(dependencies.size());
    r.dependencies.insert(r.dependencies.end(), dependencies.begin(), dependencies.end());
    in.signal = signal;
    r.instructions.push_back(in);
    ++r.passes.back().count;
    return r.instructions.back();
  }
  program::Instruction& compute(std::size_t role, std::int64_t duration, const std::vector<program::Dependency>& dependencies = {},
                                std::uint16_t signal = program::kNone, std::uint8_t stream = kCompute) {
    return add(role, program::Opcode::compute, stream, dependencies, {.duration = duration}, signal);
  }
  program::Instruction& wait(std::size_t role, const std::vector<program::Dependency>& dependencies, std::uint8_t stream = kCompute) {
    return add(role, program::Opcode::wait, stream, dependencies);
  }
  program::Instruction& host_wait(std::size_t role, const std::vector<program::Dependency>& dependencies) {
    return add(role, program::Opcode::host_wait, kCompute, dependencies);
  }
  program::Instruction& collective(std::size_t role, std::uint16_t in_group, std::uint8_t stream, std::int64_t duration,
                                   const std::vector<program::Dependency>& dependencies = {}, std::uint16_t signal = program::kNone,
                                   double core = 0) {
    auto& in = add(role, program::Opcode::collective, stream, dependencies, {.duration = duration, .core = core, .op = program::Operator::all_reduce},
                   signal);
    in.group = in_group;
    return in;
  }
  program::Instruction& transfer(std::size_t role, bool send, std::int8_t peer, std::uint8_t channel, std::uint8_t stream, std::int64_t duration,
                                 const std::vector<program::Dependency>& dependencies = {}, std::uint16_t signal = program::kNone, double core = 0) {
    auto& in = add(role, send ? program::Opcode::send : program::Opcode::recv, stream, dependencies,
                   {.duration = duration, .core = core, .op = send ? program::Operator::send : program::Operator::recv}, signal);
    in.peer = peer;
    in.channel = channel;
    return in;
  }
  void body(std::size_t role, const std::vector<program::PassInstance>& instances) { program.roles[role].body = instances; }
};

// One pass of a pipeline order: forward or backward of a micro-batch.
struct OrderedPass {
  bool forward = true;
  std::uint16_t microbatch = 0;
};

inline std::vector<OrderedPass> gpipe_order(int microbatches) {
  std::vector<OrderedPass> out;
  for (int m = 0; m < microbatches; ++m) out.push_back({true, static_cast<std::uint16_t>(m)});
  for (int m = 0; m < microbatches; ++m) out.push_back({false, static_cast<std::uint16_t>(m)});
  return out;
}

inline std::vector<OrderedPass> one_f_one_b_order(int stages, int stage, int microbatches) {
  std::vector<OrderedPass> out;
  const int warm_up = std::min(stages - 1 - stage, microbatches);
  int f = 0, b = 0;
  for (; f < warm_up; ++f) out.push_back({true, static_cast<std::uint16_t>(f)});
  for (; f < microbatches; ++f, ++b) {
    out.push_back({true, static_cast<std::uint16_t>(f)});
    out.push_back({false, static_cast<std::uint16_t>(b)});
  }
  for (; b < microbatches; ++b) out.push_back({false, static_cast<std::uint16_t>(b)});
  return out;
}

struct PipelineCost {
  std::vector<std::int64_t> forward, backward;  // by stage
  std::int64_t latency = 0;                     // of one transfer
  double core = 0;                              // share of computation
  bool synchronise = true;                      // the step ends with a meeting of all stages, which takes no time
};

// A pipeline with one compute instruction per pass; transfers have streams of their own.
inline Timed pipeline(const std::vector<std::vector<OrderedPass>>& order, const PipelineCost& cost, std::int64_t dp = 1, std::int64_t tp = 1) {
  const std::size_t stages = order.size();
  Timed t{{tp, 1, dp, static_cast<std::int64_t>(stages)}};
  t.program.microbatches = 1;
  const std::uint16_t all = t.group(program::mask(program::Axis::pp), WorkClass::pp_comm);
  for (std::size_t s = 0; s < stages; ++s) {
    const bool first = s == 0, last = s + 1 == stages;
    const auto pass_body = [&](bool forward) {
      const std::uint16_t pass = t.pass(s, forward ? program::PassKind::forward : program::PassKind::backward);
      std::vector<program::Dependency> on;
      if (forward ? !first : !last) {
        t.transfer(s, false, forward ? -1 : 1, forward ? 0 : 1, forward ? kRecvForward : kRecvBackward, cost.latency);
        on.push_back(after(0));
      }
      const auto at = static_cast<std::uint16_t>(t.program.roles[s].passes.back().count);
      t.add(s, program::Opcode::compute, kCompute, on,
            {.duration = forward ? cost.forward[s] : cost.backward[s],
             .core = cost.core,
             .op = forward ? program::Operator::linear_forward : program::Operator::linear_weight_grad});
      if (forward ? !last : !first)
        t.transfer(s, true, forward ? 1 : -1, forward ? 0 : 1, forward ? kSendForward : kSendBackward, cost.latency, {after(at)});
      return pass;
    };
    const std::uint16_t forward = pass_body(true), backward = pass_body(false), end = t.pass(s, program::PassKind::optimizer);
    t.wait(s, {on_stream(kSendForward), on_stream(kSendBackward)});
    if (cost.synchronise && stages > 1) {
      t.collective(s, all, kSide, 0, {on_stream(kCompute)});
      t.wait(s, {after(1)});
    }
    std::vector<program::PassInstance> body;
    for (const OrderedPass& p : order[s]) body.push_back({.pass = p.forward ? forward : backward, .microbatch = p.microbatch});
    body.push_back({.pass = end, .microbatch = 0});
    t.body(s, body);
  }
  return t;
}

inline Timed gpipe(int stages, int microbatches, const PipelineCost& cost, std::int64_t dp = 1, std::int64_t tp = 1) {
  return pipeline(std::vector<std::vector<OrderedPass>>(static_cast<std::size_t>(stages), gpipe_order(microbatches)), cost, dp, tp);
}

inline Timed one_f_one_b(int stages, int microbatches, const PipelineCost& cost, std::int64_t dp = 1, std::int64_t tp = 1) {
  std::vector<std::vector<OrderedPass>> order;
  for (int s = 0; s < stages; ++s) order.push_back(one_f_one_b_order(stages, s, microbatches));
  return pipeline(order, cost, dp, tp);
}

inline PipelineCost equal_stages(int stages, std::int64_t forward, std::int64_t backward, std::int64_t latency = 0) {
  return {.forward = std::vector<std::int64_t>(static_cast<std::size_t>(stages), forward),
          .backward = std::vector<std::int64_t>(static_cast<std::size_t>(stages), backward),
          .latency = latency};
}

}  // namespace orrery::test
