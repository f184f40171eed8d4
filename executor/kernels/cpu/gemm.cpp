#include "executor/kernels/cpu/gemm.h"

#define EIGEN_DONT_PARALLELIZE  // a rank is one thread
#include <Eigen/Core>
#include <cassert>

namespace orrery::executor::cpu {
namespace {

using Dynamic = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<Dynamic, 0, Eigen::OuterStride<>>;
using ConstMap = Eigen::Map<const Dynamic, 0, Eigen::OuterStride<>>;

Map map(Matrix m) { return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)}; }
ConstMap map(ConstMatrix m) { return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)}; }

bool empty(Matrix c, std::int64_t depth) { return c.rows == 0 || c.cols == 0 || depth == 0; }

}  // namespace

void multiply_nn(Matrix c, ConstMatrix a, ConstMatrix b, float scale) {
  assert(c.rows == a.rows && c.cols == b.cols && a.cols == b.rows);
  if (!empty(c, a.cols)) map(c).noalias() += scale * map(a) * map(b);
}

void multiply_nt(Matrix c, ConstMatrix a, ConstMatrix b, float scale) {
  assert(c.rows == a.rows && c.cols == b.rows && a.cols == b.cols);
  if (!empty(c, a.cols)) map(c).noalias() += scale * map(a) * map(b).transpose();
}

void multiply_tn(Matrix c, ConstMatrix a, ConstMatrix b, float scale) {
  assert(c.rows == a.cols && c.cols == b.cols && a.rows == b.rows);
  if (!empty(c, a.rows)) map(c).noalias() += scale * map(a).transpose() * map(b);
}

}  // namespace orrery::executor::cpu
