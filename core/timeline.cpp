#include "core/timeline.h"

#include <algorithm>
#include <numeric>

namespace orrery {
namespace {

// Splits `total` in proportion to `parts`, in integers that add up to it exactly: the largest remainders are rounded up.
template <std::size_t N>
std::array<std::int64_t, N> apportion(const std::array<__int128, N>& parts, __int128 divisor, std::int64_t total) {
  std::array<std::int64_t, N> out{};
  std::array<__int128, N> remainder{};
  std::int64_t given = 0;
  for (std::size_t i = 0; i < N; ++i) {
    __int128 q = parts[i] / divisor, r = parts[i] % divisor;
    if (r < 0) {
      r += divisor;
      --q;
    }
    out[i] = static_cast<std::int64_t>(q);
    remainder[i] = r;
    given += out[i];
  }
  std::array<std::size_t, N> order{};
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
  for (std::size_t i = 0; given < total; ++i, ++given) ++out[order[i % N]];
  return out;
}

}  // namespace

std::string_view name(WorkClass c) {
  static constexpr std::array<std::string_view, kWorkClasses> kNames{
      "gemm", "attention", "norm", "elementwise", "embedding", "loss", "optimizer", "tp_comm", "cp_comm", "ep_comm", "pp_comm", "dp_comm", "control"};
  return kNames[static_cast<std::size_t>(c)];
}

WaitCause wait_cause(WorkClass awaited) {
  switch (awaited) {
    case WorkClass::gemm:
    case WorkClass::attention:
    case WorkClass::norm:
    case WorkClass::elementwise:
    case WorkClass::embedding:
    case WorkClass::loss:
    case WorkClass::optimizer:
      return WaitCause::compute;
    case WorkClass::tp_comm:
      return WaitCause::tp;
    case WorkClass::cp_comm:
      return WaitCause::cp;
    case WorkClass::ep_comm:
      return WaitCause::ep;
    case WorkClass::pp_comm:
      return WaitCause::pp;
    case WorkClass::dp_comm:
      return WaitCause::dp;
    case WorkClass::control:
      return WaitCause::host;
  }
  return WaitCause::host;
}

std::array<Picoseconds, Waterfall::kParts> Waterfall::parts() const {
  return {ideal,      kernel_efficiency, other_kernels, recompute, exposed_tp, exposed_cp, exposed_ep,
          exposed_pp, exposed_dp,        imbalance,     bubble,    host,       optimizer};
}

std::array<std::string_view, Waterfall::kParts> Waterfall::names() {
  return {"ideal",      "kernel_efficiency", "other_kernels", "recompute", "exposed_tp", "exposed_cp", "exposed_ep",
          "exposed_pp", "exposed_dp",        "imbalance",     "bubble",    "host",       "optimizer"};
}

void WaterfallBuilder::add(std::uint32_t rank, WorkClass work, bool recompute, Picoseconds ideal, Picoseconds busy, WaitCause cause,
                           Picoseconds waited, Picoseconds transfer) {
  Rank& r = ranks_[rank];
  r.busy += busy.v;
  if (work == WorkClass::optimizer) {
    r.optimizer += busy.v;
  } else if (recompute) {
    r.recompute += busy.v;
  } else if (work == WorkClass::gemm || work == WorkClass::attention) {
    r.matrix += busy.v;
    r.ideal += ideal.v;
  } else {
    r.other += busy.v;
  }
  switch (cause) {
    case WaitCause::none:
    case WaitCause::host:
    case WaitCause::compute:
      r.host += waited.v;
      break;
    case WaitCause::tp:
    case WaitCause::cp:
    case WaitCause::ep:
    case WaitCause::dp:
    case WaitCause::pp: {
      const std::size_t axis = cause == WaitCause::tp ? 0 : cause == WaitCause::cp ? 1 : cause == WaitCause::ep ? 2 : cause == WaitCause::pp ? 3 : 4;
      r.exposed[axis] += transfer.v;
      // Waiting for a peer that is not there yet: a pipeline neighbour's schedule, or (for a group) somebody's greater load.
      r.pipeline += waited.v - transfer.v;
      break;
    }
  }
}

Waterfall WaterfallBuilder::finish(Picoseconds step, const std::vector<std::int64_t>& weights, bool pipelined) const {
  std::int64_t busiest = 0;
  for (const Rank& r : ranks_) busiest = std::max(busiest, r.busy);
  __int128 count = 0;
  std::array<__int128, Waterfall::kParts> sum{};
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    const Rank& r = ranks_[i];
    const __int128 w = weights[i];
    std::int64_t waiting = r.pipeline, host = r.host;
    const std::int64_t known = r.busy + waiting + host + std::accumulate(r.exposed.begin(), r.exposed.end(), std::int64_t{0});
    (pipelined ? waiting : host) += step.v - known;  // before the first span and after the last
    const std::int64_t imbalance = std::clamp<std::int64_t>(waiting, 0, busiest - r.busy);
    const std::array<std::int64_t, Waterfall::kParts> mine{
        r.ideal,      r.matrix - r.ideal, r.other,   r.recompute,         r.exposed[0], r.exposed[1], r.exposed[2],
        r.exposed[3], r.exposed[4],       imbalance, waiting - imbalance, host,         r.optimizer};
    for (std::size_t k = 0; k < mine.size(); ++k) sum[k] += w * mine[k];
    count += w;
  }
  Waterfall out;
  out.step = step;
  if (count == 0) return out;
  const auto p = apportion(sum, count, step.v);
  std::size_t k = 0;
  for (Picoseconds* part : {&out.ideal, &out.kernel_efficiency, &out.other_kernels, &out.recompute, &out.exposed_tp, &out.exposed_cp, &out.exposed_ep,
                            &out.exposed_pp, &out.exposed_dp, &out.imbalance, &out.bubble, &out.host, &out.optimizer})
    part->v = p[k++];
  return out;
}

}  // namespace orrery
