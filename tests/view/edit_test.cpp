// What is typed into fields, as changes of the question.
#include "gui/view/edit.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "app/fields.h"
#include "core/plan_json.h"
#include "support/generators.h"

namespace orrery::view {
namespace {

app::PlanFlags question(std::vector<std::string> settings = {}) {
  app::PlanFlags f;
  f.model = "cpu-llama-tiny";
  f.cluster = "dgx-h100:8";
  f.settings = std::move(settings);
  return f;
}

Field field(const Plan& plan, const std::string& path) { return app::find_field(app::fields(plan), path)->field; }

// Whatever an editor shows, unchanged, means what is there.
RC_GTEST_PROP(TypedValue, OfWhatIsShownIsTheValue, ()) {
  Plan plan = gen::plan();
  plan.segments.reset();
  for (const app::EditableField& f : app::fields(plan)) {
    if (f.field.kind == FieldKind::text) continue;  // spaces around a text do not survive
    RC_ASSERT(typed_value(f.field, shown_text(f.field)) == f.field.value);
  }
}

TEST(TypedValue, OfNothingIsNullOrTakesTheSettingAway) {
  EXPECT_EQ(typed_value(field(Plan{}, "schedule_args.group"), "  "), "null");
  EXPECT_EQ(typed_value(field(Plan{}, "parallel.tp"), ""), "");
}

TEST(TypedValue, TakesListsAsPeopleWriteThem) {
  EXPECT_EQ(typed_value(field(Plan{}, "stages"), "7,8x2,7"), "[7, 8, 8, 7]");
  EXPECT_EQ(typed_value(field(Plan{}, "stages"), "[7, 8]"), "[7, 8]");
  EXPECT_EQ(typed_value(field(Plan{}, "stages"), "seven"), "seven") << "the reader says what is wrong with it";
  EXPECT_EQ(typed_value(field(Plan{}, "recompute.modules"), "mlp, core_attn"), R"(["mlp", "core_attn"])");
  EXPECT_EQ(typed_value(field(Plan{}, "optimizer.betas"), "0.9, 0.99"), "[0.9, 0.99]");
}

TEST(TypedValue, OfATextIsThatText) {
  EXPECT_EQ(typed_value(field(Plan{}, "moe.load"), "zipf:1.2"), "zipf:1.2");
  EXPECT_EQ(typed_value(field(Plan{}, "offload.details"), "8"), "\"8\"");
  EXPECT_EQ(typed_value(field(Plan{}, "offload.details"), "null"), "null");
}

TEST(CheckEdit, SaysWhatTheReaderSays) {
  EXPECT_FALSE(check_edit(question(), "parallel.tp", "2"));
  EXPECT_FALSE(check_edit(question(), "parallel.tp", "3")) << "illegal, but it can be read";
  EXPECT_FALSE(check_edit(question(), "parallel.tp", ""));
  const std::optional<Error> zero = check_edit(question(), "parallel.tp", "0");
  ASSERT_TRUE(zero);
  EXPECT_EQ(zero->where(), "--set parallel.tp");
  const std::optional<Error> unit = check_edit(question(), "cluster.device.memory", "80");
  ASSERT_TRUE(unit);
  EXPECT_EQ(unit->message(), "80 has no unit");
  EXPECT_FALSE(check_edit(question(), "cluster.device.memory", "96 GB"));
}

TEST(Says, KnowsFlagsAndSettings) {
  app::PlanFlags q = question({"parallel.tp=2", "cluster.levels[1].latency=2 us"});
  q.pp = 2;
  EXPECT_TRUE(says(q, "parallel.tp"));
  EXPECT_TRUE(says(q, "parallel.pp"));
  EXPECT_TRUE(says(q, "cluster.levels.1.latency"));
  EXPECT_FALSE(says(q, "parallel.vp"));
  EXPECT_FALSE(says(q, "parallel"));
}

TEST(Stepped, GoesToTheNextLegalValueAndStopsAtTheEnds) {
  const std::vector<std::string> values{"1", "2", "4", "8", "null"};
  EXPECT_EQ(stepped(values, "2", 1), "4");
  EXPECT_EQ(stepped(values, "2", -1), "1");
  EXPECT_EQ(stepped(values, "1", -1), "1");
  EXPECT_EQ(stepped(values, "8", 1), "null");
  EXPECT_EQ(stepped(values, "3", 1), "4") << "between two";
  EXPECT_EQ(stepped(values, "3", -1), "2");
  EXPECT_EQ(stepped({}, "3", 1), "");
}

}  // namespace
}  // namespace orrery::view
