#include "core/overlap_rule.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "support/temporary_folder.h"

namespace orrery {
namespace {

using Pass = OverlapStep::Pass;

std::string words(const std::vector<OverlapStep>& steps) {
  static constexpr std::array<const char*, 4> kSegments{"attention", "dispatch", "mlp", "combine"};
  std::string out;
  for (const OverlapStep& s : steps)
    out += fmt::format("{}{}({})", out.empty() ? "" : " ", kSegments[static_cast<std::size_t>(s.segment)], "FBW"[static_cast<std::size_t>(s.pass)]);
  return out;
}

std::string refusal(const std::string& text) {
  try {
    (void)read_overlap_rule(text, "r.json");
  } catch (const Error& e) {
    return e.what();
  }
  return "read";
}

// DeepSeek's lanes: an exchange is issued as soon as what it sends has been, and before what uses it.
TEST(OverlapRule, IssuesExchangesAsEarlyAsTheirLanesAllow) {
  EXPECT_EQ(words(issue_order(overlap_rule("deepseek", "here"))),
            "combine(B) attention(F) dispatch(F) mlp(B) dispatch(B) mlp(W) mlp(F) combine(F) attention(B) attention(W)");
  EXPECT_TRUE(issue_order(overlap_rule("none", "here")).empty());
}

TEST(OverlapRule, IsReadFromAFile) {
  const TemporaryFolder folder;
  OverlapRule rule = overlap_rule("deepseek", "here");
  std::swap(rule.compute[2], rule.compute[3]);  // mlp(W) after mlp(F)
  const std::string file = (folder.path() / "mine.json").string();
  write_file_atomically(file, write_overlap_rule(rule));
  rule.name = file;
  EXPECT_EQ(overlap_rule(file, "here"), rule);
}

TEST(OverlapRule, IsReadStrictly) {
  const std::string comm = R"("comm": ["combine B", "dispatch F", "dispatch B", "combine F"])";
  EXPECT_EQ(refusal(R"({"orrery": "overlap/2"})"), "r.json:1: is not a rule of overlap\n  hint: begin with \"orrery\": \"overlap/1\"");
  EXPECT_EQ(refusal(R"({"orrery": "overlap/1", "compute": ["atention F"], )" + comm + "}"),
            "r.json:1: compute[0]: 'atention F' is not known here\n  hint: did you mean 'attention F'?");
  EXPECT_EQ(refusal(R"({"orrery": "overlap/1", "compute": ["attention F", "mlp B", "mlp F", "attention B", "attention W"], )" + comm + "}"),
            "r.json:1: the compute lane does not hold attention and mlp once as F, B and W each");
  // combine(F) sends what mlp(F) makes, which waits for dispatch(F), which comes after combine(F) in its lane.
  EXPECT_EQ(refusal(R"({"orrery": "overlap/1", "compute": ["attention F", "mlp F", "mlp B", "mlp W", "attention B", "attention W"],
                       "comm": ["combine B", "combine F", "dispatch F", "dispatch B"]})"),
            "r.json:1: its lanes wait for each other\n  hint: an exchange comes after what it sends, and before what uses it");
  try {
    (void)overlap_rule("deepsek", "schedule_args.overlap_rule");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "schedule_args.overlap_rule: 'deepsek' is not a rule of overlap, nor a file\n  hint: did you mean 'deepseek'?");
  }
}

// Whatever the lanes: where there is an order of issue, it keeps both of them and the layers' own order.
RC_GTEST_PROP(OverlapRule, OrderOfIssueKeepsBothLanesAndTheLayers, ()) {
  OverlapRule rule = overlap_rule("deepseek", "here");
  for (auto* lane : {&rule.compute, &rule.comm})
    for (std::size_t i = lane->size(); i > 1; --i) std::swap((*lane)[i - 1], (*lane)[*rc::gen::inRange<std::size_t>(0, i)]);
  std::vector<OverlapStep> order;
  try {
    order = issue_order(rule);
  } catch (const Error&) {
    return;
  }
  const auto at = [&](Segment s, Pass p) { return std::find(order.begin(), order.end(), OverlapStep{s, p}) - order.begin(); };
  for (const auto* lane : {&rule.compute, &rule.comm})
    for (std::size_t i = 1; i < lane->size(); ++i)
      RC_ASSERT(at((*lane)[i - 1].segment, (*lane)[i - 1].pass) < at((*lane)[i].segment, (*lane)[i].pass));
  for (std::size_t i = 1; i < kForwardOrder.size(); ++i) {
    RC_ASSERT(at(kForwardOrder[i - 1], Pass::forward) < at(kForwardOrder[i], Pass::forward));
    RC_ASSERT(at(kForwardOrder[i], Pass::input_grad) < at(kForwardOrder[i - 1], Pass::input_grad));
  }
  RC_ASSERT(order.size() == 10U);
}

}  // namespace
}  // namespace orrery
