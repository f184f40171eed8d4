// What there is: models, clusters, devices by name, documents, and their schemas.
#pragma once

#include <string>
#include <vector>

namespace orrery::app {

// `what`: models, clusters, devices (lists); model, cluster, device, plan, profile, timeline (one by name or file); schema (of the document `name`).
// `settings`: PATH=VALUE, of a model, a cluster or a plan. Text for people, or one JSON document. Throws Error for words that name nothing.
std::string show(const std::string& what, const std::string& name, const std::vector<std::string>& settings = {});
std::string show_json(const std::string& what, const std::string& name, const std::vector<std::string>& settings = {});
// A picture: of a timeline, by the file of its trace.
std::string show_svg(const std::string& what, const std::string& name);

}  // namespace orrery::app
