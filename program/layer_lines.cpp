#include "program/layer_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/error.h"

namespace orrery::program {

std::vector<LayerLine> read_layer_lines(std::string_view text, const std::string& source, const std::string& number) {
  const std::string hint = fmt::format("a line is a layer (a number or *) and {} for each expert", number);
  std::vector<LayerLine> out;
  std::size_t count = 0;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t begins = std::min(text.find_first_not_of(" \t", from), text.size());
    const bool comment = begins < text.size() && text[begins] == '#';
    const std::size_t to = std::min(text.find_first_of(comment ? "\n" : "\n;", from), text.size());
    std::string line(text.substr(from, to - from));
    from = to + 1;
    ++count;
    std::replace_if(
        line.begin(), line.end(), [](char c) { return c == ',' || c == '\t' || c == '\r'; }, ' ');
    std::vector<std::string_view> words;
    for (std::size_t a = 0; a < line.size();) {
      const std::size_t begin = std::min(line.find_first_not_of(' ', a), line.size()), end = std::min(line.find(' ', begin), line.size());
      if (begin < end) words.push_back(std::string_view(line).substr(begin, end - begin));
      a = end + 1;
    }
    if (comment || words.empty()) continue;
    const auto value = [&](std::string_view word) {
      double v = -1;
      const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), v);
      if (error != std::errc{} || stop != word.data() + word.size() || !(v >= 0) || !(v < 1e15))
        throw Error(fmt::format("{}:{}", source, count), fmt::format("'{}' is not {}", word, number), hint);
      return v;
    };
    if (words.size() < 2) throw Error(fmt::format("{}:{}", source, count), "has no numbers", hint);
    LayerLine& l = out.emplace_back();
    if (words[0] != "*") l.layer = static_cast<std::int64_t>(value(words[0]));
    for (std::size_t i = 1; i < words.size(); ++i) l.numbers.push_back(value(words[i]));
  }
  if (out.empty()) throw Error(source, "says nothing of any layer", hint);
  return out;
}

std::string write_layer_lines(const std::vector<LayerLine>& lines, std::string_view comment) {
  std::string out = fmt::format("# {}\n", comment);
  for (const LayerLine& line : lines) {
    out += line.layer < 0 ? std::string("*") : fmt::format("{}", line.layer);
    for (const double n : line.numbers) out += fmt::format(" {}", n);
    out += "\n";
  }
  return out;
}

std::vector<const LayerLine*> lines_of(const std::vector<LayerLine>& lines, std::int64_t layer) {
  std::vector<const LayerLine*> named, of_all;
  for (const LayerLine& line : lines)
    if (line.layer == layer || line.layer < 0) (line.layer < 0 ? of_all : named).push_back(&line);
  return named.empty() ? of_all : named;
}

}  // namespace orrery::program
