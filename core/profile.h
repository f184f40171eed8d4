// What one machine was measured to do: operators and collectives, each with unit, median, spread and count; and where, when and with what.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/units.h"

namespace orrery {

// One measured operator at one shape. Dimensions are in the order that program/operators.h documents for the operator.
struct OperatorMeasurement {
  std::string op;  // program::name(Operator), e.g. "linear_forward"
  std::vector<std::int64_t> dims;
  DType dtype = DType::fp32;
  std::int64_t busy = 1;   // ranks that ran the same operator at the same time, each on its own data
  Seconds median;          // of one call
  double spread = 0;       // half the interquartile range, relative to the median
  std::int64_t count = 0;  // calls timed
  Bytes footprint{};       // of all operands that were used in turn, per rank: what else was touched between two uses of one; 0: not said
  bool operator==(const OperatorMeasurement&) const = default;
};

// One measured collective (or point-to-point copy, ranks = 2). `bytes` counts as in CommShape::bytes.
struct CollectiveMeasurement {
  std::string op;  // "all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "send_recv"
  std::int64_t ranks = 2;
  Bytes bytes;
  Seconds median;
  double spread = 0;
  std::int64_t count = 0;
  bool operator==(const CollectiveMeasurement&) const = default;
};

struct Profile {
  std::string device;                       // what was measured, e.g. "AMD EPYC, 2 cores" or "H200 SXM"
  std::string clock, driver, date, commit;  // "unknown" where the machine does not say
  std::int64_t cores = 1;                   // CPU: cores that ranks share; GPU: 1
  Bytes memory;
  FlopsPerSecond peak;              // the best rate of any matrix product measured, by one rank alone
  BytesPerSecond memory_bandwidth;  // copy, read + written bytes, by one rank alone
  std::vector<OperatorMeasurement> operators;
  std::vector<CollectiveMeasurement> collectives;
  Seconds issue{};                    // host time per instruction of a program whose kernels run on the issuing thread; 0: not measured
  std::vector<std::string> left_out;  // what was asked for and not measured, in words: there was no time or memory for it
  bool operator==(const Profile&) const = default;
};

}  // namespace orrery
