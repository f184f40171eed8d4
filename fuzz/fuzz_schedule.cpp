// Any bytes as a schedule's CSV: an Error, or an order that, where it can run, is written in both forms and read back the same.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/error.h"
#include "program/schedules/csv.h"
#include "program/schedules/replay.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace orrery::program;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Schedule schedule;
  try {
    schedule = read_schedule_csv(text, "fuzz.csv");
    check(schedule);
  } catch (const orrery::Error&) {
    return 0;
  }
  // What was read is sound: from here on an Error is a bug of ours.
  for (const CsvForm form : {CsvForm::compute, CsvForm::full})
    if (read_schedule_csv(write_schedule_csv(schedule, form), "again.csv") != schedule) __builtin_trap();
  return 0;
}
