#include "program/transforms/data_parallel.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "program/transforms/buckets.h"
#include "program/transforms/quantising.h"

namespace orrery::program {
namespace {

std::uint16_t reduced_event(Builder& b, std::size_t bucket) { return b.event(fmt::format("bucket.{}.reduced", bucket), false); }
std::uint16_t gathered_event(Builder& b, std::size_t bucket) { return b.event(fmt::format("bucket.{}.gathered", bucket), false); }

// The other copy's stage finishes at another time. Where later passes wait for what is behind it on its stream, its sum is the optimizer's.
bool sums_copies_late(const Plan& plan) { return plan.sharding.zero >= 2; }

// What another stream does to one bucket's gradients before the optimizer may read them. Sharded gradients are scattered pass by pass, and what
// their parts are added to belongs to the compute stream.
struct Reduction {
  bool over_tp, over_dp, over_copies;
  bool any() const { return over_tp || over_dp || over_copies; }
};
Reduction reduction(const Tables& tables, const Plan& plan, const Layout::BucketViews& bucket) {
  const bool over_dp = bucket.sharded_gradient ? bucket.groups.outer != kNone : bucket.groups.all != kNone;
  return {bucket.partial && tables.mesh().extent(kTpAxis) > 1, over_dp, bucket.copies != kNone && !sums_copies_late(plan)};
}

bool gathers_updates(const Layout::BucketViews& bucket) { return bucket.owned < bucket.elements && !bucket.sharded_parameter; }

// Sets what instructions are labelled with, and puts it back.
class Unlabelled {
 public:
  explicit Unlabelled(Builder& b) : b_(b), layer_(b.layer), flags_(b.flags), dtype_(b.dtype) { b.layer = kNone, b.flags = 0; }
  ~Unlabelled() { b_.layer = layer_, b_.flags = flags_, b_.dtype = dtype_; }
  Unlabelled(const Unlabelled&) = delete;
  Unlabelled& operator=(const Unlabelled&) = delete;

 private:
  Builder& b_;
  std::uint16_t layer_;
  std::uint8_t flags_;
  DType dtype_;
};

}  // namespace

void factor_data_parallel_axis(Mesh& mesh, const Plan& plan, std::int64_t node) {
  std::int64_t &inner = mesh.size[static_cast<std::size_t>(Axis::dp_inner)], &outer = mesh.size[static_cast<std::size_t>(Axis::dp_outer)];
  const std::int64_t dp = inner * outer;
  inner = dp;
  if (plan.sharding.replicas > 1) {
    inner = dp / plan.sharding.replicas;
  } else if (plan.data_parallel.hierarchical) {
    std::int64_t stride = 1;  // between data-parallel neighbours
    for (const Axis axis : mesh.order) {
      if (axis == Axis::dp_inner) break;
      stride *= mesh.size[static_cast<std::size_t>(axis)];
    }
    inner = node % stride == 0 ? std::gcd(dp, node / stride) : 1;
  }
  outer = dp / inner;
}

bool shards_gradients(const Layout& layout) {
  return std::any_of(layout.buckets.begin(), layout.buckets.end(), [](const auto& bucket) { return bucket.sharded_gradient; });
}

bool shards_parameters(const Layout& layout) {
  return std::any_of(layout.buckets.begin(), layout.buckets.end(), [](const auto& bucket) { return bucket.sharded_parameter; });
}

Turn turns(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk) {
  Turn out;
  for (const Layout::BucketViews& bucket : layout.buckets) {
    if (gathers_updates(bucket)) out.gathers = out.gathers || plan.overlap.param_gather;
    if (bucket.sharded_parameter && !plan.sharding.reshard_after_forward) {
      out.gathers = out.gathers || bucket.first_chunk == chunk;
      out.releases = out.releases || bucket.head_chunk == chunk;
    }
    const bool adds_up = bucket.sharded_gradient && !plan.sharding.reduce_every_microbatch;
    out.opens = out.opens || (adds_up && bucket.head_chunk == chunk);
    out.reduces = out.reduces || (bucket.chunk == chunk && (adds_up || reduction(b.tables(), plan, bucket).any()));
  }
  return out;
}

// --- Gradients -----------------------------------------------------------------------------------------------------------------------------------

GradientReducer::GradientReducer(Builder& b, const Layout& layout, const Plan& plan, std::uint16_t chunk, PassKind pass, const Turn& turn)
    : b_(b),
      layout_(layout),
      plan_(plan),
      chunk_(chunk),
      turn_(turn),
      splits_(pass != PassKind::backward),
      missing_(layout.buckets.size(), 0),
      done_(layout.buckets.size(), false),
      live_(layout.buckets.size(), false) {
  for (const GradientWrite& write : gradient_writes(layout.chunks[chunk]))
    if (pass == PassKind::backward || write.by_weight_grad == (pass == PassKind::weight_grad))
      ++missing_[layout.tensors[static_cast<std::size_t>(write.tensor)].bucket];
  for (const std::int64_t n : missing_) written_here_.push_back(n > 0);
  for (std::size_t i = 0; i < done_.size(); ++i)
    if (!views(i).sharded_gradient) done_[i] = !mine(i) || !turn.reduces || !reduction(b.tables(), plan, views(i)).any();
  if (plan.data_parallel.kind == "priority" && plan.data_parallel.backward && plan.data_parallel.reduction) {
    ready_at_ = gradient_times(layout);
    for (double& t : ready_at_) t *= *plan.data_parallel.backward;
  }
}

void GradientReducer::begin() {
  begun_ = true;
  if (!turn_.opens) return;
  for (std::size_t i = 0; i < done_.size(); ++i)
    if (views(i).sharded_gradient && views(i).head_chunk == chunk_) {
      b_.open(whole(i));
      clear(i);
    }
}

// The whole bucket of a rank that keeps its part only.
std::uint32_t GradientReducer::whole(std::size_t bucket) {
  const std::string name = fmt::format("bucket.{}.gradient.whole", bucket);
  if (plan_.sharding.reduce_every_microbatch) return b_.temporary(name, BufferKind::gradient, plan_.precision.grads, views(bucket).elements);
  return b_.across_passes(name, BufferKind::gradient, plan_.precision.grads, views(bucket).elements);
}

// Gradients are added to what is there. (PyTorch writes a first gradient, but then copies all of them into the buffer of the reduction: as much
// traffic.)
void GradientReducer::clear(std::size_t bucket) {
  const Unlabelled label(b_);
  b_.dtype = plan_.precision.grads;
  b_.compute(Operator::zero, {views(bucket).elements}, {w(whole(bucket))});
}

std::uint32_t GradientReducer::gradient(std::int32_t tensor) {
  const Tensor& t = layout_.tensors[static_cast<std::size_t>(tensor)];
  if (!views(t.bucket).sharded_gradient) return t.gradient;
  if (begun_ && plan_.sharding.reduce_every_microbatch && !live_[t.bucket]) {
    clear(t.bucket);
    live_[t.bucket] = true;
  }
  return b_.view(t.name + ".gradient", BufferKind::gradient, whole(t.bucket), t.within, t.elements(), t.layer);
}

void GradientReducer::written(std::int32_t tensor) {
  if (!begun_) return;
  const std::size_t bucket = layout_.tensors[static_cast<std::size_t>(tensor)].bucket;
  if (!ready_at_.empty()) now_ = std::max(now_, ready_at_[static_cast<std::size_t>(tensor)]);
  if (--missing_[bucket] == 0) ready(bucket);
  if (!plan_.overlap.grad_reduce) return;
  // Horovod looks once in a cycle. By priority the best is taken whenever the last that was taken must be through.
  const std::uint16_t tick = views(bucket).tick;
  std::stable_sort(held_.begin(), held_.end(), [&](std::size_t x, std::size_t y) { return views(x).next_use > views(y).next_use; });
  if (plan_.data_parallel.kind == "priority") {
    while (!held_.empty() && free_at_ <= now_) {
      issue(held_.back());
      held_.pop_back();
    }
  } else {
    for (std::size_t i = 0; i < held_.size();)
      if (views(held_[i]).tick < tick) {
        issue(held_[i]);
        held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
      } else {
        ++i;
      }
  }
}

// The pass has written all that it writes to the bucket.
void GradientReducer::ready(std::size_t bucket) {
  if (views(bucket).sharded_gradient) {
    if (plan_.sharding.reduce_every_microbatch || (turn_.reduces && mine(bucket))) scatter(bucket);
    return;
  }
  if (done_[bucket] || !plan_.overlap.grad_reduce) return;
  const DataParallelSpec& dp = plan_.data_parallel;
  if (dp.kind == "priority" || (dp.kind == "horovod" && dp.cycle.value_or(0) > 0 && dp.backward))
    held_.push_back(bucket);
  else
    reduce(bucket);
}

// One of those that were held back.
void GradientReducer::issue(std::size_t bucket) {
  reduce(bucket);
  if (plan_.data_parallel.kind != "priority") return;
  std::int64_t all = 0;
  for (const Layout::BucketViews& each : layout_.buckets) all += each.elements;
  // With nothing known of time: reductions take longer than all else.
  free_at_ = ready_at_.empty() ? std::numeric_limits<double>::infinity()
                               : std::max(free_at_, now_) + *plan_.data_parallel.reduction * static_cast<double>(views(bucket).elements) /
                                                                static_cast<double>(std::max<std::int64_t>(all, 1));
}

void GradientReducer::reduce(std::size_t bucket) {
  const Unlabelled label(b_);
  const Layout::BucketViews& v = views(bucket);
  const Reduction todo = reduction(b_.tables(), plan_, v);
  const DType type = plan_.precision.grads;
  b_.after_compute = splits_ && (todo.over_tp || todo.over_dp);
  if (todo.over_tp)
    b_.collective(Operator::all_reduce, kTp, b_.tables().group(kTpAxis), v.elements, type, {u(v.gradient)},
                  todo.over_dp || todo.over_copies ? kNone : reduced_event(b_, bucket));
  if (todo.over_dp) {
    const std::uint16_t signal = todo.over_copies ? kNone : reduced_event(b_, bucket);
    if (plan_.sharding.zero >= 1) {
      b_.collective(Operator::reduce_scatter, kDp, v.groups.inner, v.elements, type, {r(v.gradient), w(v.own_gradient)},
                    v.groups.outer == kNone ? signal : kNone);
      b_.collective(Operator::all_reduce, kDp, v.groups.outer, v.owned, type, {u(v.own_gradient)}, signal);
    } else if (reduces_in_two_levels(plan_, v.groups)) {
      b_.collective(Operator::reduce_scatter, kDp, v.groups.inner, v.elements, type, {r(v.gradient), w(v.node_gradient)});
      b_.collective(Operator::all_reduce, kDp, v.groups.outer, b_.elements(v.node_gradient), type, {u(v.node_gradient)});
      b_.collective(Operator::all_gather, kDp, v.groups.inner, v.elements, type, {r(v.node_gradient), w(v.gradient)}, signal);
    } else {
      const bool served = plan_.data_parallel.kind == "parameter-server";
      const std::int64_t servers = served ? std::min(plan_.data_parallel.servers.value_or(v.groups.ranks), v.groups.ranks) : 0;
      b_.collective(Operator::all_reduce, kDp, v.groups.all, v.elements, type, {u(v.gradient)}, signal, servers);
    }
  }
  done_[bucket] = true;
}

void GradientReducer::scatter(std::size_t bucket) {
  const Unlabelled label(b_);
  const Layout::BucketViews& v = views(bucket);
  const std::uint32_t all = whole(bucket);
  if (!plan_.sharding.reduce_every_microbatch) {
    b_.close(all);
    b_.after_compute = true;  // earlier passes wrote it too
  }
  const std::uint32_t own = b_.part(b_.role().buffers[all].name + ".own", BufferKind::gradient, all, 0, v.owned, v.groups.inner);
  b_.collective(Operator::reduce_scatter, kDp, v.groups.inner, v.elements, plan_.precision.grads, {r(all), w(own)});
  scattered_.push_back(bucket);
  collect(plan_.overlap.grad_reduce ? 1 : 0);
}

// Adds the parts of all scattered buckets but the latest `keep`.
void GradientReducer::collect(std::size_t keep) {
  const Unlabelled label(b_);
  for (; scattered_.size() > keep; scattered_.pop_front()) {
    const std::size_t bucket = scattered_.front();
    const Layout::BucketViews& v = views(bucket);
    const std::uint32_t all = whole(bucket);
    const std::uint32_t own = b_.part(b_.role().buffers[all].name + ".own", BufferKind::gradient, all, 0, v.owned, v.groups.inner);
    b_.dtype = plan_.precision.grads;
    b_.compute(Operator::accumulate, {v.owned}, {r(own), u(v.own_gradient)});
    if (turn_.reduces && mine(bucket)) sum_shards(bucket);
  }
}

// A step's parts are complete; on other ranks there are more of the same.
void GradientReducer::sum_shards(std::size_t bucket) {
  const Layout::BucketViews& v = views(bucket);
  const Reduction todo = reduction(b_.tables(), plan_, v);
  const DType type = plan_.precision.grads;
  b_.after_compute = todo.over_tp || todo.over_dp;
  if (todo.over_tp)
    b_.collective(Operator::all_reduce, kTp, b_.tables().group(kTpAxis), v.owned, type, {u(v.own_gradient)},
                  todo.over_dp || todo.over_copies ? kNone : reduced_event(b_, bucket));
  if (todo.over_dp)
    b_.collective(Operator::all_reduce, kDp, v.groups.outer, v.owned, type, {u(v.own_gradient)},
                  todo.over_copies ? kNone : reduced_event(b_, bucket));
  done_[bucket] = true;
}

void GradientReducer::finish() {
  const Unlabelled label(b_);
  // In the order of their next use where that is asked for, otherwise in that of the buckets.
  std::vector<std::size_t> order(done_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (plan_.data_parallel.kind == "priority")
    std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) { return views(x).next_use < views(y).next_use; });
  const bool adds_up = !plan_.sharding.reduce_every_microbatch;
  for (const std::size_t i : order) {
    if (!views(i).sharded_gradient) {
      if (!done_[i]) reduce(i);
    } else if (adds_up && turn_.reduces && mine(i) && !written_here_[i]) {
      scatter(i);
    }
  }
  collect(0);
  for (const std::size_t i : order)
    if (views(i).sharded_gradient && turn_.reduces && mine(i) && !done_[i]) sum_shards(i);
  // Last, since the other copy's stage finishes at another time and would hold up the buckets behind it.
  for (std::size_t i = 0; i < done_.size(); ++i)
    if (turn_.reduces && mine(i) && reduction(b_.tables(), plan_, views(i)).over_copies) {
      b_.after_compute = splits_;
      b_.collective(Operator::all_reduce, kDp, views(i).copies, views(i).owned, plan_.precision.grads, {u(views(i).own_gradient)},
                    reduced_event(b_, i));
    }
}

// --- Optimizer -----------------------------------------------------------------------------------------------------------------------------------

namespace {

// Where the norm is added up over all ranks of a stage, or of all segments, which of those that hold the same gradients (or the same part of them)
// counts them.
std::uint8_t counted_on(const Layout::BucketViews& bucket) {
  const bool whole = bucket.owned == bucket.elements;
  if (bucket.experts) return whole ? kCountOnEdp0 : 0;
  return whole ? kCountOnData0 : kCountOnOuter0;
}

// Gradients may still be on their way; those of another stage's copy are added up here where they were not before.
void expect_reduced(Builder& b, const Layout& layout, const Plan& plan) {
  for (std::size_t i = 0; i < layout.buckets.size(); ++i)
    if (reduction(b.tables(), plan, layout.buckets[i]).any()) b.expect(layout.buckets[i].gradient, reduced_event(b, i));
  for (const Layout::BucketViews& views : layout.buckets)
    if (views.copies != kNone && sums_copies_late(plan)) {
      b.after_compute = true;
      b.collective(Operator::all_reduce, kDp, views.copies, views.owned, plan.precision.grads, {u(views.own_gradient)});
    }
}

std::uint32_t norm_buffer(Builder& b) { return b.persistent("gradient_norm", BufferKind::scalar, DType::fp64, 1); }

// Of the gradients of this rank's stage, or of all.
void squared_norm(Builder& b, const Layout& layout, const Plan& plan, bool of_all_stages) {
  const bool owns_parts = std::any_of(layout.buckets.begin(), layout.buckets.end(), [](const auto& views) { return views.owned < views.elements; });
  const bool segments = !b.tables().program().segments.empty();                // which have other ranks of other numbers of replicas
  const bool mixture = segments || b.tables().mesh().extent(kExpertAxes) > 1;  // some experts may be of other ranks
  const std::uint32_t norm = norm_buffer(b);
  b.dtype = DType::fp64;
  b.compute(Operator::zero, {1}, {w(norm)});
  b.dtype = plan.precision.grads;
  for (std::size_t i = 0; i < layout.buckets.size(); ++i) {
    if (b.role().buckets[i].count_flags & kCountNever) continue;
    b.flags = static_cast<std::uint8_t>(kOptimizer | b.role().buckets[i].count_flags | (mixture ? counted_on(layout.buckets[i]) : 0));
    b.compute(Operator::gradient_norm, {layout.buckets[i].owned}, {r(layout.buckets[i].own_gradient), u(norm)});
  }
  b.flags = kOptimizer;
  const AxisMask data = mixture ? kReplicaAxes : owns_parts ? static_cast<AxisMask>(kCpAxes | mask(Axis::dp_inner)) : AxisMask{0};
  const auto axes = static_cast<AxisMask>(kTpAxis | (of_all_stages ? kPpAxis : 0) | data);
  // On the tensor-parallel stream where the group is that stream's own: each group meets on one stream only.
  const std::uint16_t group = segments ? b.tables().everyone() : b.tables().group(axes);
  b.collective(Operator::all_reduce, group != kNone && group == b.tables().group(kTpAxis) ? kTp : kDp, group, 1, DType::fp64, {u(norm)});
}

// The parameters that the next forward pass needs first are updated and gathered first: backward produced their gradients last.
// Returns whether any of them is gathered.
bool update(Builder& b, const Layout& layout, const Plan& plan, std::uint32_t norm) {
  bool gathers = false;
  b.dtype = plan.precision.params;
  for (std::size_t i = layout.buckets.size(); i-- > 0;) {
    const Layout::BucketViews& views = layout.buckets[i];
    if (b.role().buffers[layout.parameters].versions > 1) {
      const Bucket& bucket = b.role().buckets[i];
      const std::string name = fmt::format("bucket.{}.latest", i);
      const std::uint32_t latest = gathers_updates(views)
                                       ? b.part(name, BufferKind::parameter, layout.parameters, bucket.offset, views.owned, views.groups.inner)
                                       : b.view(name, BufferKind::parameter, layout.parameters, bucket.offset, views.owned);
      b.role().buffers[latest].version = Version::latest;
      b.compute(Operator::copy, {views.owned}, {r(latest), w(views.own_parameter)});
    }
    Uses uses{r(norm), u(views.own_gradient), u(views.own_parameter)};
    for (const std::int32_t state : {views.m, views.v, views.master})
      if (state != kAbsent) uses.push_back(u(static_cast<std::uint32_t>(state)));
    b.compute(Operator::optimizer_step, {views.owned, plan.optimizer.stochastic_rounding ? 1 : 0}, uses);
    if (!gathers_updates(views)) continue;
    gathers = true;
    b.collective(Operator::all_gather, kDp, views.groups.inner, views.elements, plan.precision.params, {r(views.own_parameter), w(views.parameter)},
                 gathered_event(b, i));
  }
  return gathers;
}

void clear_gradients(Builder& b, const Layout& layout, const Plan& plan) {
  b.dtype = plan.precision.grads;
  for (const auto& views : layout.buckets) b.compute(Operator::zero, {b.elements(views.gradient)}, {w(views.gradient)});
}

// What an update of the bucket changes, and the copies of it as it was. A parameter with a master is made of that.
std::vector<std::pair<std::uint32_t, std::uint32_t>> kept_copies(Builder& b, const Layout& layout, std::size_t bucket) {
  const Layout::BucketViews& views = layout.buckets[bucket];
  std::vector<std::uint32_t> changed;
  if (views.master == kAbsent) changed.push_back(views.own_parameter);
  for (const std::int32_t state : {views.m, views.v, views.master})
    if (state != kAbsent) changed.push_back(static_cast<std::uint32_t>(state));
  std::vector<std::pair<std::uint32_t, std::uint32_t>> out;
  for (const std::uint32_t of : changed) {
    const Buffer& buffer = b.role().buffers[of];
    out.emplace_back(of, b.persistent(buffer.name + ".kept", buffer.kind, buffer.dtype, buffer.elements));
  }
  return out;
}

}  // namespace

std::uint16_t optimizer_pass(Builder& b, const Layout& layout, const Plan& plan, bool asynchronous) {
  b.begin(PassKind::optimizer, "optimizer");
  b.flags = kOptimizer;
  expect_reduced(b, layout, plan);
  squared_norm(b, layout, plan, !asynchronous);
  const bool gathers = update(b, layout, plan, norm_buffer(b));
  update_scales(b, layout, plan);
  clear_gradients(b, layout, plan);
  // Of an asynchronous pipeline any pass may be the next to read them.
  if (gathers && (asynchronous || !plan.overlap.param_gather)) b.wait_for(kDp);
  return b.end();
}

PostValidation post_validation_passes(Builder& b, const Layout& layout, const Plan& plan, bool first, bool last) {
  constexpr std::uint8_t kOnwards = 2, kBack = 3;  // channels: 0 and 1 are the activations' and the gradients' of the rank's one chunk
  const std::uint16_t passed = b.event("norm passed on", false), returned = b.event("norm passed back", false);
  PostValidation out;
  const std::uint32_t norm = norm_buffer(b);
  out.norm = last ? norm : b.persistent("gradient_norm.validated", BufferKind::scalar, DType::fp64, 1);

  b.begin(PassKind::optimizer, "optimizer");
  b.flags = kOptimizer;
  const std::uint32_t before = first ? norm : b.persistent("gradient_norm.before", BufferKind::scalar, DType::fp64, 1);
  if (!first) {
    b.after_compute = true;  // the step before has read it
    b.recv(kRecvPrevious, -1, kOnwards, before, kNone);
  }
  if (!last) b.expect(norm, passed);
  if (last) b.expect(norm, returned);
  expect_reduced(b, layout, plan);
  squared_norm(b, layout, plan, false);
  b.dtype = DType::fp64;
  if (!first) b.compute(Operator::accumulate, {1}, {r(before), u(norm)});
  if (!last) b.send(kSendNext, 1, kOnwards, norm, passed);
  for (std::size_t i = layout.buckets.size(); i-- > 0;)
    for (const auto& [now, kept] : kept_copies(b, layout, i)) {
      b.dtype = b.role().buffers[now].dtype;
      b.compute(Operator::copy, {b.elements(now)}, {r(now), w(kept)});
    }
  if (update(b, layout, plan, norm) && !plan.overlap.param_gather) b.wait_for(kDp);
  out.update = b.end();

  b.begin(PassKind::optimizer, "validation");
  b.flags = kOptimizer;
  b.after_compute = true;  // the last stage's norm was added up there; elsewhere the step before has read it
  if (!last) {
    b.expect(out.norm, returned);
    b.recv(kRecvNext, 1, kBack, out.norm, kNone);
    b.settle({out.norm});  // before the send, for which nothing here waits
  }
  if (!first) b.send(kSendPrevious, -1, kBack, out.norm, returned);
  out.validation = b.end();

  b.begin(PassKind::optimizer, "clear gradients");
  b.flags = kOptimizer;
  clear_gradients(b, layout, plan);
  out.clear = b.end();

  b.begin(PassKind::optimizer, "optimizer, again");
  b.flags = kOptimizer;
  expect_gathered(b, layout);
  for (std::size_t i = layout.buckets.size(); i-- > 0;)
    for (const auto& [now, kept] : kept_copies(b, layout, i)) {
      b.dtype = b.role().buffers[now].dtype;
      b.compute(Operator::copy, {b.elements(now)}, {r(kept), w(now)});
    }
  if (update(b, layout, plan, out.norm) && !plan.overlap.param_gather) b.wait_for(kDp);
  out.redo = b.end();
  return out;
}

void expect_gathered(Builder& b, const Layout& layout) {
  for (std::size_t i = 0; i < layout.buckets.size(); ++i)
    if (gathers_updates(layout.buckets[i])) b.expect(layout.buckets[i].parameter, gathered_event(b, i));
}

}  // namespace orrery::program
