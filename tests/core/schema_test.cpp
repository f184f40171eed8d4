#include "core/schema.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/profile_json.h"
#include "core/schema_tree.h"
#include "core/timeline_json.h"
#include "support/generators.h"
#include "support/json_schema.h"

namespace orrery {
namespace {

using nlohmann::json;

std::string check(const std::string& document, const std::string& text) {
  static std::map<std::string, json> schemas;  // a hundred documents ask for the same one
  json& schema = schemas[document];
  if (schema.is_null()) schema = json::parse(json_schema(document));
  return schema_mismatch(schema, json::parse(text));
}

TEST(JsonSchema, IsThereForEveryDocumentAndNothingElse) {
  for (const std::string& name : schema_names()) EXPECT_EQ(json::parse(json_schema(name))["type"], "object") << name;
  try {
    json_schema("plam");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "schema plam: is not known\n  hint: did you mean 'plan'?");
  }
}

TEST(JsonSchema, AcceptsEveryShippedFile) {
  const std::filesystem::path root = std::filesystem::path(ORRERY_SOURCE_DIR) / "topologies";
  int files = 0;
  for (const std::string kind : {"device", "cluster"}) {
    for (const auto& entry : std::filesystem::directory_iterator(root / (kind + "s"))) {
      std::ifstream in(entry.path());
      std::stringstream text;
      text << in.rdbuf();
      EXPECT_EQ(check(kind, text.str()), "") << entry.path();
      ++files;
    }
  }
  EXPECT_GE(files, 28);
  EXPECT_EQ(check("model", write_model(load_model("llama-3.1-8b"))), "");
}

TEST(JsonSchema, RefusesWhatTheReaderRefuses) {
  const std::string good = R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}})";
  EXPECT_EQ(check("plan", good), "");
  EXPECT_NO_THROW(read_plan(good, "p"));
  for (const std::string bad :
       {R"({"orrery": "plan/2", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}})",
        R"({"orrery": "plan/1", "cluster": "c", "batch": {"global": 8, "sequence": 128}})",
        R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 0, "sequence": 128}})",
        R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}, "tp": 8})",
        R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}, "schedule": "1f1d"})",
        R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}, "sharding": {"zero": 4}})",
        R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}, "optimizer": {"betas": [0.9, 1]}})",
        R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}, "precision": {"compute": "int32"}})"}) {
    EXPECT_NE(check("plan", bad), "") << bad;
    EXPECT_THROW(read_plan(bad, "p"), Error) << bad;
  }
}

// What the writer writes has every key that the reader knows, and the schema allows no other: so each key is in both or in neither.
RC_GTEST_PROP(JsonSchema, AcceptsEveryPlan, ()) { RC_ASSERT(check("plan", write_plan(gen::plan())) == ""); }
RC_GTEST_PROP(JsonSchema, AcceptsEveryDevice, ()) { RC_ASSERT(check("device", write_device(gen::device())) == ""); }
RC_GTEST_PROP(JsonSchema, AcceptsEveryCluster, ()) { RC_ASSERT(check("cluster", write_cluster(gen::cluster())) == ""); }
RC_GTEST_PROP(JsonSchema, AcceptsEveryProfile, ()) { RC_ASSERT(check("profile", write_profile(gen::profile())) == ""); }
RC_GTEST_PROP(JsonSchema, AcceptsEveryTimeline, ()) { RC_ASSERT(check("timeline", write_chrome_trace(gen::timeline())) == ""); }

TEST(JsonSchema, ListsExactlyTheKeysOfAWrittenPlan) {
  std::vector<std::string> in_schema, written;
  const json schema = json::parse(json_schema("plan"));
  const auto collect = [](const json& object, std::vector<std::string>& out, const auto& self, const std::string& prefix = "") -> void {
    for (const auto& [key, value] : object.items()) {
      out.push_back(prefix + key);
      if (value.is_object()) self(value, out, self, prefix + key + ".");
    }
  };
  const auto properties = [](const json& object, std::vector<std::string>& out, const auto& self, const std::string& prefix = "") -> void {
    for (const auto& [key, value] : object["properties"].items()) {
      out.push_back(prefix + key);
      if (value.contains("properties")) self(value, out, self, prefix + key + ".");
    }
  };
  Plan plan;
  plan.model = "m", plan.cluster = "c";
  collect(json::parse(write_plan(plan)), written, collect);
  properties(schema, in_schema, properties);
  std::sort(written.begin(), written.end());
  std::sort(in_schema.begin(), in_schema.end());
  EXPECT_EQ(written, in_schema);
  EXPECT_GT(written.size(), 80U);
}

TEST(Tree, QuotesWhatIsNotTextOrNotUtf8) {
  EXPECT_EQ(schema::quote("a\"b\\c\nd\x01"), "\"a\\\"b\\\\c\\nd\\u0001\"");
  EXPECT_EQ(schema::quote("\xff\xc3"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(schema::quote("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");  // a surrogate
  EXPECT_EQ(schema::quote("字"), "\"字\"");
}

}  // namespace
}  // namespace orrery
