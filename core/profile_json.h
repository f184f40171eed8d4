// Profiles as documents: a measurement carries unit, median, spread and count, a profile says what was measured and when; less is refused.
#pragma once

#include <string>
#include <string_view>

#include "core/profile.h"

namespace orrery {

// Throws Error at "file:line: field".
Profile read_profile(std::string_view text, std::string_view file);
std::string write_profile(const Profile& profile);

// The profile in the file `name`, or of that name in profiles/. Throws Error with did-you-mean.
Profile load_profile(const std::string& name);

}  // namespace orrery
