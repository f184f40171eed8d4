#include "gui/view/span_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <utility>

#include "core/error.h"
#include "core/quantity_text.h"

namespace orrery::view {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : lower(text)) {
    if (c != ' ' && c != '\t' && c != ',') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool has_word(std::string_view name, std::string_view word) {
  const std::vector<std::string> words = words_of(name);
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

bool SpanQuery::matches(const Span& span) const {
  return problem.empty() && kinds[span.kind] && (!microbatch || span.microbatch == *microbatch) && (!layer || span.layer == *layer) &&
         (!rank || span.rank == *rank) && (!pass || span.pass == *pass) && (!stream || span.stream == *stream) && (!recompute || span.recompute) &&
         (!waited || span.waited.v > 0) && span.end - span.start > longer && (ranks.empty() || ranks[span.rank]);
}

SpanQuery parse_query(std::string_view text, const Timeline& timeline) {
  SpanQuery query;
  query.kinds.assign(timeline.kinds.size(), true);
  const std::vector<std::string> words = words_of(text);
  if (words.empty()) query.problem = "nothing to look for";
  for (std::size_t i = 0; i < words.size() && query.problem.empty(); ++i) {
    const std::string& word = words[i];
    // A field with its number, in one word or two.
    constexpr std::array<std::pair<std::string_view, int>, 7> kFields{
        {{"micro-batch", 0}, {"microbatch", 0}, {"mb", 0}, {"layer", 1}, {"rank", 2}, {"pass", 3}, {"stream", 4}}};
    bool taken = false;
    for (const auto& [name, field] : kFields) {
      if (word.substr(0, name.size()) != name) continue;
      std::string rest = word.substr(name.size());
      if (!rest.empty() && (rest[0] == '=' || rest[0] == ':')) rest.erase(0, 1);
      std::size_t used = 0;
      if (rest.empty() && i + 1 < words.size()) {
        rest = words[i + 1];
        used = 1;
      }
      const auto value = number(rest);
      if (field == 4) {
        const auto found = std::find_if(timeline.streams.begin(), timeline.streams.end(), [&](const std::string& s) { return lower(s) == rest; });
        if (found == timeline.streams.end()) {
          query.problem = fmt::format("no stream is called '{}'", rest);
        } else {
          query.stream = static_cast<std::uint16_t>(found - timeline.streams.begin());
        }
      } else if (!value) {
        continue;  // "layernorm" is an operator
      } else if (field == 0) {
        query.microbatch = static_cast<std::uint16_t>(std::min<std::uint32_t>(*value, 0xfffe));
      } else if (field == 1) {
        query.layer = static_cast<std::uint16_t>(std::min<std::uint32_t>(*value, 0xfffe));
      } else if (field == 2) {
        query.rank = *value;
      } else {
        query.pass = *value;
      }
      i += used;
      taken = true;
      break;
    }
    if (taken || !query.problem.empty()) continue;
    if (word[0] == '>') {
      try {
        // What is longer than a time: "> 1 ms" may come in three words.
        std::string time = word.substr(1);
        while (i + 1 < words.size() && (time.empty() || std::isdigit(static_cast<unsigned char>(time.back())) != 0)) time += words[++i];
        query.longer = to_nearest_picosecond(parse_duration(time, "search"));
      } catch (const Error&) {
        query.problem = "after '>' stands a time, such as >1.5ms";
      }
      continue;
    }
    if (word == "recompute" || word == "again" || word == "recomputed") {
      query.recompute = true;
      continue;
    }
    if (word == "waited" || word == "waiting") {
      query.waited = true;
      continue;
    }
    std::vector<bool> ranks(timeline.ranks.size());
    bool any_rank = false;
    for (std::size_t r = 0; r < ranks.size(); ++r) any_rank = (ranks[r] = has_word(timeline.ranks[r], word)) || any_rank;
    if (any_rank) {
      if (query.ranks.empty()) query.ranks.assign(ranks.size(), true);
      for (std::size_t r = 0; r < ranks.size(); ++r) query.ranks[r] = query.ranks[r] && ranks[r];
      continue;
    }
    bool any_kind = false;
    for (std::size_t k = 0; k < timeline.kinds.size(); ++k) {
      const SpanKind& kind = timeline.kinds[k];
      const auto has = [&](std::string_view name) { return lower(name).find(word) != std::string::npos; };
      const bool named = has(kind.name) || has(name(kind.work)) || (kind.work != WorkClass::control && has(name(hue(kind.work))));
      any_kind = any_kind || named;
      query.kinds[k] = query.kinds[k] && named;
    }
    if (!any_kind) query.problem = fmt::format("no operator, class or rank here is called '{}'", word);
  }
  return query;
}

std::vector<SpanId> find(const Timeline& timeline, const SpanQuery& query) {
  std::vector<SpanId> result;
  if (!query.problem.empty()) return result;
  for (SpanId i = 0; i < timeline.spans.size(); ++i) {
    const Span& s = timeline.spans[i];
    if (query.matches(s) && s.end > s.start) result.push_back(i);
  }
  return result;
}

SpanId next_match(const std::vector<SpanId>& matches, const Timeline& timeline, SpanId from, bool forward) {
  const auto key = [&](SpanId id) { return std::pair{timeline.spans[id].start, id}; };
  SpanId best = kNoSpan, first = kNoSpan;  // `first`: where going round the end arrives
  for (const SpanId id : matches) {
    const auto before = [&](SpanId a, SpanId b) { return b == kNoSpan || (forward ? key(a) < key(b) : key(a) > key(b)); };
    if (before(id, first)) first = id;
    if (from != kNoSpan && (forward ? key(id) > key(from) : key(id) < key(from)) && before(id, best)) best = id;
  }
  return best != kNoSpan ? best : first;
}

}  // namespace orrery::view
