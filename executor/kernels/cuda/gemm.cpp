#include "executor/kernels/cuda/gemm.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <set>
#include <vector>

#include "core/error.h"
#include "executor/kernels/cuda/gemm_cache.h"

namespace orrery::executor::cuda {
namespace {

constexpr int kCandidates = 8;  // of the heuristic, timed where asked to
constexpr int kRepeats = 5;     // timings of each, of which the smallest counts

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error("cuda", fmt::format("cuBLASLt: {} failed: {}", what, cublasLtGetStatusString(status)));
}

cudaDataType_t data_type(DType type) {
  switch (type) {
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::fp16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

// A handle that is destroyed with its scope.
template <class Handle, cublasStatus_t (*kDestroy)(Handle)>
struct Owned {
  Handle handle = nullptr;
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle) kDestroy(handle);
  }
};
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;
using Handle = Owned<cublasLtHandle_t, cublasLtDestroy>;

struct Workspace {
  Workspace() { check_memory(cudaMalloc(&data, kGemmWorkspace), kGemmWorkspace, "cuBLASLt's workspace"); }
  ~Workspace() { cudaFree(data); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data = nullptr;
};

int alignment(const void* p) {
  const auto bits = reinterpret_cast<std::uintptr_t>(p) | 256;
  return static_cast<int>(bits & (~bits + 1));
}

struct EventPair {
  cudaEvent_t begin = nullptr, end = nullptr;
  EventPair() {
    check_cuda(cudaEventCreate(&begin), "an event");
    check_cuda(cudaEventCreate(&end), "an event");
  }
  EventPair(const EventPair&) = delete;
  EventPair& operator=(const EventPair&) = delete;
  ~EventPair() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
};

// An operand in 8 bits: how its scales lie, and where.
struct Eight {
  program::Quantisation form;
  const float* scales = nullptr;
};

// c (m x n) = a b + beta c, column-major.
struct Product {
  bool transpose_a, transpose_b;
  Index m, n, k, lda, ldb, ldc;
  DType type, out;
  float beta;
  const void* bias = nullptr;  // of `type` (in 8 bits: bf16), added to every column
  Eight of_a{}, of_b{};        // where type is fp8
  enum class Gelu : std::uint8_t { none, forward, derivative } gelu = Gelu::none;
  void* aux = nullptr;  // its argument: written forward, read for the derivative; of `type`, as c
  bool fast = false;    // fp8: sums are not moved to full fp32 registers on the way
};

cudaDataType_t data_type(DType type, const Eight& of) {
  if (type != DType::fp8) return data_type(type);
  return of.form.format == program::Fp8::e5m2 ? CUDA_R_8F_E5M2 : CUDA_R_8F_E4M3;
}

// cublasLt.h, cublasLtMatmulMatrixScale_t: one fp32 number for all, for 128 along k, or for squares of 128.
std::int32_t scale_mode(const Eight& of) {
  if (of.form.block_columns == 0) return CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
  return of.form.block_rows == 1 ? CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F : CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
}

}  // namespace

class Gemm::Library {
 public:
  Library(int device, Stream stream, const CudaOptions& options, GemmChoicesByDevice& choices)
      : device_(device),
        stream_(stream),
        options_(options),
        choices_(choices.of(scope(device), options.tune, options.gemm_cache, options.gemm_known)) {
    check(cublasLtCreate(&handle_.handle), "starting");
  }

  void multiply(const Product& p, const void* a, const void* b, void* c) {
    if (const std::optional<GemmKey> without = impossible(p, a, b, c))
      throw Error("cuda", fmt::format("cuBLASLt has no algorithm for the product {}", without->text()));
  }

  // Multiplies, or does nothing and says for what cuBLASLt has no algorithm.
  std::optional<GemmKey> impossible(const Product& p, const void* a, const void* b, void* c) {
    if (p.m == 0 || p.n == 0) return std::nullopt;
    const std::lock_guard lock(mutex_);  // one workspace
    Description description;
    const cublasComputeType_t compute = p.type == DType::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check(cublasLtMatmulDescCreate(&description.handle, compute, CUDA_R_32F), "describing a product");
    set(description, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(description, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (options_.sm_target > 0) set(description, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, static_cast<std::int32_t>(options_.sm_target));
    if (p.gelu != Product::Gelu::none) {
      set(description, CUBLASLT_MATMUL_DESC_EPILOGUE,
          p.gelu == Product::Gelu::derivative ? CUBLASLT_EPILOGUE_DGELU
          : p.bias                            ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS
                                              : CUBLASLT_EPILOGUE_GELU_AUX);
      set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.aux);
      set(description, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, static_cast<std::int64_t>(p.ldc));
    } else if (p.bias) {
      set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    }
    if (p.bias) {
      set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(data_type(p.type == DType::fp8 ? DType::bf16 : p.type)));
    }
    if (p.type == DType::fp8) {
      set(description, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, scale_mode(p.of_a));
      set(description, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, scale_mode(p.of_b));
      set(description, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(p.of_a.scales));
      set(description, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(p.of_b.scales));
      set(description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, static_cast<std::int8_t>(p.fast ? 1 : 0));
    }
    Layout of_a, of_b, of_c;
    layout(of_a, data_type(p.type, p.of_a), p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda);
    layout(of_b, data_type(p.type, p.of_b), p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb);
    layout(of_c, data_type(p.out), p.m, p.n, p.ldc);

    const Call call{description.handle, of_a.handle, of_b.handle, of_c.handle, p.beta, a, b};
    const GemmKey key{p.transpose_a,
                      p.transpose_b,
                      p.bias != nullptr,
                      p.type,
                      p.out,
                      p.m,
                      p.n,
                      p.k,
                      alignment(a),
                      alignment(b),
                      alignment(c),
                      options_.sm_target,
                      p.type == DType::fp8 ? static_cast<int>(p.of_a.form.number()) : -1,
                      p.type == DType::fp8 ? static_cast<int>(p.of_b.form.number()) : -1,
                      p.fast,
                      static_cast<int>(p.gelu)};
    if (without_.count(key) > 0) return key;
    const std::optional<GemmCache::Algorithm> known = choices_->find(key);
    if (known && run(call, c, *known) == CUBLAS_STATUS_SUCCESS) return std::nullopt;
    // What is on the stream may wait for other ranks, and they for their turn to choose: so not while others wait for this one.
    if (options_.tune) check_cuda(cudaStreamSynchronize(stream_), "the work before a product");
    // Anew where a file held what does not run.
    const auto chosen = choices_->choose(key, known, options_.tune, [&] { return choose(call, key, p, c); });
    if (!chosen) {
      without_.insert(key);
      return key;
    }
    check(run(call, c, *chosen), "a product");
    return std::nullopt;
  }

  Stream stream() const { return stream_; }

 private:
  struct Call {
    cublasLtMatmulDesc_t description;
    cublasLtMatrixLayout_t of_a, of_b, of_c;
    float beta;
    const void *a, *b;
  };

  static std::string scope(int device) {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, device), "asking for the device");
    return fmt::format("cublasLt {} {} sm_{}{} {}", cublasLtGetVersion(), properties.name, properties.major, properties.minor,
                       properties.multiProcessorCount);
  }

  template <class X>
  static void set(const Description& d, cublasLtMatmulDescAttributes_t what, const X& value) {
    check(cublasLtMatmulDescSetAttribute(d.handle, what, &value, sizeof value), "describing a product");
  }
  static void layout(Layout& l, cudaDataType_t type, Index rows, Index columns, Index stride) {
    check(cublasLtMatrixLayoutCreate(&l.handle, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns), stride),
          "describing a matrix");
  }

  cublasStatus_t run(const Call& call, void* c, const cublasLtMatmulAlgo_t& algorithm) const {
    const float one = 1;
    return cublasLtMatmul(handle_.handle, call.description, &one, call.a, call.of_a, call.b, call.of_b, &call.beta, c, call.of_c, c, call.of_c,
                          &algorithm, workspace_.data, kGemmWorkspace, stream_);
  }

  cublasStatus_t run(const Call& call, void* c, const GemmCache::Algorithm& words) const {
    cublasLtMatmulAlgo_t algorithm;
    static_assert(sizeof algorithm == sizeof words);
    std::memcpy(&algorithm, words.data(), sizeof algorithm);
    return run(call, c, algorithm);
  }

  std::optional<GemmCache::Algorithm> choose(const Call& call, const GemmKey& key, const Product& p, void* c) const {
    Preference preference;
    check(cublasLtMatmulPreferenceCreate(&preference.handle), "asking for algorithms");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference.handle, what, &value, sizeof value), "asking for algorithms");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kGemmWorkspace);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key.align_a));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key.align_b));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key.align_c));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key.align_c));
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_.handle, call.description, call.of_a, call.of_b, call.of_c, call.of_c,
                                                                 preference.handle, kCandidates, found.data(), &count);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return std::nullopt;
    check(status, "asking for algorithms");
    std::vector<cublasLtMatmulAlgo_t> candidates;
    for (int i = 0; i < count; ++i)
      if (const auto& candidate = found[static_cast<std::size_t>(i)]; candidate.state == CUBLAS_STATUS_SUCCESS) candidates.push_back(candidate.algo);
    if (candidates.empty()) return std::nullopt;
    GemmCache::Algorithm words{};
    const std::size_t best = options_.tune && candidates.size() > 1 ? fastest(call, p, candidates, c) : 0;
    std::memcpy(words.data(), &candidates[best], sizeof words);
    return words;
  }

  // The stream is idle but for these.
  std::size_t fastest(const Call& call, const Product& p, const std::vector<cublasLtMatmulAlgo_t>& candidates, void* c) const {
    if (p.beta == 0) return fastest(call, candidates, c);  // the last product written is the one that counts
    std::size_t best = 0;
    try {
      // Into a copy: the result is added to many times.
      const Scratch copy(stream_, bytes_of(p.out, p.ldc * p.n));
      zero_bytes(stream_, bytes_of(p.out, p.ldc * p.n), copy.as<void>());
      best = fastest(call, candidates, copy.as<void>());
    } catch (const OutOfMemory&) {
      return best;  // the training itself needs no copy
    }
    check_cuda(cudaStreamSynchronize(stream_), "timing a product");
    trim_scratch(device_);
    return best;
  }

  std::size_t fastest(const Call& call, const std::vector<cublasLtMatmulAlgo_t>& candidates, void* c) const {
    const EventPair events;
    std::size_t best = 0;
    float least = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (run(call, c, candidates[i]) != CUBLAS_STATUS_SUCCESS) continue;
      for (int repeat = 0; repeat < kRepeats; ++repeat) {
        check_cuda(cudaEventRecord(events.begin, stream_), "timing a product");
        check(run(call, c, candidates[i]), "a product");
        check_cuda(cudaEventRecord(events.end, stream_), "timing a product");
        check_cuda(cudaEventSynchronize(events.end), "timing a product");
        float ms = 0;
        check_cuda(cudaEventElapsedTime(&ms, events.begin, events.end), "timing a product");
        if (ms < least) least = ms, best = i;
      }
    }
    return best;
  }

  int device_;
  Stream stream_;
  CudaOptions options_;
  Handle handle_;
  Workspace workspace_;
  std::mutex mutex_;
  std::shared_ptr<GemmChoices> choices_;
  std::set<GemmKey> without_;  // an algorithm
};

Gemm::Gemm(int device, Stream stream, const CudaOptions& options, const std::shared_ptr<GemmChoicesByDevice>& choices)
    : library_(std::make_unique<Library>(device, stream, options, *choices)) {}
Gemm::~Gemm() = default;

Converted::Converted(Stream stream, Index elements, Array from, DType type)
    : room_(stream, same_bits(from.type, type) || !from ? 0 : bytes_of(type, elements)), data_(from.data) {
  if (!room_.as<void>()) return;
  cast(stream, elements, from, {room_.as<void>(), type});
  data_ = room_.as<void>();
}

// Row-major matrices are column-major ones transposed: yᵀ (out x tokens) = W xᵀ, where W's memory is (in x out) by columns and x's (in x tokens).
void Gemm::forward(DType type, Index tokens, Index in, Index out, const void* x, Array weight, Array bias, void* y) const {
  const Stream stream = library_->stream();
  if (in == 0) {
    if (bias) return broadcast_row(stream, type, tokens, out, bias, y);
    return zero_bytes(stream, bytes_of(type, tokens * out), y);
  }
  const Converted w(stream, in * out, weight, type), b(stream, out, bias, type);
  library_->multiply({true, false, out, tokens, in, in, in, out, type, type, 0, b.data()}, w.data(), x, y);
}

// dxᵀ (in x tokens) = Wᵀ dyᵀ.
void Gemm::input_grad(DType type, Index tokens, Index in, Index out, const void* dy, Array weight, void* dx) const {
  const Stream stream = library_->stream();
  if (out == 0) return zero_bytes(stream, bytes_of(type, tokens * in), dx);
  const Converted w(stream, in * out, weight, type);
  library_->multiply({false, false, in, tokens, out, in, out, in, type, type, 0}, w.data(), dy, dx);
}

namespace {

// cublasLt.h, EPILOGUE_AUX_LD and _POINTER: rows and places of whole 16 bytes.
bool takes_gelu(DType type, Index width, const void* aux) {
  return bits(type) == 16 && width % 8 == 0 && width > 0 && reinterpret_cast<std::uintptr_t>(aux) % 16 == 0;
}

}  // namespace

bool Gemm::forward_gelu(DType type, Index tokens, Index in, Index out, const void* x, Array weight, Array bias, void* u, void* a) const {
  if (in == 0 || !takes_gelu(type, out, u)) return false;
  const Stream stream = library_->stream();
  const Converted w(stream, in * out, weight, type), b(stream, out, bias, type);
  Product p{true, false, out, tokens, in, in, in, out, type, type, 0, b.data()};
  p.gelu = Product::Gelu::forward, p.aux = u;
  return !library_->impossible(p, w.data(), x, a);
}

bool Gemm::gelu_grad(DType type, Index tokens, Index in, Index out, const void* dy, Array weight, const void* u, void* du) const {
  if (out == 0 || !takes_gelu(type, in, u)) return false;
  const Converted w(library_->stream(), in * out, weight, type);
  Product p{false, false, in, tokens, out, in, out, in, type, type, 0};
  p.gelu = Product::Gelu::derivative, p.aux = const_cast<void*>(u);
  return !library_->impossible(p, w.data(), dy, du);
}

// dWᵀ (in x out) += xᵀ dy. Gradients of another 16-bit type than the product's, and 16-bit ones of an fp32 product, go through fp32.
void Gemm::weight_grad(DType type, Index tokens, Index in, Index out, const void* x, const void* dy, Array d_weight) const {
  if (tokens == 0) return;
  const bool direct = same_bits(d_weight.type, DType::fp32) || same_bits(d_weight.type, type);
  Product p{false, true, in, out, tokens, in, out, in, type, d_weight.type, 1};
  if (direct) return library_->multiply(p, x, dy, d_weight.data);
  const Stream stream = library_->stream();
  const Scratch sum(stream, bytes_of(DType::fp32, in * out));
  const Array in_fp32{sum.as<void>(), DType::fp32};
  cast(stream, in * out, d_weight, in_fp32);
  p.out = DType::fp32;
  library_->multiply(p, x, dy, in_fp32.data);
  cast(stream, in * out, in_fp32, d_weight);
}

// Rows of both operands are what is summed over: "TN", all that Hopper has. c (rows of b x rows of a, row-major) = b aᵀ + beta c.
void Gemm::multiply_8(const program::QuantisedMatrix& a, const void* of_a, const program::QuantisedMatrix& b, const void* of_b, DType out, float beta,
                      Array bias, bool fast, void* c) const {
  const auto scales = [](const program::QuantisedMatrix& m, const void* data) {
    return reinterpret_cast<const float*>(static_cast<const std::byte*>(data) + m.scales_begin());
  };
  const Converted in_bf16(library_->stream(), a.rows, bias, DType::bf16);
  Product p{true, false, a.rows, b.rows, a.columns, a.columns, a.columns, a.rows, DType::fp8, out, beta, in_bf16.data()};
  p.of_a = {a.form, scales(a, of_a)}, p.of_b = {b.form, scales(b, of_b)}, p.fast = fast;
  library_->multiply(p, of_a, of_b, c);
}

void Gemm::forward_8(const program::Shape& shape, const void* x, const void* weight, Array bias, void* y) const {
  const auto q = *program::quantised_operands(shape);
  // As Transformer Engine does: fast sums forward only, and with blocks there are none.
  multiply_8(q.second, weight, q.first, x, DType::bf16, 0, bias, q.first.form.block_columns == 0, y);
}

void Gemm::input_grad_8(const program::Shape& shape, const void* dy, const void* weight, void* dx) const {
  const auto q = *program::quantised_operands(shape);
  multiply_8(q.second, weight, q.first, dy, DType::bf16, 0, {}, false, dx);
}

void Gemm::weight_grad_8(const program::Shape& shape, const void* x, const void* dy, Array d_weight) const {
  const auto q = *program::quantised_operands(shape);
  if (q.first.columns == 0) return;
  if (d_weight.type != DType::fp16) return multiply_8(q.first, x, q.second, dy, d_weight.type, 1, {}, false, d_weight.data);
  const Stream stream = library_->stream();
  const Index n = q.first.rows * q.second.rows;
  const Scratch sum(stream, bytes_of(DType::fp32, n));
  const Array in_fp32{sum.as<void>(), DType::fp32};
  cast(stream, n, d_weight, in_fp32);
  multiply_8(q.first, x, q.second, dy, DType::fp32, 1, {}, false, in_fp32.data);
  cast(stream, n, in_fp32, d_weight);
}

}  // namespace orrery::executor::cuda
