#include "program/transforms/data_parallel.h"

#include <fmt/format.h>

#include <algorithm>

namespace orrery::program {
namespace {

std::uint16_t reduced_event(Builder& b, std::size_t bucket) { return b.event(fmt::format("bucket.{}.reduced", bucket), false); }
std::uint16_t gathered_event(Builder& b, std::size_t bucket) { return b.event(fmt::format("bucket.{}.gathered", bucket), false); }

// What happens to one bucket's gradients before the optimizer may read them.
struct Reduction {
  bool over_tp, over_dp, over_copies;
  bool any() const { return over_tp || over_dp || over_copies; }
};
Reduction reduction(const Layout::BucketViews& bucket, std::int64_t dp, std::int64_t tp) {
  return {bucket.partial && tp > 1, dp > 1, bucket.copies != kNone};
}

std::int64_t extent(Builder& b, AxisMask axes) { return b.tables().mesh().extent(axes); }

}  // namespace

bool reduces_gradients(const Layout& layout, std::uint16_t chunk, std::int64_t dp, std::int64_t tp) {
  return std::any_of(layout.buckets.begin(), layout.buckets.end(),
                     [&](const auto& bucket) { return bucket.chunk == chunk && reduction(bucket, dp, tp).any(); });
}

bool gathers_parameters(const Plan& plan, std::int64_t dp) { return plan.sharding.zero >= 1 && dp > 1; }

GradientReducer::GradientReducer(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk, PassKind pass)
    : b_(b),
      layout_(layout),
      plan_(plan),
      chunk_(chunk),
      whole_(pass != PassKind::weight_grad),
      missing_(layout.buckets.size(), 0),
      reduced_(layout.buckets.size(), false) {
  for (const GradientWrite& write : gradient_writes(layout.chunks[chunk]))
    if (const Tensor& t = layout.tensors[static_cast<std::size_t>(write.tensor)];
        t.chunk == chunk && (write.by_weight_grad || pass == PassKind::backward))
      ++missing_[t.bucket];
  for (std::size_t i = 0; i < reduced_.size(); ++i) reduced_[i] = layout.buckets[i].chunk != chunk;
}

void GradientReducer::written(std::int32_t tensor) {
  const Tensor& t = layout_.tensors[static_cast<std::size_t>(tensor)];
  if (t.chunk != chunk_) return;  // a tied table's other use, in a chunk that ends earlier
  const std::size_t bucket = t.bucket;
  if (--missing_[bucket] == 0 && plan_.overlap.grad_reduce) reduce(bucket);
}

void GradientReducer::reduce(std::size_t bucket) {
  const std::uint16_t outer_layer = b_.layer;
  const std::uint8_t outer_flags = b_.flags;
  b_.layer = kNone, b_.flags = 0;
  const Layout::BucketViews& views = layout_.buckets[bucket];
  const Reduction todo = reduction(views, extent(b_, kReplicaAxes), extent(b_, kTpAxis));
  const std::int64_t elements = b_.elements(views.gradient);
  const DType type = plan_.precision.grads;
  b_.after_compute = !whole_ && (todo.over_tp || todo.over_dp);
  if (todo.over_tp)
    b_.collective(Operator::all_reduce, kTp, b_.tables().group(kTpAxis), elements, type, {u(views.gradient)},
                  todo.over_dp || todo.over_copies ? kNone : reduced_event(b_, bucket));
  if (todo.over_dp) {
    const std::uint16_t signal = todo.over_copies ? kNone : reduced_event(b_, bucket), group = b_.tables().group(kReplicaAxes);
    if (plan_.sharding.zero >= 1)
      b_.collective(Operator::reduce_scatter, kDp, group, elements, type, {r(views.gradient), w(views.gradient)}, signal);
    else
      b_.collective(Operator::all_reduce, kDp, group, elements, type, {u(views.gradient)}, signal);
  }
  reduced_[bucket] = true;
  b_.layer = outer_layer, b_.flags = outer_flags;
}

void GradientReducer::finish() {
  for (std::size_t i = 0; i < reduced_.size(); ++i)
    if (!reduced_[i]) reduce(i);
  // Last, since the other copy's stage finishes at another time and would hold up the buckets behind it.
  for (std::size_t i = 0; i < reduced_.size(); ++i)
    if (layout_.buckets[i].chunk == chunk_ && layout_.buckets[i].copies != kNone) {
      b_.after_compute = !whole_;
      b_.collective(Operator::all_reduce, kDp, layout_.buckets[i].copies, layout_.buckets[i].owned, plan_.precision.grads,
                    {u(layout_.buckets[i].gradient)}, reduced_event(b_, i));
    }
}

std::uint16_t optimizer_pass(Builder& b, const Layout& layout, const Plan& plan) {
  const std::int64_t dp = extent(b, kReplicaAxes), tp = extent(b, kTpAxis);
  const bool gathers = gathers_parameters(plan, dp);
  b.begin(PassKind::optimizer, "optimizer");
  b.flags = kOptimizer;
  for (std::size_t i = 0; i < layout.buckets.size(); ++i)
    if (reduction(layout.buckets[i], dp, tp).any()) b.expect(layout.buckets[i].gradient, reduced_event(b, i));

  const std::uint32_t norm = b.persistent("gradient_norm", BufferKind::scalar, DType::fp64, 1);
  b.dtype = DType::fp64;
  b.compute(Operator::zero, {1}, {w(norm)});
  b.dtype = plan.precision.grads;
  for (std::size_t i = 0; i < layout.buckets.size(); ++i) {
    if (b.role().buckets[i].count_flags & kCountNever) continue;
    b.flags = static_cast<std::uint8_t>(kOptimizer | b.role().buckets[i].count_flags);
    b.compute(Operator::gradient_norm, {layout.buckets[i].owned}, {r(layout.buckets[i].gradient), u(norm)});
  }
  b.flags = kOptimizer;
  const auto axes = static_cast<AxisMask>(kTpAxis | kPpAxis | (gathers ? kReplicaAxes : 0));
  // On the tensor-parallel stream where the group is that stream's own: each group meets on one stream only.
  const std::uint16_t group = b.tables().group(axes);
  b.collective(Operator::all_reduce, group != kNone && group == b.tables().group(kTpAxis) ? kTp : kDp, group, 1, DType::fp64, {u(norm)});

  // The parameters that the next forward pass needs first are updated and gathered first: backward produced their gradients last.
  b.dtype = plan.precision.params;
  for (std::size_t i = layout.buckets.size(); i-- > 0;) {
    const Layout::BucketViews& views = layout.buckets[i];
    Uses uses{r(norm), u(views.gradient), u(views.parameter)};
    for (const std::int32_t state : {views.m, views.v, views.master})
      if (state != kAbsent) uses.push_back(u(static_cast<std::uint32_t>(state)));
    b.compute(Operator::optimizer_step, {views.owned}, uses);
    if (gathers)
      b.collective(Operator::all_gather, kDp, b.tables().group(kReplicaAxes), b.elements(views.parameter), plan.precision.params,
                   {r(views.parameter), w(views.parameter)}, gathered_event(b, i));
  }
  b.dtype = plan.precision.grads;
  for (const auto& views : layout.buckets) b.compute(Operator::zero, {b.elements(views.gradient)}, {w(views.gradient)});
  if (gathers && !plan.overlap.param_gather) b.wait_for(kDp);
  return b.end();
}

void expect_gathered(Builder& b, const Layout& layout) {
  for (std::size_t i = 0; i < layout.buckets.size(); ++i) b.expect(layout.buckets[i].parameter, gathered_event(b, i));
}

}  // namespace orrery::program
