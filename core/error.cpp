#include "core/error.h"

#include <algorithm>
#include <cctype>
#include <numeric>

namespace orrery {
namespace {

// Letters to insert, delete, replace or swap with their neighbour: "mirco" is one slip away from "micro".
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

// "Llama-3.1_8B" as "llama318b".
std::string letters_and_digits(std::string_view word) {
  std::string out;
  for (const char c : word)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

}  // namespace

Error::Error(std::string where, std::string what, std::string hint) : where_(std::move(where)), what_(std::move(what)), hint_(std::move(hint)) {
  if (!where_.empty()) text_ = where_ + ": ";
  text_ += what_;
  if (!hint_.empty()) text_ += "\n  hint: " + hint_;
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  const std::string* best = nullptr;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < least) {
      least = distance;
      best = &candidate;
    }
  }
  return best ? *best : std::string{};
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  if (const std::string near = nearest(word, candidates); !near.empty()) return "did you mean '" + near + "'?";
  std::string text = "known: ";
  for (std::size_t i = 0; i < candidates.size(); ++i) text += (i ? ", " : "") + candidates[i];
  return text;
}

std::string did_you_mean_of_many(std::string_view word, std::span<const std::string> candidates, std::string_view list_command) {
  constexpr std::size_t kMost = 4, kHolds = 1000;  // suggestions; the distance of a name that only holds the word, behind all that are near
  const std::string wanted = letters_and_digits(word);
  std::vector<std::pair<std::size_t, std::string>> near;
  for (const std::string& candidate : candidates) {
    const std::string name = letters_and_digits(candidate);
    const std::size_t distance = edit_distance(wanted, name);
    if (distance <= std::max<std::size_t>(1, wanted.size() / 3))
      near.emplace_back(distance, candidate);
    else if (wanted.size() >= 2 && name.find(wanted) != std::string::npos)
      near.emplace_back(kHolds, candidate);
  }
  std::stable_sort(near.begin(), near.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const bool clear = !near.empty() && near.front().first <= 2 && (near.size() == 1 || near[1].first > near.front().first);
  if (clear) return "did you mean '" + near.front().second + "'?";
  std::string text;
  const std::size_t count = std::min(kMost, near.size());
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "did you mean '" : i + 1 == count ? " or '" : ", '") + near[i].second + "'";
  if (count > 0) text += "? ";
  return text + "'" + std::string(list_command) + "' lists them all";
}

}  // namespace orrery
