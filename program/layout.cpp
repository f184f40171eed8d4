#include "program/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>

#include "program/expert_map.h"
#include "program/transforms/buckets.h"

namespace orrery::program {
namespace {

// GPT-2 and Megatron-LM: weights from N(0, 0.02); projections that end a residual branch divided by sqrt(2 x layers).
constexpr double kInitStddev = 0.02;

using Split = Parameter::Split;
using Init = Parameter::Init;

class Lister {
 public:
  Lister(Layout& layout, const Model& model, const Dimensions& d) : layout_(layout), model_(model), d_(d) {}

  std::uint16_t layer = kNone, unit = 0;

  // A matrix or, with cols 1, a vector. `rows` and `cols` are global.
  static Parameter piece(const std::string& name, std::int64_t rows, std::int64_t cols, Init init, double stddev = kInitStddev) {
    Parameter p;
    p.name = name, p.rows = p.global_rows = rows, p.cols = p.global_cols = cols, p.init = init, p.stddev = stddev;
    return p;
  }
  std::int32_t sharded(const std::string& name, std::vector<Parameter> pieces, Split split) {
    for (Parameter& p : pieces) {
      if (d_.t == 1) break;
      p.split = split;
      if (split == Split::rows) p.rows /= d_.t;
      if (split == Split::cols) p.cols /= d_.t;
    }
    return add(name, std::move(pieces), Replication::sharded);
  }
  std::int32_t replicated(const std::string& name, std::int64_t rows, std::int64_t cols, Init init, bool partial) {
    return add(name, {piece(name, rows, cols, init)}, d_.t == 1 ? Replication::sharded : partial ? Replication::partial : Replication::equal);
  }
  std::int32_t gain(const std::string& name, std::int64_t width) { return replicated(name, width, 1, Init::ones, d_.sp); }
  std::int32_t bias(const std::string& name, std::int64_t width) { return replicated(name, width, 1, Init::zeros, d_.sp); }
  // One matrix of a rank's e-th expert.
  Parameter of_expert(const std::string& name, std::int64_t e, std::int64_t rows, std::int64_t cols, Split split, double stddev) const {
    const ExpertDimensions& x = d_.experts;
    Parameter p = piece(name, rows, cols, Init::normal, stddev);
    p.expert = e, p.local_experts = x.local, p.expert_rows = rows, p.global_rows = x.experts * rows, p.layer = layer;
    if (x.etp > 1) p.split = split, (split == Split::rows ? p.rows : p.cols) /= x.etp;
    return p;
  }
  void number(std::initializer_list<std::int32_t> linears) {
    for (const std::int32_t t : linears)
      if (t != kAbsent) layout_.tensors[static_cast<std::size_t>(t)].linear = layout_.linears++;
  }
  std::int32_t experts(const std::string& name, std::vector<Parameter> pieces) {
    const std::int32_t t = add(name, std::move(pieces), Replication::sharded);
    layout_.tensors.back().experts = true;
    return t;
  }
  // The vocabulary's rows, padded.
  std::int32_t table(const std::string& name) {
    Parameter p = piece(name, d_.padded_vocab, model_.hidden, Init::normal);
    p.global_rows = model_.vocab;
    return sharded(name, {p}, Split::rows);
  }

 private:
  std::int32_t add(const std::string& name, std::vector<Parameter> pieces, Replication replication) {
    Tensor t;
    t.name = name, t.pieces = std::move(pieces), t.layer = layer, t.unit = unit, t.replication = replication;
    layout_.tensors.push_back(std::move(t));
    return static_cast<std::int32_t>(layout_.tensors.size() - 1);
  }
  Layout& layout_;
  const Model& model_;
  const Dimensions& d_;
};

template <class Named>
void list_latent_attention(Lister& l, const Model& model, const Dimensions& d, LayerTensors& t, Named named) {
  const Mla& m = *model.mla;
  const std::int64_t h = model.hidden, q = model.heads * model.qk_dim(), kv = model.heads * (m.qk_nope_head_dim + m.v_head_dim);
  if (m.q_lora_rank > 0) {
    t.q_a = l.replicated(named("attention.q_a"), m.q_lora_rank, h, Init::normal, d.sp);
    if (m.latent_norm) t.q_a_norm = l.gain(named("attention.q_a_norm"), m.q_lora_rank);
  }
  t.q_b =
      l.sharded(named("attention.q_b"), {Lister::piece(named("attention.q_b"), q, m.q_lora_rank > 0 ? m.q_lora_rank : h, Init::normal)}, Split::rows);
  t.kv_a = l.replicated(named("attention.kv_a"), m.kv_lora_rank + m.qk_rope_head_dim, h, Init::normal, d.sp);
  if (m.latent_norm) t.kv_a_norm = l.gain(named("attention.kv_a_norm"), m.kv_lora_rank);
  t.kv_b = l.sharded(named("attention.kv_b"), {Lister::piece(named("attention.kv_b"), kv, m.kv_lora_rank, Init::normal)}, Split::rows);
}

// The shared experts are split over tp, as a feed-forward; the router is every rank's.
template <class Named>
void list_experts(Lister& l, const Model& model, const Dimensions& d, LayerTensors& t, Named named, double narrow) {
  const Moe& m = *model.moe;
  const std::int64_t h = model.hidden;
  t.router = l.replicated(named("mlp.router"), m.experts, h, Init::normal, d.sp);
  if (m.shared_intermediate > 0) {
    std::vector<Parameter> up;
    if (model.gated_mlp) up.push_back(Lister::piece(named("mlp.shared.gate"), m.shared_intermediate, h, Init::normal));
    up.push_back(Lister::piece(named("mlp.shared.up"), m.shared_intermediate, h, Init::normal));
    t.shared_up = l.sharded(named("mlp.shared.up"), up, Split::rows);
    t.shared_down =
        l.sharded(named("mlp.shared.down"), {Lister::piece(named("mlp.shared.down"), h, m.shared_intermediate, Init::normal, narrow)}, Split::cols);
  }
  std::vector<Parameter> up, down;
  for (std::int64_t e = 0; e < d.experts.local; ++e) {
    if (model.gated_mlp) up.push_back(l.of_expert(named("mlp.experts.gate"), e, m.intermediate, h, Split::rows, kInitStddev));
    up.push_back(l.of_expert(named("mlp.experts.up"), e, m.intermediate, h, Split::rows, kInitStddev));
    down.push_back(l.of_expert(named("mlp.experts.down"), e, h, m.intermediate, Split::cols, narrow));
  }
  t.experts_up = l.experts(named("mlp.experts.up"), std::move(up));
  t.experts_down = l.experts(named("mlp.experts.down"), std::move(down));
}

// `tied`: where this role holds the embedding of a table that both ends read, its tensor.
ChunkTensors list(Layout& layout, const Model& model, const Chunk& chunk, std::int64_t stages, const Dimensions& d, std::int32_t tied) {
  Lister l(layout, model, d);
  ChunkTensors own;
  const bool first = chunk.stage == 0, last = chunk.stage == stages - 1;
  const bool norm_bias = model.norm == Normalization::layernorm && model.norm_bias;
  const std::int64_t h = model.hidden, q = model.heads * model.head_dim, kv = model.kv_heads * model.head_dim, ffn = model.intermediate;
  const double narrow = kInitStddev / std::sqrt(2.0 * static_cast<double>(model.layers));
  if (first) {
    own.embedding = l.table("embedding.table");
    if (model.position == PositionEmbedding::learned)
      own.position = l.replicated("embedding.position", model.max_positions + model.position_offset.value_or(0), h, Init::normal, d.sp);
    if (model.embedding_norm) {
      own.embedding_norm = l.gain("embedding.norm", h);
      if (norm_bias) own.embedding_norm_bias = l.bias("embedding.norm_bias", h);
    }
  }
  const auto list_layer = [&](std::int64_t number) {
    l.layer = static_cast<std::uint16_t>(number);
    l.unit = static_cast<std::uint16_t>(l.layer + 1);
    const auto named = [&](const char* what) { return fmt::format("layers.{}.{}", l.layer, what); };
    LayerTensors t;
    t.norm1 = l.gain(named("attention.norm"), h);
    if (norm_bias) t.norm1_bias = l.bias(named("attention.norm_bias"), h);
    if (model.mla) {
      list_latent_attention(l, model, d, t, named);
    } else {
      t.qkv = l.sharded(named("attention.qkv"),
                        {Lister::piece(named("attention.q"), q, h, Init::normal), Lister::piece(named("attention.k"), kv, h, Init::normal),
                         Lister::piece(named("attention.v"), kv, h, Init::normal)},
                        Split::rows);
      if (model.qkv_bias)
        t.qkv_bias =
            l.sharded(named("attention.qkv_bias"),
                      {Lister::piece(named("attention.q_bias"), q, 1, Init::zeros), Lister::piece(named("attention.k_bias"), kv, 1, Init::zeros),
                       Lister::piece(named("attention.v_bias"), kv, 1, Init::zeros)},
                      Split::rows);
      if (model.qk_norm) {
        // Each rank sees its own heads only, so these gradients are partial with or without sequence parallelism.
        t.q_norm = l.replicated(named("attention.q_norm"), model.head_dim, 1, Init::ones, true);
        t.k_norm = l.replicated(named("attention.k_norm"), model.head_dim, 1, Init::ones, true);
      }
    }
    t.out =
        l.sharded(named("attention.out"), {Lister::piece(named("attention.out"), h, model.heads * model.v_dim(), Init::normal, narrow)}, Split::cols);
    if (model.attention_out_bias) t.out_bias = l.bias(named("attention.out_bias"), h);
    if (!(model.parallel_block && model.parallel_shared_norm)) {
      t.norm2 = l.gain(named("mlp.norm"), h);
      if (norm_bias) t.norm2_bias = l.bias(named("mlp.norm_bias"), h);
    }
    if (model.is_moe_layer(l.layer)) {
      list_experts(l, model, d, t, named, narrow);
      l.number({t.qkv, t.out, t.q_a, t.q_b, t.kv_a, t.kv_b, t.shared_up, t.shared_down});
      return t;
    }
    std::vector<Parameter> up, up_bias;
    if (model.gated_mlp) {
      up.push_back(Lister::piece(named("mlp.gate"), ffn, h, Init::normal));
      up_bias.push_back(Lister::piece(named("mlp.gate_bias"), ffn, 1, Init::zeros));
    }
    up.push_back(Lister::piece(named("mlp.up"), ffn, h, Init::normal));
    up_bias.push_back(Lister::piece(named("mlp.up_bias"), ffn, 1, Init::zeros));
    t.up = l.sharded(named(model.gated_mlp ? "mlp.gate_up" : "mlp.up"), up, Split::rows);
    if (model.mlp_bias) t.up_bias = l.sharded(named(model.gated_mlp ? "mlp.gate_up_bias" : "mlp.up_bias"), up_bias, Split::rows);
    t.down = l.sharded(named("mlp.down"), {Lister::piece(named("mlp.down"), h, ffn, Init::normal, narrow)}, Split::cols);
    if (model.mlp_bias) t.down_bias = l.bias(named("mlp.down_bias"), h);
    l.number({t.qkv, t.out, t.q_a, t.q_b, t.kv_a, t.kv_b, t.up, t.down});
    return t;
  };
  for (std::int64_t i = 0; i < chunk.layers; ++i) own.layers.push_back(list_layer(chunk.first_layer + i));
  l.layer = kNone, l.unit = static_cast<std::uint16_t>(model.all_layers() + 1);
  if (last) {
    own.final_norm = l.gain("final_norm", h);
    if (norm_bias) own.final_norm_bias = l.bias("final_norm_bias", h);
    if (!model.tie_embeddings) {
      own.head = l.table("head");
    } else if (first || tied != kAbsent) {
      own.head = first ? own.embedding : tied;
    } else {
      own.head = l.table("embedding.table");
      layout.tensors.back().copy = layout.tensors.back().embedding_group = true;
    }
    if (model.head_bias) {
      Parameter p = Lister::piece("head_bias", d.padded_vocab, 1, Init::zeros);
      p.global_rows = model.vocab;
      own.head_bias = l.sharded("head_bias", {p}, Split::rows);
    }
    if (model.mtp_layers > 0) {
      own.next_embedding = model.tie_embeddings ? own.head : first ? own.embedding : tied;
      if (own.next_embedding == kAbsent) {
        own.next_embedding = l.table("embedding.table");
        layout.tensors.back().copy = layout.tensors.back().embedding_group = true;
      }
    }
    for (std::int64_t k = 0; k < model.mtp_layers; ++k) {
      if (model.mtp_shared && k > 0) {
        own.modules.push_back(own.modules.front());
        continue;
      }
      l.layer = static_cast<std::uint16_t>(model.layers + k), l.unit = static_cast<std::uint16_t>(l.layer + 1);
      const auto named = [&](const char* what) { return fmt::format("layers.{}.mtp.{}", l.layer, what); };
      ModuleTensors m;
      m.embedding_norm = l.gain(named("embedding_norm"), h);
      m.hidden_norm = l.gain(named("hidden_norm"), h);
      // Of each rank's own rows, as latent attention's narrow projections: gathering its columns would cost more than it saves.
      m.projection = l.replicated(named("projection"), h, 2 * h, Init::normal, d.sp);
      l.number({m.projection});
      m.layer = list_layer(model.layers + k);
      m.final_norm = l.gain(named("final_norm"), h);
      own.modules.push_back(m);
    }
  }
  return own;
}

// The tensors of all chunks, in the order of their stages: a table that both ends read is met as the embedding first.
void list(Layout& layout, const Model& model, const std::vector<Chunk>& chunks, std::int64_t stages, const Dimensions& d, bool mirrored,
          std::uint16_t last_chunk) {
  std::vector<std::size_t> order(chunks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) { return chunks[x].stage < chunks[y].stage; });
  layout.chunks.resize(chunks.size());
  std::int32_t tied = kAbsent, head_of = kAbsent;
  for (const std::size_t i : order) {
    const std::size_t before = layout.tensors.size();
    const ChunkTensors& own = layout.chunks[i] = list(layout, model, chunks[i], stages, d, tied);
    for (std::size_t t = before; t < layout.tensors.size(); ++t) {
      layout.tensors[t].chunk = layout.tensors[t].first_chunk = layout.tensors[t].head_chunk = static_cast<std::uint16_t>(i);
      if (mirrored && i == 1) layout.tensors[t].copy = true;
    }
    if ((model.tie_embeddings || model.mtp_layers > 0) && own.embedding != kAbsent) tied = own.embedding;
    if (own.head != kAbsent) head_of = static_cast<std::int32_t>(i);
  }
  if (tied == kAbsent) return;
  Tensor& table = layout.tensors[static_cast<std::size_t>(tied)];
  if (head_of == kAbsent) {
    table.embedding_group = true;
    return;
  }
  table.head_chunk = static_cast<std::uint16_t>(head_of);
  table.shared = table.head_chunk != table.first_chunk;
  table.chunk = last_chunk;
}

}  // namespace

std::vector<GradientWrite> gradient_writes(const ChunkTensors& chunk) {
  std::vector<GradientWrite> out;
  const auto add = [&](bool by_weight_grad, std::initializer_list<std::int32_t> tensors) {
    for (const std::int32_t t : tensors)
      if (t != kAbsent) out.push_back({t, by_weight_grad});
  };
  add(false, {chunk.embedding, chunk.position, chunk.embedding_norm, chunk.embedding_norm_bias, chunk.final_norm, chunk.final_norm_bias});
  add(true, {chunk.head, chunk.head_bias});
  const auto add_layer = [&](const LayerTensors& t) {
    add(false, {t.q_a_norm, t.kv_a_norm});
    add(true, {t.q_a, t.q_b, t.kv_a, t.kv_b});
    add(true, {t.router, t.experts_up, t.experts_down, t.shared_up, t.shared_down});
    add(false, {t.norm1, t.norm1_bias, t.q_norm, t.k_norm, t.out_bias, t.norm2, t.norm2_bias, t.down_bias});
    add(true, {t.qkv, t.qkv_bias, t.out, t.up, t.up_bias, t.down});
  };
  for (const LayerTensors& t : chunk.layers) add_layer(t);
  for (const ModuleTensors& m : chunk.modules) {
    add(false, {m.final_norm, m.embedding_norm, m.hidden_norm, chunk.next_embedding});
    add(true, {m.projection, chunk.head, chunk.head_bias});
    add_layer(m.layer);
  }
  return out;
}

std::int64_t Tensor::elements() const {
  std::int64_t n = 0;
  for (const Parameter& p : pieces) n += p.rows * p.cols;
  return n;
}

namespace {

ExpertDimensions expert_dimensions(const Model& model, const Plan& plan, const Dimensions& d) {
  const Moe& m = *model.moe;
  ExpertDimensions e;
  e.experts = m.experts, e.k = m.experts_per_token;
  if (m.router_groups > 1) e.groups = m.router_groups, e.chosen_groups = m.router_topk_groups;
  e.ep = plan.parallel.ep, e.etp = plan.parallel.etp, e.local = e.experts / e.ep;
  e.width = m.intermediate / e.etp, e.up = e.width * (model.gated_mlp ? 2 : 1);
  e.shared = m.shared_intermediate / d.t, e.shared_up = e.shared * (model.gated_mlp ? 2 : 1);
  e.balanced = plan.runtime.moe_balanced;
  e.gathered = e.sources() > 1 && plan.runtime.moe_dispatcher == "allgather";
  const std::int64_t copies = d.local_rows * e.k;
  e.sent = e.rows = copies * e.etp;
  if (plan.moe.capacity_factor) {
    e.capacity = static_cast<std::int64_t>(std::ceil(static_cast<double>(copies) * *plan.moe.capacity_factor / static_cast<double>(e.experts)));
    e.sent = e.experts * e.etp * e.capacity;
    e.rows = e.most = e.sources() * e.local * e.capacity;
  } else if (e.balanced) {
    // Copies go round the experts in turn, so that the experts of one rank get at most one each more than others do.
    e.most = e.sources() * (copies / e.experts * e.local + std::min(e.local, copies % e.experts));
  } else {
    e.most = e.sources() * d.local_rows * std::min(e.k, e.local);
  }
  return e;
}

}  // namespace

Dimensions dimensions(const Model& model, const Plan& plan, std::int64_t splits, const Cluster* cluster) {
  Dimensions d;
  const std::string& kind = plan.parallel.cp_kind;
  if (plan.parallel.cp > 1) d.context.inner = kind == "a2a" ? plan.parallel.cp : kind == "a2a+p2p" ? plan.parallel.cp_inner.value_or(1) : 1;
  d.context.outer = plan.parallel.cp / d.context.inner;
  d.gathers_kv = kind == "allgather", d.splits = splits;
  d.micro = plan.batch.micro, d.sequence = plan.batch.sequence, d.rows = d.micro * (d.sequence / (plan.parallel.cp * splits));
  d.t = plan.parallel.tp, d.sp = plan.parallel.sp && d.t > 1;
  d.local_rows = d.sp ? d.rows / d.t : d.rows;
  d.hidden = model.hidden, d.head_dim = model.head_dim, d.q_heads = model.heads / d.t, d.kv_heads = model.kv_heads / d.t;
  d.v_head_dim = model.v_dim();
  d.attention = d.q_heads * d.v_head_dim, d.qkv = (d.q_heads + d.kv_heads) * d.head_dim + d.kv_heads * d.v_head_dim;
  d.intermediate = model.intermediate / d.t, d.up = d.intermediate * (model.gated_mlp ? 2 : 1);
  d.padded_vocab = (model.vocab + d.t - 1) / d.t * d.t, d.vocab = d.padded_vocab / d.t;
  if (!model.moe) return d;
  ExpertDimensions& e = d.experts;
  e = expert_dimensions(model, plan, d);
  const bool plentiful = !cluster || cluster->device.kind == DeviceKind::cpu_core;
  if (e.capacity == 0 && !e.balanced && plan.moe.room.value_or(plentiful ? "all" : "load") == "load") {
    e.most = 0;
    for (const BusiestRows& rows : busiest_rows(model, plan, d)) e.most = std::max(e.most, rows.most);
  }
  if (e.gathered) e.sent = e.most;
  return d;
}

std::vector<BusiestRows> busiest_rows(const Model& model, const Plan& plan, const Dimensions& d) {
  const ExpertDimensions& e = d.experts;
  const ExpertLoad load = expert_load(plan.moe.load);
  const ExpertMap map = expert_map(plan.moe.expert_map.value_or("linear"));
  std::vector<BusiestRows> out(static_cast<std::size_t>(model.all_layers()));
  for (std::int64_t l = 0; l < model.all_layers(); ++l)
    if (model.is_moe_layer(l))
      out[static_cast<std::size_t>(l)] = busiest_rows(load, d.local_rows * e.sources(), e.k, e.experts, e.ep, plan.seed, l,
                                                      experts_by_place(map, e.experts, e.ep, model.weights_of(l)));
  return out;
}

DataGroups data_groups(Tables& tables, bool experts) {
  const auto inner = experts ? mask(Axis::edp) : static_cast<AxisMask>(kCpAxes | mask(Axis::dp_inner));
  const auto outer = experts ? AxisMask{0} : mask(Axis::dp_outer);
  DataGroups g;
  g.all = tables.group(static_cast<AxisMask>(inner | outer)), g.inner = tables.group(inner), g.outer = tables.group(outer);
  g.ranks = tables.size(g.all), g.parts = tables.size(g.inner);
  return g;
}

Layout lay_out(Builder& b, const Model& model, const Plan& plan, const Dimensions& d, const LayoutSettings& settings) {
  Role& role = b.role();
  Layout layout;
  list(layout, model, role.chunks, settings.stages, d, settings.mirrored, settings.last_chunk);
  const std::vector<BucketContent> contents = fill_buckets(layout, plan, settings.splits);

  const DataGroups dense = data_groups(b.tables(), false), experts = data_groups(b.tables(), true);
  std::int64_t offset = 0, owned = 0, held_parameters = 0, held_gradients = 0;
  for (const BucketContent& content : contents) {
    const Tensor& first = layout.tensors[content.tensors.front()];
    Layout::BucketViews views;
    views.groups = first.experts ? experts : dense;
    if (plan.sharding.zero < 1) views.groups.parts = 1;
    views.experts = first.experts, views.partial = first.replication == Replication::partial, views.unit = first.unit, views.tick = content.tick;
    views.chunk = first.chunk, views.first_chunk = first.first_chunk, views.head_chunk = first.head_chunk;
    if (first.embedding_group) views.copies = b.tables().embedding_group();
    if (settings.mirrored) views.copies = b.tables().mirror_group();
    views.sharded_gradient = plan.sharding.zero >= 2 && views.groups.parts > 1;
    views.sharded_parameter = plan.sharding.zero >= 3 && views.groups.parts > 1;

    Bucket bucket;
    bucket.offset = offset;
    if (first.replication != Replication::sharded) bucket.count_flags = kCountOnTp0;
    if (first.copy) bucket.count_flags = kCountNever;
    for (const std::size_t i : content.tensors) {
      Tensor& t = layout.tensors[i];
      t.bucket = static_cast<std::uint16_t>(role.buckets.size());
      views.next_use = static_cast<std::uint32_t>(i);  // the last is the first that the forward pass needs
      for (Parameter& p : t.pieces) {
        p.offset = offset;
        offset += p.rows * p.cols;
        role.parameters.push_back(p);
      }
    }
    bucket.elements = (offset - bucket.offset + views.groups.ranks - 1) / views.groups.ranks * views.groups.ranks;
    offset = bucket.offset + bucket.elements;
    views.elements = bucket.elements, views.owned = bucket.elements / views.groups.parts;
    bucket.shard_offset = held_parameters;
    if (views.sharded_parameter) bucket.shards = views.groups.inner;
    held_parameters += views.sharded_parameter ? views.owned : views.elements;
    held_gradients += views.sharded_gradient ? views.owned : views.elements;
    bucket.owned_offset = owned;
    if (views.owned < views.elements) bucket.owners = views.groups.inner;
    owned += views.owned;
    role.buckets.push_back(bucket);
    layout.buckets.push_back(views);
  }

  layout.parameters = b.persistent("parameters", BufferKind::parameter, plan.precision.params, held_parameters);
  layout.gradients = b.persistent("gradients", BufferKind::gradient, plan.precision.grads, held_gradients);
  role.parameter_buffer = static_cast<std::int32_t>(layout.parameters);
  role.gradient_buffer = static_cast<std::int32_t>(layout.gradients);
  const bool adam = plan.optimizer.kind == "adamw", master = bits(plan.precision.params) < 32 && !plan.optimizer.stochastic_rounding;
  const DType state = plan.precision.optimizer;
  std::int32_t m = kAbsent, v = kAbsent, copy = kAbsent;
  if (adam) {
    m = static_cast<std::int32_t>(b.persistent("adam.m", BufferKind::optimizer_state, state, owned));
    v = static_cast<std::int32_t>(b.persistent("adam.v", BufferKind::optimizer_state, state, owned));
  }
  if (master) copy = static_cast<std::int32_t>(b.persistent("master", BufferKind::master, DType::fp32, owned));
  role.master_buffer = copy;

  std::int64_t at_parameter = 0, at_gradient = 0, at_owned = 0;
  for (std::size_t i = 0; i < role.buckets.size(); ++i) {
    Layout::BucketViews& views = layout.buckets[i];
    const std::string name = fmt::format("bucket.{}", i);
    // The whole, and of it what is owned; or what is owned alone.
    const auto place = [&](const std::string& called, BufferKind kind, std::uint32_t flat, bool sharded, std::int64_t& at, std::uint32_t& whole,
                           std::uint32_t& own) {
      const std::int64_t elements = sharded ? views.owned : views.elements;
      own = b.view(called, kind, flat, at, elements);
      whole = own;
      if (!sharded && views.owned < views.elements) own = b.part(called + ".own", kind, flat, at, views.owned, views.groups.inner);
      at += elements;
    };
    const std::int64_t gradients_begin = at_gradient, parameters_begin = at_parameter;
    place(name, BufferKind::parameter, layout.parameters, views.sharded_parameter, at_parameter, views.parameter, views.own_parameter);
    place(name + ".gradient", BufferKind::gradient, layout.gradients, views.sharded_gradient, at_gradient, views.gradient, views.own_gradient);
    if (reduces_in_two_levels(plan, views.groups))
      views.node_gradient = b.part(name + ".gradient.node", BufferKind::gradient, layout.gradients, gradients_begin,
                                   views.elements / b.tables().size(views.groups.inner), views.groups.inner);
    for (const std::size_t n : contents[i].tensors) {
      Tensor& t = layout.tensors[n];
      t.within = t.pieces.front().offset - role.buckets[i].offset;
      if (!views.sharded_parameter)
        t.weight = b.view(t.name, BufferKind::parameter, layout.parameters, parameters_begin + t.within, t.elements(), t.layer);
      if (!views.sharded_gradient)
        t.gradient = b.view(t.name + ".gradient", BufferKind::gradient, layout.gradients, gradients_begin + t.within, t.elements(), t.layer);
    }
    const auto part = [&](const char* what, BufferKind kind, std::int32_t of) {
      if (of == kAbsent) return kAbsent;
      return static_cast<std::int32_t>(b.view(fmt::format("{}.{}", name, what), kind, static_cast<std::uint32_t>(of), at_owned, views.owned));
    };
    views.m = part("m", BufferKind::optimizer_state, m);
    views.v = part("v", BufferKind::optimizer_state, v);
    views.master = part("master", BufferKind::master, copy);
    at_owned += views.owned;
  }
  return layout;
}

}  // namespace orrery::program
