// Documents as lists of fields: complete, true to the readers, and harmless to write back.
#include "core/field.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "core/plan_json.h"
#include "core/settings.h"
#include "support/generators.h"
#include "support/temporary_folder.h"

namespace orrery {
namespace {

using nlohmann::json;
using testing::ElementsAre;

Field find(const std::vector<Field>& fields, const std::string& path) {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.path == path; });
  if (found == fields.end()) throw std::out_of_range(path);
  return *found;
}

// The paths of whatever a document holds that is neither object nor list of objects.
void leaves(const json& node, const std::string& path, std::set<std::string>& out) {
  const std::string dot = path.empty() ? "" : path + ".";
  if (node.is_object()) {
    for (const auto& [key, child] : node.items()) leaves(child, dot + key, out);
  } else if (node.is_array() && !node.empty() && node[0].is_object()) {
    for (std::size_t i = 0; i < node.size(); ++i) leaves(node[i], dot + std::to_string(i), out);
  } else {
    out.insert(path);
  }
}
std::set<std::string> leaves(const std::string& text) {
  std::set<std::string> out;
  leaves(json::parse(text), "", out);
  out.erase("orrery");
  return out;
}
std::set<std::string> paths(const std::vector<Field>& fields) {
  std::set<std::string> out;
  for (const Field& f : fields) out.insert(f.path);
  return out;
}

TEST(PlanFields, SayWhatTheTableSays) {
  const std::vector<Field> fields = plan_fields(Plan{});
  const Field tp = find(fields, "parallel.tp");
  EXPECT_EQ(tp.kind, FieldKind::whole);
  EXPECT_EQ(tp.about, "tensor parallelism: ranks that share each layer's matrices");
  EXPECT_EQ(tp.least, 1);
  EXPECT_EQ(tp.fallback, "1");
  EXPECT_FALSE(tp.nullable);
  const Field kind = find(fields, "recompute.kind");
  EXPECT_EQ(kind.kind, FieldKind::choice);
  EXPECT_THAT(kind.choices, ElementsAre("none", "selective", "full"));
  EXPECT_EQ(kind.value, "none");
  const Field gather = find(fields, "precision.param_gather");
  EXPECT_EQ(gather.kind, FieldKind::choice);
  EXPECT_TRUE(gather.nullable);
  EXPECT_EQ(gather.null_means, "as stored");
  EXPECT_EQ(gather.value, "null");
  const Field modules = find(fields, "recompute.modules");
  EXPECT_EQ(modules.kind, FieldKind::list);
  EXPECT_EQ(modules.element, FieldKind::choice);
  EXPECT_EQ(modules.value, "[]");
  const Field betas = find(fields, "optimizer.betas");
  EXPECT_EQ(betas.element, FieldKind::number);
  EXPECT_TRUE(betas.below);
  EXPECT_EQ(betas.value, "[0.9, 0.95]");
  EXPECT_EQ(find(fields, "schedule_args.costs").kind, FieldKind::object);
  EXPECT_EQ(find(fields, "batch.global").fallback, std::nullopt) << "it is required";
  EXPECT_EQ(find(fields, "overlap.p2p").kind, FieldKind::yes_no);
}

TEST(PlanFields, OfAStructThatIsThereAreItselfAndItsMembers) {
  Plan plan;
  plan.schedule_args.costs = PassCostSpec{3, 2, 1, 0};
  plan.segments = {{0, 4, 8, {}, {}, {}, {}, {}}};
  const std::vector<Field> fields = plan_fields(plan);
  EXPECT_EQ(find(fields, "schedule_args.costs").value, R"({"forward": 3, "input_grad": 2, "weight_grad": 1, "latency": 0})");
  EXPECT_EQ(find(fields, "schedule_args.costs").fallback, "null");
  EXPECT_EQ(find(fields, "schedule_args.costs.forward").value, "3");
  EXPECT_EQ(find(fields, "schedule_args.costs.forward").fallback, "1");
  EXPECT_EQ(find(fields, "segments.0.devices").value, "8");
  EXPECT_EQ(find(fields, "segments.0.parallel").value, "null");
}

RC_GTEST_PROP(PlanFields, HaveEveryLeafOfTheDocument, ()) {
  const Plan plan = gen::plan();
  const std::set<std::string> listed = paths(plan_fields(plan));
  for (const std::string& leaf : leaves(write_plan(plan))) RC_ASSERT(listed.count(leaf) == 1);
}

RC_GTEST_PROP(PlanFields, SetToTheirOwnValueChangeNothing, ()) {
  const Plan plan = gen::plan();
  const std::string text = write_plan(plan);
  std::vector<Setting> all;
  for (const Field& f : plan_fields(plan)) {
    const Setting own = parse_setting(f.path + "=" + f.value);
    RC_ASSERT(read_plan(apply_settings(text, "p", std::span(&own, 1)), "p") == plan);
    all.push_back(own);
  }
  RC_ASSERT(read_plan(apply_settings(text, "p", all), "p") == plan);
}

// Every fallback is what the reader takes for a field that is not there.
TEST(PlanFields, FallBackToWhatTheReaderTakes) {
  const char* kLeast = R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 1, "sequence": 1}})";
  for (const Field& f : plan_fields(read_plan(kLeast, "p"))) EXPECT_EQ(f.value, f.fallback.value_or(f.value)) << f.path;
}

TEST(ClusterFields, GoIntoTheDeviceAndTheLevels) {
  const std::vector<Field> fields = cluster_fields(load_cluster("dgx-h100:64"));
  const Field memory = find(fields, "device.memory");
  EXPECT_EQ(memory.kind, FieldKind::quantity);
  EXPECT_THAT(memory.units, testing::Contains("GiB"));
  EXPECT_TRUE(memory.above_zero);
  EXPECT_EQ(find(fields, "device.peak.bf16").kind, FieldKind::quantity);
  EXPECT_EQ(find(fields, "levels.0.size").value, "8");
  EXPECT_EQ(find(fields, "levels.1.size").value, "null") << "the last level spans the cluster";
  EXPECT_TRUE(find(fields, "levels.1.size").nullable);
  EXPECT_EQ(find(fields, "devices").value, "64");
  EXPECT_EQ(find(fields, "device.efficiency.gemm.value").kind, FieldKind::number);
  EXPECT_EQ(find(fields, "slow").value, "[]") << "a list that may be left out can be begun";
}

TEST(ClusterFields, SetToTheirOwnValueChangeNothing) {
  for (const char* name : {"dgx-h100:64", "gb200-nvl72", "this-machine:4"}) {
    const Cluster cluster = load_cluster(name);
    const std::string text = write_cluster(cluster);
    for (const Field& f : cluster_fields(cluster)) {
      const Setting own{f.path, f.value};
      EXPECT_EQ(read_cluster(apply_settings(text, "c", std::span(&own, 1)), "c"), cluster) << name << " " << f.path;
    }
  }
}

TEST(ModelFields, HaveEveryLeafOfTheDocumentAndSayWhatItIs) {
  for (const std::string& name : model_names()) {
    const Model model = load_model(name);
    std::set<std::string> expected = leaves(write_model(model));
    for (const char* what : {"_name_or_path", "model_type", "unsupported"}) expected.erase(what);
    if (model.mtp_layers == 0) expected.erase("mtp_use_repeated_layer");
    if (model.intermediate == 0) expected.erase("intermediate_size");
    if (model.mla) expected.erase("qk_norm_trained");
    if (model.rope_scaling.kind == RopeScaling::Kind::other) expected.erase("rope_scaling.rope_type");
    const std::vector<Field> fields = model_fields(model);
    std::set<std::string> listed = paths(fields);
    if (model.rope_scaling.kind == RopeScaling::Kind::other) listed.erase("rope_scaling.rope_type");
    EXPECT_EQ(listed, expected) << name;
    for (const Field& f : fields) EXPECT_FALSE(f.about.empty()) << name << " " << f.path;
  }
}

TEST(ModelFields, SetToTheirOwnValueChangeNothing) {
  // A plain one, one whose file has other names, one with a mixture, one with everything.
  for (const char* name : {"llama-3.1-8b", "gpt2", "mixtral-8x7b", "deepseek-v3"}) {
    const Model model = load_model(name);
    for (const Field& f : model_fields(model)) {
      const Setting own{f.path, f.value};
      EXPECT_EQ(load_model(name, std::span(&own, 1)), model) << name << " " << f.path << "=" << f.value;
    }
  }
}

TEST(ModelFields, CanBeSetByTheirNamesWhateverTheFileCallsThem) {
  const TemporaryFolder folder;
  const std::string file = folder.write("other.json", R"({"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024,
    "n_ctx": 1024, "n_inner": null, "vocab_size": 50257})");
  const std::vector<Setting> ours{{"num_hidden_layers", "24"}}, its{{"n_layer", "24"}};
  EXPECT_EQ(load_model(file, ours).layers, 24);
  EXPECT_EQ(load_model(file, its).layers, 24);
  EXPECT_EQ(load_model("llama-3.1-8b", ours).layers, 24);
  EXPECT_THROW(load_model(file, std::vector<Setting>{{"num_hidden_layers", "many"}}), Error);
}

TEST(SettingValue, QuotesWhatWouldNotBeAText) {
  EXPECT_EQ(setting_value("1f1b"), "1f1b");
  EXPECT_EQ(setting_value("8"), "\"8\"");
  EXPECT_EQ(setting_value("null"), "\"null\"");
  EXPECT_EQ(setting_value(""), "\"\"");
  EXPECT_EQ(setting_value("400 Gb/s"), "400 Gb/s");
  EXPECT_EQ(setting_value("\"q\""), "\"\\\"q\\\"\"");
}

RC_GTEST_PROP(SettingValue, IsReadBackAsTheText, ()) {
  const std::string text = gen::text();
  RC_ASSERT(setting_text(setting_value(text)) == text);
}

TEST(MeaningOfNull, IsWhatStandsBehindIt) {
  EXPECT_EQ(meaning_of_null("on the wire; null: as stored"), "as stored");
  EXPECT_EQ(meaning_of_null("size; null: all; more"), "all");
  EXPECT_EQ(meaning_of_null("nothing"), "");
}

}  // namespace
}  // namespace orrery
