#include "core/quantity_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "core/error.h"

namespace orrery {
namespace {

TEST(ParseQuantity, TellsDecimalFromBinaryAndBitsFromBytes) {
  EXPECT_EQ(parse_bytes("80 GB", ""), 80_GB);
  EXPECT_EQ(parse_bytes("80GiB", ""), 80_GiB);
  EXPECT_EQ(parse_bytes("84943110144 B", ""), Bytes{84943110144});
  EXPECT_EQ(parse_bytes("1.5 KiB", ""), Bytes{1536});
  EXPECT_EQ(parse_bandwidth("400 Gb/s", ""), 50_GBps);  // 400e9 / 8
  EXPECT_EQ(parse_bandwidth("50 GB/s", ""), 50_GBps);
  EXPECT_DOUBLE_EQ(parse_bandwidth("46 GiB/s", "").v, 46.0 * 1073741824);
  EXPECT_EQ(parse_compute_rate("989.5 TFLOPS", ""), FlopsPerSecond{989.5e12});
  EXPECT_EQ(parse_power("10.2 kW", ""), Watts{10200});
  EXPECT_EQ(parse_duration("2 us", ""), 2_us);
  EXPECT_EQ(parse_duration("3 h", ""), Seconds{10800});
  EXPECT_EQ(parse_count("15T", ""), 15e12);
  EXPECT_EQ(parse_count("1e9", ""), 1e9);
}

TEST(ParseQuantity, RefusesWhatIsNotAUnitWithAddressAndExamples) {
  try {
    parse_bandwidth("400 Gbps", "topologies/dgx-h100.json:14: links[3].bandwidth");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "topologies/dgx-h100.json:14: links[3].bandwidth: '400 Gbps' is not a bandwidth\n"
                 "  hint: write a number and a unit: 400 Gb/s, 50 GB/s or 46 GiB/s");
  }
  for (const char* text : {"", " ", "GB", "80", "80 ", "80  GB", " 80 GB", "-80 GB", "+80 GB", "nan GB", "inf GB", "0x10 GB", "80 gb", "80 GBs",
                           "80,5 GB", "1e999 GB"}) {
    EXPECT_THROW(parse_bytes(text, "x"), Error) << text;
  }
  EXPECT_THROW(parse_bytes("9223372036854775808 B", "x"), Error);  // 2^63
  EXPECT_THROW(parse_bytes("8388608 TiB", "x"), Error);            // 2^63
  EXPECT_EQ(parse_bytes("9223372036854775807 B", "x").v, INT64_MAX);
  EXPECT_THROW(parse_duration("1e306 d", "x"), Error);  // 8.64e310 is beyond double
}

TEST(FormatQuantity, GivesThreeDigitsInTheUnitThatSuits) {
  EXPECT_EQ(format_seconds(Seconds{1.8412}), "1.84 s");
  EXPECT_EQ(format_seconds(Seconds{0.0123}), "12.3 ms");
  EXPECT_EQ(format_seconds(Picoseconds{3'330'000}), "3.33 us");
  EXPECT_EQ(format_seconds(Seconds{90}), "90 s");
  EXPECT_EQ(format_seconds(Seconds{600}), "10 min");
  EXPECT_EQ(format_seconds(Seconds{86400 * 54.0}), "54 d");
  EXPECT_EQ(format_seconds(Seconds{0}), "0 s");
  EXPECT_EQ(format_bytes(Bytes{84943110144}), "79.1 GiB");  // 84 943 110 144 / 2^30 = 79.11
  EXPECT_EQ(format_bytes(Bytes{512}), "512 B");
  EXPECT_EQ(format_rate(50_GBps), "50 GB/s");
  EXPECT_EQ(format_rate(FlopsPerSecond{432.1e12}), "432 TFLOPS");
  EXPECT_EQ(format_power(Watts{6300}), "6.3 kW");
  EXPECT_EQ(format_energy(Joules{3.6e9 * 12.4}), "12.4 MWh");
  EXPECT_EQ(format_energy(Joules{12}), "12 J");
  EXPECT_EQ(format_count(8030261248.0), "8.03 B");
  EXPECT_EQ(format_count(12), "12");
  EXPECT_EQ(format_percent(15.0 / 31), "48.4 %");
}

RC_GTEST_PROP(ExactText, ReadsBackToTheVeryNumberOfBytes, ()) {
  const Bytes value{*rc::gen::inRange<std::int64_t>(0, INT64_MAX)};
  RC_ASSERT(parse_bytes(exact_text(value), "") == value);
  const Bytes round{(value.v >> 40) << 30};
  RC_ASSERT(parse_bytes(exact_text(round), "") == round);
}

RC_GTEST_PROP(ExactText, ReadsBackToTheVeryRatePowerAndDuration, ()) {
  // From 1e-12 to 1e18, so that no unit overflows: 10^u times a mantissa of 53 random bits.
  const double value =
      std::pow(10.0, *rc::gen::inRange(-12, 19)) * (1 + std::ldexp(static_cast<double>(*rc::gen::inRange<std::int64_t>(0, 1LL << 52)), -52));
  RC_ASSERT(parse_bandwidth(exact_text(BytesPerSecond{value}), "").v == value);
  RC_ASSERT(parse_compute_rate(exact_text(FlopsPerSecond{value}), "").v == value);
  RC_ASSERT(parse_power(exact_text(Watts{value}), "").v == value);
  RC_ASSERT(parse_duration(exact_text(Seconds{value}), "").v == value);
}

TEST(ExactText, WritesRoundFiguresAsPeopleDo) {
  EXPECT_EQ(exact_text(80_GiB), "80 GiB");
  EXPECT_EQ(exact_text(80_GB), "80 GB");
  EXPECT_EQ(exact_text(Bytes{84943110144}), "84943110144 B");  // 82952256 KiB would be no easier to read
  EXPECT_EQ(exact_text(50_GBps), "50 GB/s");
  EXPECT_EQ(exact_text(FlopsPerSecond{989.5e12}), "989.5 TFLOPS");
  EXPECT_EQ(exact_text(700_W), "700 W");
  EXPECT_EQ(exact_text(2_us), "2 us");
  EXPECT_EQ(exact_text(Seconds{0}), "0 s");
}

}  // namespace
}  // namespace orrery
