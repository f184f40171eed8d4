#include "executor/comm/operations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

#include "core/error.h"
#include "executor/kernels/narrow.h"

namespace orrery::executor {

using program::Operator;

namespace {

// An element of 16 bits.
template <std::uint16_t (*kNarrow)(float), float (*kWiden)(std::uint16_t)>
struct Sixteen {
  Sixteen() = default;
  explicit Sixteen(double x) : code(kNarrow(to_odd(x))) {}
  explicit operator double() const { return static_cast<double>(kWiden(code)); }
  std::uint16_t code = 0;
};
using Bf16 = Sixteen<to_bf16, from_bf16>;
using Fp16 = Sixteen<to_fp16, from_fp16>;

template <class T, class Combine>
void combine(std::span<const void* const> in, std::int64_t n, std::span<void* const> out, Combine with) {
  constexpr std::size_t kBlock = 1024;
  std::array<double, kBlock> sum;
  std::array<T, kBlock> values;
  const auto all = static_cast<std::size_t>(n);
  for (std::size_t begin = 0; begin < all; begin += kBlock) {
    const std::size_t count = std::min(kBlock, all - begin), at = begin * sizeof(T), bytes = count * sizeof(T);
    for (std::size_t k = 0; k < in.size(); ++k) {
      std::memcpy(values.data(), static_cast<const std::byte*>(in[k]) + at, bytes);
      if (k == 0)
        for (std::size_t i = 0; i < count; ++i) sum[i] = static_cast<double>(values[i]);
      else
        for (std::size_t i = 0; i < count; ++i) sum[i] = with(sum[i], static_cast<double>(values[i]));
    }
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<T>(sum[i]);
    for (void* const o : out) std::memcpy(static_cast<std::byte*>(o) + at, values.data(), bytes);
  }
}

template <class T>
void reduce_as(Operator op, std::span<const void* const> in, std::int64_t n, std::span<void* const> out) {
  if (op == Operator::all_reduce_max)
    combine<T>(in, n, out, [](double a, double b) { return b > a || b != b ? b : a; });
  else
    combine<T>(in, n, out, [](double a, double b) { return a + b; });
}

bool can_reduce(DType t) {
  return t == DType::fp32 || t == DType::tf32 || t == DType::fp64 || t == DType::int32 || t == DType::bf16 || t == DType::fp16;
}

}  // namespace

void check_operation(const CommOperation& operation, std::int64_t rank, std::int64_t ranks) {
  const auto size = static_cast<std::int64_t>(operation.members.size());
  const auto refuse = [&](const std::string& why) {
    throw Error("communicator", fmt::format("rank {}: {} of {} elements: {}", rank, program::name(operation.op), operation.elements, why));
  };
  if (std::find(operation.members.begin(), operation.members.end(), rank) == operation.members.end()) refuse("this rank is not a member");
  for (const std::int64_t m : operation.members)
    if (m < 0 || m >= ranks) refuse(fmt::format("there is no rank {}", m));
  if ((operation.op == Operator::reduce_scatter || operation.op == Operator::all_gather) && operation.elements % size != 0)
    refuse(fmt::format("{} members cannot have equal shards", size));
  if (operation.op == Operator::broadcast && (operation.root < 0 || operation.root >= size)) refuse("the root is not a member");
  if (program::is_point_to_point(operation.op) && (size != 2 || operation.members[0] != rank)) refuse("members must be this rank and its peer");
}

void check_reduction(const CommOperation& operation, std::int64_t rank) {
  if (!is_reduction(operation.op) || can_reduce(operation.dtype)) return;
  throw Error("communicator", fmt::format("rank {}: {} of {} elements: reductions are of fp32, fp64, int32, bf16 and fp16", rank,
                                          program::name(operation.op), operation.elements));
}

void reduce(DType type, Operator op, std::span<const void* const> in, std::int64_t n, std::span<void* const> out) {
  if (type == DType::fp64)
    reduce_as<double>(op, in, n, out);
  else if (type == DType::int32)
    reduce_as<std::int32_t>(op, in, n, out);
  else if (type == DType::bf16)
    reduce_as<Bf16>(op, in, n, out);
  else if (type == DType::fp16)
    reduce_as<Fp16>(op, in, n, out);
  else
    reduce_as<float>(op, in, n, out);
}

std::string describe_operation(const CommOperation& operation) {
  if (program::is_point_to_point(operation.op))
    return fmt::format("{} of {} elements {} rank {} on channel {}", program::name(operation.op), operation.elements,
                       operation.op == Operator::send ? "to" : "from", operation.members[1], operation.channel);
  constexpr std::size_t kNamed = 16;
  const std::size_t n = operation.members.size(), named = n > kNamed ? kNamed : n;
  return fmt::format("{} of {} elements among ranks {}{} on stream {}", program::name(operation.op), operation.elements,
                     fmt::join(operation.members.begin(), operation.members.begin() + static_cast<std::ptrdiff_t>(named), ","),
                     n > named ? fmt::format(" and {} more", n - named) : "", operation.stream);
}

std::int64_t first_rank(std::int64_t process, std::int64_t ranks, std::int64_t processes) {
  return process * (ranks / processes) + std::min(process, ranks % processes);
}

std::int64_t process_of(std::int64_t rank, std::int64_t ranks, std::int64_t processes) {
  const std::int64_t each = ranks / processes, longer = ranks % processes;
  return rank < longer * (each + 1) ? rank / (each + 1) : longer + (rank - longer * (each + 1)) / each;
}

}  // namespace orrery::executor
