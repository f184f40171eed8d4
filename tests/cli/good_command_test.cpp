// The manners of the command line: results on stdout, the rest on stderr, one JSON document with --json, exit codes, Ctrl-C.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

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
      {"schedule zbv --ranks 2 --microbatches 4 --json", "schedule/1"},
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

TEST_F(Command, ExplainsWhichLinksAreHottest) {
  const std::string out = run("simulate --model llama-2-7b --cluster dgx-h100:16 --tp 8 --global-batch 32 --sequence 4096 --explain").out;
  const std::size_t at = out.find("hottest links");
  ASSERT_NE(at, std::string::npos);
  EXPECT_NE(out.find("nvlink", at), std::string::npos);      // tensor parallelism in each node
  EXPECT_NE(out.find("infiniband", at), std::string::npos);  // gradients between the two
}

// What the window's pages show of links, power and memory, for whoever has none.
TEST_F(Command, PrintsWhatTheWindowShows) {
  const std::string plan = "simulate --model llama-2-7b --cluster dgx-h100:16 --tp 8 --global-batch 32 --sequence 4096";
  EXPECT_FALSE(Json::parse(run(plan + " --json").out).contains("details")) << "it takes time";
  const Finished explained = run(plan + " --explain --json");
  ASSERT_EQ(explained.code, 0) << explained.err;
  const Json whole = Json::parse(explained.out), details = whole.at("details");
  // In each node 8 ranks of tp, between the two nodes 2 of dp: NVLink carries most of tp's, InfiniBand dp's alone.
  ASSERT_EQ(details.at("links").size(), 2U);
  for (const Json& link : details.at("links")) {
    EXPECT_EQ(link.at("alike"), 16);
    EXPECT_GT(link.at("load"), 0);
    double sent = 0;
    for (const Json& use : link.at("uses")) sent += use.at("sent_bytes").get<double>();
    EXPECT_NEAR(sent, link.at("sent_bytes").at("total").get<double>(), 1);
    EXPECT_EQ(link.at("sent_bytes").at("tp") > 0, link.at("link") == "nvlink");
  }
  EXPECT_EQ(details.at("memory_at_peak").at(0).at("bytes"), whole.at("peak_memory_bytes_by_stage").at(0));
  double joules = details.at("power").at("idle_j");
  for (const auto& [name, above] : details.at("power").at("above_idle_j_by_class").items()) joules += above.get<double>();
  EXPECT_NEAR(joules, whole.at("energy_per_step_j").get<double>(), 1e-6 * joules);
  const std::string text = run(plan + " --explain").out;
  for (const char* what : {"\nhottest links", "\nmemory at the peak of each stage", "\nenergy (assumed"})
    EXPECT_NE(text.find(what), std::string::npos) << what;

  const Finished halted = run(plan + " --at 100ms --rank 11 --json");
  ASSERT_EQ(halted.code, 0) << halted.err;
  const Json moment = Json::parse(halted.out).at("moment");
  EXPECT_DOUBLE_EQ(moment.at("time_s"), 0.1);
  ASSERT_FALSE(moment.at("spans").empty());
  for (const Json& span : moment.at("spans")) {
    EXPECT_LE(span.at("start_s"), 0.1);
    EXPECT_GT(span.at("end_s"), 0.1);
  }
  EXPECT_LT(moment.at("memory").at("bytes"), whole.at("peak_memory_bytes_by_stage").at(0));
  EXPECT_NE(run(plan + " --at 100ms").out.find("\nat 100 ms\npower "), std::string::npos);
  // A trace of some ranks says nothing of the others; this still does.
  EXPECT_EQ(run(plan + " --at 100ms --rank 11 --json --trace t.json --ranks 3").out, halted.out);
}

// Plans need no files to be compared.
TEST_F(Command, ComparesPlansByTheirFlags) {
  folder_.write("q.json", run("show plan p.json --set batch.micro=2").out);
  const Json files = Json::parse(run("compare p.json q.json --json").out);
  for (const char* command :
       {"compare --plan p.json --then batch.micro=2 --json", "compare p.json --then batch.micro=2 --json",
        "compare --plan p.json --with --plan p.json --micro-batch 2 --json", "compare p.json --with q.json --json",
        "compare p.json --json --with --model cpu-llama-tiny --cluster this-machine:2 --global-batch 4 --micro-batch 2 --sequence 32 "
        "--pp 2"}) {
    const Finished done = run(command);
    ASSERT_EQ(done.code, 0) << command << "\n" << done.err;
    const Json flags = Json::parse(done.out);
    for (const char* part : {"waterfall_s", "memory_bytes"}) EXPECT_EQ(flags.at(part), files.at(part)) << command;
  }
}

TEST_F(Command, UsesNoColourWhereNobodyLooks) {
  for (const char* command :
       {"simulate --plan p.json --explain", "plan --plan p.json", "compare p.json p.json", "schedule zb-h1 --ranks 2 --microbatches 4"}) {
    const Finished done = run(command);
    EXPECT_EQ(done.code, 0) << command;
    EXPECT_EQ(done.out.find('\033'), std::string::npos) << command;
    EXPECT_EQ(run(command, {"NO_COLOR=1"}).out, done.out) << command;
  }
}

// Six steps in one run, and in two with a checkpoint between, the second under another plan.
TEST_F(Command, KeepsCheckpointsAndGoesOnFromThem) {
  const std::string whole = run("run p.json --data markov --steps 6 --json").out;
  const Finished first = run("run p.json --data markov --steps 4 --checkpoint kept --checkpoint-every 3 --json");
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.err, "checkpoint: kept has 4 steps\n");
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "kept" / "step-00000004" / "model.safetensors"));
  EXPECT_EQ(run("run p.json --data markov --steps 4 --resume kept").code, 2);  // has them already
  const Finished anew = run("run p.json --data markov --steps 2 --checkpoint kept");
  EXPECT_EQ(anew.code, 2);
  EXPECT_EQ(anew.err,
            "--checkpoint: kept/step-00000004 is there, which this run would leave as the newest: it begins after 0 steps\n"
            "  hint: give another folder, or go on from there: --resume kept/step-00000004\n");
  const Finished shallow = run("run p.json --data markov --steps 6 --resume kept --set model.num_hidden_layers=2 --json");
  EXPECT_EQ(shallow.code, 2);
  EXPECT_NE(shallow.err.find("has 'model.layers.2.input_layernorm.weight', for which this run's "), std::string::npos) << shallow.err;
  const Finished second = run("run p.json --tp 2 --pp 1 --data markov --steps 6 --resume kept --json");
  EXPECT_EQ(second.code, 0) << second.err;
  const Json a = Json::parse(whole).at("losses"), b = Json::parse(second.out).at("losses");
  EXPECT_EQ(Json::parse(second.out).at("first_step"), 4);
  ASSERT_EQ(b.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_NEAR(a.at(4 + i).get<double>() / b.at(i).get<double>(), 1, 1e-5);
  // Another run's checkpoint is no continuation of this one, and says why.
  const Finished other = run("run p.json --data p.json --steps 6 --checkpoint kept --resume kept");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("hint: give the same --data, or begin anew with its weights: --init"), std::string::npos) << other.err;
}

TEST_F(Command, SaysThatThereIsNoDriver) {
  if (std::string_view(ORRERY_CUDA_PLUGIN).empty()) GTEST_SKIP() << "built without CUDA";
  if (std::filesystem::exists("/dev/nvidiactl")) GTEST_SKIP() << "there is a driver here";
  const Finished done = run("run p.json --cluster dgx-h200:2 --data markov --device cuda", {"ORRERY_CUDA_PLUGIN=" ORRERY_CUDA_PLUGIN});
  EXPECT_EQ(done.code, 2);
  EXPECT_EQ(done.out, "");
  EXPECT_EQ(done.err, "cuda: no NVIDIA driver is installed\n  hint: install one, or run with --device cpu; in a container, run it with --gpus all\n");
}

// 16,384 sequences of 8,192 tokens at once: 17 TiB, which no machine has.
TEST_F(Command, SaysWhichPlanWouldFitIntoMemory) {
  const Finished done =
      run("run --model cpu-llama-small --cluster this-machine:1 --sequence 8192 --global-batch 16384 --micro-batch 16384 --data markov");
  EXPECT_EQ(done.code, 2);
  EXPECT_EQ(done.err.find("plan: its 1 ranks need "), 0U) << done.err;
  EXPECT_NE(done.err.find("\n  hint: --tp 1 --pp 1 --micro-batch "), std::string::npos) << done.err;
  EXPECT_NE(done.err.find(" fits into "), std::string::npos) << done.err;
}

TEST_F(Command, HelpsWithEveryVerb) {
  const std::string all = run("--help").out;
  EXPECT_EQ(run("").out, all);
  for (const std::string verb : {"demo", "profile", "simulate", "plan", "sweep", "run", "compare", "schedule", "show"}) {
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

// A rank's row of every block, without what is left of it.
std::vector<std::string> rows(const std::string& out, const std::string& rank) {
  std::vector<std::string> found;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(rank)) found.push_back(line.substr(rank.size()));
  return found;
}

// 2 ranks, 3 micro-batches, F = 1, B = 2: rank 0 F0 F1, waits from 2 to 4 for B0 of rank 1 (1-2 F0, 2-4 B0), …
TEST_F(Command, DrawsAScheduleToScale) {
  const Finished done = run("schedule 1f1b --ranks 2 --microbatches 3 --width 80");
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(rows(done.out, "rank 0 "), std::vector<std::string>{"F0 F1 ......B0--- F2 B1--- ...B2--- "}) << done.out;
  EXPECT_EQ(rows(done.out, "rank 1 "), std::vector<std::string>{"...F0 B0--- F1 B1--- F2 B2--- ......"}) << done.out;
  EXPECT_NE(done.out.find("\nmakespan         12\n"), std::string::npos);
  EXPECT_NE(done.out.find("\nbubble           3 of the makespan on the rank that idles most (25.0 %;"), std::string::npos);
  EXPECT_NE(done.out.find("\n     0         9         3         3   2\n     1         9         3         0   1\n"), std::string::npos);
}

TEST_F(Command, DrawsALongScheduleInBlocksOfALine) {
  for (const int width : {80, 120, 200})
    for (const char* schedule :
         {"interleaved --ranks 4 --microbatches 16", "dualpipe --ranks 8 --microbatches 20", "seq1f1b --ranks 4 --microbatches 12",
          "zb-auto --ranks 4 --microbatches 12 --cost F=1,I=1.2,W=.8,p2p=.1", "gpipe --ranks 100 --microbatches 200"}) {
      const Finished done = run(fmt::format("schedule {} --width {}", schedule, width));
      EXPECT_EQ(done.code, 0) << schedule << done.err;
      std::istringstream lines(done.out);
      for (std::string line; std::getline(lines, line);)
        if (line.starts_with("rank ") || line.starts_with("time")) {
          EXPECT_LE(line.size(), static_cast<std::size_t>(width)) << schedule;
        }
    }
}

TEST_F(Command, WritesAScheduleThatItReadsBack) {
  EXPECT_EQ(run("schedule zbv --ranks 2 --microbatches 4 --csv -o order.csv").code, 0);
  EXPECT_EQ(run("schedule zbv --ranks 2 --microbatches 4 --csv-full -o full.csv").code, 0);
  const std::string direct = run("schedule zbv --ranks 2 --microbatches 4").out, read = run("schedule order.csv").out;
  EXPECT_EQ(read.substr(read.find("time ")), direct.substr(direct.find("time ")));
  EXPECT_EQ(run("schedule full.csv").out, read);
  EXPECT_EQ(run("schedule full.csv --csv").out, folder_.read("order.csv"));
  EXPECT_EQ(run("schedule zbv --ranks 2 --microbatches 4 --svg").out.find("<svg "), 0U);
}

// A schedule that fails its check says why, and exits as other failed checks do.
TEST_F(Command, ExitsWith1WhereAScheduleFailsItsCheck) {
  const Finished limited = run("schedule 1f1b --ranks 4 --microbatches 8 --memory-limit 3 --json");
  EXPECT_EQ(limited.code, 1);
  EXPECT_EQ(limited.out, "");
  EXPECT_EQ(limited.err, "1f1b: rank 0 holds 4 activations at once, more than 3\n");
  EXPECT_EQ(run("schedule zb-auto --ranks 4 --microbatches 8 --memory-limit 3").code, 0);  // keeps it
  folder_.write("order.csv", "0F0,0F1,0B0\n1F0,1F1,1B0,1B1\n");
  const Finished missing = run("schedule order.csv");
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.err, "order.csv: rank 0 never runs the backward of micro-batch 1\n");
}

TEST_F(Command, SimulatesAndRunsAScheduleFromAFile) {
  // All forwards, then backwards in the reverse order: none of the named schedules of one chunk.
  folder_.write("order.csv", "0F0,0F1,0F2,0F3,0B3,0B2,0B1,0B0\n1F0,1F1,1F2,1F3,1B3,1B2,1B1,1B0\n");
  const Finished simulated = run("simulate --plan p.json --schedule order.csv --json -o csv.json");
  EXPECT_EQ(simulated.code, 0) << simulated.err;
  // 4·3 + 3 = 15 units of time, 12 of them busy on both ranks.
  EXPECT_DOUBLE_EQ(Json::parse(simulated.out).at("bubble_fraction"), 3.0 / 15);
  EXPECT_EQ(Json::parse(folder_.read("csv.json")).at("schedule_args").at("csv"), "order.csv");
  const Finished reversed = run("run csv.json --data markov --steps 2 --json"), straight = run("run p.json --data markov --steps 2 --json");
  EXPECT_EQ(reversed.code, 0) << reversed.err;
  EXPECT_NEAR(Json::parse(reversed.out).at("losses").at(1), Json::parse(straight.out).at("losses").at(1), 1e-5);
}

TEST_F(Command, SearchesChunksAndSchedulesWhereAsked) {
  const Finished done = run("plan --plan p.json --pp 2 --schedule 1f1b,interleaved,zbv --vp 1,2 --set model.num_hidden_layers=4 --top 100 --json");
  EXPECT_EQ(done.code, 0) << done.err;
  std::set<std::pair<std::string, std::int64_t>> seen;
  const Json found = Json::parse(done.out);
  for (const Json& plan : found.at("plans")) seen.emplace(plan.at("plan").at("schedule"), plan.at("plan").at("parallel").at("vp"));
  EXPECT_TRUE(seen.contains({"1f1b", 1})) << done.out;
  EXPECT_TRUE(seen.contains({"interleaved", 2})) << done.out;
  EXPECT_TRUE(seen.contains({"zbv", 2})) << done.out;
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

// What a run's routers chose goes into a file for moe.load and into its report, with which compare simulates the plan.
TEST_F(Command, RecordsTheRoutingOfARunAndReplaysIt) {
  folder_.write("moe.json", R"({"orrery": "plan/1", "model": "cpu-mixtral-tiny", "cluster": "this-machine:2",
 "batch": {"global": 4, "micro": 1, "sequence": 32}, "parallel": {"ep": 2}, "runtime": {"moe_balanced": false},
 "precision": {"compute": "fp32", "params": "fp32"}})");
  const Finished ran = run("run moe.json --data markov --steps 3 --expert-load load.txt -o run.json");
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.err.find("expert load: load.txt"), std::string::npos);
  const std::string lines = folder_.read("load.txt");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1 + 4 * 3 * 2);  // what it is; layers x steps x micro-batches
  EXPECT_EQ(Json::parse(folder_.read("run.json")).at("expert_load"), lines);
  const Finished replayed = run("compare moe.json run.json --json");
  ASSERT_EQ(replayed.code, 0) << replayed.err;
  const Json comparison = Json::parse(replayed.out);
  EXPECT_NE(comparison.at("a").at("label").get<std::string>().find("routed as the run"), std::string::npos);
  for (const Json& row : comparison.at("memory_bytes")) EXPECT_EQ(row.at("a"), row.at("b"));
  // With just the room that was needed: the same run again, in less memory; and nothing else fits.
  const std::string tight = " --set moe.load=file:load.txt --set moe.room=load";
  const Finished again = run("run moe.json --data markov --steps 3 -o again.json" + tight);
  ASSERT_EQ(again.code, 0) << again.err;
  const Json first = Json::parse(folder_.read("run.json")), second = Json::parse(folder_.read("again.json"));
  EXPECT_EQ(second.at("losses"), first.at("losses"));
  for (const Json& rank : second.at("memory_by_rank")) EXPECT_EQ(rank.at("peak_bytes"), second.at("predicted_peak_memory_bytes_by_stage").at(0));
  EXPECT_LT(second.at("memory_by_rank").at(0).at("peak_bytes"), first.at("memory_by_rank").at(0).at("peak_bytes"));
  const Finished other = run("run moe.json --data markov --steps 3 --set seed=2" + tight);
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("moe.room 'all'"), std::string::npos) << other.err;
  EXPECT_EQ(run("run p.json --data markov --steps 1 --expert-load load.txt").code, 2);
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

// A port that nobody has: the system gave it, and it is given back.
int free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET, a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&a), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size), 0);
  close(fd);
  return ntohs(a.sin_port);
}

// As torchrun starts them, and as a person does by hand: the first alone says anything, and it is what threads of one process say.
TEST_F(Command, TwoProcessesRunAPlanTogether) {
  const std::string port = std::to_string(free_port());
  const auto process = [&](const std::string& rank) {
    return run("run p.json --steps 2 --json",
               {"RANK=" + rank, "WORLD_SIZE=2", "LOCAL_RANK=" + rank, "LOCAL_WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port});
  };
  auto second = std::async(std::launch::async, [&] { return process("1"); });
  const Finished first = process("0"), other = second.get(), alone = run("run p.json --steps 2 --json");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_EQ(other.out, "");
  EXPECT_EQ(other.err, "");
  const Json together = Json::parse(first.out), by_threads = Json::parse(alone.out);
  EXPECT_EQ(together.at("steps"), 2);
  EXPECT_EQ(together.at("losses"), by_threads.at("losses"));
  EXPECT_EQ(together.at("memory_by_rank"), by_threads.at("memory_by_rank"));

  const std::string meet = " --steps 1 --processes 2 --meet 127.0.0.1:" + std::to_string(free_port());
  auto by_hand = std::async(std::launch::async, [&] { return run("run p.json --process 1" + meet); });
  EXPECT_EQ(run("run p.json --process 0" + meet).code, 0);
  EXPECT_EQ(by_hand.get().code, 0);
}

}  // namespace
}  // namespace orrery
