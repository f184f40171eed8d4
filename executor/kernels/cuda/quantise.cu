// Into 8 bits: the largest number of a matrix, and its codes and scales, as they lie or turned, in one pass over it.
#include "executor/kernels/cuda/device.cuh"
#include "executor/kernels/narrow.h"

namespace orrery::executor::cuda {
namespace {

constexpr Index kParts = 1024;  // of the largest number; exact in any order, but then the launch does not depend on the device

__device__ __forceinline__ float block_max(float x, float* shared) {
  return block_combine(warp_max(x), 0.F, shared, [](float a, float b) { return fmaxf(a, b); });
}

// Nothing is looked at where *known says it already.
template <class T, int V>
__global__ void __launch_bounds__(kThreads) largest_kernel(Index n, const T* x, const float* known, float* parts) {
  __shared__ float shared[32];
  if (known && *known > 0.F) return;
  const Index thread = Index{blockIdx.x} * kThreads + threadIdx.x, threads = Index{gridDim.x} * kThreads;
  float most = 0;
  for (Index i = thread; i < n / V; i += threads) {
    float v[V];
    load<V>(x + i * V, v);
#pragma unroll
    for (int j = 0; j < V; ++j) most = fmaxf(most, fabsf(v[j]));
  }
  if constexpr (V > 1)
    if (thread < n % V) most = fmaxf(most, fabsf(wide(x[n - n % V + thread])));
  most = block_max(most, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = most;
}

__global__ void __launch_bounds__(1024) largest_of_kernel(Index n, const float* parts, bool keeps, float* to) {
  __shared__ float shared[32];
  float most = 0;
  for (Index i = threadIdx.x; i < n; i += 1024) most = fmaxf(most, parts[i]);
  most = block_max(most, shared);
  if (threadIdx.x == 0) *to = keeps ? fmaxf(*to, most) : most;
}

// What a scale is of.
enum class Blocks { whole, rows, squares };

struct Whole {
  const float* amax;   // what is expected, or what was found
  const float* parts;  // of the matrix's own largest number, where *amax is 0; null: there is always an amax
  Index count;
  float* seen;  // by tile, this pass's own largest; null: nobody asks
};

// A tile of 128 x 128. A thread has 8 rows of 8 neighbouring columns, so that a row's 128 columns are those of half a warp, and 8 codes of a column
// make a word. A turned tile goes through shared memory in such words (Tile8).
template <class T, Blocks kBlocks, bool kPlain, bool kTurned, bool kAligned>
__global__ void __launch_bounds__(Tile8::kThreads) quantise_kernel(Quantised q, const T* x, Whole whole) {
  __shared__ float shared[32];
  __shared__ float of_warp[kBlocks == Blocks::rows && kTurned ? Tile8::kThreads / 32 : 1][Tile8::kSide];
  __shared__ uint2 turned[kTurned ? Tile8::kSide * Tile8::kWords : 1];
  const Index rows = q.rows, columns = q.columns;
  const bool e5m2 = q.e5m2;
  const int group = static_cast<int>(threadIdx.x) % 16;
  const Index row0 = Index{blockIdx.y} * Tile8::kSide, column0 = Index{blockIdx.x} * Tile8::kSide;
  const Index row = row0 + Index{threadIdx.x} / 16 * 8, column = column0 + group * 8;
  float v[8][8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (row + i >= rows || column >= columns) {
#pragma unroll
      for (int j = 0; j < 8; ++j) v[i][j] = 0;
    } else if constexpr (kAligned) {
      load<8>(x + (row + i) * columns + column, v[i]);
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) v[i][j] = wide(x[(row + i) * columns + column + j]);
    }
  }

  float one = 1;  // factor of all, where there is one
  if constexpr (kBlocks != Blocks::rows) {
    float most = 0;
    if (kBlocks == Blocks::squares || whole.seen) {
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) most = fmaxf(most, fabsf(v[i][j]));
      most = block_max(most, shared);
    }
    if constexpr (kBlocks == Blocks::whole) {
      if (whole.seen && threadIdx.x == 0) whole.seen[Index{blockIdx.y} * gridDim.x + blockIdx.x] = most;
      float amax = *whole.amax;
      if (whole.parts && !(amax > 0.F)) {  // the same for all threads
        float own = 0;
        for (Index i = threadIdx.x; i < whole.count; i += Tile8::kThreads) own = fmaxf(own, whole.parts[i]);
        amax = block_max(own, shared);
      }
      one = fp8_factor(amax, e5m2, false);
      if (threadIdx.x == 0 && blockIdx.x == 0 && blockIdx.y == 0) {
        if constexpr (kPlain) q.plain_scales[0] = fp8_scale(one);
        if constexpr (kTurned) q.turned_scales[0] = fp8_scale(one);
      }
    } else {
      one = fp8_factor(most, e5m2, true);
      if (threadIdx.x == 0) {
        if constexpr (kPlain) q.plain_scales[blockIdx.y * ((gridDim.x + 3) / 4 * 4) + blockIdx.x] = fp8_scale(one);
        if constexpr (kTurned) q.turned_scales[blockIdx.x * ((gridDim.y + 3) / 4 * 4) + blockIdx.y] = fp8_scale(one);
      }
    }
  }

  if constexpr (kPlain) {
    const Index padded = (rows + 3) / 4 * 4;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float factor = one;
      if constexpr (kBlocks == Blocks::rows) {
        float most = 0;
#pragma unroll
        for (int j = 0; j < 8; ++j) most = fmaxf(most, fabsf(v[i][j]));
#pragma unroll
        for (int d = 8; d > 0; d /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, d));
        factor = fp8_factor(most, e5m2, true);
        if (group == 0 && row + i < rows) q.plain_scales[Index{blockIdx.x} * padded + row + i] = fp8_scale(factor);
      }
      if (row + i >= rows || column >= columns) continue;
      std::uint8_t out[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) out[j] = to_fp8(v[i][j] * factor, e5m2);
      uint2 word;
      memcpy(&word, out, sizeof word);
      *reinterpret_cast<uint2*>(q.plain + (row + i) * columns + column) = word;
    }
  }

  if constexpr (kTurned) {
    if constexpr (kBlocks == Blocks::rows) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        float most = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) most = fmaxf(most, fabsf(v[i][j]));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 16));
        if (threadIdx.x % 32 < 16) of_warp[threadIdx.x / 32][group * 8 + j] = most;
      }
      __syncthreads();
    }
    const Index padded = (columns + 3) / 4 * 4;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      float factor = one;
      if constexpr (kBlocks == Blocks::rows) {
        float most = 0;
#pragma unroll
        for (int w = 0; w < Tile8::kThreads / 32; ++w) most = fmaxf(most, of_warp[w][group * 8 + j]);
        factor = fp8_factor(most, e5m2, true);
        if (threadIdx.x / 16 == 0 && column + j < columns) q.turned_scales[Index{blockIdx.y} * padded + column + j] = fp8_scale(factor);
      }
      std::uint8_t out[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) out[i] = to_fp8(v[i][j] * factor, e5m2);
      uint2 word;
      memcpy(&word, out, sizeof word);
      turned[Tile8::at(group * 8 + j, static_cast<int>(threadIdx.x) / 16)] = word;
    }
    __syncthreads();
    // 8 threads write a column's 128 codes, 16 bytes each.
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int of_tile = static_cast<int>(threadIdx.x) / 8 + 32 * i, word = static_cast<int>(threadIdx.x) % 8 * 2;
      if (column0 + of_tile >= columns || row0 + word * 8 >= rows) continue;
      const uint2 low = turned[Tile8::at(of_tile, word)], high = turned[Tile8::at(of_tile, word + 1)];
      *reinterpret_cast<uint4*>(q.turned + (column0 + of_tile) * rows + row0 + word * 8) = uint4{low.x, low.y, high.x, high.y};
    }
  }
}

// A block has 32 matrices, whose histories move on by one step: 32 steps at a time, the oldest first, each read before any is written.
__global__ void __launch_bounds__(1024) update_scales_kernel(Index n, Index steps, float* seen, float* history, float* expected) {
  __shared__ float most_of[32][33];
  const Index matrix = Index{blockIdx.x} * 32 + threadIdx.x;
  float most = 0;
  for (Index end = (steps + 30) / 32 * 32; end > 0; end -= 32) {
    const Index step = end - 32 + threadIdx.y;  // becomes step + 1
    const bool moves = step + 1 < steps && matrix < n;
    const float value = moves ? history[step * n + matrix] : 0.F;
    most = fmaxf(most, value);
    __syncthreads();
    if (moves) history[(step + 1) * n + matrix] = value;
    __syncthreads();
  }
  most_of[threadIdx.y][threadIdx.x] = most;
  __syncthreads();
  if (threadIdx.y != 0 || matrix >= n) return;
  const float latest = seen[matrix];
  most = latest;
  for (int y = 0; y < 32; ++y) most = fmaxf(most, most_of[y][threadIdx.x]);
  history[matrix] = latest;
  expected[matrix] = most;
  seen[matrix] = 0;
}

Index parts_of(Index elements) { return std::clamp<Index>(elements / (16 * kThreads), 1, kParts); }

// `parts` has room for parts_of(elements).
void largest_parts(Stream stream, DType type, Index elements, const void* x, const float* known, float* parts) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({x}, {}, [&](auto v) {
      ORRERY_LAUNCH((largest_kernel<T, decltype(v)::value>), static_cast<unsigned>(parts_of(elements)), kThreads, 0, stream)
      (elements, static_cast<const T*>(x), known, parts);
      launched();
    });
  });
}

void largest_of(Stream stream, Index n, const float* parts, bool keeps, float* to) {
  ORRERY_LAUNCH(largest_of_kernel, 1, 1024, 0, stream)(n, parts, keeps, to);
  launched();
}

template <Blocks kBlocks>
void quantise_blocks(Stream stream, DType type, const Quantised& q, const void* x, const Whole& whole) {
  const dim3 grid(static_cast<unsigned>((q.columns + Tile8::kSide - 1) / Tile8::kSide),
                  static_cast<unsigned>((q.rows + Tile8::kSide - 1) / Tile8::kSide));
  by_type(type, [&](auto t) {
    using T = decltype(t);
    const auto run = [&](auto plain, auto turned) {
      constexpr bool kPlain = decltype(plain)::value != 0, kTurned = decltype(turned)::value != 0;
      const auto* from = static_cast<const T*>(x);
      if (reinterpret_cast<std::uintptr_t>(x) % 16 == 0)
        ORRERY_LAUNCH((quantise_kernel<T, kBlocks, kPlain, kTurned, true>), grid, Tile8::kThreads, 0, stream)(q, from, whole);
      else
        ORRERY_LAUNCH((quantise_kernel<T, kBlocks, kPlain, kTurned, false>), grid, Tile8::kThreads, 0, stream)(q, from, whole);
      launched();
    };
    if (q.plain && q.turned)
      run(Number<1>{}, Number<1>{});
    else if (q.turned)
      run(Number<0>{}, Number<1>{});
    else
      run(Number<1>{}, Number<0>{});
  });
}

}  // namespace

void largest(Stream stream, DType type, Index elements, const void* x, float* to) {
  const Scratch parts(stream, parts_of(elements) * Index{sizeof(float)});
  largest_parts(stream, type, elements, x, nullptr, parts.as<float>());
  largest_of(stream, parts_of(elements), parts.as<float>(), false, to);
}

void quantise(Stream stream, DType type, const Quantised& q, const void* x, const float* amax) {
  if (q.rows == 0 || q.columns == 0) return;
  if (q.block_rows == 1) return quantise_blocks<Blocks::rows>(stream, type, q, x, {});
  if (q.block_rows > 1) return quantise_blocks<Blocks::squares>(stream, type, q, x, {});
  quantise_blocks<Blocks::whole>(stream, type, q, x, {amax, nullptr, 0, nullptr});
}

void quantise_delayed(Stream stream, DType type, const Quantised& q, const void* x, const float* expected, float* seen) {
  if (q.rows == 0 || q.columns == 0) return;
  const Index parts = parts_of(q.rows * q.columns);
  const Index tiles = (q.columns + Tile8::kSide - 1) / Tile8::kSide * ((q.rows + Tile8::kSide - 1) / Tile8::kSide);
  const Scratch own(stream, parts * Index{sizeof(float)}), of_tiles(stream, tiles * Index{sizeof(float)});
  largest_parts(stream, type, q.rows * q.columns, x, expected, own.as<float>());
  quantise_blocks<Blocks::whole>(stream, type, q, x, {expected, own.as<float>(), parts, of_tiles.as<float>()});
  largest_of(stream, tiles, of_tiles.as<float>(), true, seen);
}

void update_scales(Stream stream, Index matrices, Index steps, float* seen, float* history, float* expected) {
  if (matrices == 0) return;
  ORRERY_LAUNCH(update_scales_kernel, static_cast<unsigned>((matrices + 31) / 32), dim3(32, 32), 0, stream)(matrices, steps, seen, history, expected);
  launched();
}

}  // namespace orrery::executor::cuda
