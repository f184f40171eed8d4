// Small programs written by hand, for tests of what reads programs: the compiler is not needed, and every index can be broken.
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "program/program.h"

namespace orrery::program::fixtures {

inline Access read(std::uint32_t b) { return {.buffer = b, .mode = AccessMode::read}; }
inline Access write(std::uint32_t b) { return {.buffer = b, .mode = AccessMode::write}; }
inline Access update(std::uint32_t b) { return {.buffer = b, .mode = AccessMode::update}; }
inline Access first(Access a) {
  a.first = true;
  return a;
}
inline Access last(Access a) {
  a.last = true;
  return a;
}
inline Dependency after(std::uint16_t local) { return {DependencyKind::local, local}; }
inline Dependency on_event(std::uint16_t event) { return {DependencyKind::event, event}; }
inline Dependency on_stream(std::uint16_t stream) { return {DependencyKind::issued, stream}; }

inline std::uint32_t add_shape(Program& program, Shape shape) {
  program.shapes.push_back(shape);
  return static_cast<std::uint32_t>(program.shapes.size() - 1);
}

inline Shape sized(Operator op, std::initializer_list<std::int64_t> dims, DType dtype = DType::fp32) {
  Shape shape{.op = op, .dtype = dtype};
  std::size_t i = 0;
  for (const std::int64_t d : dims) shape.dims[i++] = d;
  if (is_communication(op)) shape.bytes = bytes_of(dtype, shape.dims[0]);
  return shape;
}

// Writes a role: buffers, then passes, each from `pass` to the next.
struct RoleWriter {
  Program* program;
  Role role;

  std::uint32_t buffer(std::string name, Lifetime lifetime, std::int64_t elements, DType dtype = DType::fp32) {
    Buffer b{.name = std::move(name), .lifetime = lifetime, .dtype = dtype, .elements = elements, .bytes = bytes_of(dtype, elements)};
    role.buffers.push_back(std::move(b));
    return static_cast<std::uint32_t>(role.buffers.size() - 1);
  }
  // A view of `elements` from element `from` of `owner`.
  std::uint32_t view(std::string name, std::uint32_t owner, std::int64_t from, std::int64_t elements) {
    const std::uint32_t b = buffer(std::move(name), role.buffers[owner].lifetime, elements, role.buffers[owner].dtype);
    role.buffers[b].bytes = 0;
    role.buffers[b].alias = static_cast<std::int32_t>(owner);
    role.buffers[b].alias_offset = bytes_of(role.buffers[owner].dtype, from);
    return b;
  }
  std::uint16_t event(std::string name, bool per_microbatch) {
    role.events.push_back({std::move(name), per_microbatch});
    return static_cast<std::uint16_t>(role.events.size() - 1);
  }
  std::uint16_t pass(std::string name, PassKind kind) {
    role.passes.push_back({.name = std::move(name), .kind = kind, .first = static_cast<std::uint32_t>(role.instructions.size())});
    return static_cast<std::uint16_t>(role.passes.size() - 1);
  }
  Instruction& add(Opcode opcode, std::uint8_t stream, Shape shape, std::initializer_list<Access> accesses,
                   std::initializer_list<Dependency> dependencies = {}) {
    Instruction it{.opcode = opcode, .op = shape.op, .stream = stream};
    if (shape.op != Operator::wait) it.shape = add_shape(*program, shape);
    it.accesses = static_cast<std::uint32_t>(role.accesses.size());
    it.access_count = static_cast<std::uint8_t>(accesses.size());
    role.accesses.insert(role.accesses.end(), accesses);
    it.dependencies = static_cast<std::uint32_t>(role.dependencies.size());
    it.dependency_count = static_cast<std::uint8_t>(dependencies.size());
    role.dependencies.insert(role.dependencies.end(), dependencies);
    role.instructions.push_back(it);
    ++role.passes.back().count;
    return role.instructions.back();
  }
  Instruction& compute(Shape shape, std::initializer_list<Access> accesses, std::initializer_list<Dependency> dependencies = {}) {
    return add(Opcode::compute, kComputeStream, shape, accesses, dependencies);
  }
  Instruction& communicate(std::uint8_t stream, std::uint16_t group, Shape shape, std::initializer_list<Access> accesses,
                           std::initializer_list<Dependency> dependencies = {}, std::int8_t peer = 0, std::uint8_t channel = 0) {
    const Opcode opcode = shape.op == Operator::send ? Opcode::send : shape.op == Operator::recv ? Opcode::recv : Opcode::collective;
    Instruction& it = add(opcode, stream, shape, accesses, dependencies);
    it.group = group;
    it.peer = peer;
    it.channel = channel;
    program->shapes[it.shape].group = group;
    return it;
  }
};

// Streams and passes of two_stages().
inline constexpr std::uint8_t kSend = 1, kRecv = 2, kReduce = 3;
inline constexpr std::uint16_t kForward = 0, kBackward = 1, kRelease = 2, kStep = 3;

// Two stages, two micro-batches, 1F1B, one linear of 8 x 8 on 4 tokens per stage (x, y and gradients are 32 elements of fp32, 128 bytes), then a
// global norm over the stages and an SGD step. Stage 0: F0 F1 B0 B1; stage 1: F0 B0 F1 B1. Every buffer is written before it is read and freed once.
//   stage 0 forward   0 zero x          1 linear y = x W             2 send y
//   stage 0 backward  0 recv dy         1 weight_grad(x, dy)
//   stage 1 forward   0 recv x          1 linear y = x W
//   stage 1 backward  0 input_grad(y) → dx   1 weight_grad(x, y)     2 send dx
//   both, release     0 wait until y (dx) is sent, and free it
//   both, step        0 zero norm       1 gradient_norm              2 all_reduce   3 optimizer_step   4 zero gradient
inline Program two_stages() {
  Program program;
  program.mesh = dense_mesh(1, 1, 1, 2);
  program.streams = {{"compute", StreamKind::compute}, {"send", StreamKind::comm}, {"recv", StreamKind::comm}, {"reduce", StreamKind::comm}};
  program.groups = {{.axes = mask(Axis::pp)}};
  program.group_class = {WorkClass::pp_comm};
  program.microbatches = 2;
  program.micro_batch = 1;
  program.sequence = 4;
  program.global_batch = 2;
  constexpr std::int64_t kTokens = 4, kWidth = 8, kElements = kTokens * kWidth, kWeights = kWidth * kWidth;
  for (std::int64_t stage = 0; stage < 2; ++stage) {
    RoleWriter w{&program, {}};
    w.role.name = fmt::format("stage {}", stage);
    w.role.stage = stage;
    w.role.chunks = {{stage, stage, 1}};
    const std::uint32_t weights = w.buffer("W", Lifetime::persistent, kWeights), gradient = w.buffer("dW", Lifetime::persistent, kWeights);
    const std::uint32_t norm = w.buffer("norm", Lifetime::pass, 1, DType::fp64), x = w.buffer("x", Lifetime::microbatch, kElements);
    w.role.buffers[weights].kind = BufferKind::parameter;
    w.role.buffers[gradient].kind = BufferKind::gradient;
    w.role.parameter_buffer = static_cast<std::int32_t>(weights);
    w.role.gradient_buffer = static_cast<std::int32_t>(gradient);
    const Shape forward = sized(Operator::linear_forward, {kTokens, kWidth, kWidth});
    const Shape input_grad = sized(Operator::linear_input_grad, {kTokens, kWidth, kWidth});
    const Shape weight_grad = sized(Operator::linear_weight_grad, {kTokens, kWidth, kWidth});
    const std::uint16_t sent = w.event("sent", true);
    const Shape send = sized(Operator::send, {kElements}), recv = sized(Operator::recv, {kElements});
    if (stage == 0) {
      const std::uint32_t y = w.buffer("y", Lifetime::microbatch, kElements), dy = w.buffer("dy", Lifetime::microbatch, kElements);
      w.pass("forward", PassKind::forward);
      w.compute(sized(Operator::zero, {kElements}), {first(write(x))});
      w.compute(forward, {read(x), read(weights), first(write(y))});
      w.communicate(kSend, 0, send, {read(y)}, {after(1)}, 1).signal = sent;
      w.pass("backward", PassKind::backward);
      w.communicate(kRecv, 0, recv, {first(write(dy))}, {on_stream(kComputeStream)}, 1);
      w.compute(weight_grad, {last(read(x)), last(read(dy)), update(gradient)}, {after(0)});
      w.pass("release", PassKind::release);
      w.add(Opcode::wait, kComputeStream, {.op = Operator::wait}, {last(read(y))}, {on_event(sent)});
    } else {
      const std::uint32_t y = w.buffer("y", Lifetime::microbatch, kElements), dx = w.buffer("dx", Lifetime::microbatch, kElements);
      w.pass("forward", PassKind::forward);
      w.communicate(kRecv, 0, recv, {first(write(x))}, {on_stream(kComputeStream)}, -1);
      w.compute(forward, {read(x), read(weights), first(write(y))}, {after(0)});
      w.pass("backward", PassKind::backward);
      w.compute(input_grad, {read(y), read(weights), first(write(dx))});
      w.compute(weight_grad, {last(read(x)), last(read(y)), update(gradient)});
      w.communicate(kSend, 0, send, {read(dx)}, {after(0)}, -1).signal = sent;
      w.pass("release", PassKind::release);
      w.add(Opcode::wait, kComputeStream, {.op = Operator::wait}, {last(read(dx))}, {on_event(sent)});
    }
    w.pass("step", PassKind::optimizer);
    w.compute(sized(Operator::zero, {1}, DType::fp64), {first(write(norm))});
    w.compute(sized(Operator::gradient_norm, {kWeights}), {read(gradient), update(norm)});
    w.communicate(kReduce, 0, sized(Operator::all_reduce, {1}, DType::fp64), {update(norm)}, {after(1)});
    w.compute(sized(Operator::optimizer_step, {kWeights}), {last(read(norm)), update(gradient), update(weights)}, {after(2)});
    w.compute(sized(Operator::zero, {kWeights}), {write(gradient)});
    if (stage == 0)
      w.role.body = {{kForward, 0}, {kForward, 1}, {kRelease, 0}, {kBackward, 0}, {kRelease, 1}, {kBackward, 1}, {kStep, 0}};
    else
      w.role.body = {{kForward, 0}, {kBackward, 0}, {kRelease, 0}, {kForward, 1}, {kBackward, 1}, {kRelease, 1}, {kStep, 0}};
    program.roles.push_back(std::move(w.role));
  }
  return program;
}

// The instruction `index` of a pass of a stage.
inline Instruction& instruction(Program& program, std::size_t stage, std::uint16_t pass, std::uint32_t index) {
  Role& role = program.roles[stage];
  return role.instructions[role.passes[pass].first + index];
}
// Its access `n`.
inline Access& access(Program& program, std::size_t stage, std::uint16_t pass, std::uint32_t index, std::uint32_t n) {
  return program.roles[stage].accesses[instruction(program, stage, pass, index).accesses + n];
}

}  // namespace orrery::program::fixtures
