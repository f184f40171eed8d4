// This machine measured, and a measurement carried over to another device, as a verb.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "app/inputs.h"
#include "core/profile.h"
#include "executor/cuda.h"
#include "executor/launch.h"

namespace orrery::app {

struct ProfileSettings {
  std::string device = "cpu";  // or cuda, cuda:1
  bool of_plan = false;        // measure the shapes that `plan` needs; otherwise the standard grid
  PlanFlags plan;
  executor::Launch launch;                   // of GPUs: the processes that talk; those after the first have no profile but of how they do
  std::optional<Seconds> budget;             // default: 60 s, of a GPU 360
  std::optional<Profile> earlier;            // of a GPU: continued
  std::function<void(const Profile&)> save;  // of a GPU: called now and then with what there is
  std::function<void(const std::string&)> note;
  std::function<void(std::int64_t done, std::int64_t of, const std::string& note)> progress;
  const std::atomic<bool>* cancel = nullptr;
};

// Of several GPUs ("cuda" on a machine with more than one, or several processes) also how they talk, by NCCL, in the first quarter of the time; what
// one GPU computes is measured by the first process on its first. Throws Error for an illegal plan, and where there is no such device. Cancelled:
// what was measured until then.
Profile profile(const ProfileSettings& settings);
// The same with a plugin that is there already.
Profile profile(const ProfileSettings& settings, const executor::CudaPlugin& plugin);

// A profile of a GPU as one of `part` (a name under topologies/devices). Throws Error where that says nothing about it.
Profile transferred(const Profile& profile, const std::string& part);

}  // namespace orrery::app
