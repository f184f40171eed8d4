// Where plugins may lie.
#pragma once

#include <string>
#include <vector>

namespace orrery::executor {

// What to open for the plugin `name`, in order: `path`; else what the environment's `variable` names; else where it is built or installed beside the
// program, and then wherever the dynamic linker looks.
std::vector<std::string> plugin_candidates(const std::string& path, const char* variable, const char* name);

}  // namespace orrery::executor
