// Ways out of a refused plan, and the values that a field could have: found by asking what would be refused, never by a second list of rules.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "app/inputs.h"
#include "core/error.h"
#include "program/compile.h"

namespace orrery::app {

// Settings after which a plan is no longer refused for this reason, nor for a new one.
struct Mend {
  std::vector<std::string> settings;  // PATH=VALUE
  std::string words;                  // "parallel.tp = 4"
  bool legal = false;                 // nothing else is refused either
  bool operator==(const Mend&) const = default;
};

// At most four, the best first: those that make the plan legal, that change the refused field itself, and that change it least. Empty where the field
// and those that the refusal speaks of offer none.
std::vector<Mend> mends(const Inputs& inputs, const program::Refusal& refusal);
// The same as a change of flags: what follows from the rest (the global batch, sequence parallelism) follows from the mend as well. `inputs`: those
// of the flags.
std::vector<Mend> mends(const PlanFlags& flags, const Inputs& inputs, const program::Refusal& refusal, const std::atomic<bool>* cancel = nullptr);
// Where the readers refuse the flags already. `inputs`: those of flags that were read, as near as there are.
std::vector<Mend> mends(const PlanFlags& flags, const Inputs& inputs, const Error& error, const std::atomic<bool>* cancel = nullptr);

// One value that a field can have, and what must change with it.
struct LegalValue {
  std::string value;                  // as in a setting
  std::vector<std::string> settings;  // PATH=VALUE: the field's own first
  bool operator==(const LegalValue&) const = default;
};

struct LegalOptions {
  bool with_company = false;  // also values that are legal only together with another field's change (of one field, and not of `keep`)
  std::vector<std::string> keep{};
  const std::atomic<bool>* cancel = nullptr;  // gives up, with what it has
};

// What the field at `path` can be, given all others: numbers upwards, null last; the present value among them where it is legal. Of sizes without
// end, those near the present one that people would try; plans of very many more passes than the present one are not tried. Refusals that no value of
// the field takes away do not count. Empty for a path that is no field, for texts and for numbers that nothing refuses (quantities, rates).
std::vector<LegalValue> legal_values(const Inputs& inputs, const std::string& path, const LegalOptions& options = {});
std::vector<LegalValue> legal_values(const PlanFlags& flags, const Inputs& inputs, const std::string& path, const LegalOptions& options = {});

}  // namespace orrery::app
