#include <nlohmann/json.hpp>

#include <limits>

#include "core/json_edge.h"
#include "executor/checkpoint/checkpoint.h"

namespace orrery::executor {

namespace {
constexpr const char* kVersion = "checkpoint/1";
}

std::string write_checkpoint_info(const CheckpointInfo& info) {
  nlohmann::ordered_json j;
  j["orrery"] = kVersion;
  j["model"] = info.model, j["optimizer"] = info.optimizer;
  j["steps"] = info.steps, j["samples"] = info.samples;
  j["seed"] = std::to_string(info.seed);  // as text: not every reader keeps all 64 bits of a number
  j["data"] = info.data;
  return j.dump(2) + "\n";
}

CheckpointInfo read_checkpoint_info(std::string_view text, const std::string& file) {
  const json::Document document(text, file);
  json::Object o = document.object();
  const json::Value version = o.required("orrery");
  if (version.text() != kVersion) version.fail("is not a version that is known here", "known: checkpoint/1");
  CheckpointInfo info;
  info.model = o.required("model").text(), info.optimizer = o.required("optimizer").text();
  info.steps = o.required("steps").integer(1), info.samples = o.required("samples").integer(1);
  const json::Value seed = o.required("seed");
  const std::string& digits = seed.text();
  if (digits.empty() || digits.size() > 20) seed.fail("is not a seed");
  for (const char c : digits) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (c < '0' || c > '9' || info.seed > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) seed.fail("is not a seed");
    info.seed = info.seed * 10 + digit;
  }
  info.data = o.required("data").text();
  o.done();
  return info;
}

}  // namespace orrery::executor
