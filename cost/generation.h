// Which fitted parameters a GPU gets: by the words in its name, since a device file has no field for its architecture.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/cluster.h"

namespace orrery::cost {

enum class Generation : std::uint8_t { ampere, hopper, blackwell, other };

inline Generation generation(const Device& device) {
  constexpr std::array<std::pair<std::string_view, Generation>, 8> kWords{{{"a100", Generation::ampere},
                                                                           {"h100", Generation::hopper},
                                                                           {"h200", Generation::hopper},
                                                                           {"h800", Generation::hopper},
                                                                           {"b200", Generation::blackwell},
                                                                           {"b300", Generation::blackwell},
                                                                           {"a800", Generation::ampere},
                                                                           {"h20", Generation::hopper}}};
  for (const auto& [word, generation] : kWords)
    if (device.name.find(word) != std::string::npos) return generation;
  return Generation::other;
}

}  // namespace orrery::cost
