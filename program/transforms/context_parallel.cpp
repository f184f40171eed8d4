#include "program/transforms/context_parallel.h"

#include <fmt/format.h>

#include <algorithm>

namespace orrery::program {
namespace {

// What one rank's attention works on once heads have been exchanged.
struct Work {
  const Context& c;
  std::int64_t q_heads, kv_heads;
  std::int64_t positions;  // of its rows
  std::int64_t rows() const { return c.d.micro * positions; }
  std::int64_t qk_dim() const { return c.d.head_dim; }
  std::int64_t v_dim() const { return c.d.v_head_dim; }
  std::int64_t q_columns() const { return q_heads * qk_dim(); }
  std::int64_t kv_columns() const { return kv_heads * (qk_dim() + v_dim()); }
  std::int64_t out_columns() const { return q_heads * v_dim(); }
  std::int64_t packed() const { return q_columns() + kv_columns(); }

  explicit Work(const Context& context)
      : c(context),
        q_heads(c.d.q_heads / c.d.context.inner),
        kv_heads(std::max<std::int64_t>(1, c.d.kv_heads / c.d.context.inner)),
        positions(c.d.sequence / (c.d.context.outer * c.d.splits)) {}

  std::uint32_t kv_block(const std::string& name) const { return c.temporary("context." + name, rows() * kv_columns(), BufferKind::communication); }
  void take_kv(std::uint32_t qkv, std::uint32_t kv) const {
    c.b.compute(Operator::take_columns, {rows(), packed(), q_columns(), kv_columns()}, {r(qkv), w(kv)});
  }
  void put_kv(std::uint32_t d_kv, std::uint32_t d_qkv) const {
    c.b.compute(Operator::put_columns, {rows(), packed(), q_columns(), kv_columns()}, {r(d_kv), u(d_qkv)});
  }
  void clear(std::uint32_t d_qkv) const { c.b.compute(Operator::zero, {rows() * packed()}, {w(d_qkv)}); }

  // Twice the pairs that attend, by place in the outer group.
  using Pairs = std::vector<std::int64_t>;
  void forward(std::int64_t keys, const Pairs& pairs, std::uint32_t qkv, std::uint32_t kv, std::uint32_t out, std::uint32_t lse,
               std::int64_t distance = 0) const {
    emit(Operator::attention_block_forward, keys, pairs, distance, {r(qkv), r(kv), w(out), w(lse)});
  }
  void backward(std::int64_t keys, const Pairs& pairs, std::uint32_t qkv, std::uint32_t kv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out,
                std::uint32_t d_qkv, std::uint32_t d_kv, std::int64_t distance = 0) const {
    emit(Operator::attention_block_backward, keys, pairs, distance, {r(qkv), r(kv), r(out), r(lse), r(d_out), u(d_qkv), w(d_kv)});
  }

 private:
  void emit(Operator op, std::int64_t keys, const Pairs& pairs, std::int64_t distance, const Uses& uses) const {
    std::vector<Shape> shapes;
    for (const std::int64_t twice : pairs) {
      Shape& s = shapes.emplace_back();
      s.op = op, s.dtype = c.b.dtype;
      s.dims = {c.d.micro, positions, keys, q_heads, kv_heads, qk_dim(), v_dim(), twice, packed()};
    }
    c.b.next_peer = static_cast<std::int8_t>(distance);
    c.b.compute_by_place(mask(Axis::cp_outer), shapes, uses);
  }
};

DType type(const Context& c) { return c.plan.precision.compute; }

// --- One rank has the whole sequence -------------------------------------------------------------------------------------------------------------

void whole_forward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse) {
  k.c.b.compute(Operator::attention_forward, {k.c.d.micro, k.positions, k.q_heads, k.kv_heads, k.qk_dim(), k.v_dim(), k.c.model.causal ? 1 : 0},
                {r(qkv), w(out), w(lse)});
}

void whole_backward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv) {
  k.c.b.compute(Operator::attention_backward, {k.c.d.micro, k.positions, k.q_heads, k.kv_heads, k.qk_dim(), k.v_dim(), k.c.model.causal ? 1 : 0},
                {r(qkv), r(out), r(lse), r(d_out), w(d_qkv)});
}

// --- Keys and values gathered --------------------------------------------------------------------------------------------------------------------

std::uint32_t gathered_kv(const Work& k) {
  return k.c.kept("context.kv.gathered", type(k.c), k.c.d.context.outer * k.rows() * k.kv_columns(), false, BufferKind::activation);
}

ContextShare share(const Work& k) { return {k.c.d.sequence, k.c.d.context.inner, k.c.d.context.outer, k.c.plan.parallel.cp_balanced}; }

// Llama 3: a rank's chunks attend to the keys of all.
Work::Pairs pairs_with_all(const Work& k) {
  Work::Pairs out;
  for (std::int64_t member = 0; member < k.c.d.context.outer; ++member)
    out.push_back(twice_attended_pairs(positions(share(k), member), {{0, k.c.d.sequence}}, k.c.model.causal));
  return out;
}

void gathered_forward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse) {
  const std::uint32_t kv = k.kv_block("kv"), all = gathered_kv(k);
  k.take_kv(qkv, kv);
  k.c.b.collective(Operator::all_gather, kCp, k.c.cp_outer, k.c.b.elements(all), type(k.c), {r(kv), w(all)});
  k.forward(k.c.d.sequence, pairs_with_all(k), qkv, all, out, lse, kAllKeys);
  k.c.b.settle({kv});
}

void gathered_backward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv) {
  const std::uint32_t all = gathered_kv(k);
  const std::uint32_t d_all = k.c.temporary("context.kv.gathered.gradient", k.c.b.elements(all), BufferKind::communication);
  const std::uint32_t d_kv = k.kv_block("kv.gradient");
  k.clear(d_qkv);
  k.backward(k.c.d.sequence, pairs_with_all(k), qkv, all, out, lse, d_out, d_qkv, d_all, kAllKeys);
  k.c.b.collective(Operator::reduce_scatter, kCp, k.c.cp_outer, k.c.b.elements(d_all), type(k.c), {r(d_all), w(d_kv)});
  k.c.b.settle({d_all});
  k.put_kv(d_kv, d_qkv);
}

// --- Keys and values passed around a ring --------------------------------------------------------------------------------------------------------

void rotate(const Work& k, std::uint32_t from, std::uint32_t to) {
  k.c.b.collective(Operator::rotate, kCp, k.c.cp_outer, k.c.b.elements(from), type(k.c), {r(from), w(to)});
}

std::uint32_t travelling_kv(const Work& k, std::int64_t step) { return k.kv_block(fmt::format("kv.block {}", step % 2)); }

// With the keys of the member so many before.
Work::Pairs pairs_with(const Work& k, std::int64_t distance) {
  const std::int64_t n = k.c.d.context.outer;
  Work::Pairs out;
  for (std::int64_t member = 0; member < n; ++member)
    out.push_back(twice_attended_pairs(positions(share(k), member), positions(share(k), (member - distance + n) % n), k.c.model.causal));
  return out;
}

// In step s a rank attends to the keys of the s-th rank before it, while they travel on to the next one.
void ring_forward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse) {
  const std::int64_t n = k.c.d.context.outer;
  k.take_kv(qkv, travelling_kv(k, 0));
  for (std::int64_t s = 0; s < n; ++s) {
    const std::uint32_t kv = travelling_kv(k, s);
    if (s + 1 < n) rotate(k, kv, travelling_kv(k, s + 1));
    if (s == 0) {
      k.forward(k.positions, pairs_with(k, s), qkv, kv, out, lse);
      continue;
    }
    const std::uint32_t part = k.c.temporary("context.part", k.c.b.elements(out));
    const std::uint32_t part_lse = k.c.b.temporary("context.part.lse", BufferKind::temporary, DType::fp32, k.c.b.elements(lse), k.c.b.layer);
    k.forward(k.positions, pairs_with(k, s), qkv, kv, part, part_lse, s);
    k.c.b.compute(Operator::attention_merge, {k.c.d.micro, k.positions, k.q_heads, k.v_dim()}, {r(part), r(part_lse), u(out), u(lse)});
  }
  k.c.b.settle({travelling_kv(k, 0), travelling_kv(k, 1)});
}

// Keys and values travel as before; the gradients of a rank's keys start at the rank after it, one step late, and come home in the end.
void ring_backward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv) {
  const std::int64_t n = k.c.d.context.outer;
  const std::uint32_t own = k.kv_block("kv.gradient"), arriving = k.kv_block("kv.gradient.arriving");
  const auto leaving = [&](std::int64_t step) { return k.kv_block(fmt::format("kv.gradient.leaving {}", step % 2)); };
  k.take_kv(qkv, travelling_kv(k, 0));
  k.clear(d_qkv);
  for (std::int64_t s = 0; s < n; ++s) {
    const std::uint32_t kv = travelling_kv(k, s), d_kv = s == 0 ? own : leaving(s);
    if (s + 1 < n) rotate(k, kv, travelling_kv(k, s + 1));
    k.backward(k.positions, pairs_with(k, s), qkv, kv, out, lse, d_out, d_qkv, d_kv, s);
    if (s > 1) k.c.b.compute(Operator::accumulate, {k.rows() * k.kv_columns()}, {r(arriving), u(d_kv)});
    if (s > 0) rotate(k, d_kv, arriving);
  }
  k.c.b.compute(Operator::accumulate, {k.rows() * k.kv_columns()}, {r(arriving), u(own)});
  k.put_kv(own, d_qkv);
  if (n > 2)
    k.c.b.settle({travelling_kv(k, 0), travelling_kv(k, 1), leaving(0), leaving(1)});
  else
    k.c.b.settle({travelling_kv(k, 0), travelling_kv(k, 1), leaving(1)});
}

// --- Heads exchanged against positions -----------------------------------------------------------------------------------------------------------

struct Exchanged {
  std::uint32_t qkv, out;
};
Exchanged exchanged(const Work& k) {
  return {k.c.kept("attention.exchanged.qkv", type(k.c), k.rows() * k.packed()),
          k.c.kept("attention.exchanged.result", type(k.c), k.rows() * k.out_columns())};
}

// From this rank's rows of all heads to all rows of its heads, or (with parts as `from`) back. `kv_heads` 0: of results alone.
void to_heads(const Work& k, const std::string& name, std::int64_t kv_heads, std::uint32_t x, std::uint32_t y) {
  const Dimensions& d = k.c.d;
  const std::uint32_t parts = k.c.temporary(name + ".parts", k.c.b.elements(y), BufferKind::communication);
  k.c.b.compute(Operator::scatter_heads, {d.rows, d.q_heads, kv_heads, kv_heads == 0 ? d.v_head_dim : d.head_dim, d.v_head_dim, d.context.inner},
                {r(x), w(parts)});
  k.c.b.collective(Operator::all_to_all, kCp, k.c.cp_inner, k.c.b.elements(y), type(k.c), {r(parts), w(y)});
  k.c.b.settle({parts});
}
void to_rows(const Work& k, const std::string& name, std::int64_t kv_heads, std::uint32_t y, std::uint32_t x) {
  const Dimensions& d = k.c.d;
  const std::uint32_t parts = k.c.temporary(name + ".parts", k.c.b.elements(y), BufferKind::communication);
  k.c.b.collective(Operator::all_to_all, kCp, k.c.cp_inner, k.c.b.elements(y), type(k.c), {r(y), w(parts)});
  k.c.b.settle({y});
  k.c.b.compute(Operator::gather_heads, {d.rows, d.q_heads, kv_heads, kv_heads == 0 ? d.v_head_dim : d.head_dim, d.v_head_dim, d.context.inner},
                {r(parts), w(x)});
}

// --- Splits of a sequence, one after the other on one rank ---------------------------------------------------------------------------------------

// Keys and values (or their gradients) of all splits of a micro-batch, in order, each of all ranks that gather them; the split's, and those up to its
// end, are views.
struct Cache {
  std::uint32_t split, upto;
};
Cache cache(const Work& k, const std::string& name, PassMask born, PassMask dies, std::uint16_t first_split) {
  const std::int64_t block = k.c.d.context.outer * k.rows() * k.kv_columns(), split = k.c.split;
  Builder::Life life{born, dies};
  life.born_split = first_split, life.dies_split = 0;
  const std::uint32_t all = k.c.b.stash(name, BufferKind::activation, type(k.c), k.c.d.splits * block, k.c.b.layer, life, Lifetime::sequence);
  return {k.c.b.view(fmt::format("{}, split {}", name, split), BufferKind::activation, all, split * block, block, k.c.b.layer),
          k.c.b.view(fmt::format("{}, to split {}", name, split), BufferKind::activation, all, 0, (split + 1) * block, k.c.b.layer)};
}
constexpr PassMask kBackwards = mask(PassKind::backward, PassKind::input_grad);
Cache kv_cache(const Work& k) { return cache(k, "context.kv", mask(PassKind::forward), kBackwards, 0); }
Cache gradient_cache(const Work& k) { return cache(k, "context.kv.gradient", kBackwards, kBackwards, static_cast<std::uint16_t>(k.c.d.splits - 1)); }

std::int64_t keys_to_split(const Work& k) { return (k.c.split + 1) * k.c.d.context.outer * k.positions; }

Work::Pairs pairs_of_split(const Work& k) {
  const std::int64_t length = k.c.d.sequence / k.c.d.splits, before = k.c.split * length;
  Work::Pairs out;
  ContextShare of_split = share(k);
  of_split.sequence = length;
  for (std::int64_t member = 0; member < k.c.d.context.outer; ++member)
    out.push_back(twice_attended_pairs(shifted(positions(of_split, member), before), {{0, before + length}}, true));
  return out;
}

void split_forward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse) {
  const Cache kv = kv_cache(k);
  const bool again = k.c.b.flags & kRecompute, gathers = k.c.d.context.outer > 1;
  const std::uint32_t own = gathers ? k.kv_block("kv.block") : kv.split;
  if (!again) {
    k.take_kv(qkv, own);
    if (gathers) k.c.b.collective(Operator::all_gather, kCp, k.c.cp_outer, k.c.b.elements(kv.split), type(k.c), {r(own), w(kv.split)});
  }
  k.forward(keys_to_split(k), pairs_of_split(k), qkv, kv.upto, out, lse, kAllKeys);
  if (gathers && !again) k.c.b.settle({own});
}

// The last split comes first: what later splits added to a split's keys is complete when its own backward pass comes.
void split_backward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv) {
  const Cache kv = kv_cache(k), d_kv = gradient_cache(k);
  const std::int64_t elements = k.c.b.elements(kv.upto);
  const bool first = k.c.split + 1 == k.c.d.splits;
  const std::uint32_t to = first ? d_kv.upto : k.c.temporary(fmt::format("context.kv.gradient of split {}", k.c.split), elements);
  k.clear(d_qkv);
  k.backward(keys_to_split(k), pairs_of_split(k), qkv, kv.upto, out, lse, d_out, d_qkv, to, kAllKeys);
  if (!first) k.c.b.compute(Operator::accumulate, {elements}, {r(to), u(d_kv.upto)});
  if (k.c.d.context.outer == 1) return k.put_kv(d_kv.split, d_qkv);
  const std::uint32_t own = k.kv_block("kv.gradient.own");
  k.c.b.collective(Operator::reduce_scatter, kCp, k.c.cp_outer, k.c.b.elements(d_kv.split), type(k.c), {r(d_kv.split), w(own)});
  k.c.b.settle({d_kv.split});
  k.put_kv(own, d_qkv);
}

void core_forward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse) {
  const Dimensions& d = k.c.d;
  if (d.splits > 1) return split_forward(k, qkv, out, lse);
  if (d.context.outer == 1) return whole_forward(k, qkv, out, lse);
  return d.gathers_kv ? gathered_forward(k, qkv, out, lse) : ring_forward(k, qkv, out, lse);
}

void core_backward(const Work& k, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv) {
  const Dimensions& d = k.c.d;
  if (d.splits > 1) return split_backward(k, qkv, out, lse, d_out, d_qkv);
  if (d.context.outer == 1) return whole_backward(k, qkv, out, lse, d_out, d_qkv);
  return d.gathers_kv ? gathered_backward(k, qkv, out, lse, d_out, d_qkv) : ring_backward(k, qkv, out, lse, d_out, d_qkv);
}

}  // namespace

bool can_exchange_heads(const Model& model, const Plan& plan, std::int64_t ranks) {
  const std::int64_t tp = plan.parallel.tp, q_heads = model.heads / tp, kv_heads = model.kv_heads / tp;
  return q_heads % ranks == 0 && kv_heads > 0 && (kv_heads % ranks == 0 || ranks % kv_heads == 0);
}

std::int64_t most_heads_exchanged(const Model& model, const Cluster& cluster, const Plan& plan) {
  for (std::int64_t n = std::min(plan.parallel.cp, cluster.node_size / plan.parallel.tp); n > 1; --n)
    if (plan.parallel.cp % n == 0 && can_exchange_heads(model, plan, n)) return n;
  return 1;
}

void attend(const Context& c, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse) {
  const Work k(c);
  if (c.d.context.inner == 1) return core_forward(k, qkv, out, lse);
  const Exchanged x = exchanged(k);
  to_heads(k, "attention.qkv", c.d.kv_heads, qkv, x.qkv);
  core_forward(k, x.qkv, x.out, lse);
  to_rows(k, "attention.result", 0, x.out, out);
}

void attend_backward(const Context& c, std::uint32_t qkv, std::uint32_t out, std::uint32_t lse, std::uint32_t d_out, std::uint32_t d_qkv) {
  const Work k(c);
  if (c.d.context.inner == 1) return core_backward(k, qkv, out, lse, d_out, d_qkv);
  const Exchanged x = exchanged(k);
  const std::uint32_t d_result = c.temporary("attention.exchanged.result.gradient", k.rows() * k.out_columns());
  const std::uint32_t d_exchanged = c.temporary("attention.exchanged.qkv.gradient", k.rows() * k.packed());
  to_heads(k, "attention.result.gradient", 0, d_out, d_result);
  core_backward(k, x.qkv, x.out, lse, d_result, d_exchanged);
  to_rows(k, "attention.qkv.gradient", c.d.kv_heads, d_exchanged, d_qkv);
}

}  // namespace orrery::program
