#include "program/transforms/buckets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

namespace orrery::program {
namespace {

// PyTorch's DistributedDataParallel: bucket_cap_mb = 25 in MiB, and kDefaultFirstBucketBytes = 1 MiB where that is not given.
constexpr std::int64_t kDefaultBucketBytes = std::int64_t{25} << 20U, kFirstBucketBytes = std::int64_t{1} << 20U;
// Horovod: the documented default of HOROVOD_FUSION_THRESHOLD.
constexpr std::int64_t kFusionThreshold = std::int64_t{128} << 20U;

bool is_pytorch(const std::string& framework) { return framework.starts_with("pytorch") || framework.starts_with("torchtitan"); }

// What all tensors of a bucket have in common.
struct Kind {
  Replication replication;
  bool experts, by_weight_grad, embedding_group, shared, copy;
  std::uint16_t chunk, unit;
  bool operator==(const Kind&) const = default;
};

}  // namespace

std::vector<double> gradient_times(const Layout& layout) {
  std::vector<double> at(layout.tensors.size(), 0);
  double sum = 0;
  const auto is_head = [&](std::size_t i) {
    return std::any_of(layout.chunks.begin(), layout.chunks.end(), [i](const ChunkTensors& c) { return c.head == static_cast<std::int32_t>(i); });
  };
  for (std::size_t i = layout.tensors.size(); i-- > 0;) {
    const Tensor& t = layout.tensors[i];
    const bool table = t.unit == 0 || t.embedding_group;  // the embedding's are looked up
    const bool multiplied = t.pieces.front().cols > 1 && (!table || is_head(i));
    if (multiplied) sum += static_cast<double>(t.elements());
    at[i] = sum;
  }
  for (double& share : at) share = sum > 0 ? share / sum : 1;
  return at;
}

std::vector<BucketContent> fill_buckets(const Layout& layout, const Plan& plan, bool splits) {
  const bool horovod = plan.data_parallel.kind == "horovod", units = plan.sharding.zero >= 3;
  std::vector<bool> by_weight_grad(layout.tensors.size(), false);
  if (splits && plan.sharding.zero >= 2)
    for (const ChunkTensors& chunk : layout.chunks)
      for (const GradientWrite& write : gradient_writes(chunk))
        if (write.by_weight_grad) by_weight_grad[static_cast<std::size_t>(write.tensor)] = true;
  const auto kind = [&](std::size_t i) {
    const Tensor& t = layout.tensors[i];
    return Kind{t.replication, t.experts, static_cast<bool>(by_weight_grad[i]), t.embedding_group, t.shared && plan.sharding.zero >= 2,
                t.copy,        t.chunk,   units ? t.unit : std::uint16_t{0}};
  };

  // Backward produces gradients in the reverse of the forward order; replicated tensors keep to the end.
  std::vector<std::size_t> order(layout.tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = order.size() - 1 - i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
    const Kind a = kind(x), b = kind(y);
    return std::tuple(a.replication, a.experts, a.by_weight_grad) < std::tuple(b.replication, b.experts, b.by_weight_grad);
  });

  std::vector<std::uint16_t> tick(layout.tensors.size(), 0);
  if (horovod && plan.data_parallel.cycle.value_or(0) > 0 && plan.data_parallel.backward) {
    constexpr double kMost = std::numeric_limits<std::uint16_t>::max();
    const std::vector<double> ready = gradient_times(layout);
    for (std::size_t i = 0; i < tick.size(); ++i)
      tick[i] = static_cast<std::uint16_t>(std::min(kMost, std::floor(ready[i] * *plan.data_parallel.backward / *plan.data_parallel.cycle)));
  }

  std::vector<BucketContent> out;
  std::int64_t bytes = 0;
  for (const std::size_t i : order) {
    const std::int64_t more = bytes_of(plan.precision.grads, layout.tensors[i].elements());
    std::int64_t limit = plan.data_parallel.bucket_bytes.value_or(horovod ? kFusionThreshold
                                                                  : units ? std::numeric_limits<std::int64_t>::max()
                                                                          : kDefaultBucketBytes);
    if (out.size() == 1 && !horovod && !units && !plan.data_parallel.bucket_bytes && is_pytorch(plan.runtime.framework)) limit = kFirstBucketBytes;
    const bool full = horovod ? bytes + more > limit : bytes >= limit;
    if (out.empty() || full || kind(out.back().tensors.back()) != kind(i) || out.back().tick != tick[i]) {
      out.push_back({.tensors = {}, .tick = tick[i]});
      bytes = 0;
    }
    out.back().tensors.push_back(i);
    bytes += more;
  }
  return out;
}

bool reduces_in_two_levels(const Plan& plan, const DataGroups& groups) {
  return plan.data_parallel.hierarchical && plan.sharding.zero < 1 && groups.inner != kNone && groups.outer != kNone;
}

}  // namespace orrery::program
