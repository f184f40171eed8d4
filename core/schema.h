// JSON Schemas (draft 2020-12) of the documents, made from the same tables of fields that their readers use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace orrery {

// The schema of "plan", "cluster", "device", "profile", "timeline" or "model". Throws Error with did-you-mean for anything else.
std::string json_schema(std::string_view document);
std::vector<std::string> schema_names();

namespace schema {
std::string plan_schema();
std::string cluster_schema();
std::string device_schema();
std::string profile_schema();
std::string timeline_schema();
}  // namespace schema

}  // namespace orrery
