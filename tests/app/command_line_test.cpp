// The command that a question is: a shell takes it apart into the same words, and they say the same.
#include "app/command_line.h"

#include <cstdio>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/error.h"
#include "support/generators.h"
#include "support/temporary_folder.h"

namespace orrery::app {
namespace {

using testing::ElementsAre;

PlanFlags flags(const std::string& model, const std::string& cluster, std::vector<std::string> settings = {}) {
  PlanFlags f;
  f.model = model;
  f.cluster = cluster;
  f.settings = std::move(settings);
  return f;
}

// The words that a shell makes of the line; they hold no zero bytes.
std::vector<std::string> split_by_shell(const std::string& line) {
  const TemporaryFolder folder;
  const std::string script = folder.write("words.sh", "printf '%s\\0' " + line + "\n");
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(("sh " + script).c_str(), "r"), pclose);
  std::string all;
  char block[4096];
  for (std::size_t n = 0; (n = fread(block, 1, sizeof block, pipe.get())) > 0;) all.append(block, n);
  std::vector<std::string> out;
  for (std::size_t from = 0; from < all.size();) {
    const std::size_t to = all.find('\0', from);
    out.push_back(all.substr(from, to - from));
    from = to + 1;
  }
  return out;
}

// What the command line would make of the words, flags that take a value only.
PlanFlags parsed(const std::vector<std::string>& words) {
  PlanFlags f;
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::string& flag = words[i];
    if (flag == "--sp" || flag == "--no-sp") {
      f.sp = flag == "--sp";
      continue;
    }
    if (!flag.starts_with("--")) {
      f.plan = flag;
      continue;
    }
    const std::string& value = words.at(++i);
    if (flag == "--plan") f.plan = value;
    if (flag == "--model") f.model = value;
    if (flag == "--cluster") f.cluster = value;
    if (flag == "--profile") f.profile = value;
    if (flag == "--schedule") f.schedule = value;
    if (flag == "--recompute") f.recompute = value;
    if (flag == "--stages") f.stages = value;
    if (flag == "--precision") f.precision = value;
    if (flag == "--set") f.settings.push_back(value);
    const std::pair<const char*, std::optional<std::int64_t>*> numbers[] = {{"--tp", &f.tp},
                                                                            {"--cp", &f.cp},
                                                                            {"--ep", &f.ep},
                                                                            {"--pp", &f.pp},
                                                                            {"--vp", &f.vp},
                                                                            {"--global-batch", &f.global_batch},
                                                                            {"--micro-batch", &f.micro_batch},
                                                                            {"--sequence", &f.sequence},
                                                                            {"--zero", &f.zero}};
    for (const auto& [name, member] : numbers)
      if (flag == name) *member = std::stoll(value);
  }
  return f;
}

TEST(CommandLine, HasShortFlagsInPlaceOfSettings) {
  EXPECT_EQ(command_line(flags("llama-3.1-70b", "dgx-h100:64",
                               {"parallel.tp=8", "parallel.pp=2", "batch.global=128", "schedule=zb-h1", "parallel.sp=true", "sharding.zero=1",
                                "precision.compute=bf16", "precision.params=bf16"}),
                         "simulate"),
            "orrery simulate --model llama-3.1-70b --cluster dgx-h100:64 --tp 8 --pp 2 --global-batch 128 --zero 1 --schedule zb-h1 --sp "
            "--precision bf16");
}

TEST(CommandLine, QuotesWhatAShellWouldTakeApart) {
  EXPECT_EQ(command_line(flags("my model/config.json", "dgx-h100:64", {"cluster.levels.1.bandwidth=800 Gb/s"}), "simulate"),
            "orrery simulate --model 'my model/config.json' --cluster dgx-h100:64 --set 'cluster.levels.1.bandwidth=800 Gb/s'");
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_quoted("~/plan.json"), "'~/plan.json'");
}

TEST(CommandLine, SaysWhatHoldsAndNotWhatWasOverridden) {
  EXPECT_THAT(tidied({"parallel.tp=2", "batch.micro=2", "parallel.tp=4"}), ElementsAre("batch.micro=2", "parallel.tp=4"));
  EXPECT_THAT(tidied({"parallel.tp=2", "parallel={\"pp\": 2}"}), ElementsAre("parallel={\"pp\": 2}"));
  EXPECT_THAT(tidied({"parallel={\"pp\": 2}", "parallel.tp=2"}), ElementsAre("parallel={\"pp\": 2}", "parallel.tp=2"));
  EXPECT_THAT(tidied({"cluster.levels[1].latency=1 us", "plan.seed=1", "cluster.levels.1.latency=2 us", "seed=2"}),
              ElementsAre("cluster.levels.1.latency=2 us", "seed=2"));
  EXPECT_THAT(tidied({"model.num_hidden_layers=2", "model=gpt2"}), ElementsAre("model.num_hidden_layers=2", "model=gpt2"));
  PlanFlags f = flags("m", "c", {"parallel.tp=4"});
  f.tp = 2;
  EXPECT_EQ(command_line(f, "simulate"), "orrery simulate --model m --cluster c --tp 4");
  // A flag counts before the setting, which would take it back.
  f.settings = {"parallel={\"pp\": 2}", "parallel.tp=4"};
  EXPECT_EQ(command_line(f, "simulate"), "orrery simulate --model m --cluster c --set 'parallel={\"pp\": 2}' --set parallel.tp=4");
}

TEST(CommandLine, OfEachVerbHasItsOwnFlags) {
  PlanFlags f = flags("", "", {"parallel.tp=4", "batch.global=8"});
  f.plan = "p.json";
  EXPECT_EQ(command_line(f, "run", {"--data", "my text"}), "orrery run p.json --tp 4 --global-batch 8 --data 'my text'");
  EXPECT_EQ(command_line(f, "plan"), "orrery plan --plan p.json --global-batch 8 --set parallel.tp=4") << "there --tp is a list of values to try";
  f = flags("m", "c", {"parallel.tp=4"});
  f.precision = "fp8-delayed";
  EXPECT_EQ(command_line(f, "compare"), "orrery compare --model m --cluster c --tp 4 --precision fp8-delayed");
  EXPECT_EQ(command_line(f, "simulate"), "orrery simulate --model m --cluster c --tp 4 --precision fp8-delayed");
}

// Either what changes, where settings alone say it, or both sides.
TEST(CommandLine, ComparesByWhatChangesOrByBothSides) {
  const auto line = [](const PlanFlags& a, const PlanFlags& b) { return shell_line(compare_words({{}, a}, {{}, b})); };
  PlanFlags a = flags("m", "c", {"parallel.tp=8", "batch.micro=2"});
  PlanFlags b = flags("m", "c", {"batch.micro=2", "parallel.tp=4"});
  EXPECT_EQ(line(a, b), "orrery compare --model m --cluster c --tp 8 --micro-batch 2 --then parallel.tp=4");
  b.cluster = "d";
  EXPECT_EQ(line(a, b), "orrery compare --model m --cluster c --tp 8 --micro-batch 2 --then cluster=d --then parallel.tp=4");
  b = flags("m", "c", {"parallel.tp=4"});  // what `a` says of the micro-batch cannot be taken back
  EXPECT_EQ(line(a, b), "orrery compare --model m --cluster c --tp 8 --micro-batch 2 --with --model m --cluster c --tp 4");
  a = flags("m", "c", {"parallel={\"tp\": 2}"}), b = flags("m", "c", {"parallel={\"tp\": 2}", "parallel.pp=2"});
  EXPECT_EQ(line(a, b),
            "orrery compare --model m --cluster c --set 'parallel={\"tp\": 2}' --with --model m --cluster c --set 'parallel={\"tp\": 2}' "
            "--set parallel.pp=2")
      << "their order counts";
  EXPECT_EQ(line(b, b).find("--then"), std::string::npos);
  EXPECT_EQ(shell_line(compare_words({"a.json", {}}, {"b.json", {}})), "orrery compare a.json b.json");
  EXPECT_EQ(shell_line(compare_words({{}, flags("m", "c")}, {"run.json", {}})), "orrery compare --model m --cluster c --with run.json");
}

TEST(CommandLine, KeepsValuesThatAFlagWouldReadOtherwise) {
  const std::string line =
      command_line(flags("m", "c", {"schedule=csv", "schedule_args.csv=o.csv", "recompute.kind=\"full\"", "parallel.tp=8.0"}), "simulate");
  EXPECT_EQ(line,
            "orrery simulate --model m --cluster c --set schedule=csv --set schedule_args.csv=o.csv --set 'recompute.kind=\"full\"' --set "
            "parallel.tp=8.0");
}

RC_GTEST_PROP(CommandLine, IsTakenApartByAShellIntoItsWords, ()) {
  std::vector<std::string> words{"orrery"};
  for (std::int64_t n = gen::whole(0, 4); n > 0; --n) {
    std::string word = *rc::gen::string<std::string>();
    std::erase(word, '\0');
    words.push_back(std::move(word));
  }
  RC_ASSERT(split_by_shell(shell_line(words)) == words);
}

RC_GTEST_PROP(CommandLine, SaysWhatTheFlagsSay, ()) {
  PlanFlags f = flags("llama-3.1-8b", "dgx-h100:64");
  const auto power = [] { return std::int64_t{1} << gen::whole(0, 2); };
  f.tp = gen::maybe(power), f.pp = gen::maybe(power), f.micro_batch = gen::maybe(power);
  f.zero = gen::maybe([] { return gen::whole(0, 3); });
  f.sp = gen::maybe(gen::coin);
  f.recompute = gen::maybe([] { return gen::word({"none", "full"}); });
  f.precision = gen::maybe([] { return gen::word({"bf16", "fp32", "fp8-delayed"}); });
  f.schedule = gen::maybe([] { return gen::word({"1f1b", "gpipe", "order.csv"}); });
  f.stages = gen::maybe([] { return gen::word({"16x2", "7,8x14,7"}); });
  f.settings = gen::list(
      [] {
        return gen::word({"parallel.tp=2", "parallel.tp=4", "parallel.sp=true", "parallel={\"tp\": 2, \"pp\": 4}", "recompute.kind=full",
                          "schedule=zb-h1", "precision.compute=fp16", "precision={\"compute\": \"fp32\"}", "stages=null",
                          "cluster.device.memory=96 GB", "batch.micro=2", "plan.batch.sequence=4096", "optimizer.clip=0",
                          "model.num_hidden_layers=16", "cluster.levels[1].latency=3 us"});
      },
      6);
  const PlanFlags again = parsed(split_by_shell(command_line(f, "simulate")));
  const auto load = [](const PlanFlags& it) {
    try {
      return inputs_hash(load_inputs(it));
    } catch (const Error& e) {
      return "refused: " + e.message();
    }
  };
  RC_ASSERT(load(again) == load(f));
}

}  // namespace
}  // namespace orrery::app
