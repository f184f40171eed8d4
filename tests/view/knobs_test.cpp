// Knobs as values: where they stand, what turning them sets, and what is said of what moved.
#include "gui/view/knobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "gui/view/change.h"
#include "gui/view/edit.h"

namespace orrery::view {
namespace {

app::PlanFlags question(std::vector<std::string> settings = {}) {
  app::PlanFlags f;
  f.model = "llama-3.1-8b";
  f.cluster = "dgx-h100:64";
  f.settings = std::move(settings);
  return f;
}

Knob knob(const app::PlanFlags& q, const std::string& path) {
  const app::Inputs inputs = app::load_inputs(q);
  const std::vector<Knob> all = knobs(q, inputs);
  const auto found = std::find_if(all.begin(), all.end(), [&](const Knob& k) { return k.path == path; });
  if (found == all.end()) throw std::out_of_range(path);
  return with_stops(*found, q, inputs);
}

TEST(Knobs, OfStructureHaveLegalStopsOnly) {
  const Knob tp = knob(question({"parallel.tp=4"}), "parallel.tp");
  EXPECT_EQ(tp.kind, KnobKind::stops);
  std::vector<std::string> values;
  for (const app::LegalValue& v : tp.stops) values.push_back(v.value);
  EXPECT_THAT(values, testing::ElementsAre("1", "2", "4", "8"));
  EXPECT_EQ(position(tp), 2);
  EXPECT_EQ(text_at(tp, 3), "8");
  EXPECT_EQ(settings_at(tp, 3).front(), (std::pair<std::string, std::string>{"parallel.tp", "8"}));
}

TEST(Knobs, KeepThePresentValueAlsoWhereItIsIllegal) {
  const Knob tp = knob(question({"parallel.tp=6"}), "parallel.tp");
  EXPECT_EQ(text_at(tp, position(tp)), "6");
  EXPECT_EQ(text_at(tp, position(tp) + 1), "8");
}

TEST(Knobs, MayTurnAnotherFieldWithThem) {
  const Knob schedule = knob(question({"parallel.pp=4", "batch.global=64"}), "schedule");
  EXPECT_EQ(schedule.kind, KnobKind::choice);
  bool found = false;
  for (int i = 0; i <= most_position(schedule); ++i)
    if (text_at(schedule, i) == "interleaved") {
      EXPECT_THAT(settings_at(schedule, i), testing::ElementsAre(testing::Pair("schedule", "interleaved"), testing::Pair("parallel.vp", "2")));
      found = true;
    }
  EXPECT_TRUE(found);
}

TEST(Knobs, OfTheMachineStandAtZeroWhereNothingWasChanged) {
  for (const Knob& k : knobs(question(), app::load_inputs(question()))) {
    if (k.kind != KnobKind::factor) continue;
    EXPECT_EQ(position(k), 0) << k.path;
    EXPECT_EQ(settings_at(k, 0), (std::vector<std::pair<std::string, std::string>>{{k.path, ""}})) << "as the cluster has it";
    EXPECT_FALSE(k.said) << k.path;
  }
}

TEST(Knobs, OfTheMachineAreFactorsOfWhatTheClusterHas) {
  const Knob nic = knob(question({"cluster.levels.1.bandwidth=100 GB/s"}), "cluster.levels.1.bandwidth");
  EXPECT_EQ(position(nic), kOctave) << "twice the 50 GB/s that it has";
  EXPECT_TRUE(nic.said);
  EXPECT_EQ(text_at(nic, kOctave), "100 GB/s  ×2");
  EXPECT_EQ(text_at(nic, 0), "50 GB/s");
}

TEST(Knobs, TurnTheClockWithinItsLimits) {
  const Knob clock = knob(question({"cluster.device.clock=0.841"}), "cluster.device.clock");  // 2^(-1/4)
  EXPECT_EQ(position(clock), -1);
  EXPECT_EQ(least_position(clock), -kOctave) << "half of it";
  EXPECT_EQ(most_position(clock), 2) << "2^(2/4) = 1.41, and 2^(3/4) is more than 1.5";
  EXPECT_EQ(text_at(clock, -kOctave), "×0.5");
}

TEST(Knobs, MakeOneDeviceAStraggler) {
  const Knob none = knob(question(), "cluster.slow");
  EXPECT_EQ(text_at(none, position(none)), "none");
  EXPECT_EQ(settings_at(none, 0), (std::vector<std::pair<std::string, std::string>>{{"cluster.slow", ""}}));
  for (int at = 1; at <= most_position(none); ++at) {
    const auto settings = settings_at(none, at);
    const Knob slow = knob(with_setting(question(), settings.front().first, settings.front().second), "cluster.slow");
    EXPECT_EQ(position(slow), at);
    EXPECT_TRUE(slow.said);
  }
  const Knob other = knob(question({R"(cluster.slow=[{"device": 3, "factor": 1.2}])"}), "cluster.slow");
  EXPECT_EQ(text_at(other, position(other)), "as set");
}

// The setting of 1024 stages on 65536 micro-batches would be legal, but its schedule would be 10^8 passes long.
TEST(Knobs, AreNotAskedForPlansThatTakeForEver) {
  const app::PlanFlags q = [] {
    app::PlanFlags f;
    f.model = "llama-3.1-405b";
    f.cluster = "h100-grand-teton:16384";
    f.settings = {"batch.global=2048", "parallel.tp=8", "parallel.pp=16", "batch.sequence=8192"};
    return f;
  }();
  for (const app::LegalValue& stop : knob(q, "parallel.pp").stops) EXPECT_LE(std::stoi(stop.value), 64);
}

TEST(Knobs, GiveUpWhenNobodyWantsToKnow) {
  const app::PlanFlags q = question();
  const app::Inputs inputs = app::load_inputs(q);
  const std::atomic<bool> cancel = true;
  const Knob tp = with_stops(knobs(q, inputs).front(), q, inputs, &cancel);
  ASSERT_EQ(tp.stops.size(), 1U) << "the present value stays";
}

// What a factor knob sets is read, and the knob then stands where it was turned to.
RC_GTEST_PROP(Knobs, StandWhereTheyWereTurned, ()) {
  app::PlanFlags q = question();
  const std::vector<Knob> all = knobs(q, app::load_inputs(q));
  const std::size_t which = *rc::gen::inRange<std::size_t>(0, all.size());
  const Knob before = with_stops(all[which], q, app::load_inputs(q));
  const int at = *rc::gen::inRange(least_position(before), most_position(before) + 1);
  for (const auto& [path, value] : settings_at(before, at))
    if (!value.empty()) q = with_setting(q, path, value);
  const std::vector<Knob> after = knobs(q, app::load_inputs(q));
  const Knob turned = with_stops(after[which], q, app::load_inputs(q));
  if (before.kind == KnobKind::factor) RC_ASSERT(position(turned) == at);
  RC_ASSERT(text_at(turned, position(turned)) == text_at(before, at));
}

TEST(Scaled, KeepsTheUnitAndThreeDigits) {
  EXPECT_EQ(scaled("450 GB/s", kOctave), "900 GB/s");
  EXPECT_EQ(scaled("450 GB/s", 1), "535 GB/s") << "2^(1/4) = 1.189";
  EXPECT_EQ(scaled("2.25 us", -kOctave), "1.12 us");
  EXPECT_EQ(scaled("450 GB/s", 0), "450 GB/s");
  EXPECT_EQ(scaled("1", kOctave), "2");
}

app::Summary summary(std::int64_t ideal, std::int64_t tp, std::int64_t bubble) {
  app::Summary s;
  s.waterfall.ideal.v = ideal, s.waterfall.exposed_tp.v = tp, s.waterfall.bubble.v = bubble;
  s.step.v = s.waterfall.step.v = ideal + tp + bubble;
  return s;
}

// 10 s -> 12.5 s: tp + 3 s, bubble - 0.5 s.
TEST(ChangeSentence, NamesWhatMovedMost) {
  constexpr std::int64_t kSecond = 1'000'000'000'000;
  EXPECT_EQ(change_sentence(app::compare(summary(8 * kSecond, kSecond, kSecond), summary(8 * kSecond, 4 * kSecond, kSecond / 2))),
            "25 % slower than the pinned plan: exposed tp +3 s; bubble -500 ms.");
  EXPECT_EQ(change_sentence(app::compare(summary(8 * kSecond, kSecond, kSecond), summary(8 * kSecond, kSecond / 2, kSecond))),
            "5.0 % faster than the pinned plan: exposed tp -500 ms.");
  EXPECT_EQ(change_sentence(app::compare(summary(8, 1, 1), summary(8, 1, 1))), "Nothing moved: the step is as the pinned one.");
  EXPECT_EQ(change_sentence(app::compare(summary(8 * kSecond, 2 * kSecond, 0), summary(8 * kSecond, 0, 2 * kSecond))),
            "As fast as the pinned plan: exposed tp -2 s, bubble +2 s.");
}

TEST(Figures, SayWhatIsBetterAndWhatIsWorse) {
  app::SimulateReport a, b;
  a.step_time.v = 10, b.step_time.v = 8;
  a.tokens_per_s_per_gpu = 800, b.tokens_per_s_per_gpu = 1000;
  a.mfu = 0.4, b.mfu = 0.5;
  a.capacity = b.capacity = Bytes{80LL << 30};
  a.headroom = Bytes{20LL << 30}, b.headroom = Bytes{10LL << 30};
  a.fits = b.fits = true;
  const std::vector<Figure> all = figures(b, &a);
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(all[0], (Figure{"step time", "one training step, in the steady state", "8 s", "10 s", "-20 %", Judgement::better}));
  EXPECT_EQ(all[1].change, "+25 %");
  EXPECT_EQ(all[1].judgement, Judgement::better);
  EXPECT_EQ(all[2].change, "+10.0 points");
  EXPECT_EQ(all[4].now, "70 GiB");
  EXPECT_EQ(all[4].change, "+10 GiB");
  EXPECT_EQ(all[4].judgement, Judgement::worse);
  for (const Figure& f : figures(a, nullptr)) {
    EXPECT_EQ(f.pinned, "") << f.name;
    EXPECT_EQ(f.change, "") << f.name;
  }
  for (const Figure& f : figures(a, &a)) EXPECT_EQ(f.judgement, Judgement::neither) << f.name;
}

}  // namespace
}  // namespace orrery::view
