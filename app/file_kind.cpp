#include "app/file_kind.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/timeline_json.h"

namespace orrery::app {
namespace {

// The mark of our own documents: the value of the first "orrery", which their writers put before all else (a report holds its plan, with that one's
// mark, further down). Empty where there is none.
std::string_view mark(std::string_view text) {
  constexpr std::string_view kKey = "\"orrery\"";
  std::size_t i = text.find(kKey);
  if (i == std::string_view::npos) return {};
  i = text.find_first_not_of(" \t\r\n", i + kKey.size());
  if (i == std::string_view::npos || text[i] != ':') return {};
  i = text.find_first_not_of(" \t\r\n", i + 1);
  if (i == std::string_view::npos || text[i] != '"') return {};
  const std::size_t end = text.find('"', i + 1);
  return end == std::string_view::npos ? std::string_view() : text.substr(i + 1, end - i - 1);
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
  const std::string_view found = mark(text);
  for (const auto& [word, kind] : kMarks)
    if (found == word) return kind;
  if (!found.empty())
    throw Error(path, fmt::format("is a document of the kind '{}', which cannot be opened", found),
                "plans, Hugging Face config.json files, clusters, profiles, traces, simulations, runs and the tables of 'orrery sweep' can be");
  for (const std::string_view key : {"model_type", "architectures", "num_hidden_layers", "n_layer"})
    if (has(text, key)) return FileKind::model;
  throw Error(path, "is no document that Orrery knows",
              "plans, Hugging Face config.json files, clusters, profiles, traces and the tables of 'orrery sweep' can be opened");
}

}  // namespace orrery::app
