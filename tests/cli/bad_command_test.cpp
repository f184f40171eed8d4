// What bad command lines and inputs cost a person: one line with an address, mostly a hint, exit code 2, nothing on stdout and nothing half-written.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>

#include "cli/process.h"
#include "support/temporary_folder.h"

namespace orrery {
namespace {

namespace fs = std::filesystem;

struct Bad {
  std::string command, message, hint;
};

// llm.c's token file: 256 int32 (magic, version, count, zeros), then uint16 tokens.
std::string token_file(std::int32_t magic, std::int32_t version, std::int32_t promised, const std::vector<std::uint16_t>& tokens) {
  std::vector<std::int32_t> header(256, 0);
  header[0] = magic;
  header[1] = version;
  header[2] = promised;
  std::string bytes(1024 + 2 * tokens.size(), '\0');
  std::memcpy(bytes.data(), header.data(), 1024);
  std::memcpy(bytes.data() + 1024, tokens.data(), 2 * tokens.size());
  return bytes;
}

void furnish(const TemporaryFolder& folder) {
  fs::create_directory(folder.path() / "dir");
  folder.write("file", "x");
  folder.write("empty", "");
  folder.write("cut.json", R"({"orrery": "plan/1", "model": )");
  folder.write("hostile.json", std::string(100'000, '['));
  folder.write("unknown.json", R"({"orrery": "plan/1", "model": "m", "cluster": "c", "batch": {"global": 8, "sequence": 128}, "paralel": {}})");
  folder.write("p.json", R"({"orrery": "plan/1", "model": "cpu-llama-tiny", "cluster": "this-machine:2",
 "batch": {"global": 4, "micro": 1, "sequence": 32}, "precision": {"compute": "fp32", "params": "fp32"}})");
  folder.write("model.json", R"({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": "wide"})");
  std::vector<std::uint16_t> tokens(80, 1);
  folder.write("short.bin", "abc");
  folder.write("version.bin", token_file(20240520, 3, 80, tokens));
  folder.write("promise.bin", token_file(20240520, 1, 100, tokens));
  tokens[40] = 300;
  folder.write("beyond.bin", token_file(20240520, 1, 80, tokens));
  folder.write("order.csv", "0F0,0F1,0B0,0B1\n1F0,1F1,1B0,1B1\n");
  folder.write("typo.csv", "0F0,0F1,0B0,0B1\n1F0,1SEND_G0,1F1,1B0,1B1\n");
  folder.write("stuck.csv", "0F0,0B0,0F1,0B1\n1F0,1F1,1B0,1B1\n");
  folder.write("nogrid.json", R"({"orrery": "sweep/1", "gird": {"parallel.tp": [1]}})");
  folder.write("list.json", R"({"orrery": "sweep/1", "grid": {"parallel.tp": [1, [2]]}})");
  folder.write("badgrid.json", R"({"orrery": "sweep/1", "plan": "p.json", "grid": {"paralel.tp": [1]}})");
  folder.write("badset.json", R"({"orrery": "sweep/1", "plan": "p.json", "set": ["batch.micro=x"], "grid": {"seed": [1]}})");
  folder.write("novalues.json", R"({"orrery": "sweep/1", "grid": {"parallel.tp": []}})");
}

std::map<std::string, std::string> contents(const TemporaryFolder& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
    files[entry.path().string()] = entry.is_regular_file() ? folder.read(fs::relative(entry.path(), folder.path()).string()) : "";
  return files;
}

// clang-format off
const std::vector<Bad>& table() {
  static const std::string kSimulate = "simulate --model llama-3.1-8b --cluster dgx-h100:8 ";
  static const std::string kSearch = "plan --model llama-3.1-8b --cluster dgx-h100:8 ";
  static const std::string kSweep = "sweep --model cpu-llama-tiny --cluster this-machine:2 --sequence 32 --global-batch 4 ";
  static const std::vector<Bad> kTable{
    // Verbs, flags and words.
    {"frobnicate", "orrery: 'frobnicate' is not a verb", "known: demo, profile, simulate, plan, sweep, run, compare, schedule, show"},
    {"simualte --tp 2", "orrery: 'simualte' is not a verb", "did you mean 'simulate'?"},
    {"--frob", "orrery: '--frob' is not a flag", "known: --help, --version"},
    {"simulate --tpp 3", "orrery simulate: '--tpp' is not a flag", "did you mean '--tp'?"},
    {"plan --globalbatch 3", "orrery plan: '--globalbatch' is not a flag", "did you mean '--global-batch'?"},
    {"simulate extra", "orrery simulate: 'extra' is one word too many", "see 'orrery simulate --help'"},
    {"show models extra", "orrery show models: 'extra' is one word too many", "one of them: orrery show model extra"},
    {"compare p.json", "orrery compare: B is required", "give two files; or flags of a plan and --then PATH=VALUE, or --with and the other side"},
    {"compare", "orrery compare: A is required", "give two files; or flags of a plan and --then PATH=VALUE, or --with and the other side"},
    {"compare p.json --then batch.micro=2 --with p.json", "--then: says what side B is, and so does --with", "give one of them"},
    {"compare p.json p.json --then batch.micro=2", "orrery compare: 'p.json' is one word too many", "side B stands after --with, or is side A with --then"},
    {"compare p.json --with --tpp 2", "orrery compare: '--tpp' is not a flag", "did you mean '--tp'?"},
    {"compare p.json --with", "--model: no model was named", "e.g. --model llama-3.1-8b; 'orrery show models' lists the names"},
    {"compare p.json --with p.json more", "orrery compare: 'more' is one word too many", "see 'orrery compare --help'"},
    {"simulate --plan p.json --rank 1", "--rank: says whom --at looks at, but there is no --at", "add --at TIME"},
    {"simulate --plan p.json --at 0s --rank 2", "--rank: there is no rank 2", "the plan has ranks 0 to 1"},
    {"show", "orrery show: WHAT is required", "see 'orrery show --help'"},
    {"show modles", "orrery show: 'modles' is nothing to show", "did you mean 'models'?"},
    {"show model", "orrery show model: which one?", "e.g. orrery show model llama-3.1-8b; 'orrery show models' lists them"},
    {"show schema", "orrery show schema: which one?", "known: plan, cluster, device, profile, timeline, model, sweep, table, simulation, summary, schedule"},
    {"show plan", "orrery show plan: which one?", "e.g. orrery show plan plan.json"},
    {"show schema plans", "schema plans: is not known", "did you mean 'plan'?"},
    {"simulate", "--model: no model was named", "e.g. --model llama-3.1-8b; 'orrery show models' lists the names"},
    {"simulate --model llama-3.1-8b", "--cluster: no cluster was named", "e.g. --cluster dgx-h100:64; 'orrery show clusters' lists the names"},
    // Schedules.
    {"schedule", "orrery schedule: NAME is required", "see 'orrery schedule --help'"},
    {"schedule 1f1d --ranks 4 --microbatches 8", "orrery schedule: '1f1d' is not a schedule", "did you mean '1f1b'?"},
    {"schedule order --ranks 4 --microbatches 8", "orrery schedule: 'order' is not a schedule", "known: 1f1b, circular, dualpipe, dualpipev, gpipe, interleaved, looped-bfs, pipedream, pipedream-2bw, seq1f1b, v-half, v-min, zb-auto, zb-h1, zb-h2, zbv; or a file: order.csv"},
    {"schedule 1f1b --microbatches 8", "--ranks: schedule '1f1b' needs a number of ranks", "e.g. --ranks 4"},
    {"schedule 1f1b --ranks 4", "--microbatches: schedule '1f1b' needs a number of microbatches", "e.g. --microbatches 8"},
    {"schedule 1f1b --ranks four --microbatches 8", "orrery schedule: --ranks: 'four' is not a whole number", "see 'orrery schedule --help'"},
    {"schedule 1f1b --ranks 0 --microbatches 8", "--ranks: 0 is not between 1 and 65535", ""},
    {"schedule 1f1b --ranks 4 --microbatches 8 --chunks 2", "--chunks: schedule '1f1b' has no model chunks: every rank holds one stage", "use 1 chunk"},
    {"schedule interleaved --ranks 4 --microbatches 8 --group 5", "--group: groups of 5 leave a last one of 3 micro-batches, fewer than the 4 ranks", "use groups of 4, or a multiple of 4 micro-batches"},
    {"schedule dualpipe --ranks 3 --microbatches 8", "--ranks: 3 is odd, and half of the ranks face each end", "use 2 or 4"},
    {"schedule dualpipe --ranks 4 --microbatches 6", "--microbatches: 6 micro-batches are fewer than 2 x 4 ranks", "use 8 or more"},
    {"schedule dualpipe --ranks 4 --microbatches 8 --csv", "--csv: schedule 'dualpipe' has each stage on two ranks, and PyTorch's CSV has no words for that", ""},
    {"schedule pipedream --ranks 4 --microbatches 8 --replicas 2,1", "--replicas: the stages' replicas add up to 3, but there are 4 ranks", ""},
    {"schedule 1f1b --ranks 4 --microbatches 8 --rounds", "--rounds: schedule '1f1b' has no groups of micro-batches", "leave the rounds out"},
    {"schedule 1f1b --ranks 4 --microbatches 8 --cost F=1,G=2", "--cost: 'G' is not a pass", "did you mean 'F'?"},
    {"schedule 1f1b --ranks 4 --microbatches 8 --cost F=fast", "--cost: F: 'fast' is not a time", "a number of up to six decimals, at most 1000000"},
    {"schedule 1f1b --ranks 4 --microbatches 8 --csv --svg", "orrery schedule: has one form of output at a time", "give one of --json, --csv, --csv-full and --svg"},
    {"schedule 1f1b --ranks 4 --microbatches 8 --width 10", "orrery schedule: --width: 10 is less than 40", "see 'orrery schedule --help'"},
    {"schedule 1f1b --ranks 4 --microbatches 8 -o missing/s.svg", "missing/s.svg: cannot be written: no such folder: missing", "make it first: mkdir -p missing"},
    {"schedule missing.csv", "missing.csv: no such file", ""},
    {"schedule typo.csv", "typo.csv:2:2: '1SEND_G0': 'SEND_G' is not a type of action", "did you mean 'SEND_F'?"},
    {"schedule order.csv --ranks 3", "--ranks: order.csv has 2 ranks, not 3", "a file says it by itself: leave the flag out"},
    {"schedule order.csv --group 2", "--group: says nothing about a file, whose order is fixed", "leave it out"},
    {kSimulate + "--pp 2 --schedule missing.csv", "missing.csv: no such file", ""},
    {kSimulate + "--pp 2 --schedule typo.csv --global-batch 4", "typo.csv:2:2: '1SEND_G0': 'SEND_G' is not a type of action", "did you mean 'SEND_F'?"},
    {kSimulate + "--pp 2 --schedule stuck.csv --global-batch 8", "--schedule (schedule_args.csv): stuck.csv: deadlock: rank 0 in its pass 1 (backward of micro-batch 0) waits for the backward of micro-batch 0 on rank 1; rank 1 in its pass 1 (forward of micro-batch 1) waits for the forward of micro-batch 1 on rank 0", ""},
    {kSimulate + "--pp 4 --schedule order.csv --global-batch 8", "--pp (parallel.pp): order.csv has 2 ranks, and the plan 4", "use pp 2"},
    {kSimulate + "--pp 2 --schedule order.csv --global-batch 16", "--global-batch (batch.global): order.csv has 2 micro-batches, and the plan 4", "use a global batch of 2 micro-batches per replica"},
    {kSimulate + "--pp 2 --vp 2 --schedule order.csv --global-batch 8", "--vp (parallel.vp): order.csv has 1 chunks per rank, and the plan 2", "use vp 1"},
    {kSimulate + "--pp 2 --set schedule=csv", "schedule_args.csv: schedule 'csv' names no file", "e.g. --schedule order.csv"},
    {kSimulate + "--pp 2 --set schedule_args.csv=order.csv", "--set schedule_args.csv: names a file, and the schedule is '1f1b'", "use schedule csv, or leave schedule_args.csv null"},
    {kSimulate + "--pp 2 --set schedule_args.rounds=true", "--set schedule_args.rounds: schedule '1f1b' has no groups of micro-batches", "leave the rounds out"},
    {kSimulate + "--pp 2 --set schedule_args.memory_limit=4", "--set schedule_args.memory_limit: schedule '1f1b' has no memory limit to keep", "leave the limit out"},
    {kSimulate + "--pp 2 --set schedule_args.costs.forward=2", "--set schedule_args.costs.forward (schedule_args.costs): schedule '1f1b' has no use for costs of passes: its order is fixed", "leave the costs out"},
    {kSimulate + "--vp 2", "--vp (parallel.vp): schedule '1f1b' has no model chunks: every rank holds one stage", "use 1 chunk"},
    {kSimulate + "--vp 0", "--vp: 0 is less than 1", ""},
    {kSearch + "--vp 0", "--vp: 0 is less than 1", ""},
    // Numbers.
    {kSimulate + "--tp", "orrery simulate: --tp: 1 required N missing", "see 'orrery simulate --help'"},
    {kSimulate + "--tp two", "orrery simulate: --tp: 'two' is not a whole number", "see 'orrery simulate --help'"},
    {kSimulate + "--tp 2.5", "orrery simulate: --tp: '2.5' is not a whole number", "see 'orrery simulate --help'"},
    {kSimulate + "--tp 99999999999999999999", "orrery simulate: --tp: '99999999999999999999' is too large a number", "see 'orrery simulate --help'"},
    {kSimulate + "--tp 0", "--tp: 0 is less than 1", ""},
    {kSimulate + "--tp -1", "--tp: -1 is less than 1", ""},
    {kSimulate + "--tp 9999999999", "--tp: 9999999999 is more than 1048576", ""},
    {kSimulate + "--sequence 0", "--sequence: 0 is less than 1", ""},
    {kSimulate + "--zero 4", "--zero: 4 is more than 3", ""},
    {kSimulate + "--price -3", "orrery simulate: --price: -3 is not above 0", "see 'orrery simulate --help'"},
    {kSimulate + "--price nan", "orrery simulate: --price: 'nan' is not a finite number", "see 'orrery simulate --help'"},
    {kSimulate + "--price much", "orrery simulate: --price: 'much' is not a number", "see 'orrery simulate --help'"},
    {kSimulate + "--tokens many", "--tokens: 'many' is not a count", "write a number, if need be with k, M, B or T: 15T"},
    {kSimulate + "--tokens 0", "--tokens: a run has at least one token", "e.g. --tokens 15T"},
    {kSimulate + "--global-batch 1000000000 --sequence 1000000000", "--global-batch (batch.global): 125000000 micro-batches per rank are more than 65535", "use a larger micro-batch"},
    {kSimulate + "--sequence 1000000000", "plan: a step could take longer than simulated time can count (100 days for all simulated periods)", "use more or faster devices, or a smaller batch or model"},
    {kSimulate + "--sequence 1000000000 --micro-batch 1000000", "--micro-batch and --sequence (batch): 1000000000000000 tokens of width 128256 are more than can be counted", "write less"},
    {kSearch + "--tp 0", "--tp: 0 is less than 1", ""},
    {kSearch + "--tp 1,x", "orrery plan: --tp: 'x' is not a whole number", "see 'orrery plan --help'"},
    {kSearch + "--zero 7", "--zero: 7 is more than 3", ""},
    {kSearch + "--micro-batch 0 --global-batch 16", "--micro-batch: 0 is not between 1 and the global batch, 16", ""},
    {kSearch + "--top 0", "orrery plan: --top: 0 is less than 1", "see 'orrery plan --help'"},
    {kSearch + "--threads 1000000", "orrery plan: --threads: 1000000 is more than 1024", "see 'orrery plan --help'"},
    {"run --data markov --model cpu-llama-tiny --checkpoint-every 5", "--checkpoint-every: nothing says where to", "give a folder: --checkpoint DIR"},
    {"run --data markov --model cpu-llama-tiny --set checkpoint.every_steps=5", "--set checkpoint.every_steps: asks for a checkpoint every 5 steps, and nothing says where to", "give a folder: --checkpoint DIR"},
    {"run --data markov --model cpu-llama-tiny --resume missing", "--resume: 'missing' does not exist", ""},
    {"run --data markov --model cpu-llama-tiny --resume .", "--resume: '.' holds no complete checkpoint", "name the folder that --checkpoint wrote to; --init begins with weights from elsewhere"},
    {"run --data markov --model cpu-llama-tiny --init missing.safetensors", "--init: 'missing.safetensors' does not exist", ""},
    {"run --data markov --model cpu-llama-tiny --init file", "file: has 1 bytes, fewer than any safetensors file", ""},
    {"run --data markov --model cpu-llama-tiny --checkpoint file", "file: cannot be written: Not a directory", "free some room or choose another folder; what was complete before is still there"},
    {"run p.json --data markov --steps 0", "orrery run: --steps: 0 is less than 1", "see 'orrery run --help'"},
    {"profile --seconds 0", "orrery profile: --seconds: 0 is not above 0", "see 'orrery profile --help'"},
    {"demo --steps -3", "orrery demo: --steps: -3 is less than 1", "see 'orrery demo --help'"},
    // Names.
    {"simulate --model llama-3.1-8x --cluster dgx-h100:8", "model: 'llama-3.1-8x' is neither a shipped model nor a file", "did you mean 'llama-3.1-8b'?"},
    {"simulate --model gpt5 --cluster dgx-h100:8", "model: 'gpt5' is neither a shipped model nor a file", "did you mean 'gpt2'?"},
    {"simulate --model qwen --cluster dgx-h100:8", "model: 'qwen' is neither a shipped model nor a file", "did you mean 'qwen2.5-0.5b', 'qwen2.5-72b', 'qwen2.5-7b' or 'qwen3-235b-a22b'? 'orrery show models' lists them all"},
    {"simulate --model frobnicator --cluster dgx-h100:8", "model: 'frobnicator' is neither a shipped model nor a file", "'orrery show models' lists them all"},
    {"simulate --model meta-llama/Llama-3.1-8B --cluster dgx-h100:8", "meta-llama/Llama-3.1-8B: no such file or folder", "did you mean 'llama-3.1-8b'?"},
    {"simulate --model gpt-oss-20b --cluster dgx-h100:8", "--model: not built yet: biases of experts", "'orrery show models' says which can be simulated"},
    {"simulate --model llama-3.1-8b --cluster frobnicator", "cluster frobnicator: is not known", "'orrery show clusters' lists them all"},
    {"simulate --model llama-3.1-8b --cluster dgx-h10:8", "cluster dgx-h10:8: is not known", "did you mean 'dgx-h100'?"},
    {"simulate --model llama-3.1-8b --cluster dgx-h100:-8", "cluster dgx-h100:-8: '-8' is not a positive whole number of devices", "write it like dgx-h100:64"},
    {"simulate --model llama-3.1-8b --cluster dgx-h100:12", "cluster dgx-h100:12: 12 devices do not fill whole nodes of 8", "the nearest sizes are 8 and 16"},
    {kSimulate + "--schedule 1f1d", "--schedule: '1f1d' is not known here", "did you mean '1f1b'?"},
    {kSimulate + "--schedule interleaved", "parallel.vp: interleaving needs two chunks per rank or more", "use 2 chunks, or schedule 1f1b"},
    {kSimulate + "--recompute half", "--recompute: 'half' is not known here", "known: none, selective, full"},
    {kSimulate + "--precision fp8", "--precision: 'fp8' is not a precision of this version", "known: fp32, bf16, fp8-delayed, fp8-current, fp8-blockwise"},
    {kSimulate + "--network flow", "--network: 'flow' is not built yet", "known: analytic"},
    {kSimulate + "--flops-convention 7n", "--flops-convention: '7n' is not a convention", "did you mean '6n'?"},
    {kSearch + "--schedule 1f1d", "--schedule: '1f1d' is not known here", "did you mean '1f1b'?"},
    {kSearch + "--objective cost", "--objective: 'cost' is not built yet", "known: time"},
    {"run p.json --data markov --device cuda:0", "cuda: the CUDA plugin cannot be loaded: liborrery_cuda.so: cannot open shared object file: No such file or directory", "build it by 'cmake --preset cuda' and 'cmake --build build/cuda --target orrery_cuda', and set ORRERY_CUDA_PLUGIN to its path"},
    {"profile --device gpu -o x.json", "--device: 'gpu' is no device", "write cpu, cuda, or cuda:1 for the second GPU"},
    {"profile --device cuda -o x.json", "cuda: the CUDA plugin cannot be loaded: liborrery_cuda.so: cannot open shared object file: No such file or directory", "build it by 'cmake --preset cuda' and 'cmake --build build/cuda --target orrery_cuda', and set ORRERY_CUDA_PLUGIN to its path"},
    {"profile other.json -o x.json", "orrery profile: 'other.json' is one word too many", "with --transfer-to DEVICE it is the profile to transfer"},
    {"profile --transfer-to h100-sxm -o x.json", "--transfer-to: says nothing without a profile", "e.g. orrery profile h200.json --transfer-to h100-sxm"},
    {"demo --device cuda:x", "--device: 'cuda:x' is no device", "write cpu, cuda, or cuda:1 for the second GPU"},
    {"run p.json --data markov --device gpu", "--device: 'gpu' is no device", "write cpu, cuda, or cuda:1 for the second GPU"},
    {"run p.json --data markov --device cuda:-1", "--device: 'cuda:-1' is no device", "write cpu, cuda, or cuda:1 for the second GPU"},
    // Settings.
    {kSimulate + "--set nonsense", "--set nonsense: is not PATH=VALUE", "write it like batch.micro=2"},
    {kSimulate + "--set paralel.tp=2", "--set paralel.tp: paralel: is not a known field", "did you mean 'parallel'?"},
    {kSimulate + "--set parallel.tp=two", "--set parallel.tp: 'two' is not a whole number", ""},
    {kSimulate + "--set model.layers=2", "--set model.layers: is not a field that a llama model has", "did you mean 'n_layers'?"},
    {kSimulate + "--set model.num_hidden_layers=0", "--set model.num_hidden_layers: 0 is less than 1", ""},
    {kSimulate + "--set cluster.devices=12", "--set cluster.devices: 12 devices do not fill whole nodes of 8", "the nearest sizes are 8 and 16"},
    {kSimulate + "--set cluster.levels[7].size=3", "--set cluster.levels[7].size: levels has no element '7'", "it is a list of 2"},
    {kSimulate + "--set cluster.levels[0].bandwidth=fast", "--set cluster.levels[0].bandwidth: 'fast' is not a bandwidth", "write a number and a unit: 400 Gb/s, 50 GB/s or 46 GiB/s"},
    {"simulate --plan p.json --set batch.micro=3", "p.json: batch.global: 4 sequences are not a whole number of micro-batches of 3", "the nearest multiples are 3 and 6"},
    {"show model llama-3.1-8b --set layers=2", "--set layers: is not a field of the model", "the fields of a model begin with 'model.' for every verb"},
    {"show model llama-3.1-8b --set cluster.devices=2", "--set cluster.devices: is not a field of the model", "the fields of a model begin with 'model.' for every verb"},
    {"show cluster dgx-h100 --set cluster.devices=12", "--set cluster.devices: 12 devices do not fill whole nodes of 8", "the nearest sizes are 8 and 16"},
    {"show plan p.json --set batch.micro=x", "--set batch.micro: 'x' is not a whole number", ""},
    {"show plan p.json --set model.layers=2", "--set model.layers: is not a field of the plan", "a plan names its model and its cluster; their fields are theirs"},
    {"show device h100-sxm --set memory=1", "--set: says nothing about 'device'", "it changes what is shown of a model, a cluster or a plan"},
    {"demo --folder dir --set batch.micro=x", "--set batch.micro: 'x' is not a whole number", ""},
    // Plans that cannot be.
    {kSimulate + "--tp 16", "--tp (parallel): tp 16 x cp 1 x pp 1 = 16 ranks do not divide 8 devices", "use at most 8 ranks per replica, or more devices"},
    {"simulate --model llama-3.1-8b --cluster dgx-h100:24 --tp 3", "--tp (parallel.tp): tp 3 does not divide 32 heads", "nearest legal: 2 or 4"},
    {"simulate --model llama-3.1-8b --cluster dgx-h100:64 --pp 64", "--pp (parallel.pp): pp 64 x vp 1 = 64 stages for 32 layers", "use at most 32 stages, or say where the layers are: the first and the last stage may hold none"},
    {kSimulate + "--set batch.global=4", "--set batch.global: global batch 4 is no multiple of micro 1 x dp 8 = 8", "nearest legal: 8"},
    {kSimulate + "--global-batch 4", "--global-batch (batch.global): global batch 4 is no multiple of micro 1 x dp 8 = 8", "nearest legal: 8"},
    {kSimulate + "--global-batch 7 --micro-batch 2", "--global-batch: 7 sequences are not a whole number of micro-batches of 2", "the nearest multiples are 6 and 8"},
    {kSimulate + "--pp 2 --stages 7,8", "--stages: stages add up to 15 layers, the model has 32", "add 17 to the entries, or write null"},
    {kSimulate + "--stages 7,x", "--stages: '7,x' is not a list of layers per stage", "write numbers and repeats, e.g. 7,8x14,7"},
    {kSimulate + "--stages ''", "--stages: '' is not a list of layers per stage", "write numbers and repeats, e.g. 7,8x14,7"},
    {"run --data markov --model cpu-llama-tiny --cluster this-machine:128", "plan: has 128 ranks; this executor runs at most 64 as threads of one machine", "take a smaller cluster, or simulate it"},
    {"run --data markov --model cpu-llama-tiny --cluster dgx-h100:8", "--cluster: 'dgx-h100:8' is not this machine", "run it on CPU threads: --cluster this-machine:8 --set precision.compute=fp32 --set precision.params=fp32; or on a GPU: --device cuda"},
    // Files to read.
    {"simulate --plan missing.json", "missing.json: no such file", ""},
    {"simulate --plan dir", "dir: is a directory, not a file", ""},
    {"simulate --plan empty", "empty:1: is empty", ""},
    {"simulate --plan cut.json", "cut.json:1: ends in the middle of the document", "is the file truncated?"},
    {"simulate --plan hostile.json", "hostile.json:1: is nested more than 64 levels deep", ""},
    {"simulate --plan unknown.json", "unknown.json:1: paralel: is not a known field", "did you mean 'parallel'?"},
    {"simulate --model ./missing.json --cluster dgx-h100:8", "./missing.json: no such file", ""},
    {"simulate --model model.json --cluster dgx-h100:8", "model.json:1: hidden_size: 'wide' is not a whole number", ""},
    {kSimulate + "--profile p.json", "p.json:1: orrery: 'plan/1' is not 'profile/1'", "a profile starts with {\"orrery\": \"profile/1\", …"},
    {"compare a.json b.json", "a.json: no such file", ""},
    {"compare p.json file", "file: is neither a plan, a trace, nor the JSON of a simulation or a run", "compare takes plan.json, a --trace file, or what 'orrery simulate --json' and 'orrery run --json' print"},
    {"sweep p.json", "p.json:1: is not a sweep", "begin with \"orrery\": \"sweep/1\"; a plan to sweep goes after --plan"},
    {kSweep + "--grid seed=1 --grid seed=2", "--grid seed: is an axis already", "give all its values at once"},
    {"sweep nogrid.json", "nogrid.json:1: gird: is not a known field", "did you mean 'grid'?"},
    {"sweep novalues.json", "novalues.json:1: grid.parallel.tp: has no values", "give at least one"},
    {"sweep list.json", "list.json:1: grid.parallel.tp[1]: a list is not a value to try", "a number, a text, true or false"},
    {"sweep --model cpu-llama-tiny", "orrery sweep: there is no grid to sweep", "name a sweep file, or axes: --grid parallel.tp=1,2,4"},
    {kSweep + "--grid parallel.tp", "--grid: 'parallel.tp' is not PATH=VALUE,VALUE…", "e.g. --grid parallel.tp=1,2,4"},
    {kSweep + "--grid parallel.tp=1,,2", "--grid: 'parallel.tp=1,,2' has an empty value", "e.g. --grid parallel.tp=1,2,4"},
    {kSweep + "--grid paralel.tp=1,2", "--grid paralel.tp: paralel: is not a known field", "did you mean 'parallel'?"},
    {"sweep badgrid.json", "badgrid.json: grid paralel.tp: paralel: is not a known field", "did you mean 'parallel'?"},
    {"sweep badset.json", "badset.json: set batch.micro: 'x' is not a whole number", ""},
    {"sweep badset.json --set batch.micro=y", "--set batch.micro: 'y' is not a whole number", ""},
    // Data.
    {"run p.json --data missing.txt", "missing.txt: there is no such file", "--data takes a file of text, llm.c's tokens (*.bin), or 'markov'"},
    {"run p.json --data empty", "empty: is empty", ""},
    {"run p.json --data dir", "dir: is a directory, not a file of tokens", ""},
    {"run p.json --data file", "file: has 1 tokens; a sequence of 32 needs 33 (the targets are one further)", "take a longer file or a smaller --sequence"},
    {"run p.json --data short.bin", "short.bin: has 3 bytes, fewer than the 1024 of a header", "llm.c's token files start with 256 int32: 20240520, 1, number of tokens; a text is read byte by byte unless it is named *.bin"},
    {"run p.json --data version.bin", "version.bin: is of version 3; version 1 is known", "llm.c's token files start with 256 int32: 20240520, 1, number of tokens; a text is read byte by byte unless it is named *.bin"},
    {"run p.json --data promise.bin", "promise.bin: promises 100 tokens of 2 bytes, but 160 bytes follow the header", "download it again"},
    {"run p.json --data beyond.bin", "beyond.bin: token 40 is 300, but the model's vocabulary has 256", "take a model with the vocabulary that the file was made with"},
    // Files to write: none is touched, and no work is done first.
    {kSimulate + "--trace missing/t.json", "missing/t.json: cannot be written: no such folder: missing", "make it first: mkdir -p missing"},
    {kSimulate + "--trace file/t.json", "file/t.json: cannot be written: file is not a folder", ""},
    {kSimulate + "--trace dir", "dir: is a directory, not a file", ""},
    {kSimulate + "--trace /dev/full", "/dev/full: cannot be written: No space left on device", ""},
    {kSimulate + "-o /dev/full", "/dev/full: cannot be written: No space left on device", ""},
    {kSearch + "-o file/plan.json", "file/plan.json: cannot be written: file is not a folder", ""},
    {kSweep + "--grid parallel.tp=1,2 -o /dev/full", "/dev/full: cannot be written: No space left on device", ""},
    {"run p.json --data markov --steps 100000000 --report file/r.json", "file/r.json: cannot be written: file is not a folder", ""},
    {"run p.json --data markov --steps 1 --report /dev/full", "/dev/full: cannot be written: No space left on device", ""},
    {"profile -o missing/profile.json", "missing/profile.json: cannot be written: no such folder: missing", "make it first: mkdir -p missing"},
    {"demo --folder file", "file: cannot be made: Not a directory", "name another folder with --folder"},
    {kSimulate + "--ranks 0,99 --trace t.json", "--ranks: there is no rank 99: this plan has ranks 0 to 7", ""},
    {kSimulate + "--ranks 0", "--ranks: says whose spans a trace holds, but there is no --trace", "add --trace FILE"},
  };
  return kTable;
}
// clang-format on

TEST(BadCommand, CostsAMessageWithAnAddressAndLeavesNothing) {
  const TemporaryFolder folder;
  furnish(folder);
  const auto before = contents(folder);
  for (const Bad& bad : table()) {
    const Finished run = orrery(bad.command, folder.path().string());
    EXPECT_EQ(run.err, bad.message + "\n" + (bad.hint.empty() ? "" : "  hint: " + bad.hint + "\n")) << "orrery " << bad.command;
    EXPECT_EQ(run.code, 2) << "orrery " << bad.command;
    EXPECT_EQ(run.out, "") << "orrery " << bad.command;
  }
  EXPECT_TRUE(contents(folder) == before) << "a file or folder was made or changed";  // not printed: some are hostile
  EXPECT_GE(table().size(), 60U);
}

TEST(BadCommand, AFullDiskBehindStdoutIsTold) {
  const TemporaryFolder folder;
  for (const char* command : {"show models", "--version", "--help", "simulate --model llama-3.1-8b --cluster dgx-h100:8 --json"}) {
    const Finished run = orrery_into("/dev/full", command, folder.path().string());
    EXPECT_EQ(run.err, "stdout: cannot be written: No space left on device\n") << command;
    EXPECT_EQ(run.code, 2) << command;
  }
}

}  // namespace
}  // namespace orrery
