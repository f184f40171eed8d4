#include "executor/cuda.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "core/error.h"

namespace orrery::executor {
namespace {

constexpr const char* kName = "liborrery_cuda.so";
constexpr const char* kHint =
    "build it by 'cmake --preset cuda' and 'cmake --build build/cuda --target orrery_cuda', and set ORRERY_CUDA_PLUGIN to its path";

std::vector<std::string> candidates(const std::string& path) {
  if (!path.empty()) return {path};
  if (const char* named = std::getenv("ORRERY_CUDA_PLUGIN"); named && *named) return {named};
  std::vector<std::string> all;
  std::error_code none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none);
  if (!none)
    for (const std::filesystem::path& place : {program.parent_path(), program.parent_path().parent_path() / "lib"})
      if (std::filesystem::exists(place / kName, none)) all.push_back((place / kName).string());
  all.emplace_back(kName);
  return all;
}

}  // namespace

const CudaPlugin& load_cuda_plugin(const std::string& path) {
  std::string reasons;
  for (const std::string& file : candidates(path)) {
    // Never closed: kernels and their streams may outlive whoever asked, and CUDA's libraries do not like to be unloaded.
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* reason = dlerror();
      reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", reason ? reason : "unknown reason");
      continue;
    }
    using Entry = const CudaPlugin* (*)(std::uint32_t);
    const auto entry = reinterpret_cast<Entry>(dlsym(library, kCudaPluginEntry));
    if (!entry) throw Error("cuda", fmt::format("'{}' is a library, but not Orrery's CUDA plugin", file), kHint);
    const CudaPlugin* plugin = entry(kCudaPluginVersion);
    if (!plugin) throw Error("cuda", fmt::format("'{}' was built for another version of Orrery", file), kHint);
    return *plugin;
  }
  throw Error("cuda", fmt::format("the CUDA plugin cannot be loaded: {}", reasons), kHint);
}

}  // namespace orrery::executor
