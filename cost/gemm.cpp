#include "cost/gemm.h"

#include <algorithm>
#include <string_view>

#include "cost/generation.h"

namespace orrery::cost {
namespace {

// The tile edge that describes cuBLAS and DeepGEMM best over the measured shapes.
constexpr std::int64_t kTile = 128;

// One fit: on half of the measured shapes; `sigma` is the root mean square of the relative error on the other half.
struct Fit {
  double share, share8;  // of the peak, for 16-bit (and wider) and for 8-bit products
  double share8_whole;   // for 8-bit products whose operands have one scale each
  double reference;      // the best measured shape of the card that was fitted: what `share` corresponds to
  double k0, epilogue, sustained;
  double boost_us, fixed_us;
  double sigma;
  std::string_view source;
};

// MooreThreads/SimuMax configs/system/{a100_pcie,b200_bf16_ceperm}.json: bf16 products of training shapes, timed one by one.
// deepseek-ai/profile-data train.json: fp8 products inside a DeepSeek-V3 step on H800, on 112 of 132 SMs.
// One scale for a whole matrix, Hopper: NVIDIA/TransformerEngine docs, "GEMM speedups across precisions", products of H200 in fp8 are 1.92 times as
// fast as in bf16, so 0.864 · 1.92 / 2 of a peak that is twice as high. With scales of blocks they move sums to other registers on the way: the
// trace's. References: stas00/ml-engineering compute/accelerator/README.md, maximum achievable matmul: A100 PCIe 0.811, H100 0.803, B200 0.776.
Fit fit_of(Generation generation) {
  switch (generation) {
    case Generation::hopper:  // share: such that the best measured shape of H100, 2048 x 2048 x 13312, gives its 794.5 TFLOPS
      return {0.864,
              0.656,
              0.829,
              0.803,
              144,
              0.55,
              1,
              0,
              3.0,
              0.10,
              "k0 fitted to 7 fp8 products in the DeepSeek-V3 trace (H800), judged on 7 others; share from the best measured shape of H100"};
    case Generation::blackwell:
      return {0.754,
              0.754,
              0.754,
              0.776,
              238,
              0.506,
              0.505 / 0.754,
              68,
              3.4,
              0.14,
              "fitted to 247 bf16 products on B200 (SimuMax), judged on 267 others"};
    case Generation::ampere:
    case Generation::other:
      return {0.771, 0.771, 0.771, 0.811, 51, 0.585, 1, 0, 2.0, 0.07, "fitted to 87 bf16 products on A100 PCIe (SimuMax), judged on 96 others"};
  }
  return {};
}

constexpr double kAssumed = 0.2;  // sigma of a share that nobody measured on the part itself

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::optional<GemmShape> gemm_shape(const program::Shape& shape) {
  const DType result = shape.dtype == DType::fp8 && shape.dims[3] != 0 ? DType::bf16 : shape.dtype;
  const std::int64_t tokens = shape.dims[0], in = shape.dims[1], out = shape.dims[2];
  switch (shape.op) {
    case program::Operator::linear_forward:
      return GemmShape{tokens, out, in, Bytes{bytes_of(result, tokens * out)}};
    case program::Operator::linear_input_grad:
      return GemmShape{tokens, in, out, Bytes{bytes_of(result, tokens * in)}};
    case program::Operator::linear_activation_forward:  // writes two
      return GemmShape{tokens, out, in, Bytes{2 * bytes_of(result, tokens * out)}};
    case program::Operator::linear_activation_grad:  // reads one, writes one
      return GemmShape{tokens, in, out, Bytes{2 * bytes_of(result, tokens * in)}};
    case program::Operator::linear_weight_grad:  // accumulates into fp32
      return GemmShape{out, in, tokens, Bytes{2 * bytes_of(DType::fp32, in * out)}};
    // Products of one launch: each expert's rows fill tiles of their own, and waves run over the tiles of all.
    case program::Operator::expert_linear_forward:
    case program::Operator::expert_linear_input_grad:
    case program::Operator::expert_linear_weight_grad: {
      const std::int64_t rows = shape.dims[0], experts = std::max<std::int64_t>(1, shape.dims[1]), from = shape.dims[2], to = shape.dims[3];
      if (shape.op == program::Operator::expert_linear_weight_grad)
        return GemmShape{experts * to, from, ceil_div(rows, experts), Bytes{2 * bytes_of(DType::fp32, experts * from * to)}};
      const std::int64_t n = shape.op == program::Operator::expert_linear_forward ? to : from;
      return GemmShape{experts * ceil_div(ceil_div(rows, experts), kTile) * kTile, n, from + to - n, Bytes{bytes_of(shape.dtype, rows * n)}};
    }
    default:
      return std::nullopt;
  }
}

GemmModel gemm_model(const Device& device, DType type, bool whole_scales) {
  const Generation known = generation(device);
  const Fit g = fit_of(known);
  const auto own = device.efficiency.find("gemm");
  const double reference = own != device.efficiency.end() ? own->second.value : g.reference;

  GemmModel model;
  model.share = std::min(1.0, (bits(type) > 8 ? g.share : whole_scales ? g.share8_whole : g.share8) * reference / g.reference);
  model.k0 = g.k0;
  model.epilogue = g.epilogue;
  model.sustained = g.sustained;
  model.boost = Seconds{g.boost_us * 1e-6};
  model.fixed = Seconds{g.fixed_us * 1e-6};
  model.source.name = "matrix products on " + device.name + ": ";
  // A share that the device's file borrows from another part is no better known for the fit of its shapes.
  const bool borrowed = own != device.efficiency.end() && own->second.source.starts_with("assumed");
  if (known != Generation::other) {
    model.source.name += std::string(borrowed ? "share borrowed from another part, shapes " : "") + std::string(g.source);
    model.source.grade = borrowed ? Grade::assumed : Grade::fitted;
    model.source.sigma = borrowed ? std::max(g.sigma, kAssumed) : g.sigma;
  } else {
    model.source.name += "the device's best shape, other shapes assumed to relate to it as on A100";
    model.source.grade = Grade::assumed;
    model.source.sigma = kAssumed;
  }
  return model;
}

double tile_utilisation(const GemmShape& shape, std::int64_t sms) {
  const std::int64_t tiles = ceil_div(shape.m, kTile) * ceil_div(shape.n, kTile);
  const std::int64_t slots = ceil_div(tiles, sms) * sms;
  return static_cast<double>(shape.m) * static_cast<double>(shape.n) / (static_cast<double>(slots) * kTile * kTile);
}

Seconds gemm_time(const GemmModel& model, const GemmShape& shape, FlopsPerSecond peak, const Device& device) {
  if (shape.m <= 0 || shape.n <= 0 || shape.k <= 0) return Seconds{0};
  const FlopsPerSecond peak16 = device.peak_of(DType::bf16);
  const double k0 = peak16.v > 0 ? model.k0 * (peak / peak16) : model.k0;
  const double k = static_cast<double>(shape.k);
  const double work = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) * k;
  const double tiles = device.sms > 0 ? tile_utilisation(shape, device.sms) : 1.0;
  const Seconds cool{work * (1 + k0 / k) / (peak.v * model.share * tiles)};
  const Seconds hot = cool > model.boost ? (cool - model.boost) / model.sustained : Seconds{0};
  const Seconds epilogue{model.epilogue * static_cast<double>(shape.output.v) / device.memory_bandwidth.v};
  return std::max(std::min(cool, model.boost) + hot + epilogue + model.fixed, Seconds{work / peak.v});
}

}  // namespace orrery::cost
