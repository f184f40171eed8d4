#include "core/json_edge.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/settings.h"

namespace orrery::json {
namespace {

// What reading `text` with `read` says, or "" when it says nothing.
template <class Read>
std::string complaint(const std::string& text, Read read) {
  try {
    const Document document(text, "f.json");
    read(document);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
std::string parse_complaint(const std::string& text) {
  return complaint(text, [](const Document&) {});
}

TEST(Document, KnowsTheLineAndTheBytesOfEveryValue) {
  const std::string text = "{\n  \"a\": 12,\n  \"b\": [true,\n 3.5\n],\n\"c\":\n\n\"x\\n\"\n}\n";
  const Document document(text, "f.json");
  const Node& root = document.node();
  ASSERT_EQ(root.children.size(), 3U);
  EXPECT_EQ(root.line, 1U);
  EXPECT_EQ(root.children[0].line, 2U);
  EXPECT_EQ(root.children[1].line, 3U);
  EXPECT_EQ(root.children[1].children[1].line, 4U);
  EXPECT_EQ(root.children[2].line, 8U);
  const auto bytes = [&](const Node& node) { return text.substr(node.begin, node.end - node.begin); };
  EXPECT_EQ(bytes(root), text.substr(0, text.size() - 1));
  EXPECT_EQ(bytes(root.children[0]), "12");
  EXPECT_EQ(bytes(root.children[1]), "[true,\n 3.5\n]");
  EXPECT_EQ(bytes(root.children[1].children[0]), "true");
  EXPECT_EQ(bytes(root.children[1].children[1]), "3.5");
  EXPECT_EQ(bytes(root.children[2]), "\"x\\n\"");
}

TEST(Document, RefusesWhatIsNotOneJsonValueAndSaysOnWhichLine) {
  EXPECT_EQ(parse_complaint(""), "f.json:1: is empty");
  EXPECT_EQ(parse_complaint(" \n\n"), "f.json:2: is empty");
  EXPECT_EQ(parse_complaint("{\n \"a\": 1"), "f.json:2: ends in the middle of the document\n  hint: is the file truncated?");
  EXPECT_EQ(parse_complaint("{\"a\": \"b"), "f.json:1: ends in the middle of the document\n  hint: is the file truncated?");
  EXPECT_EQ(parse_complaint("{}\n x"), "f.json:2: is not JSON near 'x': invalid literal");
  EXPECT_EQ(parse_complaint("{\"a\": NaN}"), "f.json:1: is not JSON near 'NaN}': invalid literal");
  EXPECT_EQ(parse_complaint("{\"a\": 1e400}"), "f.json:1: is not JSON near '1e400}': number overflow parsing '1e400'");
  EXPECT_EQ(parse_complaint("[1,]"), "f.json:1: is not JSON near ']': unexpected ']'; expected '[', '{', or a literal");
  EXPECT_EQ(parse_complaint(std::string("{}\n\0{", 5)), "f.json:2: is not JSON: it holds a zero byte");
  EXPECT_NE(parse_complaint("\"\xc3\x28\""), "");
  EXPECT_EQ(parse_complaint("\xff\xfe{"), "f.json:1: is UTF-16, not UTF-8\n  hint: save it as UTF-8");
  EXPECT_EQ(parse_complaint("\xef\xbb\xbf{}"), "");
}

TEST(Document, RefusesAKeyGivenTwice) {
  EXPECT_EQ(parse_complaint("{\"a\": 1,\n \"b\": 2,\n \"a\": 3}"), "f.json:3: a: is given twice, first on line 1\n  hint: remove one of them");
  EXPECT_EQ(parse_complaint("[{\"a\": 1}, {\"a\": 1}]"), "");
}

TEST(Document, RefusesHostileNestingAndSizes) {
  EXPECT_EQ(parse_complaint(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_EQ(parse_complaint(std::string(1'000'000, '[')), "f.json:1: is nested more than 64 levels deep");
  std::string many = "[0";
  for (std::size_t i = 0; i < Document::kMostValues; ++i) many += ",0";
  EXPECT_EQ(parse_complaint(many + "]"), "f.json:1: holds more than 1000000 values");
  EXPECT_EQ(parse_complaint(std::string((std::size_t{64} << 20U) + 1, ' ')),
            "f.json: is larger than 67108864 bytes\n  hint: is this the right file?");
}

TEST(Value, IntegersAreWholeAndInRange) {
  const auto says = [](const std::string& number) {
    return complaint("{\"n\": " + number + "}", [](const Document& d) { d.object().required("n").integer(1, 1'000'000); });
  };
  EXPECT_EQ(says("1"), "");
  EXPECT_EQ(says("1e3"), "");
  EXPECT_EQ(says("8.0"), "");
  EXPECT_EQ(says("0"), "f.json:1: n: 0 is less than 1");
  EXPECT_EQ(says("-3"), "f.json:1: n: -3 is less than 1");
  EXPECT_EQ(says("2.5"), "f.json:1: n: 2.5 is not a whole number");
  EXPECT_EQ(says("1000001"), "f.json:1: n: 1000001 is more than 1000000");
  EXPECT_EQ(says("1e300"), "f.json:1: n: 1e300 is more than 1000000");
  EXPECT_EQ(says("-1e300"), "f.json:1: n: -1e300 is less than 1");
  EXPECT_EQ(says("9223372036854775807"), "f.json:1: n: 9223372036854775807 is more than 1000000");
  EXPECT_EQ(says("9223372036854775808"), "f.json:1: n: 9223372036854775808 is more than 1000000");
  EXPECT_EQ(says("99999999999999999999999"), "f.json:1: n: 99999999999999999999999 is more than 1000000");
  EXPECT_EQ(says("\"two\""), "f.json:1: n: 'two' is not a whole number");
  EXPECT_EQ(says("true"), "f.json:1: n: true is not a whole number");
  EXPECT_EQ(says("null"), "f.json:1: n: null is not a whole number");
  EXPECT_EQ(says("[1]"), "f.json:1: n: a list is not a whole number");
}

TEST(Value, WrongTypesAreNamed) {
  const auto says = [](const std::string& value, auto convert) {
    return complaint("{\"n\": " + value + "}", [&](const Document& d) { convert(d.object().required("n")); });
  };
  EXPECT_EQ(says("\"1\"", [](const Value& v) { v.number(); }), "f.json:1: n: '1' is not a number");
  EXPECT_EQ(says("-0.5", [](const Value& v) { v.number(0, 1); }), "f.json:1: n: -0.5 is less than 0");
  EXPECT_EQ(says("1", [](const Value& v) { v.boolean(); }), "f.json:1: n: 1 is neither true nor false");
  EXPECT_EQ(says("1", [](const Value& v) { v.text(); }), "f.json:1: n: 1 is not a text\n  hint: put it in double quotes");
  EXPECT_EQ(says("[]", [](const Value& v) { v.object(); }), "f.json:1: n: a list is not an object");
  EXPECT_EQ(says("{}", [](const Value& v) { v.list(); }), "f.json:1: n: an object is not a list");
  EXPECT_EQ(says("\"1f1d\"",
                 [](const Value& v) {
                   v.choice({"gpipe", "1f1b"});
                 }),
            "f.json:1: n: '1f1d' is not known here\n  hint: did you mean '1f1b'?");
}

TEST(Value, MessagesQuoteHostileTextsHarmlesslyAndShortly) {
  EXPECT_EQ(complaint("[\"\\u001b[31m\\n\"]", [](const Document& d) { d.root().list()[0].integer(); }),
            "f.json:1: [0]: '\\x1b[31m\\x0a' is not a whole number");
  const std::string message = complaint(fmt::format("[\"{}\"]", std::string(10'000, 'x')), [](const Document& d) { d.root().list()[0].integer(); });
  EXPECT_LT(message.size(), 120U);
}

TEST(Object, ReadsWhatIsThereKeepsDefaultsAndRefusesTheRest) {
  const Document document("{\"batch\": {\"micro\": 2, \"note\": null}}", "f.json");
  Object root = document.object();
  Object batch = root.required("batch").object();
  std::int64_t micro = 1, global = 7;
  std::optional<std::string> note = "x";
  batch.read("micro", micro, 1);
  batch.read("global", global, 1);
  batch.read("note", note);
  batch.done();
  root.done();
  EXPECT_EQ(micro, 2);
  EXPECT_EQ(global, 7);
  EXPECT_EQ(note, std::nullopt);

  EXPECT_EQ(complaint("{\"batch\": {\n\"mirco\": 2}}",
                      [](const Document& d) {
                        std::int64_t m = 1;
                        Object b = d.object().required("batch").object();
                        b.read("micro", m);
                        b.read("global", m);
                        b.done();
                      }),
            "f.json:2: batch.mirco: is not a known field\n  hint: did you mean 'micro'?");
  EXPECT_EQ(complaint("{\n\"b\": {}}", [](const Document& d) { d.object().required("b").object().required("c"); }), "f.json:2: b.c: is missing");
  EXPECT_EQ(complaint("{\"m\": null}",
                      [](const Document& d) {
                        std::int64_t m = 1;
                        d.object().read("m", m);
                      }),
            "f.json:1: m: null is not a whole number");
}

TEST(Settings, ReplaceAddAndReachIntoListsWithoutMovingLines) {
  const std::string text = "{\n  \"batch\": {\"micro\": 1},\n  \"levels\": [{\"size\": 8}, {\"size\": 64}],\n  \"empty\": {},\n  \"none\": null\n}\n";
  const auto set = [&](const std::string& setting) { return apply_settings(text, "f.json", std::vector{parse_setting(setting)}); };
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json expected = nlohmann::json::parse(text);
    expected[nlohmann::json::json_pointer(pointer)] = value;
    return expected;
  };
  const std::vector<std::pair<std::string, nlohmann::json>> cases{
      {"batch.micro=2", with("/batch/micro", 2)},
      {"batch.global=512", with("/batch/global", 512)},
      {"levels[1].size=72", with("/levels/1/size", 72)},
      {"levels.0.size=4", with("/levels/0/size", 4)},
      {"schedule=1f1b", with("/schedule", "1f1b")},
      {"stages=[1,\n2]", with("/stages", {1, 2})},
      {"empty.a.b=true", with("/empty/a/b", true)},
      {"none.a=\"2\"", with("/none/a", "2")},
      {"x==", with("/x", "=")},
      {"batch.micro= 2 ", with("/batch/micro", 2)},
      {"batch=null", with("/batch", nullptr)},
      {"empty.k=", with("/empty/k", "")},
  };
  for (const auto& [setting, expected] : cases) {
    const std::string out = set(setting);
    EXPECT_EQ(nlohmann::json::parse(out), expected) << setting;
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), std::count(out.begin(), out.end(), '\n')) << setting;
  }
  EXPECT_EQ(nlohmann::json::parse(apply_settings("\xef\xbb\xbf {}", "f.json", std::vector{parse_setting("a=1")})), nlohmann::json({{"a", 1}}));
}

TEST(Settings, SayWhichSettingIsWrong) {
  const auto says = [](const std::string& setting) -> std::string {
    try {
      (void)apply_settings("{\"a\": 1, \"l\": [1, 2]}", "f.json", std::vector{parse_setting(setting)});
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(says("a"), "--set a: is not PATH=VALUE\n  hint: write it like batch.micro=2");
  EXPECT_EQ(says("=1"), "--set =1: is not PATH=VALUE\n  hint: write it like batch.micro=2");
  EXPECT_EQ(says("a..b=1"), "--set a..b: has an empty step\n  hint: write it like batch.micro=2");
  EXPECT_EQ(says("a.b=1"), "--set a.b: a is not an object");
  EXPECT_EQ(says("l[2]=1"), "--set l[2]: l has no element '2'\n  hint: it is a list of 2");
  EXPECT_EQ(says("l.x=1"), "--set l.x: l has no element 'x'\n  hint: it is a list of 2");
  EXPECT_EQ(says("b=\xe5"), "--set b: is not UTF-8");
  EXPECT_EQ(says("l[0]x=1"), "--set l[0]x: has text after ']'");
  EXPECT_EQ(says(fmt::format("d={}", std::string(100'000, '['))), "");  // not JSON, so a text
}

// Whatever nlohmann writes, the tree holds: the same kinds, numbers and texts, in the same order, with bytes that parse to themselves.
bool same(const Node& node, const nlohmann::ordered_json& j, const std::string& text) {
  if (nlohmann::ordered_json::parse(text.substr(node.begin, node.end - node.begin)) != j) return false;
  if (j.is_object()) {
    std::size_t i = 0;
    for (const auto& [key, value] : j.items()) {
      if (node.children.at(i).key != key || !same(node.children[i], value, text)) return false;
      ++i;
    }
    return node.kind == Node::Kind::object && node.children.size() == i;
  }
  if (j.is_array()) {
    for (std::size_t i = 0; i < j.size(); ++i) {
      if (!same(node.children.at(i), j[i], text)) return false;
    }
    return node.kind == Node::Kind::list && node.children.size() == j.size();
  }
  if (j.is_string()) return node.kind == Node::Kind::text && node.text == j.get<std::string>();
  if (j.is_boolean()) return node.kind == Node::Kind::boolean && node.boolean == j.get<bool>();
  if (j.is_number()) return node.real == j.get<double>();
  return node.kind == Node::Kind::null;
}

// RapidCheck's ranges grow with the case's number: small cases only, unless told the size.
int pick(int least, int beyond) { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(least, beyond)); }

nlohmann::ordered_json any_json(int depth) {
  switch (pick(0, depth > 0 ? 7 : 5)) {
    case 0:
      return nullptr;
    case 1:
      return *rc::gen::arbitrary<bool>();
    case 2:
      return *rc::gen::arbitrary<std::int64_t>();
    case 3:
      return *rc::gen::arbitrary<double>();
    case 4:
      return *rc::gen::string<std::string>() == "" ? "" : "é\n\"\\ ,:{}[]";
    case 5: {
      nlohmann::ordered_json list = nlohmann::ordered_json::array();
      for (int i = pick(0, 4); i > 0; --i) list.push_back(any_json(depth - 1));
      return list;
    }
    default: {
      nlohmann::ordered_json object = nlohmann::ordered_json::object();
      for (int i = pick(0, 4); i > 0; --i) object["key " + std::to_string(i)] = any_json(depth - 1);
      return object;
    }
  }
}

RC_GTEST_PROP(Document, HoldsWhateverAWriterWrote, ()) {
  const nlohmann::ordered_json j = any_json(4);
  const std::string text = j.dump(pick(-1, 3));
  const Document document(text, "f.json");
  RC_ASSERT(same(document.node(), j, text));
}

}  // namespace
}  // namespace orrery::json
