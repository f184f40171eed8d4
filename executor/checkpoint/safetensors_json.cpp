#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/json_edge.h"
#include "executor/checkpoint/safetensors.h"

namespace orrery::executor {
namespace {

constexpr std::string_view kMetadata = "__metadata__";

std::vector<std::string> type_names() {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(StoredType::u64); ++i) names.emplace_back(name(static_cast<StoredType>(i)));
  return names;
}

StoredTensor read_tensor(const std::string& tensor, const json::Value& value) {
  StoredTensor t;
  t.name = tensor;
  json::Object o = value.object();
  t.type = static_cast<StoredType>(o.required("dtype").choice(type_names()));
  const json::Value shape = o.required("shape");
  // Elements, and then bits, that do not fit into 63 bits are refused; a dimension of 0 makes any shape empty.
  std::int64_t elements = 1;
  bool empty = false, countable = true;
  for (const json::Value& extent : shape.list()) {
    t.shape.push_back(extent.integer());
    if (t.shape.back() == 0)
      empty = true;
    else if (elements > std::numeric_limits<std::int64_t>::max() / 64 / t.shape.back())
      countable = false;
    else
      elements *= t.shape.back();
  }
  if (empty)
    elements = 0;
  else if (!countable)
    shape.fail("has more elements than can be counted");
  const json::Value offsets = o.required("data_offsets");
  const std::vector<json::Value> ends = offsets.list();
  if (ends.size() != 2) offsets.fail(fmt::format("has {} numbers", ends.size()), "write the first byte and the one after the last");
  t.begin = ends[0].integer(), t.end = ends[1].integer();
  o.done();
  if (t.end < t.begin) offsets.fail(fmt::format("ends at {}, before it begins at {}", t.end, t.begin));
  if (elements * bits(t.type) % 8 != 0) shape.fail(fmt::format("{} elements of {} do not fill whole bytes", elements, name(t.type)));
  if (t.end - t.begin != elements * bits(t.type) / 8)
    offsets.fail(fmt::format("has {} bytes, but {} elements of {} take {}", t.end - t.begin, elements, name(t.type), elements * bits(t.type) / 8));
  return t;
}

}  // namespace

SafetensorsHeader read_safetensors_header(std::string_view text, const std::string& file, std::int64_t bytes) {
  if (text.empty() || text.front() != '{') throw Error(file, "its header does not begin with '{'", "is this a safetensors file?");
  const json::Document document(text, file);
  json::Object root = document.object();
  SafetensorsHeader header;
  for (const auto& [key, value] : root.members()) {
    if (key == kMetadata) {
      json::Object words = value.object();
      for (const auto& [word, meaning] : words.members()) header.metadata.emplace(word, meaning.text());
      continue;
    }
    header.tensors.push_back(read_tensor(key, value));
  }
  // Empty tensors come before the one that begins where they stand.
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const StoredTensor& a, const StoredTensor& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::int64_t at = 0;
  const StoredTensor* before = nullptr;
  for (const StoredTensor& t : header.tensors) {
    if (t.begin > at) throw Error(file, fmt::format("bytes {} to {}, before '{}', belong to no tensor", at, t.begin, t.name));
    if (t.begin < at) throw Error(file, fmt::format("'{}' and '{}' overlap", before->name, t.name));
    at = t.end;
    before = &t;
  }
  if (at != bytes)
    throw Error(file, fmt::format("its tensors take {} bytes, but {} follow the header", at, bytes), at > bytes ? "the file was cut off" : "");
  return header;
}

std::string write_safetensors_header(const SafetensorsHeader& header) {
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) root[std::string(kMetadata)] = header.metadata;
  for (const StoredTensor& t : header.tensors) root[t.name] = {{"dtype", name(t.type)}, {"shape", t.shape}, {"data_offsets", {t.begin, t.end}}};
  std::string text = root.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>((static_cast<std::uint64_t>(text.size()) >> (8 * i)) & 0xffU);
  return out + text;
}

SafetensorsIndex read_safetensors_index(std::string_view text, const std::string& file) {
  const json::Document document(text, file);
  json::Object root = document.object();
  SafetensorsIndex index;
  if (const auto metadata = root.optional("metadata")) {
    json::Object words = metadata->object();
    words.read("total_size", index.total_size);  // whatever else stands there is somebody's own
  }
  json::Object map = root.required("weight_map").object();
  for (const auto& [tensor, of] : map.members()) {
    if (of.text().empty() || of.text().find('/') != std::string::npos) of.fail("is not the name of a file beside this one");
    index.file_of.emplace(tensor, of.text());
  }
  return index;
}

std::string write_safetensors_index(const SafetensorsIndex& index) {
  nlohmann::ordered_json root;
  root["metadata"]["total_size"] = index.total_size;
  root["weight_map"] = index.file_of;
  return root.dump(2) + "\n";
}

}  // namespace orrery::executor
