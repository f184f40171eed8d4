#include <algorithm>

#include <nlohmann/json.hpp>

#include "app/compare.h"
#include "app/copy_share.h"
#include "app/inputs.h"
#include "app/show.h"
#include "core/cluster_json.h"
#include "core/error.h"
#include "core/files.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/timeline_json.h"

namespace orrery::app {

std::string show_json(const std::string& what, const std::string& name, const std::vector<std::string>& settings) {
  using Json = nlohmann::ordered_json;
  if (what == "models" || what == "clusters" || what == "devices")
    return Json(what == "models" ? model_names() : what == "clusters" ? cluster_names() : device_names()).dump(1) + "\n";
  if (what == "model" && !name.empty()) {
    const Model model = model_from(name, settings);
    const ParameterCount n = count_parameters(model);
    Json out = Json::parse(write_model(model));
    out["parameters"] = {{"total", n.total}, {"active", n.active},   {"embedding", n.embedding},
                         {"head", n.head},   {"experts", n.experts}, {"mtp", n.mtp}};
    return out.dump(1) + "\n";
  }
  if (what == "cluster" && !name.empty()) return write_cluster(cluster_from(name, settings));
  if (what == "device" && !name.empty()) return write_device(load_device(name));
  if (what == "profile" && !name.empty()) {
    const Profile profile = read_profile(read_text_file(name), name);
    if (profile.kind != DeviceKind::gpu) return write_profile(profile);
    Json out = Json::parse(write_profile(profile)), shares = Json::array();
    for (const CopyShare& c : copy_shares(profile))
      shares.push_back({{"op", c.op},
                        {"dtype", std::string(orrery::name(c.dtype))},
                        {"dims", c.dims},
                        {"bytes_per_s", c.rate.v},
                        {"share", c.share},
                        {"reaches_aim", c.share >= kCopyShareAim}});
    out["copy_shares"] = std::move(shares);  // what follows from the rest, and no part of a profile's file
    return out.dump(1) + "\n";
  }
  if (what == "timeline" && !name.empty()) {  // what `show` says in words; the trace itself is JSON already
    const Timeline t = load_timeline(name);
    Json classes = Json::object(), memory = Json::array();
    for (const WorkTime& c : summarise(t, "").classes) classes[c.name] = c.time.v;
    for (const auto& [rank, bytes] : peak_memory(t)) memory.push_back({{"rank", rank}, {"label", t.ranks[rank]}, {"bytes", bytes}});
    return Json{{"origin", t.origin},
                {"step_ps", t.step.v},
                {"streams", t.streams},
                {"ranks", t.ranks},
                {"spans", t.spans.size()},
                {"flows", t.flows.size()},
                {"memory_samples", t.memory.size()},
                {"time_ps_by_class", std::move(classes)},
                {"peak_memory_bytes", std::move(memory)}}
               .dump(1) +
           "\n";
  }
  return show(what, name, settings);  // plans and schemas are JSON as they are; the rest is an error there
}

}  // namespace orrery::app
