// The manners of the command line: results on stdout, the rest on stderr, one JSON document with --json, exit codes, Ctrl-C.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/process.h"
#include "support/temporary_folder.h"

namespace orrery {
namespace {

using Json = nlohmann::json;

constexpr const char* kPlan = R"({"orrery": "plan/1", "model": "cpu-llama-tiny", "cluster": "this-machine:2",
 "batch": {"global": 4, "micro": 1, "sequence": 32}, "parallel": {"pp": 2}, "precision": {"compute": "fp32", "params": "fp32"}})";

class Command : public testing::Test {
 protected:
  void SetUp() override { folder_.write("p.json", kPlan); }
  Finished run(const std::string& command, const std::vector<std::string>& environment = {}) const {
    return orrery(command, folder_.path().string(), environment);
  }
  TemporaryFolder folder_;
};

// An interrupted write would leave one.
bool holds_temporary_files(const TemporaryFolder& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path()))
    if (entry.path().extension() == ".tmp") return true;
  return false;
}

TEST_F(Command, WithJsonPrintsOneDocumentAndNothingElse) {
  folder_.write("simulation.json", run("simulate --plan p.json --json").out);
  const std::vector<std::pair<std::string, std::string>> commands{
      {"simulate --plan p.json --json", "simulation/1"},
      {"simulate --plan p.json --json --trace t.json -o q.json", "simulation/1"},
      {"plan --plan p.json --json", "search/1"},
      {"sweep --plan p.json --grid parallel.pp=1,2 --json", "table/1"},
      {"run p.json --data markov --steps 2 --json", "run/1"},
      {"compare p.json simulation.json --json", "comparison/1"},
      {"show plan p.json --json", "plan/1"},
      {"show cluster dgx-h100:16 --json", "cluster/1"},
      {"show device h100-sxm --json", "device/1"},
  };
  for (const auto& [command, kind] : commands) {
    const Finished done = run(command);
    EXPECT_EQ(done.code, 0) << command << "\n" << done.err;
    ASSERT_TRUE(Json::accept(done.out)) << command << "\n" << done.out.substr(0, 300);
    EXPECT_EQ(Json::parse(done.out).at("orrery"), kind) << command;
    EXPECT_EQ(done.out.back(), '\n') << command;
  }
  for (const char* command : {"show models --json", "show clusters --json", "show devices --json", "show model gpt2 --json",
                              "show schema plan --json", "show schema sweep", "show schema summary", "show timeline t.json --json"})
    EXPECT_TRUE(Json::accept(run(command).out)) << command;
}

TEST_F(Command, SaysResultsOnStdoutAndTheRestOnStderr) {
  const Finished done = run("simulate --plan p.json --trace t.json");
  EXPECT_EQ(done.code, 0);
  EXPECT_NE(done.out.find("step time"), std::string::npos);
  EXPECT_EQ(done.err.find("trace: t.json ("), 0U) << done.err;
  EXPECT_EQ(done.out.find("t.json"), std::string::npos);
  EXPECT_TRUE(Json::accept(folder_.read("t.json")));
  // Progress is drawn on a terminal only.
  EXPECT_EQ(run("plan --plan p.json").err, "");
  EXPECT_EQ(run("run p.json --data markov --steps 2").err, "");
}

TEST_F(Command, UsesNoColourWhereNobodyLooks) {
  for (const char* command : {"simulate --plan p.json --explain", "plan --plan p.json", "compare p.json p.json"}) {
    const Finished done = run(command);
    EXPECT_EQ(done.code, 0) << command;
    EXPECT_EQ(done.out.find('\033'), std::string::npos) << command;
    EXPECT_EQ(run(command, {"NO_COLOR=1"}).out, done.out) << command;
  }
}

TEST_F(Command, HelpsWithEveryVerb) {
  const std::string all = run("--help").out;
  EXPECT_EQ(run("").out, all);
  for (const std::string verb : {"demo", "profile", "simulate", "plan", "sweep", "run", "compare", "show"}) {
    EXPECT_NE(all.find("\n  " + verb + " "), std::string::npos) << verb;
    const Finished help = run(verb + " --help");
    EXPECT_EQ(help.code, 0) << verb;
    EXPECT_NE(help.out.find("orrery " + verb), std::string::npos) << help.out;
    EXPECT_NE(help.out.find("--json"), std::string::npos) << verb;
    EXPECT_EQ(help.err, "") << verb;
    EXPECT_EQ(run(verb + " -h").out, help.out);
  }
}

TEST_F(Command, HelpsAlsoWhenAskedInWords) {
  EXPECT_EQ(run("help").out, run("--help").out);
  EXPECT_EQ(run("help simulate").out, run("simulate --help").out);
  EXPECT_EQ(run("help").code, 0);
  EXPECT_NE(run("simulate --help").out.find("\ne.g. orrery simulate "), std::string::npos);
}

// What nobody typed is said: the batch, and where nothing else would tell, what to do next.
TEST_F(Command, SaysWhatItAssumed) {
  const std::string out = run("simulate --model llama-3.1-8b --cluster dgx-h100:16 --tp 2 --micro-batch 2").out;
  // 16 devices / tp 2 = 8 replicas of 2 sequences.
  EXPECT_NE(out.find("\nbatch            16 sequences of 8192 tokens a step, 2 per micro-batch on each of 8 replicas\n"), std::string::npos) << out;
  EXPECT_NE(out.find("does not fit, "), std::string::npos);
  EXPECT_NE(out.find("('orrery plan' finds plans that fit)"), std::string::npos);
  EXPECT_NE(run("simulate --plan p.json").out.find(" GFLOP/s per device"), std::string::npos);  // a CPU core
  // 64 devices / tp 2 = 32 replicas of one sequence; 1e12 tokens / (32 · 8192 tokens a step) = 3.81 M steps.
  const std::string whole = run("simulate --model llama-3.1-8b --cluster dgx-h100:64 --tp 2 --tokens 1T --price 2").out;
  EXPECT_NE(whole.find("\nwhole run        1 T tokens in 3.81 M steps: "), std::string::npos) << whole;
  EXPECT_NE(run("compare p.json p.json").out.find("\nA and B take the same time\n"), std::string::npos);
}

TEST_F(Command, ShowsWhatIsSet) {
  EXPECT_NE(run("show model gpt2 --set model.num_hidden_layers=6").out.find("6 x hidden 768"), std::string::npos);
  EXPECT_EQ(Json::parse(run("show model gpt2 --set model.num_hidden_layers=6 --json").out).at("num_hidden_layers"), 6);
  EXPECT_EQ(Json::parse(run("show cluster dgx-h100 --set cluster.devices=32 --json").out).at("devices"), 32);
  EXPECT_EQ(Json::parse(run("show plan p.json --set batch.micro=2").out).at("batch").at("micro"), 2);
}

TEST_F(Command, TellsItsVersionAndWhatIsLeftOut) {
  const Finished done = run("--version");
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.out.find("orrery "), 0U);
  EXPECT_NE(done.out.find("\nleft out of this build: "), std::string::npos);
}

TEST_F(Command, ExitsWith1WhereNoPlanFitsAndWritesNone) {
  // 405 billion parameters do not fit into eight GPUs.
  const Finished done = run("plan --model llama-3.1-405b --cluster dgx-h100:8 --global-batch 8 --sequence 1024 -o out.json");
  EXPECT_EQ(done.code, 1);
  EXPECT_EQ(done.out.find("llama-3.1-405b on dgx-h100:8: 8 sequences of 1024 tokens a step\nno plan fits\n"), 0U) << done.out;
  const Finished illegal = run("plan --model cpu-llama-tiny --cluster dgx-h100:8 --tp 3");
  EXPECT_EQ(illegal.code, 1);
  EXPECT_NE(illegal.out.find("\nno plan is legal\n"), std::string::npos) << illegal.out;
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "out.json"));
  // A simulation of one of them succeeds, and says so.
  const Finished simulated = run("simulate --model llama-3.1-405b --cluster dgx-h100:8 --tp 8 --sequence 1024 --json");
  EXPECT_EQ(simulated.code, 0) << simulated.err;
  EXPECT_EQ(Json::parse(simulated.out).at("fits"), false);
}

TEST_F(Command, PlansSimulatesRunsAndCompares) {
  EXPECT_EQ(run("plan --model cpu-llama-tiny --cluster this-machine:2 --global-batch 4 --sequence 32 -o best.json").code, 0);
  EXPECT_EQ(run("simulate --plan best.json --trace predicted.json").code, 0);
  EXPECT_EQ(run("run best.json --data markov --steps 3 --trace measured.json --report run.json").code, 0);
  for (const char* command : {"compare best.json run.json", "compare predicted.json measured.json", "compare run.json measured.json"}) {
    const Finished done = run(command);
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_TRUE(done.out.find("\nB takes ") != std::string::npos || done.out.find("\nA and B take the same time") != std::string::npos) << done.out;
    EXPECT_NE(done.out.find("where the step goes"), std::string::npos);
  }
}

TEST_F(Command, OfASweepLetsFlagsOverrideItsFile) {
  folder_.write("sweep.json", R"({"orrery": "sweep/1", "plan": "p.json", "set": ["batch.global=8"], "grid": {"parallel.pp": [1, 2]}})");
  const Finished from_file = run("sweep sweep.json"), from_flags = run("sweep --plan p.json --set batch.global=8 --grid parallel.pp=1,2");
  EXPECT_EQ(from_file.code, 0) << from_file.err;
  EXPECT_EQ(from_file.out, from_flags.out);
  EXPECT_EQ(run("sweep sweep.json --set batch.global=4").out, run("sweep --plan p.json --grid parallel.pp=1,2").out);
  EXPECT_EQ(run("sweep sweep.json -o table.csv").code, 0);
  EXPECT_EQ(folder_.read("table.csv"), from_file.out);
}

// Ctrl-C, once there is something to keep. The program draws its progress on the terminal that it is given.
TEST_F(Command, InterruptedInTheMiddleOfARunReportsTheStepsDone) {
  const Finished done = orrery_interrupted("run p.json --data markov --steps 100000000 --report report.json --trace trace.json",
                                           folder_.path().string(), [](const std::string& err) { return err.find("loss") != std::string::npos; });
  EXPECT_EQ(done.code, 130);
  const Json report = Json::parse(folder_.read("report.json"));
  EXPECT_EQ(report.at("interrupted"), true);
  EXPECT_GE(report.at("steps").get<std::int64_t>(), 1);
  EXPECT_EQ(report.at("losses").size(), report.at("steps").get<std::size_t>());
  EXPECT_TRUE(Json::accept(folder_.read("trace.json")));
  EXPECT_NE(done.out.find("(interrupted)"), std::string::npos) << done.out;
  EXPECT_FALSE(holds_temporary_files(folder_));
}

TEST_F(Command, InterruptedInTheMiddleOfASearchShowsWhatItFound) {
  const Finished done =
      orrery_interrupted("plan --model llama-3.1-405b --cluster dgx-h100:16384 --global-batch 4096 --sequence 8192 --threads 1 -o out.json --json",
                         folder_.path().string(), [](const std::string& err) { return err.find("searching") != std::string::npos; });
  EXPECT_EQ(done.code, 130);
  const Json j = Json::parse(done.out);
  EXPECT_EQ(j.at("orrery"), "search/1");
  EXPECT_GT(j.at("not_reached"), 0);
  EXPECT_EQ(j.at("enumerated").get<std::size_t>(),
            j.at("simulated").get<std::size_t>() + j.at("not_reached").get<std::size_t>() + j.at("refused").size() + j.at("pruned").size());
  EXPECT_NE(done.err.find("interrupted: the table holds the best of what was simulated until then"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "out.json"));  // the best so far is not the best
}

TEST_F(Command, InterruptedInTheMiddleOfASweepWritesTheRowsDone) {
  std::string grid = "--grid seed=1";
  for (int i = 2; i <= 20'000; ++i) grid += fmt::format(",{}", i);
  const Finished done = orrery_interrupted("sweep --plan p.json --threads 1 -o table.csv " + grid, folder_.path().string(),
                                           [](const std::string& err) { return err.find("sweeping") != std::string::npos; });
  EXPECT_EQ(done.code, 130);
  const std::string table = folder_.read("table.csv");
  const auto lines = std::count(table.begin(), table.end(), '\n');
  EXPECT_GE(lines, 2);  // the header and a row
  EXPECT_LT(lines, 20'001);
  EXPECT_EQ(table.find("seed,status,"), 0U);
  EXPECT_FALSE(holds_temporary_files(folder_));
}

}  // namespace
}  // namespace orrery
