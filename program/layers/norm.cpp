#include "program/layers/layers.h"

namespace orrery::program {
namespace {

// 1/σ of each row, and for LayerNorm μ.
std::uint32_t statistics(const Context& c, const std::string& name, std::int64_t rows) {
  return c.kept(name + ".statistics", DType::fp32, rows * (c.model.norm == Normalization::layernorm ? 2 : 1));
}

}  // namespace

void norm_forward(const Context& c, const std::string& name, std::int32_t gain, std::int32_t bias, std::uint32_t x, std::uint32_t y) {
  const std::int64_t width = c.model.hidden, rows = c.b.elements(x) / width;
  Uses uses{r(x)};
  c.read(uses, gain);
  c.read(uses, bias);
  uses.push_back(w(y));
  uses.push_back(w(statistics(c, name, rows)));
  c.b.compute(Operator::norm_forward, {rows, width}, uses);
}

void norm_backward(const Context& c, const std::string& name, std::int32_t gain, std::int32_t bias, std::uint32_t dy, std::uint32_t x,
                   std::uint32_t dx) {
  const std::int64_t width = c.model.hidden, rows = c.b.elements(x) / width;
  Uses uses{r(dy), r(x)};
  c.read(uses, gain);
  uses.push_back(r(statistics(c, name, rows)));
  uses.push_back(u(dx));
  c.update(uses, gain);
  c.update(uses, bias);
  c.b.compute(Operator::norm_backward, {rows, width}, uses);
  c.written(gain);
  c.written(bias);
}

}  // namespace orrery::program
