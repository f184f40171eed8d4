// Products of 16 x 16 by a warp: each of its threads has all of them here, and does all the work.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace nvcuda::wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
enum layout_t { mem_row_major };

inline float as_float(__nv_bfloat16 x) { return __bfloat162float(x); }
inline float as_float(__half x) { return __half2float(x); }

template <class Use, int kM, int kN, int kK, class T, class Layout = void>
struct fragment {
  float v[16][16];
};
template <class F>
void fill_fragment(F& f, float x) {
  for (auto& row : f.v) std::fill_n(row, 16, x);
}
template <class F, class T>
void load_matrix_sync(F& f, const T* from, unsigned stride) {
  orrery::simt::sync_warp();
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < 16; ++j) f.v[i][j] = as_float(from[i * stride + j]);
}
template <class C, class A, class B>
void mma_sync(C& d, const A& a, const B& b, const C& c) {
  C sum = c;
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 16; ++k)
      for (int j = 0; j < 16; ++j) sum.v[i][j] += a.v[i][k] * b.v[k][j];
  d = sum;
}
template <class C>
void store_matrix_sync(float* to, const C& c, unsigned stride, layout_t) {
  for (unsigned i = 0; i < 16; ++i)
    for (unsigned j = 0; j < 16; ++j) to[i * stride + j] = c.v[i][j];
  orrery::simt::sync_warp();
}

}  // namespace nvcuda::wmma
