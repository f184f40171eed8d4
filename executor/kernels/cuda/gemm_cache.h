// Which of cuBLASLt's algorithms was the fastest for a product, by its shape: in memory, and as the text of a file that outlives the process.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>

#include "core/dtype.h"

namespace orrery::executor::cuda {

// Everything that an algorithm's fitness depends on besides library and device. Column-major, as cuBLASLt counts.
struct GemmKey {
  bool transpose_a = false, transpose_b = false, bias = false;
  DType in = DType::fp32, out = DType::fp32;
  std::int64_t m = 0, n = 0, k = 0;
  int align_a = 16, align_b = 16, align_c = 16;  // bytes, of the pointers
  int sms = 0;                                   // multiprocessors to use; 0: all
  int form_a = -1, form_b = -1;                  // fp8: the operands' formats and scales (program::Quantisation)
  bool fast = false;                             // fp8: fast sums
  int gelu = 0;                                  // 1: ends with it, 2: with its derivative
  auto tied() const { return std::tie(transpose_a, transpose_b, bias, in, out, m, n, k, align_a, align_b, align_c, sms, form_a, form_b, fast, gelu); }
  bool operator<(const GemmKey& other) const { return tied() < other.tied(); }
  std::string text() const {
    std::string all = fmt::format("{}{}{} {} {} {}x{}x{} {} {} {} {}", transpose_a ? 't' : 'n', transpose_b ? 't' : 'n', bias ? 'b' : '-', name(in),
                                  name(out), m, n, k, align_a, align_b, align_c, sms);
    if (form_a >= 0) all += fmt::format(" {} {} {}", form_a, form_b, fast ? "fast" : "full");
    if (gelu != 0) all += fmt::format(" gelu{}", gelu);
    return all;
  }
};

// Lines of "library and device <tab> key <tab> eight hexadecimal words". Lines of other scopes, and what cannot be read, are kept as they are and not
// used: a cache may always be thrown away, and is never a reason to stop.
class GemmCache {
 public:
  using Algorithm = std::array<std::uint64_t, 8>;  // the opaque words of cublasLtMatmulAlgo_t

  // `scope` names library version and device, without tabs or newlines.
  explicit GemmCache(std::string scope) : scope_(std::move(scope)) {}

  std::optional<Algorithm> find(const GemmKey& key) const {
    const auto it = known_.find(scope_ + '\t' + key.text());
    return it == known_.end() ? std::nullopt : read(it->second);
  }
  void insert(const GemmKey& key, const Algorithm& algorithm) {
    known_[scope_ + '\t' + key.text()] = fmt::format("{:016x}", fmt::join(algorithm, " "));
  }
  // Adds the lines of a file; what is known already stays.
  void add(std::string_view text) {
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
      const auto last = line.rfind('\t');
      if (last != std::string::npos && read(line.substr(last + 1))) known_.emplace(line.substr(0, last), line.substr(last + 1));
    }
  }
  // Adds the lines of the file, where it can be read.
  void load(const std::string& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    add(text.str());
  }
  // Writes all that is known here or in the file by now, beside it under a name of one's own, and renames: others, who may be doing the same, see the
  // whole file or the one before. A cache that cannot be written costs time, not results.
  void store(const std::string& path) {
    load(path);
    const std::string beside = fmt::format("{}.{}.{}", path, getpid(), fmt::ptr(this));
    std::ofstream out(beside);
    out << text();
    out.close();
    if (!out || std::rename(beside.c_str(), path.c_str()) != 0) std::remove(beside.c_str());
  }
  std::string text() const {
    std::string all;
    for (const auto& [key, words] : known_) all += key + '\t' + words + '\n';
    return all;
  }

 private:
  static std::optional<Algorithm> read(const std::string& words) {
    std::istringstream in(words);
    in >> std::hex;
    Algorithm a{};
    for (std::uint64_t& word : a)
      if (!(in >> word)) return std::nullopt;
    std::string more;
    if (in >> more) return std::nullopt;
    return a;
  }
  std::string scope_;
  std::map<std::string, std::string> known_;  // scope and key to words
};

// What the ranks of a process with one kind of GPU have chosen. Whoever meets a product first chooses for all, so that what several of them compute
// alike has the same bits everywhere. From any thread.
class GemmChoices {
 public:
  using Algorithm = GemmCache::Algorithm;
  GemmChoices(const std::string& scope, std::string file, const std::string& known) : file_(std::move(file)), cache_(scope) {
    if (!file_.empty()) cache_.load(file_);
    cache_.add(known);
  }
  std::optional<Algorithm> find(const GemmKey& key) const {
    const std::lock_guard lock(mutex_);
    return cache_.find(key);
  }
  // choose(), which gives an algorithm or none, unless somebody has meanwhile chosen another than `refused`. One chooses at a time, and disturbs
  // nobody else's timing; so what choose() waits for must not wait for anybody who may come here. `keep`: in the file too.
  template <class Choose>
  std::optional<Algorithm> choose(const GemmKey& key, const std::optional<Algorithm>& refused, bool keep, Choose choose) {
    const std::lock_guard one_at_a_time(choosing_);
    if (const std::optional<Algorithm> known = find(key); known && known != refused) return known;
    const std::optional<Algorithm> chosen = choose();
    if (!chosen) return chosen;
    const std::lock_guard lock(mutex_);
    cache_.insert(key, *chosen);
    if (keep && !file_.empty()) cache_.store(file_);
    return chosen;
  }

 private:
  const std::string file_;
  std::mutex choosing_;
  mutable std::mutex mutex_;
  GemmCache cache_;
};

// A process's, by kind of GPU and by how they are chosen.
class GemmChoicesByDevice {
 public:
  std::shared_ptr<GemmChoices> of(const std::string& scope, bool tune, const std::string& file, const std::string& known) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<GemmChoices>& choices = all_[{scope, tune, file, known}];
    if (!choices) choices = std::make_shared<GemmChoices>(scope, file, known);
    return choices;
  }

 private:
  std::mutex mutex_;
  std::map<std::tuple<std::string, bool, std::string, std::string>, std::shared_ptr<GemmChoices>> all_;
};

}  // namespace orrery::executor::cuda
