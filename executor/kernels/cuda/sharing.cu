// Communication between ranks that share a GPU: each operation is one kernel or some copies, on a stream of its first member, once all members are
// there.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

template <class T>
__device__ __forceinline__ double wide64(T x) {
  return static_cast<double>(x);
}
template <>
__device__ __forceinline__ double wide64(__nv_bfloat16 x) {
  return static_cast<double>(__bfloat162float(x));
}
template <>
__device__ __forceinline__ double wide64(__half x) {
  return static_cast<double>(__half2float(x));
}
template <class T>
__device__ __forceinline__ T narrow64(double x) {
  return static_cast<T>(x);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow64(double x) {
  return __double2bfloat16(x);
}
template <>
__device__ __forceinline__ __half narrow64(double x) {
  return __double2half(x);
}

// In member order, in double, rounded once. `shard`: elements of each member's part, which it alone gets; 0: everybody gets all. Each element is read
// by the thread that writes it, so that members may reduce in place.
template <class T, bool kGreatest>
__global__ void __launch_bounds__(kThreads) reduce_kernel(Ends ends, Index elements, Index shard) {
  const Index threads = Index{gridDim.x} * kThreads;
  for (Index i = Index{blockIdx.x} * kThreads + threadIdx.x; i < elements; i += threads) {
    double value = wide64(static_cast<const T*>(ends.in[0])[i]);
    for (int k = 1; k < ends.members; ++k) {
      const double next = wide64(static_cast<const T*>(ends.in[k])[i]);
      if constexpr (kGreatest)
        value = next > value || next != next ? next : value;
      else
        value += next;
    }
    const T result = narrow64<T>(value);
    if (shard > 0)
      static_cast<T*>(ends.out[i / shard])[i % shard] = result;
    else
      for (int k = 0; k < ends.members; ++k) static_cast<T*>(ends.out[k])[i] = result;
  }
}

template <class T>
void reduce(Stream stream, const Ends& ends, Index elements, Index shard, bool greatest) {
  if (greatest)
    ORRERY_LAUNCH((reduce_kernel<T, true>), blocks(elements), kThreads, 0, stream)(ends, elements, shard);
  else
    ORRERY_LAUNCH((reduce_kernel<T, false>), blocks(elements), kThreads, 0, stream)(ends, elements, shard);
  launched();
}

// Block row y moves what member y gets: from each source in turn the rows that its counts say, in words of the given type.
template <class Word>
__global__ void __launch_bounds__(kThreads) by_count_kernel(Ends ends, EndCounts counts, Overflow* overflows) {
  __shared__ Index from[kMostSharing], rows[kMostSharing];
  const int to = static_cast<int>(blockIdx.y);
  for (int k = static_cast<int>(threadIdx.x); k < ends.members; k += kThreads) {
    Index before = 0, mine = 0;
    for (Index i = 0; i < to * counts.per_rank; ++i) before += counts.of[k][i];
    for (Index i = to * counts.per_rank; i < (to + 1) * counts.per_rank; ++i) mine += counts.of[k][i];
    from[k] = before, rows[k] = mine;
  }
  __syncthreads();
  Index all = 0;
  for (int k = 0; k < ends.members; ++k) all += rows[k];
  if (counts.room[to] >= 0 && all > counts.room[to]) {
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      Overflow& o = overflows[counts.rank[to] % kMostSharing];
      o.rows = all, o.room = counts.room[to];
      __threadfence_system();
      *static_cast<volatile std::int32_t*>(&o.rank) = counts.rank[to] + 1;
    }
    return;
  }
  const Index words = counts.row_bytes / Index{sizeof(Word)};
  auto* out = static_cast<Word*>(ends.out[to]);
  for (int k = 0; k < ends.members; ++k) {
    const Word* in = static_cast<const Word*>(ends.in[k]) + from[k] * words;
    for (Index i = Index{blockIdx.x} * kThreads + threadIdx.x; i < rows[k] * words; i += Index{gridDim.x} * kThreads) out[i] = in[i];
    out += rows[k] * words;
  }
}

}  // namespace

void reduce_shared(Stream stream, DType type, const Ends& ends, Index elements, Index shard, bool greatest) {
  switch (type) {
    case DType::fp64:
      return reduce<double>(stream, ends, elements, shard, greatest);
    case DType::int32:
      return reduce<std::int32_t>(stream, ends, elements, shard, greatest);
    case DType::bf16:
      return reduce<__nv_bfloat16>(stream, ends, elements, shard, greatest);
    case DType::fp16:
      return reduce<__half>(stream, ends, elements, shard, greatest);
    default:
      return reduce<float>(stream, ends, elements, shard, greatest);
  }
}

void move_by_count(Stream stream, const Ends& ends, const EndCounts& counts, Overflow* overflows) {
  auto alignment = static_cast<std::uintptr_t>(counts.row_bytes);
  for (int k = 0; k < ends.members; ++k) alignment |= reinterpret_cast<std::uintptr_t>(ends.in[k]) | reinterpret_cast<std::uintptr_t>(ends.out[k]);
  const dim3 grid(64, static_cast<unsigned>(ends.members));
  if (alignment % 16 == 0)
    ORRERY_LAUNCH((by_count_kernel<uint4>), grid, kThreads, 0, stream)(ends, counts, overflows);
  else if (alignment % 4 == 0)
    ORRERY_LAUNCH((by_count_kernel<std::uint32_t>), grid, kThreads, 0, stream)(ends, counts, overflows);
  else
    ORRERY_LAUNCH((by_count_kernel<std::uint8_t>), grid, kThreads, 0, stream)(ends, counts, overflows);
  launched();
}

}  // namespace orrery::executor::cuda
