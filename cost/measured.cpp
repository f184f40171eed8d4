#include "cost/measured.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <stdexcept>

namespace orrery::cost {
namespace {

using program::Operator;

struct Coordinates {
  std::vector<double> at;
  std::vector<int> category;
};

// The directions in which an operator's rate can change: dimensions that only multiply the work are joined, flags become categories.
Coordinates coordinates(const program::Shape& shape) {
  const auto& d = shape.dims;
  const auto log = [](std::int64_t v) { return std::log(static_cast<double>(std::max<std::int64_t>(v, 1))); };
  switch (shape.op) {
    case Operator::attention_forward:
    case Operator::attention_backward:  // batch and heads are independent problems; what the kernel sees is one sequence and its widths
      return {{log(d[1]), log(d[0] * d[2]), log(d[2]) - log(d[3]), log(d[4]), log(d[5])}, {d[6] != 0 ? 1 : 0}};
    case Operator::rope_forward:
    case Operator::rope_backward:
      return {{log(d[0] * (d[1] + d[2])), log(d[3])}, {}};
    case Operator::activation_forward:
    case Operator::activation_backward:
      return {{log(d[0] * d[1])}, {d[2] != 0 ? 1 : 0}};
    case Operator::residual_forward:
      return {{log(d[0] * d[1])}, {}};
    case Operator::expert_linear_forward:
    case Operator::expert_linear_input_grad:
    case Operator::expert_linear_weight_grad:  // rows of one expert
      return {{log(d[0]) - log(d[1]), log(d[1]), log(d[2]), log(d[3])}, {}};
    case Operator::expert_activation_forward:
    case Operator::expert_activation_backward:
      return {{log(d[0] * d[1])}, {d[2] != 0 ? 1 : 0}};
    default: {
      Coordinates out;
      std::size_t used = d.size();
      while (used > 1 && d[used - 1] == 0) --used;
      for (std::size_t i = 0; i < used; ++i) out.at.push_back(log(d[i]));
      return out;
    }
  }
}

// What time is proportional to at equal efficiency.
double work_of(const program::Shape& shape) {
  if (const double work = program::flops(shape).v; work > 0) return work;
  return std::max(1.0, static_cast<double>(program::traffic(shape).v));
}

double median(std::vector<double> v) {
  if (v.empty()) return 0;
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

// The power of four nearest to a footprint, as its exponent; what was measured at no stated footprint is a class of its own.
int footprint_class(Bytes footprint) { return footprint.v > 0 ? static_cast<int>(std::lround(std::log2(static_cast<double>(footprint.v)) / 2)) : 0; }

constexpr double kSame = 1e-9;  // logarithms closer than this are of the same dimension

Reach worse(Reach a, Reach b) { return std::max(a, b); }

// A median of several calls still moves from run to run; no profile is better than this.
constexpr double kLeastSigma = 0.01;
// Beyond the measured range by a factor e, the rate is taken to be unknown by this much more.
constexpr double kExtrapolationSigma = 0.2;

}  // namespace

LogInterpolation::LogInterpolation(std::vector<Point> points) {
  // Measurements that differ only in joined dimensions are one point.
  std::map<std::pair<std::vector<int>, std::vector<double>>, std::pair<double, int>> merged;
  for (Point& p : points) {
    for (double& x : p.at) x = std::round(x * 1e9) / 1e9;
    auto& [sum, count] = merged[{p.category, p.at}];
    sum += p.value;
    ++count;
  }
  for (const auto& [key, value] : merged) points_.push_back({key.second, key.first, value.first / value.second});
}

LogInterpolation::Answer LogInterpolation::answer(const std::vector<double>& query, const std::vector<int>& category, const Point* without) const {
  assert(!points_.empty());
  std::vector<const Point*> near;
  for (const Point& p : points_)
    if (&p != without && p.category == category && p.at.size() == query.size()) near.push_back(&p);
  Reach reach = Reach::measured;
  if (near.empty()) {
    reach = Reach::extrapolated;
    for (const Point& p : points_)
      if (&p != without && p.at.size() == query.size()) near.push_back(&p);
    if (near.empty()) return {points_.front().value, Reach::extrapolated};
  }

  // Into the range of the measurements, dimension by dimension.
  std::vector<double> at = query;
  for (std::size_t d = 0; d < at.size(); ++d) {
    const auto [low, high] = std::minmax_element(near.begin(), near.end(), [&](const Point* a, const Point* b) { return a->at[d] < b->at[d]; });
    const double clamped = std::clamp(at[d], (*low)->at[d], (*high)->at[d]);
    if (std::abs(clamped - at[d]) > kSame) reach = Reach::extrapolated;
    at[d] = clamped;
  }

  // A box of measurements around the query: lower and upper neighbour in every dimension that has no exact match, all corners present.
  std::vector<const Point*> slab = near;
  std::vector<std::size_t> open;
  for (std::size_t d = 0; d < at.size(); ++d) {
    std::vector<const Point*> exact;
    std::copy_if(slab.begin(), slab.end(), std::back_inserter(exact), [&](const Point* p) { return std::abs(p->at[d] - at[d]) <= kSame; });
    if (exact.empty())
      open.push_back(d);
    else
      slab = std::move(exact);
  }
  if (open.empty()) return {slab.front()->value, reach};
  std::vector<std::pair<double, double>> sides;
  bool box = true;
  for (const std::size_t d : open) {
    double low = -INFINITY, high = INFINITY;
    for (const Point* p : slab) {
      if (p->at[d] < at[d]) low = std::max(low, p->at[d]);
      if (p->at[d] > at[d]) high = std::min(high, p->at[d]);
    }
    box = box && std::isfinite(low) && std::isfinite(high);
    sides.emplace_back(low, high);
  }
  if (box) {
    double value = 0;
    for (std::size_t corner = 0; box && corner < (std::size_t{1} << open.size()); ++corner) {
      double weight = 1;
      const Point* found = nullptr;
      for (const Point* p : slab) {
        bool here = true;
        for (std::size_t i = 0; i < open.size(); ++i)
          here = here && std::abs(p->at[open[i]] - (corner >> i & 1U ? sides[i].second : sides[i].first)) <= kSame;
        if (here) found = p;
      }
      for (std::size_t i = 0; i < open.size(); ++i) {
        const double high = (at[open[i]] - sides[i].first) / (sides[i].second - sides[i].first);
        weight *= corner >> i & 1U ? high : 1 - high;
      }
      box = found != nullptr;
      if (found) value += weight * found->value;
    }
    if (box) return {value, worse(reach, Reach::interpolated)};
  }

  double sum = 0, weights = 0;
  for (const Point* p : near) {
    double distance = 0;
    for (std::size_t d = 0; d < at.size(); ++d) distance += (p->at[d] - at[d]) * (p->at[d] - at[d]);
    if (distance <= kSame * kSame) return {p->value, reach};
    sum += p->value / distance;
    weights += 1 / distance;
  }
  return {sum / weights, worse(reach, Reach::interpolated)};
}

double LogInterpolation::leave_one_out() const {
  if (points_.size() < 3) return 0;
  double squares = 0;
  int count = 0;
  for (const Point& p : points_) {
    const Answer others = answer(p.at, p.category, &p);
    if (others.reach == Reach::extrapolated) continue;  // a corner of the range says nothing about its inside
    squares += (others.value - p.value) * (others.value - p.value);
    ++count;
  }
  return count ? std::sqrt(squares / count) : 0;
}

Measurements::Measurements(const Profile& profile) : shared_memory_(profile.kind == DeviceKind::cpu_core) {
  struct Raw {
    std::vector<LogInterpolation::Point> points;
    std::vector<double> spreads;
  };
  std::map<std::pair<Operator, DType>, std::map<std::pair<std::int64_t, int>, Raw>> raw;  // by busy and footprint
  for (const OperatorMeasurement& m : profile.operators) {
    program::Shape shape;
    try {
      shape.op = program::operator_named(m.op);
    } catch (const std::out_of_range&) {
      continue;  // a profile may know kernels that no program uses
    }
    if (!(m.median.v > 0) || m.dims.size() > shape.dims.size()) continue;
    shape.dtype = m.dtype;
    std::copy(m.dims.begin(), m.dims.end(), shape.dims.begin());
    Coordinates c = coordinates(shape);
    Raw& r = raw[{shape.op, m.dtype}][{m.busy, footprint_class(m.footprint)}];
    r.points.push_back({std::move(c.at), std::move(c.category), std::log(m.median.v / work_of(shape))});
    r.spreads.push_back(m.spread);
  }
  for (auto& [key, states] : raw)
    for (auto& [state, r] : states) {
      LogInterpolation rate(std::move(r.points));
      const double error = rate.leave_one_out();
      operators_[key][state.first].emplace(state.second, Table{std::move(rate), median(std::move(r.spreads)), error});
    }

  using Where = std::pair<std::pair<Operator, std::int64_t>, std::int64_t>;  // on so many nodes, by so many ranks
  std::map<Where, std::map<double, std::pair<double, int>>> curves;
  std::map<Where, std::vector<double>> spreads;
  for (const CollectiveMeasurement& m : profile.collectives) {
    Operator op = Operator::send;
    if (m.op != "send_recv") {
      try {
        op = program::operator_named(m.op);
      } catch (const std::out_of_range&) {
        continue;
      }
    }
    if (!(m.median.v > 0) || m.bytes.v <= 0 || m.ranks < 2) continue;
    const Where where{{op, m.nodes}, m.ranks};
    auto& [sum, count] = curves[where][std::log(static_cast<double>(m.bytes.v))];
    sum += std::log(m.median.v);
    ++count;
    spreads[where].push_back(m.spread);
  }
  for (const auto& [key, points] : curves) {
    Curve& curve = collectives_[key.first][key.second];
    for (const auto& [bytes, value] : points) curve.points.emplace_back(bytes, value.first / value.second);
    curve.spread = median(spreads[key]);
  }
}

Measurements::Known Measurements::ask(const ByFootprint& tables, const std::vector<double>& at, const std::vector<int>& category,
                                      const Reuse& reuse) {
  struct State {
    double footprint;
    LogInterpolation::Answer answer;
    const Table* table;
  };
  std::vector<State> states;
  bool exact = false;
  for (const auto& [exponent, table] : tables) {
    states.push_back({std::exp2(2.0 * exponent), table.rate(at, category), &table});
    exact = exact || states.back().answer.reach == Reach::measured;
  }
  // A shape that was measured at some footprints is not guessed from other shapes at the others.
  if (exact)
    states.erase(std::remove_if(states.begin(), states.end(), [](const State& s) { return s.answer.reach != Reach::measured; }), states.end());
  std::vector<double> footprints;
  footprints.reserve(states.size());
  for (const State& s : states) footprints.push_back(s.footprint);
  const std::vector<double> weights = reuse.over(footprints);
  Known out;
  double rate = 0;
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (weights[i] <= 0) continue;
    rate += weights[i] * std::exp(states[i].answer.value);
    out.reach = worse(out.reach, states[i].answer.reach);
    out.spread = std::max(out.spread, states[i].table->spread);
    out.error = std::max(out.error, states[i].table->error);
  }
  out.log_rate = std::log(rate);
  return out;
}

bool Measurements::depend_on_reuse() const {
  for (const auto& [key, by_busy] : operators_)
    for (const auto& [busy, tables] : by_busy)
      if (tables.size() > 1) return true;
  return false;
}

std::optional<MeasuredTime> Measurements::operation(const program::Shape& shape, const Reuse& reuse) const {
  const auto found = operators_.find({shape.op, shape.dtype});
  const bool block = shape.op == Operator::attention_block_forward || shape.op == Operator::attention_block_backward;
  if (found == operators_.end() && block && shape.dims[7] > 0) {
    // At the rate of a whole causal attention in which a query attends to as many keys on average.
    const auto& d = shape.dims;
    program::Shape whole{shape.op == Operator::attention_block_forward ? Operator::attention_forward : Operator::attention_backward, shape.dtype};
    whole.dims = {d[0], std::max<std::int64_t>(1, d[7] / std::max<std::int64_t>(1, d[1])), d[3], d[4], d[5], d[6], 1};
    std::optional<MeasuredTime> like = operation(whole, reuse);
    if (like) like->alone = like->alone * (work_of(shape) / work_of(whole));
    if (like) like->reach = worse(like->reach, Reach::interpolated);
    return like;
  }
  if (found == operators_.end()) return std::nullopt;
  const auto& by_busy = found->second;
  const Coordinates c = coordinates(shape);
  const double work = work_of(shape);

  // Normally busy = 1; a profile taken only under load has nothing better than its least busy figures.
  const auto& [least, least_busy] = *by_busy.begin();
  const Known alone = ask(least_busy, c.at, c.category, reuse);
  MeasuredTime out;
  out.alone = Seconds{std::exp(alone.log_rate) * work};
  out.reach = alone.reach;
  out.sigma = std::max(kLeastSigma, alone.spread);
  if (alone.reach != Reach::measured) out.sigma = std::max(out.sigma, alone.error);
  if (alone.reach == Reach::extrapolated) out.sigma += kExtrapolationSigma;
  const auto& [most, most_busy] = *by_busy.rbegin();
  if (most > least) {
    out.busy = most;
    out.slowdown = std::max(1.0, std::exp(ask(most_busy, c.at, c.category, reuse).log_rate - alone.log_rate));
  }
  return out;
}

std::optional<MeasuredTime> Measurements::collective(Operator op, std::int64_t ranks, Bytes bytes, std::int64_t nodes) const {
  if (op == Operator::recv || op == Operator::rotate) op = Operator::send;
  if (op == Operator::all_to_all_by_count) op = Operator::all_to_all;
  auto found = collectives_.find({op, nodes});
  if (found == collectives_.end() && op == Operator::all_reduce_max) found = collectives_.find({Operator::all_reduce, nodes});
  if (found == collectives_.end()) return std::nullopt;
  const auto& by_ranks = found->second;
  const double at = std::log(static_cast<double>(std::max<std::int64_t>(bytes.v, 1)));

  struct Value {
    double log_seconds;
    Reach reach;
    double spread;
  };
  // Along a curve: linear in log-log; below its range the smallest message's time, above it the largest one's bandwidth.
  const auto ask = [&](const Curve& curve) -> Value {
    const auto& p = curve.points;
    if (at < p.front().first - kSame) return {p.front().second, Reach::extrapolated, curve.spread};
    if (at > p.back().first + kSame) return {p.back().second + at - p.back().first, Reach::extrapolated, curve.spread};
    for (const auto& [x, y] : p)
      if (std::abs(x - at) <= kSame) return {y, Reach::measured, curve.spread};
    const auto high = std::find_if(p.begin(), p.end(), [&](const auto& q) { return q.first > at; });
    const auto low = high - 1;
    const double share = (at - low->first) / (high->first - low->first);
    return {low->second + share * (high->second - low->second), Reach::interpolated, curve.spread};
  };

  // Between counts of ranks: linear in log-log. Beyond them, where all share one memory: (ranks - 1) payloads cross it whatever the operation;
  // between devices each link carries (ranks - 1) / ranks of the payload (rings and direct exchange alike), and a pair's message does not know of
  // others.
  Value value{};
  const auto high = by_ranks.lower_bound(ranks);
  if (high != by_ranks.end() && high->first == ranks) {
    value = ask(high->second);
  } else if (high == by_ranks.begin() || high == by_ranks.end()) {
    const auto& [edge, curve] = high == by_ranks.end() ? *by_ranks.rbegin() : *by_ranks.begin();
    value = ask(curve);
    const auto share = [](std::int64_t n) { return static_cast<double>(n - 1) / static_cast<double>(n); };
    if (shared_memory_)
      value.log_seconds += std::log(static_cast<double>(ranks - 1) / static_cast<double>(edge - 1));
    else
      value.log_seconds += std::log(share(ranks) / share(edge));
    value.reach = Reach::extrapolated;
  } else {
    const auto low = std::prev(high);
    const Value a = ask(low->second), b = ask(high->second);
    const double share = std::log(static_cast<double>(ranks) / static_cast<double>(low->first)) /
                         std::log(static_cast<double>(high->first) / static_cast<double>(low->first));
    value = {a.log_seconds + share * (b.log_seconds - a.log_seconds), worse(Reach::interpolated, worse(a.reach, b.reach)),
             std::max(a.spread, b.spread)};
  }

  MeasuredTime out;
  out.alone = Seconds{std::exp(value.log_seconds)};
  out.reach = value.reach;
  out.sigma = std::max(kLeastSigma, value.spread);
  if (value.reach == Reach::interpolated) out.sigma += 0.05;  // assumed: curves bend between sizes a factor four apart
  if (value.reach == Reach::extrapolated) out.sigma += kExtrapolationSigma;
  return out;
}

}  // namespace orrery::cost
