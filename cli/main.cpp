// The command line: names of verbs and flags, and what a person is told when they are wrong.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "app/version.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "core/error.h"

namespace orrery::cli {
namespace {

// Takes whole numbers only, and says so in our own words.
CLI::Validator whole(std::int64_t least = INT64_MIN, std::int64_t most = INT64_MAX) {
  return {[least, most](const std::string& text) -> std::string {
            std::int64_t value = 0;
            const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (failure == std::errc::result_out_of_range) return fmt::format("'{}' is too large a number", text);
            if (failure != std::errc{} || end != text.data() + text.size()) return fmt::format("'{}' is not a whole number", text);
            if (value < least) return fmt::format("{} is less than {}", value, least);
            if (value > most) return fmt::format("{} is more than {}", value, most);
            return {};
          },
          ""};
}

// A number above `least` and finite.
CLI::Validator above(double least) {
  return {[least](const std::string& text) -> std::string {
            char* end = nullptr;
            const double value = std::strtod(text.c_str(), &end);
            if (text.empty() || *end != '\0') return fmt::format("'{}' is not a number", text);
            if (!std::isfinite(value)) return fmt::format("'{}' is not a finite number", text);
            return value > least ? "" : fmt::format("{} is not above {}", text, least);
          },
          ""};
}

void add_set_flag(CLI::App& verb, std::vector<std::string>& settings, const char* about) {
  verb.add_option("--set", settings, about)->type_name("PATH=VALUE")->expected(1)->take_all();
}

void add_precision_flag(CLI::App& verb, app::PlanFlags& f) {
  verb.add_option("--precision", f.precision,
                  "of compute and parameters: bf16, fp32, or fp8-delayed, fp8-current, fp8-blockwise; default: bf16, on CPUs fp32")
      ->type_name("P");
}

void add_plan_flags(CLI::App& verb, app::PlanFlags& f, bool with_batch) {
  verb.add_option("--plan", f.plan, "plan file; flags below override its fields")->type_name("FILE");
  verb.add_option("--model", f.model, "a name in models/ or a Hugging Face config.json")->type_name("MODEL");
  verb.add_option("--cluster", f.cluster, "a name and a number of devices, e.g. dgx-h100:64, or a file")->type_name("CLUSTER");
  verb.add_option("--profile", f.profile, "measurements to price operators with")->type_name("FILE");
  add_set_flag(verb, f.settings, "set any field of the plan, of model.… or of cluster.…; may be repeated");
  if (!with_batch) return;
  verb.add_option("--global-batch", f.global_batch, "sequences per step; default: one micro-batch per replica")->type_name("N")->check(whole());
  verb.add_option("--sequence", f.sequence, "tokens per sequence; default: the model's most, up to 8192")->type_name("N")->check(whole());
  add_precision_flag(verb, f);
}

void add_split_flags(CLI::App& verb, app::PlanFlags& f) {
  verb.add_option("--tp", f.tp, "tensor-parallel ranks; default: 1")->type_name("N")->check(whole());
  verb.add_option("--cp", f.cp, "ranks that share sequences, by parallel.cp_kind; default: 1")->type_name("N")->check(whole());
  verb.add_option("--ep", f.ep, "ranks that experts are spread over; default: 1")->type_name("N")->check(whole());
  verb.add_option("--pp", f.pp, "pipeline stages; default: 1")->type_name("N")->check(whole());
  verb.add_option("--vp", f.vp, "model chunks per pipeline stage, for schedules that have several; default: 1")->type_name("N")->check(whole());
  verb.add_option("--micro-batch", f.micro_batch, "sequences per micro-batch; default: 1")->type_name("N")->check(whole());
  verb.add_option("--schedule", f.schedule, "'orrery schedule --help' names them; or a file order.csv; default: 1f1b")->type_name("NAME");
  verb.add_option("--recompute", f.recompute, "none or full; default: none")->type_name("KIND");
  verb.add_option("--zero", f.zero, "ZeRO stage, 0 to 3; default: 0")->type_name("N")->check(whole());
  verb.add_option("--stages", f.stages, "decoder layers per stage, e.g. 7,8x14,7; default: balanced")->type_name("LIST");
  // CLI11 would write "false" into an optional for a flag that is absent.
  verb.add_flag_callback(
      "--sp", [&f] { f.sp = true; }, "sequence parallelism; default: on with --tp above 1");
  verb.add_flag_callback(
      "--no-sp", [&f] { f.sp = false; }, "no sequence parallelism");
}

std::vector<std::string> flag_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

std::vector<std::string> verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(verb->get_name());
  return names;
}

int report(const Error& e) {
  fmt::print(stderr, "{}\n", e.what());
  return kBadInput;
}

// CLI11's own words are kept where they are good; an unknown flag gets the nearest known one. `extras`: words that nothing took.
int usage_error(const CLI::App& verb, const std::string& where, const CLI::ParseError& e, std::vector<std::string> extras) {
  if (dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr) {
    if (const std::vector<std::string> own = verb.remaining(); !own.empty()) extras = own;
    for (const std::string& extra : extras) {
      if (!extra.starts_with("-")) continue;
      const std::string flag = extra.substr(0, extra.find('='));
      return report(Error(where, fmt::format("'{}' is not a flag", flag), did_you_mean(flag, flag_names(verb))));
    }
    if (!extras.empty()) return report(Error(where, fmt::format("'{}' is one word too many", extras.front()), fmt::format("see '{} --help'", where)));
  }
  std::string message = e.what();
  if (const auto end = message.find('\n'); end != std::string::npos) message.resize(end);
  return report(Error(where, message, fmt::format("see '{} --help'", where)));
}

// The same for the whole line, where the verb may be unknown.
int usage_error(const CLI::App& app, const CLI::ParseError& e, int argc, char** argv) {
  const auto used = app.get_subcommands();
  if (used.empty() && argc > 1 && argv[1][0] != '-') {
    const auto names = verb_names(app);
    return report(Error("orrery", fmt::format("'{}' is not a verb", argv[1]), did_you_mean(argv[1], names)));
  }
  const CLI::App& verb = used.empty() ? app : *used.front();
  return usage_error(verb, used.empty() ? "orrery" : "orrery " + verb.get_name(), e, app.remaining());
}

int main_with_errors(int argc, char** argv) {
  CLI::App app{"Orrery: how should this model be trained on this cluster, how long will it take, and why."};
  app.name("orrery");
  app.require_subcommand(0, 1);
  app.set_help_flag("-h,--help", "this text");
  bool version = false;
  app.add_flag("--version", version, "which version, and what this build leaves out");

  Common common;
  std::function<int()> verb;
  const auto add_verb = [&](const char* name, const char* description, auto& command, auto function) {
    CLI::App* sub = app.add_subcommand(name, description);
    sub->group("Verbs");
    sub->set_help_flag("-h,--help", "this text");
    sub->add_flag("--json", common.json, "one JSON document on stdout");
    sub->callback([&verb, &command, &common, function] { verb = [&command, &common, function] { return function(command, common); }; });
    return sub;
  };

  DemoCommand demo_command;
  CLI::App* sub = add_verb("demo", "the whole loop on this machine: profile, plan, simulate, run, compare", demo_command, demo);
  sub->add_option("--folder", demo_command.folder, "where profile, plans and traces go")->type_name("DIR")->capture_default_str();
  sub->add_option("--device", demo_command.device, "cpu, cuda or cuda:1; on a GPU one rank runs")->type_name("DEVICE")->capture_default_str();
  sub->add_option("--model", demo_command.model, "a model that this machine can run; default: cpu-llama-small, on a GPU llama-3.2-1b")
      ->type_name("MODEL");
  sub->add_option("--steps", demo_command.steps, "steps to run of each plan")->type_name("N")->capture_default_str()->check(whole(1, 1'000'000));
  add_set_flag(*sub, demo_command.settings, "set any field of the plans, of model.… or of cluster.…; may be repeated");

  ProfileCommand profile_command;
  sub = add_verb("profile", "measure this machine's kernels and collectives", profile_command, profile);
  sub->add_option("measured", profile_command.measured, "with --transfer-to: a profile that was measured")->type_name("FILE");
  sub->add_option("-o,--output", profile_command.output,
                  "where to write it; of a GPU, one that is there is continued; default: profile.json, of a GPU profile-gpu.json")
      ->type_name("FILE");
  sub->add_option("--device", profile_command.device, "what to measure: cpu, cuda or cuda:1")->type_name("DEVICE")->capture_default_str();
  sub->add_option("--seconds", profile_command.seconds, "time to spend at most; default: 60, of a GPU 360")->type_name("S")->check(above(0));
  sub->add_flag("--anew", profile_command.anew, "of a GPU: continue nothing");
  sub->add_option("--transfer-to", profile_command.transfer_to, "make the profile FILE one of this device, of the same architecture")
      ->type_name("DEVICE");
  add_plan_flags(*sub, profile_command.plan, true);
  add_split_flags(*sub, profile_command.plan);

  SimulateCommand simulate_command;
  sub = add_verb("simulate", "run one plan in virtual time", simulate_command, simulate);
  add_plan_flags(*sub, simulate_command.plan, true);
  add_split_flags(*sub, simulate_command.plan);
  sub->add_option("--network", simulate_command.network, "analytic")->type_name("MODEL")->capture_default_str();
  sub->add_option("--flops-convention", simulate_command.convention, "causal-half, full or 6n")->type_name("C")->capture_default_str();
  sub->add_option("--trace", simulate_command.trace, "write a Chrome/Perfetto trace: open it in ui.perfetto.dev")->type_name("FILE");
  sub->add_option("--ranks", simulate_command.ranks, "whose spans the trace holds, e.g. 0,4; default: one of each stage")
      ->type_name("LIST")
      ->delimiter(',')
      ->check(whole());
  sub->add_option("--tokens", simulate_command.tokens, "length of the whole run, e.g. 15T: days, energy, money")->type_name("N");
  sub->add_option("--price", simulate_command.price, "US dollars per device and hour")->type_name("P")->check(above(0));
  sub->add_option("--storage", simulate_command.storage, "what all ranks together write checkpoints at, e.g. \"20 GB/s\"")->type_name("B");
  sub->add_option("-o,--write-plan", simulate_command.write_plan, "write the plan that was simulated")->type_name("FILE");
  sub->add_flag("--unfold", simulate_command.unfold, "simulate every rank; the results are the same");
  sub->add_flag("--explain", simulate_command.explain, "critical path, sources, what memory holds, links and power; with --json as \"details\"");
  sub->add_option("--at", simulate_command.at, "halt the step there, e.g. \"250 ms\": what runs, what memory holds, links, power")->type_name("TIME");
  sub->add_option("--rank", simulate_command.rank, "with --at: the rank to look at; default: one of the fullest stage")
      ->type_name("R")
      ->check(whole());

  PlanCommand plan_command;
  sub = add_verb("plan", "search for the fastest plan that fits", plan_command, plan);
  add_plan_flags(*sub, plan_command.plan, true);
  sub->add_option("--tp", plan_command.space.tp, "values to try, e.g. 1,2,4; default: all")->type_name("LIST")->delimiter(',')->check(whole());
  sub->add_option("--pp", plan_command.space.pp, "values to try, e.g. 1,2,4; default: all")->type_name("LIST")->delimiter(',')->check(whole());
  sub->add_option("--vp", plan_command.space.vp, "model chunks per stage to try; default: 1, or 2 where a schedule has two or more")
      ->type_name("LIST")
      ->delimiter(',')
      ->check(whole());
  sub->add_option("--micro-batch", plan_command.space.micro, "values to try, e.g. 1,2,4; default: all")
      ->type_name("LIST")
      ->delimiter(',')
      ->check(whole());
  sub->add_option("--schedule", plan_command.space.schedule, "schedules to try; default: 1f1b,gpipe; with --vp above 1: interleaved too")
      ->type_name("LIST")
      ->delimiter(',');
  sub->add_option("--recompute", plan_command.space.recompute, "kinds to try; default: none,full")->type_name("LIST")->delimiter(',');
  sub->add_option("--zero", plan_command.space.zero, "ZeRO stages, 0 to 3, to try; default: 0,1")->type_name("LIST")->delimiter(',')->check(whole());
  sub->add_option("--objective", plan_command.objective, "time")->type_name("WHAT")->capture_default_str();
  sub->add_option("--top", plan_command.top, "plans to show")->type_name("K")->capture_default_str()->check(whole(1, 1000));
  sub->add_option("--threads", plan_command.threads, "default: one per core")->type_name("N")->check(whole(0, 1024));
  sub->add_option("-o,--output", plan_command.output, "write the chosen plan")->type_name("FILE");
  sub->add_flag("--explain", plan_command.explain, "why this one and not the others");

  SweepCommand sweep_command;
  sub = add_verb("sweep", "simulate a grid of what-ifs", sweep_command, sweep);
  sub->add_option("file", sweep_command.file, "sweep.json; or name the grid by flags")->type_name("FILE");
  add_plan_flags(*sub, sweep_command.base, true);
  add_split_flags(*sub, sweep_command.base);
  sub->add_option("--grid", sweep_command.grid, "an axis of the grid, e.g. parallel.tp=1,2,4; may be repeated")
      ->type_name("PATH=LIST")
      ->expected(1)
      ->take_all();
  sub->add_option("--threads", sweep_command.threads, "default: one per core")->type_name("N")->check(whole(0, 1024));
  sub->add_option("-o,--output", sweep_command.output, "CSV file; default: stdout")->type_name("FILE");

  RunCommand run_command;
  sub = add_verb("run", "run a plan for real on this machine's CPU or GPU", run_command, run);
  sub->add_option("plan", run_command.plan.plan, "plan file")->type_name("FILE");
  sub->add_option("--data", run_command.data, "a file (its bytes are the tokens), an llm.c .bin, or markov: generated text")
      ->type_name("FILE")
      ->capture_default_str();
  sub->add_option("--checkpoint", run_command.checkpoint, "folder for checkpoints; one is made after the last step, too")->type_name("DIR");
  sub->add_option("--checkpoint-every", run_command.checkpoint_every, "steps between them (checkpoint.every_steps)")
      ->type_name("N")
      ->check(whole(1, 100'000'000));
  sub->add_option("--resume", run_command.resume, "go on from a checkpoint, or the newest in a folder; any layout reads any other's")
      ->type_name("DIR");
  sub->add_option("--init", run_command.init, "weights to begin with: a checkpoint, Hugging Face's folder, or a .safetensors file")
      ->type_name("PATH");
  sub->add_option("--steps", run_command.steps, "optimizer steps, those before --resume included")
      ->type_name("N")
      ->capture_default_str()
      ->check(whole(1, 100'000'000));
  sub->add_option("--device", run_command.device, "where to run: cpu, cuda, or cuda:1 for the second GPU")
      ->type_name("DEVICE")
      ->capture_default_str();
  sub->add_option("--processes", run_command.processes, "how many processes run the plan together; torchrun, srun and mpirun say it themselves")
      ->type_name("N")
      ->check(whole(1, 1'000'000));
  sub->add_option("--process", run_command.process, "which of them this is, from 0")->type_name("N")->check(whole(0, 999'999));
  sub->add_option("--meet", run_command.meet, "machine of process 0, and a port of it, if it is to be another than 29531")->type_name("HOST[:PORT]");
  sub->add_option("--trace", run_command.trace, "write the measured timeline")->type_name("FILE");
  sub->add_option("-o,--report", run_command.report, "write the report that --json prints")->type_name("FILE");
  sub->add_option("--expert-load", run_command.expert_load, "write what routers chose, for moe.load=file:FILE")->type_name("FILE");
  {
    app::PlanFlags& f = run_command.plan;
    sub->add_option("--model", f.model, "a name in models/ or a Hugging Face config.json")->type_name("MODEL");
    sub->add_option("--cluster", f.cluster, "e.g. this-machine:4")->type_name("CLUSTER");
    sub->add_option("--profile", f.profile, "compare with the prediction that this profile gives")->type_name("FILE");
    add_set_flag(*sub, f.settings, "set any field of the plan, of model.… or of cluster.…; may be repeated");
    sub->add_option("--global-batch", f.global_batch, "sequences per step")->type_name("N")->check(whole());
    sub->add_option("--sequence", f.sequence, "tokens per sequence")->type_name("N")->check(whole());
    add_precision_flag(*sub, f);
    add_split_flags(*sub, f);
  }

  CompareCommand compare_command;
  sub = add_verb("compare", "two plans, two runs, or a prediction and its run: where does the time go", compare_command, compare);
  sub->add_option("A", compare_command.a, "plan, trace, or JSON of a simulation or a run; or the plan of the flags below")->type_name("FILE");
  sub->add_option("B", compare_command.b, "the same")->type_name("FILE");
  add_plan_flags(*sub, compare_command.plan, true);
  add_split_flags(*sub, compare_command.plan);
  sub->add_option("--then", compare_command.then, "side B is side A with this set; may be repeated")
      ->type_name("PATH=VALUE")
      ->expected(1)
      ->take_all();
  bool with = false;
  sub->add_flag("--with", with, "what follows is side B: a file, or flags like those of side A");
  CLI::App other_side;
  app::Operand other;
  other_side.set_help_flag();
  other_side.add_option("B", other.file, "")->type_name("FILE");
  other_side.add_flag("--json", common.json, "");
  add_plan_flags(other_side, other.flags, true);
  add_split_flags(other_side, other.flags);

  ScheduleCommand schedule_command;
  sub = add_verb("schedule", "a pipeline schedule's order, bubbles and activations", schedule_command, schedule);
  {
    app::ScheduleRequest& r = schedule_command.request;
    sub->add_option("NAME", r.name, fmt::format("{}, or a file order.csv", fmt::join(program::schedule_names(), ", ")))->required();
    sub->add_option("--ranks", r.ranks, "pipeline ranks; of a file: as many as it has")->type_name("P")->check(whole());
    sub->add_option("--microbatches", r.microbatches, "micro-batches of a step; of a file: as many as it has")->type_name("M")->check(whole());
    sub->add_option("--chunks", r.chunks, "model chunks per rank; default: 2 where a schedule has several")->type_name("V")->check(whole());
    sub->add_option("--group", r.group, "interleaved: micro-batches that a chunk runs in a row; default: the ranks")->type_name("G")->check(whole());
    sub->add_flag("--rounds", r.rounds, "interleaved: PyTorch's groups instead, micro-batches / max(1, micro-batches / ranks)");
    sub->add_option("--splits", r.splits, "seq1f1b: pieces of a sequence; default: 2")->type_name("S")->check(whole());
    sub->add_option("--replicas", r.replicas, "pipedream: ranks of each stage, e.g. 2,1,1; default: one each")
        ->type_name("LIST")
        ->delimiter(',')
        ->check(whole());
    sub->add_option("--memory-limit", r.memory_limit, "activations of chunks that a rank may hold: zb-auto and v-half keep it, others must")
        ->type_name("N")
        ->check(whole());
    sub->add_option("--cost", r.costs, "time of a chunk's pass; default: F=1,I=1,W=1,p2p=0 (B = I + W, FB = F + B)")->type_name("LIST");
    sub->add_flag("--csv", schedule_command.csv, "the order as PyTorch's pipelining reads it: passes only");
    sub->add_flag("--csv-full", schedule_command.csv_full, "the same with sends, receives, unsharding and gradient reduction");
    sub->add_flag("--svg", schedule_command.svg, "a picture");
    sub->add_option("-o,--output", schedule_command.output, "write it there; default: stdout")->type_name("FILE");
    sub->add_option("--width", schedule_command.width, "columns of the text; default: the terminal's, from 80 to 200")
        ->type_name("N")
        ->check(whole(40, 10'000));
  }

  ShowCommand show_command;
  sub = add_verb("show", "models, clusters, devices, one of them by name, a document's schema", show_command, show);
  sub->add_option("WHAT", show_command.what, "models, clusters, devices, model, cluster, device, plan, profile, timeline or schema")->required();
  sub->add_option("NAME", show_command.name, "a name or a file");
  add_set_flag(*sub, show_command.settings,
               "show a model, a cluster or a plan with a field changed: model.…, cluster.…, or a plan's; may be repeated");
  sub->add_flag("--svg", show_command.svg, "of a timeline: a picture");

  app.get_formatter()->label("SUBCOMMAND", "VERB");
  app.footer("'orrery VERB --help' says more about a verb. To begin with: orrery demo");
  const auto examples = [&](const char* name, const char* text) { app.get_subcommand(name)->footer(text); };
  examples("profile",
           "e.g. orrery profile --model cpu-llama-small --sequence 256 --global-batch 8 -o profile.json\n"
           "     orrery profile --device cuda -o h200.json\n"
           "     orrery profile h200.json --transfer-to h100-sxm -o h100.json");
  examples("simulate",
           "e.g. orrery simulate --model llama-3.1-70b --cluster dgx-h100:64 --tp 8 --pp 2 --zero 1 --tokens 15T\n"
           "     orrery simulate --plan plan.json --set cluster.levels.1.bandwidth=\"800 Gb/s\" --trace t.json");
  examples("plan", "e.g. orrery plan --model llama-3.1-70b --cluster dgx-h100:64 --global-batch 512 --sequence 8192 --explain -o plan.json");
  examples("sweep", "e.g. orrery sweep --plan plan.json --grid batch.micro=1,2,4 --grid recompute.kind=none,full -o sweep.csv");
  examples("run",
           "e.g. orrery run --model cpu-llama-small --cluster this-machine --sequence 256 --global-batch 8 --data README.md\n"
           "     orrery run plan.json --data text.bin --steps 1000 --checkpoint kept --checkpoint-every 100\n"
           "     orrery run plan.json --data text.bin --steps 1000 --checkpoint kept --resume kept\n"
           "     torchrun --no-python --nproc-per-node 8 orrery run plan.json --device cuda");
  examples("schedule",
           "e.g. orrery schedule interleaved --ranks 4 --microbatches 8 --chunks 2\n"
           "     orrery schedule zb-auto --ranks 4 --microbatches 12 --cost F=1,I=1.2,W=.8,p2p=.1 --memory-limit 6 --svg -o order.svg\n"
           "     orrery schedule 1f1b --ranks 4 --microbatches 8 --csv -o order.csv && orrery schedule order.csv");
  examples("compare",
           "e.g. orrery compare plan.json other.json\n     orrery compare predicted.trace.json measured.trace.json\n"
           "     orrery compare --model llama-3.1-70b --cluster dgx-h100:64 --tp 8 --then parallel.tp=4\n"
           "     orrery compare plan.json --with --model llama-3.1-70b --cluster dgx-h100:64 --tp 4");
  examples("show",
           "e.g. orrery show models\n     orrery show cluster dgx-h100:64 --set cluster.device.memory=\"96 GB\"\n"
           "     orrery show schema plan");

  // `orrery help VERB`, as other programs have it.
  std::vector<char*> words(argv, argv + argc);
  static char kHelp[] = "--help";
  if (argc > 1 && std::string_view(argv[1]) == "help") {
    words.erase(words.begin() + 1);
    words.insert(words.begin() + std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(words.size())), kHelp);
    argc = static_cast<int>(words.size());
    argv = words.data();
  }
  // `orrery compare … --with …` has two sides that take the same flags.
  if (argc > 1 && std::string_view(argv[1]) == "compare") {
    const auto at = std::find(words.begin() + 2, words.begin() + argc, std::string_view("--with"));
    if (at != words.begin() + argc) {
      // CLI11 takes words from the back.
      std::vector<std::string> of_other(std::make_reverse_iterator(words.begin() + argc), std::make_reverse_iterator(at + 1));
      argc = static_cast<int>(at - words.begin());
      argv = words.data();
      try {
        other_side.parse(std::move(of_other));
      } catch (const CLI::ParseError& e) {
        return usage_error(other_side, "orrery compare", e, {});
      }
      compare_command.with = std::move(other);
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return kOk;
  } catch (const CLI::ParseError& e) {
    return usage_error(app, e, argc, argv);
  }
  if (version) {
    print(fmt::format("orrery {} ({})\nleft out of this build: {}\n", app::version(), app::commit(), fmt::join(app::left_out(), ", ")));
    return kOk;
  }
  if (!verb) {
    print(app.help());
    return argc > 1 ? kBadInput : kOk;
  }
  // These end early with what they have; everything else Ctrl-C simply ends.
  for (const char* name : {"demo", "profile", "plan", "sweep", "run"})
    if (app.got_subcommand(name)) watch_interrupts();
  return verb();
}

}  // namespace
}  // namespace orrery::cli

int main(int argc, char** argv) {
  try {
    return orrery::cli::main_with_errors(argc, argv);
  } catch (const orrery::Error& e) {
    return orrery::cli::report(e);
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "orrery: out of memory\n");
    return orrery::cli::kBadInput;
  } catch (const std::exception& e) {  // what the system refuses: threads, files that vanish
    fmt::print(stderr, "orrery: {}\n", e.what());
    return orrery::cli::kBadInput;
  }
}
