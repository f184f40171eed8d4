// Published nccl-tests results against the model on the shipped machines. Two of the tables were fitted: 8 H200 and 2 x 8 H100, all-reduce.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "core/cluster_json.h"
#include "cost/collectives.h"

namespace orrery::cost {
namespace {

using program::Operator;

struct Row {
  const char* cluster;
  Operator op;
  std::int64_t ranks, bytes;
  double busbw;  // GB/s, nccl-tests: 2(n-1)/n · bytes / time for all-reduce, (n-1)/n for the others
};

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

// stas00/ml-engineering@744d01e1 network/README.md: A100, H200, B200 and MI300X, 4 x 8 H200 and B200.
// NVIDIA/nccl-tests issue 290: H100. coreweave/nccl-tests@cb865533 README.md: 8 x 8 H100, GB200. VIA-Research/vTrain trace/a100: A100 by count.
// aws-samples/awsome-distributed-training@7217859f micro-benchmarks/nccl-tests: 2 x 8 H100. dstack documentation: 2 x 8 B200 (GCP A4).
// Oracle OCI documentation: GB300, MI355X.
constexpr Row kRows[] = {
    {"dgx-a100:8", Operator::all_reduce, 2, kGiB, 197.28},          {"dgx-a100:8", Operator::all_reduce, 4, kGiB, 221.86},
    {"dgx-a100:8", Operator::all_reduce, 6, kGiB, 227.01},          {"dgx-a100:8", Operator::all_reduce, 8, kGiB, 229.04},
    {"dgx-a100:8", Operator::all_reduce, 8, 16 * kGiB, 234.89},     {"dgx-h200:8", Operator::all_reduce, 4, 8 * kGiB, 363.3},
    {"dgx-h200:8", Operator::all_reduce, 8, kGiB, 463.58},          {"dgx-h200:8", Operator::all_reduce, 8, 16 * kGiB, 482.26},
    {"dgx-h200:8", Operator::all_gather, 8, 16 * kGiB, 361.4},      {"dgx-h200:8", Operator::reduce_scatter, 8, 16 * kGiB, 362.9},
    {"dgx-h100:8", Operator::all_reduce, 8, kGiB, 465.25},          {"dgx-b200:8", Operator::all_reduce, 4, 8 * kGiB, 673.2},
    {"dgx-b200:8", Operator::all_reduce, 8, kGiB, 723.34},          {"dgx-b200:8", Operator::all_reduce, 8, 16 * kGiB, 845.67},
    {"dgx-h100:16", Operator::all_reduce, 16, kGiB, 436.95},        {"dgx-h100:16", Operator::all_reduce, 16, 16 * kGiB, 487.09},
    {"dgx-h200:32", Operator::all_reduce, 32, 4 * kGiB, 364.87},    {"dgx-h100:64", Operator::all_reduce, 64, kGiB, 365.9},
    {"dgx-h100:64", Operator::all_reduce, 64, 8 * kGiB, 386.56},    {"dgx-b200:16", Operator::all_reduce, 16, 8 * kGiB, 683.52},
    {"dgx-b200:32", Operator::all_reduce, 32, kGiB, 361.99},        {"dgx-b200:32", Operator::all_reduce, 32, 16 * kGiB, 381.8},
    {"gb200-nvl72:72", Operator::all_reduce, 72, kGiB, 681.17},     {"gb200-nvl72:72", Operator::all_reduce, 72, 8 * kGiB, 834.57},
    {"mi300x:8", Operator::all_reduce, 2, 4 * kGiB, 47.67},         {"mi300x:8", Operator::all_reduce, 8, 4 * kGiB, 312.9},
    {"gb300-nvl72:72", Operator::all_to_all, 8, 16 * kGiB, 685.06}, {"gb300-nvl72:72", Operator::all_to_all, 64, 16 * kGiB, 666.92},
};

double predicted(const Row& row) {
  const Cluster cluster = load_cluster(row.cluster);
  std::vector<std::int64_t> devices(static_cast<std::size_t>(row.ranks));
  std::iota(devices.begin(), devices.end(), 0);
  const double seconds = collective_time(row.op, Bytes{row.bytes}, place(cluster, devices), cluster).duration.v;
  const auto n = static_cast<double>(row.ranks);
  return (row.op == Operator::all_reduce ? 2 : 1) * (n - 1) / n * static_cast<double>(row.bytes) / seconds / 1e9;
}

TEST(PublishedNcclResults, FromOneGibibyteOnAreMetWithinAQuarterAndWithinATwentiethOnAverage) {
  double sum = 0;
  for (const Row& row : kRows) {
    const double error = row.busbw / predicted(row) - 1;  // of the time
    EXPECT_LT(std::abs(error), 0.25) << row.cluster << " " << program::name(row.op) << " over " << row.ranks << ", " << row.bytes << " B: predicted "
                                     << predicted(row) << " GB/s, measured " << row.busbw;
    sum += std::abs(error);
  }
  EXPECT_LT(sum / static_cast<double>(std::size(kRows)), 0.05);
}

TEST(PublishedNcclResults, OfMiddlingSizesAreMetWithinAQuarter) {
  // The same tables where latency still counts.
  constexpr Row kMiddling[] = {
      {"dgx-a100:8", Operator::all_reduce, 8, kGiB / 16, 171.54}, {"dgx-a100:8", Operator::all_reduce, 8, kGiB / 128, 109.93},
      {"dgx-a100:8", Operator::all_reduce, 4, kGiB / 64, 140.11}, {"dgx-a100:8", Operator::all_reduce, 2, kGiB / 1024, 23.72},
      {"dgx-h200:8", Operator::all_reduce, 8, kGiB / 16, 346.51}, {"dgx-h200:8", Operator::all_reduce, 8, kGiB / 128, 155.53},
      {"dgx-b200:8", Operator::all_reduce, 8, kGiB / 16, 400.6},  {"dgx-h100:16", Operator::all_reduce, 16, kGiB / 4, 342.81},
  };
  for (const Row& row : kMiddling)
    EXPECT_LT(std::abs(row.busbw / predicted(row) - 1), 0.25) << row.cluster << " " << row.ranks << " " << row.bytes << " " << predicted(row);
}

}  // namespace
}  // namespace orrery::cost
