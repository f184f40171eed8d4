#include "executor/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "core/error.h"
#include "support/temporary_folder.h"

namespace orrery::executor {
namespace {

using ::testing::HasSubstr;

std::string length(std::uint64_t n) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &n, 8);
  return out;
}

template <class Body>
std::string refusal(Body body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

std::string refusal_of(const std::string& header, std::int64_t bytes) {
  return refusal([&] { read_safetensors_header(header, "x.safetensors", bytes); });
}

TEST(Safetensors, ReadsAFileWrittenByHand) {
  // Two tensors and words about them, the second tensor first in the header: 6 floats at bytes [4, 28), 2 bf16 numbers at [0, 4).
  const std::string header =
      R"({"b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}   )";
  const float b[6] = {1, 2, 3, 4, 5, 6.5F};
  const std::uint16_t a[2] = {0x3f80, 0xc000};  // 1 and -2
  std::string bytes = length(header.size()) + header;
  bytes.append(reinterpret_cast<const char*>(a), sizeof a).append(reinterpret_cast<const char*>(b), sizeof b);
  const TemporaryFolder folder;
  const SafetensorsFile file(folder.write("x.safetensors", bytes));
  ASSERT_EQ(file.header().tensors.size(), 2U);
  EXPECT_EQ(file.header().metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_TRUE(file.find("b") && file.find("a") && !file.find("c"));
  EXPECT_EQ(file.find("b")->shape, (std::vector<std::int64_t>{2, 3}));
  std::vector<float> out(3);
  file.read(*file.find("b"), 3, out);
  EXPECT_EQ(out, (std::vector<float>{4, 5, 6.5F}));
  out.resize(2);
  file.read(*file.find("a"), 0, out);
  EXPECT_EQ(out, (std::vector<float>{1, -2}));
}

TEST(Safetensors, TheHeaderIsPaddedWithSpacesToEightBytes) {
  SafetensorsHeader header;
  header.append("w", StoredType::f32, {1});
  const std::string text = write_safetensors_header(header);
  EXPECT_EQ(text.size() % 8, 0U);
  EXPECT_EQ(text.substr(0, 8), length(text.size() - 8));
  EXPECT_EQ(text[8], '{');
  EXPECT_TRUE(text.back() == ' ' || text.back() == '}');
}

TEST(Safetensors, RefusesWhatTheFormatForbids) {
  const auto one = [](const std::string& rest) { return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})" + rest + "}"; };
  EXPECT_EQ(refusal_of(one(""), 8), "accepted");
  EXPECT_THAT(refusal_of(one(""), 12), HasSubstr("its tensors take 8 bytes, but 12 follow the header"));
  EXPECT_THAT(refusal_of(one(""), 4), HasSubstr("the file was cut off"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]})"), 16),
              HasSubstr("bytes 8 to 12, before 'b', belong to no tensor"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), 8), HasSubstr("'a' and 'b' overlap"));
  EXPECT_THAT(refusal_of(one(R"(,"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]})"), 12), HasSubstr("twice"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[8,12]})"), 12),
              HasSubstr("has 4 bytes, but 2 elements of F32 take 8"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F33","shape":[1],"data_offsets":[8,12]})"), 12), HasSubstr("did you mean"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[-1],"data_offsets":[8,4]})"), 12), HasSubstr("shape"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,8]})"), 12), HasSubstr("ends at 8, before it begins at 12"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8]})"), 12), HasSubstr("has 1 numbers"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F4","shape":[3],"data_offsets":[8,9]})"), 9), HasSubstr("do not fill whole bytes"));
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12],"x":1})"), 12), HasSubstr("x"));
  // 2^62 elements of 8 bytes: a product that wraps to 0 in 64 bits.
  EXPECT_THAT(refusal_of(one(R"(,"b":{"dtype":"F64","shape":[1000000000000,1000000000000],"data_offsets":[8,8]})"), 8),
              HasSubstr("more elements than can be counted"));
  EXPECT_THAT(refusal_of(R"( {"a":1})", 0), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(refusal_of("", 0), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(refusal_of(R"({"__metadata__":{"a":1}})", 0), HasSubstr("__metadata__"));
  EXPECT_EQ(refusal_of(R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]}})", 0), "accepted");
}

TEST(Safetensors, RefusesFilesThatLieAboutTheirHeader) {
  const TemporaryFolder folder;
  const auto opened = [&](const std::string& bytes) { return refusal([&] { SafetensorsFile file(folder.write("x.safetensors", bytes)); }); };
  EXPECT_THAT(opened("short"), HasSubstr("has 5 bytes"));
  EXPECT_THAT(opened(length(100'000'001) + "{}"), HasSubstr("more than 100000000"));
  EXPECT_THAT(opened(length(std::numeric_limits<std::uint64_t>::max()) + "{}"), HasSubstr("more than 100000000"));
  EXPECT_THAT(opened(length(3) + "{}"), HasSubstr("has only 10 in all"));
  EXPECT_EQ(opened(length(2) + "{}"), "accepted");
  EXPECT_THAT(refusal([&] { SafetensorsFile file(folder.path() / "none"); }), HasSubstr("no such file"));
  EXPECT_THAT(refusal([&] { SafetensorsFile file(folder.path()); }), HasSubstr("is not a file of tensors"));
}

RC_GTEST_PROP(Safetensors, WhatIsWrittenIsReadBack, ()) {
  SafetensorsHeader header;
  const auto count = *rc::gen::inRange(0, 6);
  for (int i = 0; i < count; ++i) {
    const auto type = static_cast<StoredType>(*rc::gen::inRange(0, 20));
    std::vector<std::int64_t> shape{8};  // so that half bytes fill whole ones
    for (int d = *rc::gen::inRange(0, 3); d > 0; --d) shape.push_back(*rc::gen::inRange(1, 9));
    header.append(std::to_string(i) + *rc::gen::string<std::string>(), type, shape);
  }
  // Names are UTF-8.
  for (StoredTensor& t : header.tensors)
    for (char& c : t.name) c = static_cast<char>(c & 0x7f);
  if (*rc::gen::arbitrary<bool>()) header.metadata = {{"format", "pt"}, {"step", "7"}};
  const std::string text = write_safetensors_header(header);
  RC_ASSERT(read_safetensors_header(text.substr(8), "x", header.bytes()) == header);
}

TEST(Safetensors, AnIndexNamesFilesBesideIt) {
  const SafetensorsIndex index{{{"a", "model-00001-of-00002.safetensors"}, {"b", "model-00002-of-00002.safetensors"}}, 12};
  EXPECT_EQ(read_safetensors_index(write_safetensors_index(index), "i"), index);
  EXPECT_THAT(refusal([] { read_safetensors_index(R"({"weight_map":{"a":"../../secret"}})", "i"); }), HasSubstr("is not the name of a file beside"));
}

TEST(Narrow, KeepsEveryNumberThatTheTypeHas) {
  for (const StoredType type : {StoredType::bf16, StoredType::f16})
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      float value = 0;
      widen(reinterpret_cast<const std::byte*>(&half), type, std::span(&value, 1));
      std::uint16_t back = 0;
      narrow(std::span<const float>(&value, 1), type, reinterpret_cast<std::byte*>(&back));
      if (std::isnan(value)) {
        float again = 0;
        widen(reinterpret_cast<const std::byte*>(&back), type, std::span(&again, 1));
        EXPECT_TRUE(std::isnan(again));
      } else {
        ASSERT_EQ(back, half) << name(type);
      }
    }
}

TEST(Narrow, RoundsToTheNearestAndTiesToEven) {
  const auto rounded = [](float x, StoredType type) {
    std::uint16_t half = 0;
    narrow(std::span<const float>(&x, 1), type, reinterpret_cast<std::byte*>(&half));
    float out = 0;
    widen(reinterpret_cast<const std::byte*>(&half), type, std::span(&out, 1));
    return out;
  };
  // bf16 has 8 bits of mantissa, fp16 11: 1 + 2^-8 and 1 + 2^-11 lie halfway between two of them.
  EXPECT_EQ(rounded(1 + 0x1p-8F, StoredType::bf16), 1);
  EXPECT_EQ(rounded(1 + 0x1p-8F + 0x1p-20F, StoredType::bf16), 1 + 0x1p-7F);
  EXPECT_EQ(rounded(1 + 3 * 0x1p-8F, StoredType::bf16), 1 + 0x1p-6F);
  EXPECT_EQ(rounded(1 + 0x1p-11F, StoredType::f16), 1);
  EXPECT_EQ(rounded(1 + 3 * 0x1p-11F, StoredType::f16), 1 + 0x1p-9F);
  EXPECT_EQ(rounded(65519.9F, StoredType::f16), 65504);  // the largest of fp16
  EXPECT_EQ(rounded(65520, StoredType::f16), std::numeric_limits<float>::infinity());
  EXPECT_EQ(rounded(0x1p-25F, StoredType::f16), 0);  // half of the least
  EXPECT_EQ(rounded(0x1.8p-24F, StoredType::f16), 0x1p-23F);
  EXPECT_EQ(rounded(std::numeric_limits<float>::max(), StoredType::bf16), std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace orrery::executor
