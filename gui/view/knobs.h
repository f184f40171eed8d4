// What a plan can be turned by: sliders with legal stops, switches, choices, and quantities of the machine by a factor.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "app/inputs.h"
#include "app/mend.h"
#include "core/field.h"

namespace orrery::view {

enum class KnobKind : std::uint8_t {
  stops,   // a slider over legal whole numbers
  choice,  // one of a few words
  yes_no,  // a switch
  factor,  // a slider over multiples of what the cluster has
};

struct Knob {
  KnobKind kind = KnobKind::stops;
  std::string path, label, about;
  std::string group;                   // "Plan", "Machine"
  std::string value;                   // present, as in a setting
  std::vector<app::LegalValue> stops;  // of the first three kinds; the present value is among them, legal or not
  std::vector<std::string> names{};    // of stops that are always the same: how they are called
  int least = 0, most = 0;             // positions of a factor
  std::string base;                    // of a factor: the value without the question's own setting
  bool said = false;                   // the question says something about it
  bool operator==(const Knob&) const = default;
};

// Positions of factors: kOctave to each doubling, kReach to either side.
inline constexpr int kOctave = 4, kReach = 8;

// The knobs of a question in the order in which they stand, without their stops (which take a while; see with_stops). `inputs`: the question's.
std::vector<Knob> knobs(const app::PlanFlags& question, const app::Inputs& inputs);
// Fills the stops of one knob. Values that need another field's change are left out where there are enough without.
Knob with_stops(Knob knob, const app::PlanFlags& question, const app::Inputs& inputs, const std::atomic<bool>* cancel = nullptr);

// Where the knob stands: the index of its stop, or the position of a factor (0: as the cluster has it).
int position(const Knob& knob);
int least_position(const Knob& knob);
int most_position(const Knob& knob);
// What turning it there sets: PATH and VALUE, an empty value taking the setting away.
std::vector<std::pair<std::string, std::string>> settings_at(const Knob& knob, int position);
// "8", "900 GB/s (x2)", "yes".
std::string text_at(const Knob& knob, int position);

// `base` times 2^(position / kOctave), to three digits: "450 GB/s" by 1 octave is "900 GB/s". Texts with units and plain numbers.
std::string scaled(const std::string& base, int position);

}  // namespace orrery::view
