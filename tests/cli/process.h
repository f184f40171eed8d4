// The built program as a person runs it: arguments in, exit code, stdout and stderr out.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace orrery {

struct Finished {
  int code = -1;  // exit code; 128 + n where signal n ended it
  std::string out, err;
};

// Runs `orrery` with the words of `command` ('' is an empty one) in `folder`.
Finished orrery(const std::string& command, const std::string& folder, const std::vector<std::string>& environment = {});
// The same with stdout into the file `out`.
Finished orrery_into(const std::string& out, const std::string& command, const std::string& folder);
// The same with stderr on a terminal (a pseudo-terminal: progress is drawn there), and Ctrl-C (SIGINT) as soon as `now` holds of what was drawn.
Finished orrery_interrupted(const std::string& command, const std::string& folder, const std::function<bool(const std::string& err)>& now);

}  // namespace orrery
