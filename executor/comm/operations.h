// What communicators share: which operations make sense, how an error names one, and sums on the host.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "executor/communicator.h"

namespace orrery::executor {

inline bool is_reduction(program::Operator op) {
  return op == program::Operator::all_reduce || op == program::Operator::all_reduce_max || op == program::Operator::reduce_scatter;
}

// Throws Error where `rank` cannot take part in the operation in a world of `ranks`.
void check_operation(const CommOperation& operation, std::int64_t rank, std::int64_t ranks);

// Throws Error where the host's communicators cannot reduce the operation's type.
void check_reduction(const CommOperation& operation, std::int64_t rank);

// On the host: combines n elements of every member's input in member order, in double, rounded once, and writes them to every output. Outputs may be
// inputs, not parts of them: a block is written when all have read it. all_reduce and reduce_scatter add; all_reduce_max takes the greatest, and a
// NaN stays.
void reduce(DType type, program::Operator op, std::span<const void* const> in, std::int64_t n, std::span<void* const> out);

// "all_reduce of 1024 elements among ranks 0,1,2 on stream 1", "send of 5 elements to rank 3 on channel 0".
std::string describe_operation(const CommOperation& operation);

// Which of `processes` has rank `rank`: consecutive ranks, as many in each as in any other, or one more in the first.
std::int64_t process_of(std::int64_t rank, std::int64_t ranks, std::int64_t processes);
// First rank of a process, of which the next begins where this one ends.
std::int64_t first_rank(std::int64_t process, std::int64_t ranks, std::int64_t processes);

}  // namespace orrery::executor
