// Speed of the CPU kernels on one thread, at sizes of the models that the executor trains: FLOP/s of matrix work and bytes/s of the rest, both from
// the counts that the Program declares for the shape.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <vector>

#include "executor/kernels/kernels.h"

namespace {

using orrery::program::Operator;

// Operands of random size-one numbers; the first is of int32 tokens where `tokens` says so.
void run(benchmark::State& state, const orrery::program::Shape& shape, const std::vector<std::int64_t>& elements, double flops, double bytes) {
  std::vector<std::vector<float>> data;
  std::vector<void*> buffers;
  for (const std::int64_t n : elements) {
    auto& x = data.emplace_back(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 7919) % 1009) / 1009.F - 0.5F;
    buffers.push_back(x.data());
  }
  const auto kernels = orrery::executor::make_cpu_kernels();
  orrery::executor::KernelSettings settings;
  settings.vocab = 1 << 30;
  for (auto _ : state) {
    kernels->run({shape, buffers, settings});
    benchmark::ClobberMemory();
  }
  const auto n = static_cast<double>(state.iterations());
  if (flops > 0) state.counters["FLOP/s"] = benchmark::Counter(flops * n, benchmark::Counter::kIsRate);
  if (bytes > 0) state.counters["B/s"] = benchmark::Counter(bytes * n, benchmark::Counter::kIsRate);
}

orrery::program::Shape shape(Operator op, std::array<std::int64_t, 9> dims) {
  orrery::program::Shape s;
  s.op = op;
  s.dims = dims;
  return s;
}

void linear(benchmark::State& state, Operator op) {
  const std::int64_t tokens = state.range(0), in = state.range(1), out = state.range(2);
  std::vector<std::int64_t> elements;
  if (op == Operator::linear_forward) elements = {tokens * in, out * in, tokens * out};
  if (op == Operator::linear_input_grad) elements = {tokens * out, out * in, tokens * in};
  if (op == Operator::linear_weight_grad) elements = {tokens * in, tokens * out, out * in};
  run(state, shape(op, {tokens, in, out}), elements, 2.0 * static_cast<double>(tokens * in * out), 0);
}
void linear_sizes(benchmark::internal::Benchmark* b) {
  b->Args({256, 256, 256})->Args({512, 256, 768})->Args({512, 768, 256})->Args({1024, 512, 512})->Args({1024, 1024, 1024})->Args({64, 2048, 2048});
}
BENCHMARK_CAPTURE(linear, forward, Operator::linear_forward)->Apply(linear_sizes);
BENCHMARK_CAPTURE(linear, input_grad, Operator::linear_input_grad)->Apply(linear_sizes);
BENCHMARK_CAPTURE(linear, weight_grad, Operator::linear_weight_grad)->Apply(linear_sizes);

void attention(benchmark::State& state, Operator op) {
  const std::int64_t batch = state.range(0), sequence = state.range(1), heads = state.range(2), kv = state.range(3), dim = state.range(4);
  const std::int64_t rows = batch * sequence, packed = rows * (heads + 2 * kv) * dim, out = rows * heads * dim;
  const bool forward = op == Operator::attention_forward;
  const std::vector<std::int64_t> elements = forward ? std::vector{packed, out, rows * heads} : std::vector{packed, out, rows * heads, out, packed};
  // Two products forwards, five backwards, each 2 · pairs · dim with half of the pairs masked.
  const double flops = (forward ? 4.0 : 10.0) * static_cast<double>(batch * heads * sequence * (sequence + 1) / 2 * dim);
  run(state, shape(op, {batch, sequence, heads, kv, dim, dim, 1}), elements, flops, 0);
}
void attention_sizes(benchmark::internal::Benchmark* b) {
  b->Args({2, 128, 8, 4, 32})->Args({1, 256, 8, 8, 64})->Args({1, 1024, 8, 2, 64})->Args({1, 1024, 4, 4, 128});
}
BENCHMARK_CAPTURE(attention, forward, Operator::attention_forward)->Apply(attention_sizes);
BENCHMARK_CAPTURE(attention, backward, Operator::attention_backward)->Apply(attention_sizes);

void rows(benchmark::State& state, Operator op, std::int64_t extra, std::vector<std::int64_t> whole, std::int64_t vectors, std::int64_t scalars) {
  // `whole`: operands of tokens x (that many widths); then `vectors` of one width, then `scalars` of one row element.
  const std::int64_t tokens = state.range(0), width = state.range(1);
  std::vector<std::int64_t> elements;
  double bytes = 0;
  for (const std::int64_t w : whole) {
    elements.push_back(tokens * width * w);
    bytes += 4.0 * static_cast<double>(elements.back());
  }
  for (std::int64_t i = 0; i < vectors; ++i) elements.insert(elements.begin() + 1, width);
  for (std::int64_t i = 0; i < scalars; ++i) elements.push_back(2 * tokens);
  run(state, shape(op, {tokens, width, extra}), elements, 0, bytes);
}
void row_sizes(benchmark::internal::Benchmark* b) { b->Args({512, 256})->Args({512, 1024}); }
BENCHMARK_CAPTURE(rows, norm_forward, Operator::norm_forward, 0, std::vector<std::int64_t>{1, 1}, 1, 1)->Apply(row_sizes);
BENCHMARK_CAPTURE(rows, swiglu_forward, Operator::activation_forward, 1, std::vector<std::int64_t>{2, 1}, 0, 0)->Apply(row_sizes);
BENCHMARK_CAPTURE(rows, swiglu_backward, Operator::activation_backward, 1, std::vector<std::int64_t>{2, 1, 2}, 0, 0)->Apply(row_sizes);
BENCHMARK_CAPTURE(rows, residual_forward, Operator::residual_forward, 0, std::vector<std::int64_t>{1, 1}, 0, 0)->Apply(row_sizes);

void cross_entropy_sum(benchmark::State& state) {
  const std::int64_t tokens = state.range(0), vocab = state.range(1);
  run(state, shape(Operator::cross_entropy_sum, {tokens, vocab}), {tokens * vocab, tokens, tokens, 2 * tokens}, 0,
      4.0 * static_cast<double>(tokens * vocab));
}
BENCHMARK(cross_entropy_sum)->Args({512, 256})->Args({512, 4096});

void rope_forward(benchmark::State& state) {
  const std::int64_t tokens = state.range(0);
  run(state, shape(Operator::rope_forward, {tokens, 8, 4, 64}), {tokens * 16 * 64}, 0, 8.0 * static_cast<double>(tokens * 12 * 64));
}
BENCHMARK(rope_forward)->Arg(512);

void adamw(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  run(state, shape(Operator::optimizer_step, {n}), {2, n, n, n, n}, 0, 28.0 * static_cast<double>(n));  // four read, three written
}
BENCHMARK(adamw)->Arg(1 << 16)->Arg(1 << 22);

void gradient_norm(benchmark::State& state) {
  const std::int64_t n = state.range(0);
  run(state, shape(Operator::gradient_norm, {n}), {n, 2}, 0, 4.0 * static_cast<double>(n));
}
BENCHMARK(gradient_norm)->Arg(1 << 16)->Arg(1 << 22);

}  // namespace
