#include "app/file_kind.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/timeline_json.h"

namespace orrery::app {
namespace {

// "key": "value" in the text, whatever the space between.
bool says(std::string_view text, std::string_view key, std::string_view value) {
  const std::string quoted = fmt::format("\"{}\"", key), wanted = fmt::format("\"{}\"", value);
  for (std::size_t at = text.find(quoted); at != std::string_view::npos; at = text.find(quoted, at + 1)) {
    std::size_t i = at + quoted.size();
    const auto skip = [&] {
      while (i < text.size() && std::isspace(static_cast<unsigned char>(text[i])) != 0) ++i;
    };
    skip();
    if (i >= text.size() || text[i] != ':') continue;
    ++i;
    skip();
    if (text.substr(i).starts_with(wanted)) return true;
  }
  return false;
}

bool has(std::string_view text, std::string_view key) { return text.find(fmt::format("\"{}\"", key)) != std::string_view::npos; }

}  // namespace

std::string_view name(FileKind kind) {
  constexpr std::array<std::string_view, 9> kNames{"plan", "model", "cluster", "device", "profile", "trace", "summary", "sweep", "table"};
  return kNames[static_cast<std::size_t>(kind)];
}

FileKind file_kind(const std::string& path) {
  const std::string whole = read_text_file(path, kLargestTrace);
  const std::string_view text = whole;
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) throw Error(path, "is empty");
  if (text[first] != '{' && text[first] != '[') {
    const std::string_view header = text.substr(first, text.find('\n', first) - first);
    if (header.find(',') != std::string_view::npos && header.find("status") != std::string_view::npos) return FileKind::table;
    throw Error(path, "is neither a JSON document nor a table of Orrery's",
                "plans, Hugging Face config.json files, clusters, profiles, traces and the tables of 'orrery sweep' can be opened");
  }
  if (has(text, "traceEvents")) return FileKind::trace;
  constexpr std::array<std::pair<std::string_view, FileKind>, 9> kMarks{{{"plan/1", FileKind::plan},
                                                                         {"cluster/1", FileKind::cluster},
                                                                         {"device/1", FileKind::device},
                                                                         {"profile/1", FileKind::profile},
                                                                         {"sweep/1", FileKind::sweep},
                                                                         {"table/1", FileKind::table},
                                                                         {"run/1", FileKind::summary},
                                                                         {"simulation/1", FileKind::summary},
                                                                         {"summary/1", FileKind::summary}}};
  for (const auto& [mark, kind] : kMarks)
    if (says(text, "orrery", mark)) return kind;
  for (const std::string_view key : {"model_type", "architectures", "num_hidden_layers", "n_layer"})
    if (has(text, key)) return FileKind::model;
  throw Error(path, "is no document that Orrery knows",
              "plans, Hugging Face config.json files, clusters, profiles, traces and the tables of 'orrery sweep' can be opened");
}

}  // namespace orrery::app
