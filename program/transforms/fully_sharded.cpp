#include "program/transforms/fully_sharded.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace orrery::program {
namespace {

constexpr std::size_t kUnread = static_cast<std::size_t>(-1);

// PyTorch's FSDP and FSDP2 gather one unit ahead.
constexpr std::int64_t kPrefetch = 1;

}  // namespace

ParameterGatherer::ParameterGatherer(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk, const Turn& turn)
    : b_(b),
      layout_(layout),
      plan_(plan),
      chunk_(chunk),
      turn_(turn),
      keeps_(!plan.sharding.reshard_after_forward),
      ahead_(static_cast<std::size_t>(plan.overlap.param_gather ? plan.data_parallel.prefetch.value_or(kPrefetch) : 0)),
      unit_of_(layout.buckets.size(), kUnread) {}

std::uint32_t ParameterGatherer::gathered(std::size_t bucket) {
  const std::string name = fmt::format("bucket.{}.gathered", bucket);
  const std::int64_t elements = layout_.buckets[bucket].elements;
  if (keeps_) return b_.across_passes(name, BufferKind::parameter, plan_.precision.params, elements);
  return b_.temporary(name, BufferKind::parameter, plan_.precision.params, elements);
}

std::uint32_t ParameterGatherer::weight(std::int32_t tensor) {
  const Tensor& t = layout_.tensors[static_cast<std::size_t>(tensor)];
  const Layout::BucketViews& views = layout_.buckets[t.bucket];
  if (!views.sharded_parameter) return t.weight;
  if (begun_) {
    enter(unit_of_[t.bucket]);
  } else if (unit_of_[t.bucket] == kUnread) {
    const auto same = std::find_if(units_.begin(), units_.end(), [&](const auto& unit) { return layout_.buckets[unit.front()].unit == views.unit; });
    unit_of_[t.bucket] = static_cast<std::size_t>(same - units_.begin());
    if (same == units_.end()) units_.emplace_back();
    units_[unit_of_[t.bucket]].push_back(t.bucket);
  }
  return b_.view(t.name, BufferKind::parameter, gathered(t.bucket), t.within, t.elements(), t.layer);
}

void ParameterGatherer::begin() {
  begun_ = true;
  ends_.assign(units_.size(), 0);
  if (!keeps_ || !turn_.releases) return;
  for (std::size_t i = 0; i < layout_.buckets.size(); ++i)
    if (const Layout::BucketViews& views = layout_.buckets[i]; views.sharded_parameter && views.head_chunk == chunk_) {
      b_.close(gathered(i));
      if (unit_of_[i] == kUnread) b_.settle({gathered(i)});  // its last use has been
    }
}

void ParameterGatherer::enter(std::size_t unit) {
  for (; current_ < unit; ++current_) ends_[current_] = static_cast<std::uint16_t>(std::max(1, int{b_.written()}) - 1);
  if (keeps_ && !turn_.gathers) return;
  for (const std::size_t last = std::min(units_.size(), unit + ahead_ + 1); next_ < last; ++next_) gather(next_);
}

void ParameterGatherer::gather(std::size_t unit) {
  const std::uint16_t outer_layer = std::exchange(b_.layer, kNone);
  const std::uint8_t outer_flags = std::exchange(b_.flags, std::uint8_t{0});
  if (plan_.data_parallel.rate_limit) {
    const auto limit = static_cast<std::size_t>(*plan_.data_parallel.rate_limit);
    if (unit >= limit && unit - limit < current_) b_.host_wait(ends_[unit - limit]);
  }
  for (const std::size_t bucket : units_[unit]) {
    const Layout::BucketViews& views = layout_.buckets[bucket];
    if (keeps_) {
      if (views.first_chunk != chunk_) continue;  // the other chunk that uses it came first
      b_.open(gathered(bucket));
    }
    b_.collective(Operator::all_gather, kDp, views.groups.inner, views.elements, plan_.precision.params,
                  {r(views.own_parameter), w(gathered(bucket))});
  }
  b_.layer = outer_layer, b_.flags = outer_flags;
}

}  // namespace orrery::program
