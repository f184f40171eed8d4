#include "executor/kernels/cuda/gemm_cache.h"

#include <gtest/gtest.h>

namespace orrery::executor::cuda {
namespace {

GemmKey key(std::int64_t m) {
  GemmKey k;
  k.transpose_a = true, k.in = DType::bf16, k.m = m, k.n = 8, k.k = 9;
  return k;
}

TEST(CudaGemmCache, RemembersByShapeInMemoryAndAsText) {
  GemmCache cache("cublasLt 130100 NVIDIA H200 sm_90 132");
  EXPECT_FALSE(cache.find(key(7)));
  const GemmCache::Algorithm algorithm{1, 2, 3, 0xffffffffffffffff, 5, 6, 7, 8};
  cache.insert(key(7), algorithm);
  EXPECT_EQ(cache.find(key(7)), algorithm);
  EXPECT_FALSE(cache.find(key(8)));
  GemmKey other = key(7);
  other.align_c = 2;
  EXPECT_FALSE(cache.find(other));  // another alignment may need another algorithm
  GemmCache again("cublasLt 130100 NVIDIA H200 sm_90 132");
  again.add(cache.text());
  EXPECT_EQ(again.find(key(7)), algorithm);
  EXPECT_EQ(again.text(), cache.text());
}

TEST(CudaGemmCache, DoesNotUseWhatAnotherDeviceOrLibraryChoseAndKeepsIt) {
  GemmCache h200("h200"), b200("b200");
  h200.insert(key(7), {1, 2, 3, 4, 5, 6, 7, 8});
  b200.add(h200.text());
  EXPECT_FALSE(b200.find(key(7)));
  EXPECT_EQ(b200.text(), h200.text());
}

TEST(CudaGemmCache, PassesOverWhatItCannotRead) {
  GemmCache cache("h200");
  cache.add("nonsense\nh200\tkey\t1 2 3\nh200\tkey\t1 2 3 4 5 6 7 8 9\n\n");
  EXPECT_EQ(cache.text(), "");
}

}  // namespace
}  // namespace orrery::executor::cuda
