#include "gui/view/examples.h"

namespace orrery::view {
namespace {

app::PlanFlags question(std::string model, std::string cluster, std::vector<std::string> settings, std::optional<std::string> stages = {}) {
  app::PlanFlags flags;
  flags.stages = std::move(stages);
  flags.model = std::move(model);
  flags.cluster = std::move(cluster);
  flags.settings = std::move(settings);
  return flags;
}

}  // namespace

const std::vector<Example>& examples() {
  static const std::vector<Example> list{
      {"Llama 3.1 70B on 64 H100", "A pipeline of four stages on eight DGX H100: where do bubble and communication go?",
       question("llama-3.1-70b", "dgx-h100:64",
                {"batch.global=128", "batch.micro=1", "batch.sequence=8192", "parallel.tp=8", "parallel.pp=4", "parallel.vp=5",
                 "schedule=interleaved", "sharding.zero=1"})},
      {"Llama 3.1 405B on 16,384 H100", "Meta's pre-training layout (arXiv 2407.21783, table 4) with 16 micro-batches.",
       question("llama-3.1-405b", "h100-grand-teton:16384",
                {"batch.global=2048", "batch.micro=1", "batch.sequence=8192", "parallel.tp=8", "parallel.pp=16", "parallel.vp=8",
                 "schedule=interleaved", "sharding.zero=1"},
                "0,1x126,0")},
      {"Mixtral 8x7B on 64 H100", "Experts over eight devices: what does their all-to-all cost?",
       question("mixtral-8x7b", "dgx-h100:64",
                {"batch.global=256", "batch.micro=1", "batch.sequence=4096", "parallel.tp=1", "parallel.ep=8", "parallel.pp=2", "sharding.zero=1"})},
      {"A tiny Llama on this machine", "Four CPU ranks, which the Run page can really train.",
       question("cpu-llama-tiny", "this-machine:4",
                {"batch.global=8", "batch.micro=1", "batch.sequence=128", "parallel.tp=2", "parallel.pp=2", "schedule=1f1b"})}};
  return list;
}

}  // namespace orrery::view
