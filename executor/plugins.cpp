#include "executor/plugins.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace orrery::executor {

std::vector<std::string> plugin_candidates(const std::string& path, const char* variable, const char* name) {
  if (!path.empty()) return {path};
  if (const char* named = std::getenv(variable); named && *named) return {named};
  std::vector<std::string> all;
  std::error_code none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none);
  if (!none)
    for (const std::filesystem::path& place : {program.parent_path(), program.parent_path().parent_path() / "lib"})
      if (std::filesystem::exists(place / name, none)) all.push_back((place / name).string());
  all.emplace_back(name);
  return all;
}

}  // namespace orrery::executor
