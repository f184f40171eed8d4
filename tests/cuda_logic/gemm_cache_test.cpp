#include "executor/kernels/cuda/gemm_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

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

TEST(CudaGemmCache, OfTwoThatShareAFileNeitherLosesWhatTheOtherFound) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / fmt::format("orrery_gemm_cache_{}", getpid());
  std::filesystem::create_directory(folder);
  const std::string file = folder / "cache";
  GemmCache a("h200"), b("h200"), c("h200");
  a.load(file), b.load(file);  // there is none yet
  a.insert(key(7), {1, 2, 3, 4, 5, 6, 7, 8});
  b.insert(key(8), {8, 7, 6, 5, 4, 3, 2, 1});
  a.store(file), b.store(file);
  a.insert(key(7), {9, 9, 9, 9, 9, 9, 9, 9});  // chosen anew: stands against what the file holds
  a.store(file);
  c.load(file);
  EXPECT_EQ(c.find(key(7)), (GemmCache::Algorithm{9, 9, 9, 9, 9, 9, 9, 9}));
  EXPECT_EQ(c.find(key(8)), (GemmCache::Algorithm{8, 7, 6, 5, 4, 3, 2, 1}));
  const auto entries = std::filesystem::directory_iterator(folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);  // nothing is left beside it
  std::filesystem::remove_all(folder);
}

TEST(CudaGemmChoices, AreTheFirstRanksForAllRanksOfTheProcess) {
  GemmChoicesByDevice all;
  std::atomic<int> choosing = 0, chosen = 0;
  std::vector<GemmCache::Algorithm> got(8);
  std::vector<std::thread> ranks;
  for (std::uint64_t r = 0; r < 8; ++r)
    ranks.emplace_back([&, r] {
      const auto choices = all.of("h200", true, "", "");
      got[r] = *choices->choose(key(7), std::nullopt, true, [&] {
        EXPECT_EQ(++choosing, 1);  // undisturbed
        ++chosen;
        --choosing;
        return std::optional(GemmCache::Algorithm{r});
      });
    });
  for (std::thread& rank : ranks) rank.join();
  EXPECT_EQ(chosen, 1);
  for (const GemmCache::Algorithm& a : got) EXPECT_EQ(a, got.front());
  EXPECT_EQ(all.of("h200", true, "", "")->find(key(7)), got.front());
  EXPECT_FALSE(all.of("b200", true, "", "")->find(key(7)));   // other GPUs have others,
  EXPECT_FALSE(all.of("h200", false, "", "")->find(key(7)));  // and so have those that were not timed
}

TEST(CudaGemmChoices, ReplaceWhatDoesNotRunAndRememberNothingWhereThereIsNone) {
  const std::string line = "h200\t" + key(7).text() + "\t1 2 3 4 5 6 7 8\n";
  GemmChoices choices("h200", "", line);
  const GemmCache::Algorithm refused{1, 2, 3, 4, 5, 6, 7, 8}, fresh{9};
  EXPECT_EQ(choices.find(key(7)), refused);
  EXPECT_EQ(choices.choose(key(7), refused, false, [&] { return std::optional(fresh); }), fresh);
  EXPECT_EQ(choices.choose(key(7), refused, false, [] { return std::optional(GemmCache::Algorithm{10}); }), fresh);  // somebody has meanwhile
  EXPECT_FALSE(choices.choose(key(8), std::nullopt, false, [] { return std::optional<GemmCache::Algorithm>(); }));
  EXPECT_FALSE(choices.find(key(8)));
}

}  // namespace
}  // namespace orrery::executor::cuda
