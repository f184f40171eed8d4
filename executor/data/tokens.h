// What a run trains on: token windows by global sample number, the same whatever the parallelism.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace orrery::executor {

// A text that can be asked for any of its samples. Sample i of step s has the number s · global batch + i. Thread-safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  // What it is, in a few words, e.g. "shakespeare.txt: 1115394 bytes".
  virtual std::string description() const = 0;
  // Every token is below this.
  virtual std::int64_t vocabulary() const = 0;
  // Fills `tokens` (sequence + 1 of them: all but the last are inputs, all but the first are targets) with the window of `sample`.
  virtual void window(std::int64_t sample, std::span<std::int32_t> tokens) const = 0;
  // Nats per token that no model can beat in the long run, where that is known.
  virtual std::optional<double> entropy_rate() const { return std::nullopt; }
};

// A text in memory, cut into windows that share only their border tokens; every window once per epoch, each epoch in an order of its own.
class TextTokens final : public TokenSource {
 public:
  // tokens.size() > sequence >= 1.
  TextTokens(std::string description, std::int64_t vocabulary, std::vector<std::uint16_t> tokens, std::int64_t sequence, std::uint64_t seed);
  std::string description() const override { return description_; }
  std::int64_t vocabulary() const override { return vocabulary_; }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override;
  std::int64_t windows() const { return windows_; }

 private:
  std::string description_;
  std::int64_t vocabulary_;
  std::vector<std::uint16_t> tokens_;
  std::int64_t sequence_, windows_;
  std::uint64_t seed_;
};

// A stationary source of order 2: the next symbol depends on the two before it. Samples are independent of each other.
class MarkovTokens final : public TokenSource {
 public:
  // P(c | a, b) = probabilities[(a · symbols + b) · symbols + c], all positive; rows are normalised here.
  MarkovTokens(std::int64_t symbols, std::vector<double> probabilities, std::uint64_t seed);
  // `symbols` symbols with random transitions drawn from `seed`.
  static MarkovTokens random(std::int64_t symbols, std::uint64_t seed);

  std::string description() const override;
  std::int64_t vocabulary() const override { return symbols_; }
  void window(std::int64_t sample, std::span<std::int32_t> tokens) const override;
  // H = -Σ π(a, b) P(c | a, b) ln P(c | a, b), π the stationary distribution of pairs.
  std::optional<double> entropy_rate() const override { return entropy_rate_; }
  const std::vector<double>& stationary() const { return stationary_; }  // by a · symbols + b

 private:
  std::int64_t symbols_;
  std::vector<double> probabilities_, stationary_;
  std::vector<double> cumulative_, cumulative_pairs_;  // running sums, row by row
  double entropy_rate_ = 0;
  std::uint64_t seed_;
};

// `data` is "markov", a file of llm.c's tokens (named *.bin: 1024-byte header, magic 20240520, version 1, then uint16 tokens), or any other file,
// whose bytes are the tokens. Throws Error where the file is missing, empty, not what its name says, shorter than sequence + 1 tokens, or has a token
// that is not below `vocabulary`.
std::unique_ptr<TokenSource> open_tokens(const std::string& data, std::int64_t vocabulary, std::int64_t sequence, std::uint64_t seed);

// The same for a file called `name` that holds `bytes`.
std::unique_ptr<TokenSource> tokens_of(const std::string& name, std::span<const char> bytes, std::int64_t vocabulary, std::int64_t sequence,
                                       std::uint64_t seed);

}  // namespace orrery::executor
