#include "executor/comm/operations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"

namespace orrery::executor {

using program::Operator;

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
