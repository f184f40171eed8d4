#include "sim/sharing.h"

#include <algorithm>

namespace orrery::sim {
namespace {

using Wide = unsigned __int128;

// Water-filling: in order of demand, whoever asks for at most an equal part of what is left gets it; the rest get equal parts.
// `served` is called for each demand with true, or with false and the level (left / weight) for those who must share.
template <class Demanded, class Served>
void fill(std::uint64_t capacity, std::vector<Demand*>& demands, Demanded demanded, Served served) {
  std::sort(demands.begin(), demands.end(), [&](const Demand* a, const Demand* b) { return demanded(*a) < demanded(*b); });
  Wide left = capacity;
  std::uint64_t weight = 0;
  for (const Demand* d : demands) weight += d->weight;
  bool short_of_it = false;
  for (Demand* d : demands) {
    const Wide wanted = demanded(*d);
    if (!short_of_it && wanted * weight <= left) {
      left -= wanted * d->weight;
      weight -= d->weight;
    } else {
      short_of_it = true;
      served(*d, left, weight);
    }
  }
}

}  // namespace

void share(std::uint32_t cores, std::vector<Demand*>& demands) {
  const std::uint64_t capacity = std::uint64_t{cores} << kShareBits;
  for (Demand* d : demands) d->rate = kFullRate;
  const auto core_demand = [&](const Demand& d) { return std::min<std::uint64_t>(d.cores, capacity); };
  fill(capacity, demands, core_demand, [&](Demand& d, Wide left, std::uint64_t weight) {
    d.rate = std::max<std::uint64_t>(1, static_cast<std::uint64_t>((left << kRateBits) / (Wide{weight} * core_demand(d))));
  });
  const auto memory_share = [](const Demand& d) { return std::min<std::uint64_t>(d.memory, std::uint64_t{1} << kShareBits); };
  const auto memory_demand = [&](const Demand& d) { return memory_share(d) * d.rate; };
  std::vector<Demand*>& by_memory = demands;
  fill(std::uint64_t{1} << (kShareBits + kRateBits), by_memory, memory_demand, [&](Demand& d, Wide left, std::uint64_t weight) {
    d.rate = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(left / (Wide{weight} * memory_share(d))));
  });
}

}  // namespace orrery::sim
