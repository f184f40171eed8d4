#include "cost/attention.h"

#include <algorithm>
#include <string>

#include "cost/generation.h"

namespace orrery::cost {
namespace {

using program::Operator;

struct Fit {
  double share, diagonal, waves;
  double reference;  // the device file's figure for the card that was fitted: what `share` corresponds to
  double sigma;      // root mean square of the relative error on the shapes that were not fitted
  std::string_view source;
};

// MooreThreads/SimuMax configs/system/{a100_pcie,b200_bf16_ceperm}.json (causal counted in full there, halved here) and
// NVIDIA/cudnn-frontend@3929da2e benchmark/sdpa_benchmark_training (H200, GB200; causal counted as half). Every other shape was fitted, the rest
// judged.
constexpr std::string_view kAmpere = "fitted to 6 shapes on A100 PCIe (SimuMax), judged on 6 others";
constexpr std::string_view kHopper = "fitted to 4 shapes on H200 (cuDNN 9.19), judged on 4 others";
constexpr std::string_view kBlackwell = "fitted to shapes on GB200 (cuDNN 9.22) and B200 (SimuMax), judged on as many others";

Fit fit_of(Generation generation, bool forward) {
  switch (generation) {
    case Generation::hopper:
      return forward ? Fit{0.713, 646, 72, 0.624, 0.03, kHopper} : Fit{0.645, 1663, 0, 0.513, 0.07, kHopper};
    case Generation::blackwell:
      return forward ? Fit{0.721, 812, 567, 0.596, 0.25, kBlackwell} : Fit{0.479, 513, 182, 0.496, 0.17, kBlackwell};
    case Generation::ampere:
    case Generation::other:  // SimuMax has one sequence length: its diagonal is taken between Hopper's two
      return forward ? Fit{0.713, 455, 220, 0.5, 0.07, kAmpere} : Fit{0.591, 500, 129, 0.4, 0.13, kAmpere};
  }
  return {};
}

}  // namespace

AttentionModel attention_model(const Device& device, Operator op) {
  const bool forward = op == Operator::attention_forward || op == Operator::attention_block_forward;
  const std::string word(forward ? "attention_forward" : "attention_backward");
  const Generation known = generation(device);
  const Fit fit = fit_of(known, forward);
  const auto own = device.efficiency.find(word);
  const bool assumed = known == Generation::other || own == device.efficiency.end() || own->second.source.starts_with("assumed");

  AttentionModel model;
  model.share = std::min(1.0, fit.share * (own != device.efficiency.end() ? own->second.value / fit.reference : 1.0));
  model.diagonal = fit.diagonal;
  model.waves = fit.waves;
  model.source.name = word + " on " + device.name + ": " + std::string(fit.source);
  if (own != device.efficiency.end()) model.source.name += "; scale: " + own->second.source;
  model.source.grade = assumed ? Grade::assumed : Grade::fitted;
  model.source.sigma = std::max(fit.sigma, assumed ? 0.1 : 0.0);
  return model;
}

Seconds attention_time(const AttentionModel& model, const program::Shape& shape, FlopsPerSecond peak, std::int64_t sms) {
  const double work = program::flops(shape).v;
  const auto& d = shape.dims;
  const bool block = shape.op == Operator::attention_block_forward || shape.op == Operator::attention_block_backward;
  const double problems = static_cast<double>(std::max<std::int64_t>(1, d[0] * (block ? d[3] : d[2])));
  // Half of the keys that a query attends to on average: of a causal sequence, the sequence.
  const double sequence = block       ? std::max(1.0, static_cast<double>(d[7]) / static_cast<double>(std::max<std::int64_t>(1, d[1])))
                          : d[6] != 0 ? static_cast<double>(std::max<std::int64_t>(1, d[1]))
                                      : 2 * static_cast<double>(std::max<std::int64_t>(1, d[1]));
  const double loss = (model.diagonal + model.waves * static_cast<double>(sms) / problems) / sequence;
  return Seconds{work / (peak.v * std::min(1.0, model.share)) * (1 + loss)};
}

}  // namespace orrery::cost
