#include "program/schedules/emit.h"
#include "program/schedules/schedules.h"

namespace orrery::program {

Schedule gpipe(const ScheduleInput& input) {
  Schedule out = empty_schedule(input);
  for (auto& passes : out.order) {
    for (std::int64_t i = 0; i < input.microbatches; ++i) passes.push_back(forward(i));
    for (std::int64_t i = 0; i < input.microbatches; ++i) passes.push_back(backward(i));
  }
  return out;
}

}  // namespace orrery::program
