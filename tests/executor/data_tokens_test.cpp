#include "executor/data/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "core/error.h"

namespace orrery::executor {
namespace {

// A file that is there as long as the test.
class File {
 public:
  File(const std::string& name, const std::string& content)
      : path_((std::filesystem::temp_directory_path() / ("orrery-" + std::to_string(getpid()) + "-" + name)).string()) {
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~File() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string llmc(std::int32_t magic, std::int32_t version, std::int32_t count, const std::vector<std::uint16_t>& tokens) {
  std::vector<std::int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  std::string s(reinterpret_cast<const char*>(header.data()), 1024);
  return s.append(reinterpret_cast<const char*>(tokens.data()), tokens.size() * 2);
}

std::vector<std::int32_t> window(const TokenSource& source, std::int64_t sample, std::size_t sequence) {
  std::vector<std::int32_t> t(sequence + 1);
  source.window(sample, t);
  return t;
}

std::string refusal(const std::string& data, std::int64_t vocabulary = 256, std::int64_t sequence = 4) {
  try {
    open_tokens(data, vocabulary, sequence, 1);
  } catch (const Error& e) {
    EXPECT_EQ(e.where(), data);
    return e.message();
  }
  return "accepted";
}

TEST(Tokens, AnyFileIsReadByteByByteEveryWindowOncePerEpoch) {
  std::string text;
  for (int i = 0; i < 256; ++i) text += static_cast<char>(i);  // 256 bytes, windows of 5: 51 of them share their border tokens
  const File file("bytes", text);
  const auto source = open_tokens(file.path(), 256, 5, 3);
  EXPECT_EQ(source->vocabulary(), 256);
  std::vector<std::vector<std::int32_t>> epochs;
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::set<std::int32_t> starts;
    epochs.emplace_back();
    for (int i = 0; i < 51; ++i) {
      const auto w = window(*source, epoch * 51 + i, 5);
      for (std::size_t k = 0; k < w.size(); ++k) EXPECT_EQ(w[k], w[0] + static_cast<std::int32_t>(k));
      starts.insert(w[0]);
      epochs.back().push_back(w[0]);
    }
    EXPECT_EQ(starts.size(), 51U);
    EXPECT_EQ(*starts.rbegin(), 250);
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(Tokens, TheSeedDecidesTheOrderAndNothingElseDoes) {
  const File file("seeded", std::string(5000, 'x') + std::string(5000, 'y'));
  const auto a = open_tokens(file.path(), 256, 16, 1), again = open_tokens(file.path(), 256, 16, 1), b = open_tokens(file.path(), 256, 16, 2);
  bool differs = false;
  for (std::int64_t i = 50; i-- > 0;) {
    EXPECT_EQ(window(*a, i, 16), window(*again, i, 16));
    differs |= window(*a, i, 16) != window(*b, i, 16);
  }
  EXPECT_TRUE(differs);
}

TEST(Tokens, ReadsTheTokensOfLlmC) {
  std::vector<std::uint16_t> tokens(41);
  std::iota(tokens.begin(), tokens.end(), std::uint16_t{50000});
  const File file("ok.bin", llmc(20240520, 1, 41, tokens));
  const auto source = open_tokens(file.path(), 50257, 40, 1);
  const auto w = window(*source, 7, 40);
  EXPECT_EQ(w.front(), 50000);
  EXPECT_EQ(w.back(), 50040);
}

TEST(Tokens, NamesWhatIsWrongWithAFile) {
  EXPECT_EQ(refusal("/nonexistent/text"), "there is no such file");
  EXPECT_EQ(refusal("/"), "is a directory, not a file of tokens");
  const File empty("empty", ""), little("little", "abcd"), high("high", "ab\xc3\xa9xyz");
  EXPECT_EQ(refusal(empty.path()), "is empty");
  EXPECT_EQ(refusal(little.path()), "has 4 tokens; a sequence of 4 needs 5 (the targets are one further)");
  EXPECT_EQ(refusal(high.path(), 128), "token 2 is 195, but the model's vocabulary has 128");
  EXPECT_EQ(refusal(high.path(), 256), "accepted");
  const File stub("stub.bin", "abc"), wrong("wrong.bin", llmc(20240326, 1, 5, {1, 2, 3, 4, 5})), version("version.bin", llmc(20240520, 2, 0, {})),
      cut("cut.bin", llmc(20240520, 1, 6, {1, 2, 3, 4, 5})), large("large.bin", llmc(20240520, 1, 5, {1, 2, 3, 4, 5}));
  EXPECT_EQ(refusal(stub.path()), "has 3 bytes, fewer than the 1024 of a header");
  EXPECT_EQ(refusal(wrong.path()), "starts with 20240326, not with the magic number 20240520");
  EXPECT_EQ(refusal(version.path()), "is of version 2; version 1 is known");
  EXPECT_EQ(refusal(cut.path()), "promises 6 tokens of 2 bytes, but 10 bytes follow the header");
  EXPECT_EQ(refusal(large.path(), 5), "token 4 is 5, but the model's vocabulary has 5");
  EXPECT_EQ(refusal(large.path(), 6), "accepted");
  EXPECT_EQ(refusal("markov", 1), "needs a vocabulary of at least 2, the model has 1");
}

TEST(Markov, EntropyRateOfATwoStateChainIsTheTextbooks) {
  // Order 1 as a special case of order 2: 0 -> 1 with p, 1 -> 0 with q; H = (q h(p) + p h(q)) / (p + q) (Cover & Thomas, example 4.1.1).
  const double p = 0.3, q = 0.1;
  const auto h = [](double x) { return -x * std::log(x) - (1 - x) * std::log(1 - x); };
  const MarkovTokens chain(2, {1 - p, p, q, 1 - q, 1 - p, p, q, 1 - q}, 1);  // rows: (0,0), (0,1), (1,0), (1,1)
  EXPECT_NEAR(*chain.entropy_rate(), (q * h(p) + p * h(q)) / (p + q), 1e-13);
  // π(1, 1) = p / (p + q) · (1 - q)
  EXPECT_NEAR(chain.stationary()[3], p / (p + q) * (1 - q), 1e-13);
}

TEST(Markov, UniformTransitionsHaveTheLogarithmOfTheAlphabet) {
  const MarkovTokens chain(5, std::vector<double>(125, 3.0), 1);
  EXPECT_NEAR(*chain.entropy_rate(), std::log(5.0), 1e-13);
}

TEST(Markov, GeneratedTextHasTheEntropyRateThatIsClaimed) {
  const auto source = open_tokens("markov", 256, 64, 5);
  const auto n = static_cast<std::size_t>(source->vocabulary());
  // Conditional entropy H(c | a, b) estimated from counts: about 1.3e6 trigrams over 512 cells, biased down by 512 / (2 · 1.3e6) = 0.0002.
  std::vector<double> triples(n * n * n), pairs(n * n);
  double total = 0;
  for (std::int64_t i = 0; i < 20000; ++i) {
    const auto w = window(*source, i, 64);
    for (std::size_t k = 2; k < w.size(); ++k) {
      const std::size_t pair = static_cast<std::size_t>(w[k - 2]) * n + static_cast<std::size_t>(w[k - 1]);
      ++pairs[pair];
      ++triples[pair * n + static_cast<std::size_t>(w[k])];
      ++total;
    }
  }
  double entropy = 0;
  for (std::size_t t = 0; t < triples.size(); ++t)
    if (triples[t] > 0) entropy -= triples[t] / total * std::log(triples[t] / pairs[t / n]);
  EXPECT_NEAR(entropy, *source->entropy_rate(), 0.005);
  EXPECT_GT(*source->entropy_rate(), 0.4 * std::log(8.0));
  EXPECT_LT(*source->entropy_rate(), 0.8 * std::log(8.0));
}

TEST(Markov, SamplesAreIndependentOfEachOtherAndOfTheOrderOfAsking) {
  const auto a = open_tokens("markov", 256, 32, 5), b = open_tokens("markov", 256, 32, 6);
  EXPECT_EQ(window(*a, 123456789, 32), window(*a, 123456789, 32));
  EXPECT_NE(window(*a, 0, 32), window(*a, 1, 32));
  EXPECT_NE(window(*a, 0, 32), window(*b, 0, 32));
}

}  // namespace
}  // namespace orrery::executor
