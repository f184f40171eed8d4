#include "executor/data/tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "executor/random.h"

namespace orrery::executor {
namespace {

// llm.c, dev/data/data_common.py: 256 little-endian int32, of which the first three say magic, version and number of tokens.
constexpr std::int64_t kHeaderBytes = 1024;
constexpr std::int32_t kMagic = 20240520, kVersion = 1;

// So few that a small model sees each of the 64 contexts often enough to learn it in some hundred steps.
constexpr std::int64_t kMarkovSymbols = 8;
// Scale of the random transitions' logarithms: at 1, a source of 8 symbols keeps about six tenths of ln 8.
constexpr double kMarkovSpread = 1;

// A permutation of 0 … n-1 by number: a four-round Feistel network on the next even power of two, walked until it lands inside (Black & Rogaway
// 2002).
std::int64_t permuted(std::int64_t i, std::int64_t n, std::uint64_t key) {
  const auto half = static_cast<unsigned>((std::bit_width(static_cast<std::uint64_t>(n - 1)) + 1) / 2);
  const std::uint64_t low = (std::uint64_t{1} << half) - 1;
  std::uint64_t x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t left = x >> half, right = x & low;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (random_bits(key, right * 4 + round) & low);
      left = right;
      right = next;
    }
    x = left << half | right;
  } while (x >= static_cast<std::uint64_t>(n));
  return static_cast<std::int64_t>(x);
}

std::vector<char> read_all(const std::string& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status))
    throw Error(path, "there is no such file", "--data takes a file of text, llm.c's tokens (*.bin), or 'markov'");
  if (std::filesystem::is_directory(status)) throw Error(path, "is a directory, not a file of tokens");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  std::vector<char> bytes;
  std::array<char, 1 << 16> block;
  while (in.read(block.data(), block.size()) || in.gcount() > 0) bytes.insert(bytes.end(), block.data(), block.data() + in.gcount());
  if (in.bad()) throw Error(path, fmt::format("cannot be read: {}", std::strerror(errno)));
  return bytes;
}

std::vector<std::uint16_t> read_llmc(const std::string& path, std::span<const char> bytes) {
  const std::string hint =
      "llm.c's token files start with 256 int32: 20240520, 1, number of tokens; a text is read byte by byte unless it is named *.bin";
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (size < kHeaderBytes) throw Error(path, fmt::format("has {} bytes, fewer than the {} of a header", size, kHeaderBytes), hint);
  std::array<std::int32_t, 3> header;
  std::memcpy(header.data(), bytes.data(), sizeof header);
  if (header[0] != kMagic) throw Error(path, fmt::format("starts with {}, not with the magic number {}", header[0], kMagic), hint);
  if (header[1] != kVersion) throw Error(path, fmt::format("is of version {}; version {} is known", header[1], kVersion), hint);
  if (header[2] < 0 || std::int64_t{header[2]} * 2 != size - kHeaderBytes)
    throw Error(path, fmt::format("promises {} tokens of 2 bytes, but {} bytes follow the header", header[2], size - kHeaderBytes),
                "download it again");
  std::vector<std::uint16_t> tokens(static_cast<std::size_t>(header[2]));
  if (!tokens.empty()) std::memcpy(tokens.data(), bytes.data() + kHeaderBytes, tokens.size() * 2);
  return tokens;
}

}  // namespace

TextTokens::TextTokens(std::string description, std::int64_t vocabulary, std::vector<std::uint16_t> tokens, std::int64_t sequence, std::uint64_t seed)
    : description_(std::move(description)),
      vocabulary_(vocabulary),
      tokens_(std::move(tokens)),
      sequence_(sequence),
      windows_((static_cast<std::int64_t>(tokens_.size()) - 1) / sequence),
      seed_(seed) {
  assert(sequence_ >= 1 && windows_ >= 1);
}

void TextTokens::window(std::int64_t sample, std::span<std::int32_t> tokens) const {
  assert(static_cast<std::int64_t>(tokens.size()) == sequence_ + 1);
  const std::uint64_t epoch = static_cast<std::uint64_t>(sample / windows_);
  const std::int64_t at = permuted(sample % windows_, windows_, random_bits(random_key(seed_, "epoch"), epoch)) * sequence_;
  std::copy_n(tokens_.begin() + at, tokens.size(), tokens.begin());
}

MarkovTokens::MarkovTokens(std::int64_t symbols, std::vector<double> probabilities, std::uint64_t seed)
    : symbols_(symbols), probabilities_(std::move(probabilities)), seed_(seed) {
  const auto n = static_cast<std::size_t>(symbols_), pairs = n * n;
  assert(n >= 2 && probabilities_.size() == pairs * n);
  cumulative_.resize(pairs * n);
  for (std::size_t row = 0; row < pairs; ++row) {
    double sum = 0;
    for (std::size_t c = 0; c < n; ++c) sum += probabilities_[row * n + c];
    double running = 0;
    for (std::size_t c = 0; c < n; ++c) {
      probabilities_[row * n + c] /= sum;
      cumulative_[row * n + c] = running += probabilities_[row * n + c];
    }
  }
  // All transitions are positive, so that the chain of pairs has one stationary distribution and powers converge to it geometrically.
  stationary_.assign(pairs, 1.0 / static_cast<double>(pairs));
  for (int i = 0; i < 100'000; ++i) {
    std::vector<double> next(pairs, 0.0);
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = 0; b < n; ++b)
        for (std::size_t c = 0; c < n; ++c) next[b * n + c] += stationary_[a * n + b] * probabilities_[(a * n + b) * n + c];
    double change = 0;
    for (std::size_t p = 0; p < pairs; ++p) change += std::abs(next[p] - stationary_[p]);
    stationary_ = std::move(next);
    if (change < 1e-14) break;
  }
  double running = 0;
  for (std::size_t p = 0; p < pairs; ++p) {
    cumulative_pairs_.push_back(running += stationary_[p]);
    for (std::size_t c = 0; c < n; ++c) entropy_rate_ -= stationary_[p] * probabilities_[p * n + c] * std::log(probabilities_[p * n + c]);
  }
}

MarkovTokens MarkovTokens::random(std::int64_t symbols, std::uint64_t seed) {
  std::vector<double> weights(static_cast<std::size_t>(symbols * symbols * symbols));
  const std::uint64_t key = random_key(seed, "transitions");
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double u = random_uniform(key, i);
    weights[i] = std::pow(u / (1 - u), kMarkovSpread);  // logistic: no tail so long that a transition never happens
  }
  return {symbols, std::move(weights), seed};
}

std::string MarkovTokens::description() const {
  return fmt::format("generated text, order 2, {} symbols, entropy rate {:.4f} nats per token", symbols_, entropy_rate_);
}

void MarkovTokens::window(std::int64_t sample, std::span<std::int32_t> tokens) const {
  const std::uint64_t key = random_bits(random_key(seed_, "text"), static_cast<std::uint64_t>(sample));
  const auto n = static_cast<std::size_t>(symbols_);
  const auto draw = [&](const std::vector<double>& cumulative, std::size_t first, std::size_t count, std::uint64_t index) {
    const auto begin = cumulative.begin() + static_cast<std::ptrdiff_t>(first), last = begin + static_cast<std::ptrdiff_t>(count) - 1;
    return static_cast<std::size_t>(std::upper_bound(begin, last, random_uniform(key, index)) - begin);
  };
  const std::size_t pair = draw(cumulative_pairs_, 0, n * n, 0);
  std::size_t a = pair / n, b = pair % n;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i >= 2) {
      const std::size_t c = draw(cumulative_, (a * n + b) * n, n, i);
      a = b;
      b = c;
    }
    tokens[i] = static_cast<std::int32_t>(i == 0 ? a : b);
  }
}

std::unique_ptr<TokenSource> open_tokens(const std::string& data, std::int64_t vocabulary, std::int64_t sequence, std::uint64_t seed) {
  if (data == "markov") {
    const std::int64_t symbols = std::min(kMarkovSymbols, vocabulary);
    if (symbols < 2) throw Error("markov", fmt::format("needs a vocabulary of at least 2, the model has {}", vocabulary));
    return std::make_unique<MarkovTokens>(MarkovTokens::random(symbols, seed));
  }
  return tokens_of(data, read_all(data), vocabulary, sequence, seed);
}

std::unique_ptr<TokenSource> tokens_of(const std::string& name, std::span<const char> bytes, std::int64_t vocabulary, std::int64_t sequence,
                                       std::uint64_t seed) {
  if (bytes.empty()) throw Error(name, "is empty");
  const bool llmc = name.ends_with(".bin");
  std::vector<std::uint16_t> tokens;
  if (llmc)
    tokens = read_llmc(name, bytes);
  else
    for (const char c : bytes) tokens.push_back(static_cast<unsigned char>(c));
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < sequence + 1)
    throw Error(name, fmt::format("has {} tokens; a sequence of {} needs {} (the targets are one further)", count, sequence, sequence + 1),
                "take a longer file or a smaller --sequence");
  const auto beyond = std::find_if(tokens.begin(), tokens.end(), [&](std::uint16_t t) { return t >= vocabulary; });
  if (beyond != tokens.end())
    throw Error(name, fmt::format("token {} is {}, but the model's vocabulary has {}", beyond - tokens.begin(), *beyond, vocabulary),
                llmc ? "take a model with the vocabulary that the file was made with" : "bytes need a vocabulary of 256");
  return std::make_unique<TextTokens>(fmt::format("{}: {} {}", name, count, llmc ? "tokens" : "bytes"), llmc ? vocabulary : 256, std::move(tokens),
                                      sequence, seed);
}

}  // namespace orrery::executor
