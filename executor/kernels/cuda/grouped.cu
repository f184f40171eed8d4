// Products by expert, whose rows only the device knows: cuBLASLt takes its sizes from the host, which would have to wait for the counts. Tiles of
// 64 x 64 find their expert by themselves; 16-bit types use the matrix units, fp32 does not (and is exact to fp32's rounding).
#include <mma.h>

#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

constexpr int kTile = 64, kDepth = 32, kPad = 8;

// Element (i, j) is data[i * row + j * column]; one of the strides is 1.
template <class T>
struct Matrix {
  const T* data;
  Index row, column;
};

// Rows [i0, i0 + kRows) and columns [j0, j0 + kColumns) of m into shared memory, zero outside `rows` x `columns`; neighbouring threads read
// neighbouring elements.
template <int kRows, int kColumns, class T>
__device__ __forceinline__ void fetch(const Matrix<T>& m, Index i0, Index j0, Index rows, Index columns, T (*to)[kColumns + kPad]) {
#pragma unroll
  for (int n = 0; n < kRows * kColumns / kThreads; ++n) {
    const int at = n * kThreads + static_cast<int>(threadIdx.x);
    const int i = m.column == 1 ? at / kColumns : at % kRows, j = m.column == 1 ? at % kColumns : at / kRows;
    const bool there = i0 + i < rows && j0 + j < columns;
    to[i][j] = there ? m.data[(i0 + i) * m.row + (j0 + j) * m.column] : T(0.F);
  }
}

template <class T>
struct Tiles {
  T a[kTile][kDepth + kPad];
  T b[kDepth][kTile + kPad];
  float c[kTile][kTile + kPad];
};

__device__ __forceinline__ void multiply(Tiles<float>& s, float (&c)[4][4]) {
  const unsigned y = threadIdx.x / 16, x = threadIdx.x % 16;
#pragma unroll
  for (int k = 0; k < kDepth; ++k)
#pragma unroll
    for (unsigned i = 0; i < 4; ++i)
#pragma unroll
      for (unsigned j = 0; j < 4; ++j) c[i][j] += s.a[y * 4 + i][k] * s.b[k][x + 16 * j];
}

// write(i, j, value) for the elements of a b in the tile at (i0, j0) of rows x columns.
template <class Write>
__device__ __forceinline__ void tile_of_product(const Matrix<float>& a, const Matrix<float>& b, Index i0, Index j0, Index rows, Index columns,
                                                Index depth, Tiles<float>& s, const Write& write) {
  float c[4][4]{};
  for (Index k = 0; k < depth; k += kDepth) {
    fetch<kTile, kDepth>(a, i0, k, rows, depth, s.a);
    fetch<kDepth, kTile>(b, k, j0, depth, columns, s.b);
    __syncthreads();
    multiply(s, c);
    __syncthreads();
  }
  const unsigned y = threadIdx.x / 16, x = threadIdx.x % 16;
#pragma unroll
  for (unsigned i = 0; i < 4; ++i)
#pragma unroll
    for (unsigned j = 0; j < 4; ++j) {
      const Index row = i0 + y * 4 + i, column = j0 + x + 16 * j;
      if (row < rows && column < columns) write(row, column, c[i][j]);
    }
}

template <class T, class Write>
__device__ __forceinline__ void tile_of_product(const Matrix<T>& a, const Matrix<T>& b, Index i0, Index j0, Index rows, Index columns, Index depth,
                                                Tiles<T>& s, const Write& write) {
  namespace wmma = nvcuda::wmma;
  // Eight warps: four rows of 16, two columns of 32.
  const unsigned warp = threadIdx.x / 32, y = warp / 2 * 16, x = warp % 2 * 32;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> c[2];
  wmma::fill_fragment(c[0], 0.F);
  wmma::fill_fragment(c[1], 0.F);
  for (Index k = 0; k < depth; k += kDepth) {
    fetch<kTile, kDepth>(a, i0, k, rows, depth, s.a);
    fetch<kDepth, kTile>(b, k, j0, depth, columns, s.b);
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < kDepth; kk += 16) {
      wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major> of_a;
      wmma::load_matrix_sync(of_a, &s.a[y][kk], kDepth + kPad);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::row_major> of_b;
        wmma::load_matrix_sync(of_b, &s.b[kk][x + 16 * j], kTile + kPad);
        wmma::mma_sync(c[j], of_a, of_b, c[j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < 2; ++j) wmma::store_matrix_sync(&s.c[y][x + 16 * j], c[j], kTile + kPad, wmma::mem_row_major);
  __syncthreads();
  for (int at = static_cast<int>(threadIdx.x); at < kTile * kTile; at += kThreads) {
    const Index row = i0 + at / kTile, column = j0 + at % kTile;
    if (row < rows && column < columns) write(row, column, s.c[at / kTile][at % kTile]);
  }
}

// y = x b by expert: row r of expert e times its matrix, whose elements are [depth][columns] by `b`'s strides, `matrix` elements apart.
template <class T>
__global__ void __launch_bounds__(kThreads)
    rows_product_kernel(Index experts, Index depth, Index columns, const T* x, const std::int32_t* counts, Matrix<T> b, Index matrix, T* y) {
  __shared__ __align__(32) Tiles<T> tiles;
  const GroupTile g = group_tile(counts, experts, blockIdx.x, kTile);
  if (g.count == 0) return;
  b.data += g.group * matrix;
  tile_of_product(Matrix<T>{x, depth, 1}, b, g.row, Index{blockIdx.y} * kTile, g.first + g.count, columns, depth, tiles,
                  [&](Index row, Index column, float value) { y[row * columns + column] = narrow<T>(value); });
}

// d_weight[e] += dyᵀ x over the rows of expert blockIdx.z.
template <class T>
__global__ void __launch_bounds__(kThreads)
    weight_gradient_kernel(Index in, Index out, const T* x, const T* dy, const std::int32_t* counts, Array d_weight) {
  __shared__ __align__(32) Tiles<T> tiles;
  const Index expert = blockIdx.z;
  Index first = 0;
  for (Index e = 0; e < expert; ++e) first += counts[e];
  const Index rows = counts[expert];
  if (rows == 0) return;
  tile_of_product(Matrix<T>{dy + first * out, 1, out}, Matrix<T>{x + first * in, in, 1}, Index{blockIdx.x} * kTile, Index{blockIdx.y} * kTile, out,
                  in, rows, tiles, [&](Index row, Index column, float value) {
                    const float more[1]{value};
                    add<1>(d_weight, (expert * out + row) * in + column, more);
                  });
}

unsigned tiles(Index n) { return static_cast<unsigned>((n + kTile - 1) / kTile); }

template <class T>
void rows_product(Stream stream, Index experts, Index depth, Index columns, Index most, const T* x, const std::int32_t* counts, Matrix<T> b, T* y) {
  if (most == 0 || columns == 0) return;
  // No more tiles than this, however the rows fall to the experts.
  const dim3 grid(tiles(most) + static_cast<unsigned>(experts), tiles(columns));
  ORRERY_LAUNCH((rows_product_kernel<T>), grid, kThreads, 0, stream)(experts, depth, columns, x, counts, b, depth * columns, y);
  launched();
}

}  // namespace

void expert_linear_forward(Stream stream, DType type, Index experts, Index in, Index out, Index most, const void* x, const std::int32_t* counts,
                           const void* weight, void* y) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    rows_product<T>(stream, experts, in, out, most, static_cast<const T*>(x), counts, {static_cast<const T*>(weight), 1, in}, static_cast<T*>(y));
  });
}

void expert_linear_input_grad(Stream stream, DType type, Index experts, Index in, Index out, Index most, const void* dy, const std::int32_t* counts,
                              const void* weight, void* dx) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    rows_product<T>(stream, experts, out, in, most, static_cast<const T*>(dy), counts, {static_cast<const T*>(weight), in, 1}, static_cast<T*>(dx));
  });
}

void expert_linear_weight_grad(Stream stream, DType type, Index experts, Index in, Index out, const void* x, const void* dy,
                               const std::int32_t* counts, Array d_weight) {
  if (in == 0 || out == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    const dim3 grid(tiles(out), tiles(in), static_cast<unsigned>(experts));
    ORRERY_LAUNCH((weight_gradient_kernel<T>), grid, kThreads, 0, stream)
    (in, out, static_cast<const T*>(x), static_cast<const T*>(dy), counts, d_weight);
    launched();
  });
}

}  // namespace orrery::executor::cuda
