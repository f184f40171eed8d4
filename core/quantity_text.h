// Numbers with units as people write them: "400 Gb/s", "80 GB", "989.5 TFLOPS". Read strictly; written exactly for documents, rounded for readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/units.h"

namespace orrery {

// Each reads a non-negative decimal number, a space or none, and a unit; decimal and binary prefixes are told apart (GB, GiB), bits and bytes too
// (Gb/s, GB/s). `where` is the address that an Error carries: "'400 Gbps' is not a bandwidth", with examples as its hint.
Bytes parse_bytes(std::string_view text, std::string_view where);                  // B kB MB GB TB PB KiB MiB GiB TiB PiB; a whole number of bytes
BytesPerSecond parse_bandwidth(std::string_view text, std::string_view where);     // B/s … TB/s, KiB/s … TiB/s, b/s … Tb/s
FlopsPerSecond parse_compute_rate(std::string_view text, std::string_view where);  // FLOPS … EFLOPS
Watts parse_power(std::string_view text, std::string_view where);                  // mW W kW MW
Seconds parse_duration(std::string_view text, std::string_view where);             // ps ns us ms s min h d
double parse_count(std::string_view text, std::string_view where);                 // "15T" tokens: k M B (or G) T, or none

// The unit names that the parser of the quantity takes.
std::vector<std::string> units_of(Bytes);
std::vector<std::string> units_of(BytesPerSecond);
std::vector<std::string> units_of(FlopsPerSecond);
std::vector<std::string> units_of(Watts);
std::vector<std::string> units_of(Seconds);

// Exact: the parser of the same quantity returns the very value.
std::string exact_text(Bytes value);
std::string exact_text(BytesPerSecond value);
std::string exact_text(FlopsPerSecond value);
std::string exact_text(Watts value);
std::string exact_text(Seconds value);

// For people: three significant digits and the unit that suits, "1.84 s", "41.7 GiB", "50 GB/s", "400 TFLOPS", "6.3 kW", "12.4 MWh", "15 T".
std::string format_seconds(Seconds value);  // ps up to days
std::string format_seconds(Picoseconds value);
std::string format_bytes(Bytes value);  // binary
std::string format_rate(BytesPerSecond value);
std::string format_rate(FlopsPerSecond value);
std::string format_power(Watts value);
std::string format_energy(Joules value);   // below 3.6 kJ in joules, above in watt-hours
std::string format_count(double value);    // "8.03 B", "15 T"
std::string format_percent(double share);  // 0.484 -> "48.4 %"

}  // namespace orrery
