// cuDNN's graph API through cudnn-frontend. The one source that includes it: it takes half a minute to compile. cuDNN itself is loaded when it is
// asked for, so that the plugin runs where it is not.
#include "executor/kernels/cuda/fused_attention.h"

#include <dlfcn.h>

#include <array>
#include <cmath>
#include <exception>
#include <map>
#include <unordered_map>

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#include <cudnn_frontend.h>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // where the frontend looks cuDNN's functions up
}

namespace orrery::executor::cuda {
namespace {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

enum Uid : std::int64_t { kQ = 1, kK, kV, kOut, kLse, kDOut, kDQ, kDK, kDV };

fe::DataType_t data_type(DType type) { return type == DType::bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF; }

// [batch, heads, positions, width] in memory ordered by position, sample, head.
fe::graph::Tensor_attributes tensor(Uid uid, Index batch, Index heads, Index positions, Index width, const Strides& s) {
  return fe::graph::Tensor_attributes().set_uid(uid).set_dim({batch, heads, positions, width}).set_stride({s.sample, s.head, s.position, 1});
}

struct Plan {
  std::shared_ptr<fe::graph::Graph> graph;  // null: cuDNN has nothing for it
  std::int64_t workspace = 0;
};

// What a plan depends on.
using Key = std::array<Index, 18>;
Key key(bool backward, DType type, const AttentionProblem& p) {
  return {backward,     static_cast<Index>(type),
          p.batch,      p.queries,
          p.q_heads,    p.kv_heads,
          p.qk_dim,     p.v_dim,
          p.causal,     p.q.position,
          p.q.sample,   p.q.head,
          p.k.position, p.k.sample,
          p.k.head,     p.v.position,
          p.v.sample,   p.v.head};
}

class CudnnAttention final : public FusedAttention {
 public:
  CudnnAttention(cudnnHandle_t handle, Stream stream) : handle_(handle), stream_(stream) {}
  ~CudnnAttention() override { fe::detail::destroy_handle(handle_); }
  CudnnAttention(const CudnnAttention&) = delete;
  CudnnAttention& operator=(const CudnnAttention&) = delete;

  bool forward(DType type, const AttentionProblem& p, const void* q, const void* k, const void* v, void* out, float* lse) override {
    return run(plan(false, type, p), {{kQ, const_cast<void*>(q)}, {kK, const_cast<void*>(k)}, {kV, const_cast<void*>(v)}, {kOut, out}, {kLse, lse}});
  }
  bool backward(DType type, const AttentionProblem& p, const void* q, const void* k, const void* v, const void* out, const float* lse,
                const void* d_out, void* d_q, void* d_k, void* d_v) override {
    return run(plan(true, type, p), {{kQ, const_cast<void*>(q)},
                                     {kK, const_cast<void*>(k)},
                                     {kV, const_cast<void*>(v)},
                                     {kOut, const_cast<void*>(out)},
                                     {kLse, const_cast<float*>(lse)},
                                     {kDOut, const_cast<void*>(d_out)},
                                     {kDQ, d_q},
                                     {kDK, d_k},
                                     {kDV, d_v}});
  }

 private:
  bool run(const Plan& plan, std::unordered_map<std::int64_t, void*> buffers) {
    if (!plan.graph) return false;
    const Scratch workspace(stream_, plan.workspace);
    return plan.graph->execute(handle_, buffers, workspace.as<void>()).is_good();
  }

  const Plan& plan(bool backward, DType type, const AttentionProblem& p) {
    const auto [at, added] = plans_.try_emplace(key(backward, type, p));
    if (added) {
      try {
        at->second = make(backward, type, p);
      } catch (const std::exception&) {  // the frontend throws where a library lacks a function
      }
    }
    return at->second;
  }

  Plan make(bool backward, DType type, const AttentionProblem& p) {
    auto graph = std::make_shared<fe::graph::Graph>();
    graph->set_io_data_type(data_type(type)).set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
    const Strides of_out{p.batch * p.q_heads * p.v_dim, p.q_heads * p.v_dim, p.v_dim};
    const Strides of_lse{1, p.queries, p.batch * p.queries};
    const Tensor q = graph->tensor(tensor(kQ, p.batch, p.q_heads, p.queries, p.qk_dim, p.q));
    const Tensor k = graph->tensor(tensor(kK, p.batch, p.kv_heads, p.keys, p.qk_dim, p.k));
    const Tensor v = graph->tensor(tensor(kV, p.batch, p.kv_heads, p.keys, p.v_dim, p.v));
    const float scale = 1.F / std::sqrt(static_cast<float>(p.qk_dim));
    const auto result = [&](const Tensor& t, Uid uid, Index heads, Index positions, Index width, const Strides& s) {
      t->set_output(true).set_uid(uid).set_dim({p.batch, heads, positions, width}).set_stride({s.sample, s.head, s.position, 1});
    };
    if (backward) {
      auto options = fe::graph::SDPA_backward_attributes().set_attn_scale(scale).set_deterministic_algorithm(true);
      if (p.causal) options.set_causal_mask(true);
      const Tensor out = graph->tensor(tensor(kOut, p.batch, p.q_heads, p.queries, p.v_dim, of_out));
      const Tensor d_out = graph->tensor(tensor(kDOut, p.batch, p.q_heads, p.queries, p.v_dim, of_out));
      const Tensor lse = graph->tensor(tensor(kLse, p.batch, p.q_heads, p.queries, 1, of_lse).set_data_type(fe::DataType_t::FLOAT));
      const auto [d_q, d_k, d_v] = graph->sdpa_backward(q, k, v, out, d_out, lse, options);
      result(d_q, kDQ, p.q_heads, p.queries, p.qk_dim, p.q);
      result(d_k, kDK, p.kv_heads, p.keys, p.qk_dim, p.k);
      result(d_v, kDV, p.kv_heads, p.keys, p.v_dim, p.v);
    } else {
      auto options = fe::graph::SDPA_attributes().set_attn_scale(scale).set_generate_stats(true);
      if (p.causal) options.set_causal_mask(true);
      const auto [out, lse] = graph->sdpa(q, k, v, options);
      result(out, kOut, p.q_heads, p.queries, p.v_dim, of_out);
      result(lse, kLse, p.q_heads, p.queries, 1, of_lse);
      lse->set_data_type(fe::DataType_t::FLOAT);
    }
    Plan made;
    if (graph->build(handle_, {fe::HeurMode_t::A}).is_good() && graph->get_workspace_size(made.workspace).is_good()) made.graph = std::move(graph);
    return made;
  }

  cudnnHandle_t handle_;
  Stream stream_;
  std::map<Key, Plan> plans_;
};

}  // namespace

std::unique_ptr<FusedAttention> make_fused_attention(Stream stream) try {
  // Loaded once and never unloaded; a second handle to it is the same library.
  static const bool loaded = [] {
    fe::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_GLOBAL);
    return fe::cudnn_dlhandle != nullptr;
  }();
  if (!loaded) return nullptr;
  cudnnHandle_t handle = nullptr;
  if (fe::detail::create_handle(&handle) != CUDNN_STATUS_SUCCESS) return nullptr;
  if (fe::detail::set_stream(handle, stream) != CUDNN_STATUS_SUCCESS) {
    fe::detail::destroy_handle(handle);
    return nullptr;
  }
  return std::make_unique<CudnnAttention>(handle, stream);
} catch (const std::exception&) {  // the frontend throws where a library lacks a function
  return nullptr;
}

}  // namespace orrery::executor::cuda
