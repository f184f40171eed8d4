// Routing to experts, and moving rows to them and back. Everything that depends on the routing stays on the device.
#include "executor/kernels/cuda/device.cuh"

namespace orrery::executor::cuda {
namespace {

constexpr Index kMostExperts = ExpertPlaces::kMost, kMostGroups = kMostRouterGroups;

// Scores of one token's experts, by one warp, in double: near ties must not depend on the order of a sum.
template <class T>
__device__ __forceinline__ void score(const Routing& r, const T* logits, double* scores) {
  const auto lane = static_cast<Index>(threadIdx.x);
  if (r.sigmoid) {
    for (Index e = lane; e < r.experts; e += 32) scores[e] = 1 / (1 + exp(-static_cast<double>(wide(logits[e]))));
  } else {
    float most = -INFINITY;
    for (Index e = lane; e < r.experts; e += 32) most = fmaxf(most, wide(logits[e]));
    most = warp_max(most);
    double sum = 0;
    for (Index e = lane; e < r.experts; e += 32) sum += scores[e] = exp(static_cast<double>(wide(logits[e])) - static_cast<double>(most));
    sum = warp_sum(sum);
    for (Index e = lane; e < r.experts; e += 32) scores[e] /= sum;
  }
  __syncwarp();
}

// What the chosen scores are multiplied with.
__device__ __forceinline__ double factor(const Routing& r, const double* scores, const std::int32_t* chosen) {
  if (!r.normalize) return r.scale;
  double sum = 0;
  for (Index j = 0; j < r.k; ++j) sum += scores[chosen[j]];
  return r.scale / sum;
}

// The k best of scores[0 … experts), those of groups that are not among the best left out.
__device__ __forceinline__ void choose(const Routing& r, const double* scores, double* groups, std::int32_t* chosen) {
  const auto lane = static_cast<std::int32_t>(threadIdx.x);
  const auto experts = static_cast<std::int32_t>(r.experts), of_groups = static_cast<std::int32_t>(r.groups), size = experts / of_groups;
  if (of_groups > 1) {
    const auto share = static_cast<std::int32_t>(r.k / r.chosen_groups), counted = share < 1 ? 1 : share < size ? share : size;
    for (std::int32_t g = lane; g < of_groups; g += 32) groups[g] = sum_of_best(scores + g * size, size, counted);
    __syncwarp();
  }
  Ranked last{0, -1};
  for (Index j = 0; j < r.k; ++j) {
    Ranked best{0, -1};
    for (std::int32_t e = lane; e < experts; e += 32) {
      const Ranked mine{scores[e], e};
      if (!mine.before(best) || (last.number >= 0 && !last.before(mine))) continue;
      if (of_groups > 1 && !among_best(groups, of_groups, e / size, static_cast<std::int32_t>(r.chosen_groups))) continue;
      best = mine;
    }
#pragma unroll
    for (int d = 16; d > 0; d /= 2) {
      const Ranked other{__shfl_xor_sync(0xffffffffU, best.score, d), __shfl_xor_sync(0xffffffffU, best.number, d)};
      if (other.before(best)) best = other;
    }
    if (lane == 0) chosen[j] = best.number;
    last = best;
  }
  __syncwarp();
}

// A warp a token.
template <class T>
__global__ void __launch_bounds__(32)
    route_kernel(Routing r, const __grid_constant__ Positions positions, const T* logits, float* weights, std::int32_t* chosen) {
  __shared__ double scores[kMostExperts], groups[kMostGroups];
  const Index t = blockIdx.x;
  std::int32_t* mine = chosen + t * r.k;
  score(r, logits + t * r.experts, scores);
  if (r.balanced) {
    const Index row = positions.at(t / r.micro_batch) * r.micro_batch + t % r.micro_batch;
    for (Index j = threadIdx.x; j < r.k; j += 32) mine[j] = static_cast<std::int32_t>((row * r.k + j) % r.experts);
    __syncwarp();
  } else {
    choose(r, scores, groups, mine);
  }
  const double f = factor(r, scores, mine);
  for (Index j = threadIdx.x; j < r.k; j += 32) weights[t * r.k + j] = static_cast<float>(f * scores[mine[j]]);
}

// With w_j = c s_j / S over the chosen, S their sum: ds_j = c/S (dw_j - Σ_i dw_i s_i / S); without normalisation ds_j = c dw_j. Then through the
// softmax, p (g - Σ p g), or the sigmoid, s (1 - s) g.
template <class T>
__global__ void __launch_bounds__(32)
    route_backward_kernel(Routing r, const float* d_weights, const T* logits, const std::int32_t* chosen, T* d_logits) {
  __shared__ double scores[kMostExperts], gradient[kMostExperts];
  const Index t = blockIdx.x;
  const std::int32_t* mine = chosen + t * r.k;
  const float* dw = d_weights + t * r.k;
  score(r, logits + t * r.experts, scores);
  const double f = factor(r, scores, mine);
  double mean = 0;
  if (r.normalize)
    for (Index j = 0; j < r.k; ++j) mean += static_cast<double>(dw[j]) * scores[mine[j]] * f / r.scale;
  for (Index e = threadIdx.x; e < r.experts; e += 32) gradient[e] = 0;
  __syncwarp();
  for (Index j = threadIdx.x; j < r.k; j += 32) gradient[mine[j]] = f * (static_cast<double>(dw[j]) - mean);  // the chosen are distinct
  __syncwarp();
  double along = 0;
  if (!r.sigmoid)
    for (Index e = threadIdx.x; e < r.experts; e += 32) along += scores[e] * gradient[e];
  along = warp_sum(along);
  for (Index e = threadIdx.x; e < r.experts; e += 32)
    d_logits[t * r.experts + e] =
        narrow<T>(static_cast<float>(r.sigmoid ? scores[e] * (1 - scores[e]) * gradient[e] : scores[e] * (gradient[e] - along)));
}

// Calls number(c, n) for the n-th, in order, of the copies in [begin, end) that are `mine`; all threads of the block come here.
template <class Mine, class Number>
__device__ __forceinline__ void number_in_order(Index begin, Index end, const Mine& mine, const Number& number) {
  __shared__ unsigned of_warp[kThreads / 32];
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Index before = 0;  // seen so far
  for (Index first = begin; first < end; first += kThreads) {
    const Index c = first + threadIdx.x;
    const bool is_mine = c < end && mine(c);
    const unsigned votes = __ballot_sync(0xffffffffU, is_mine);
    __syncthreads();  // whatever was in of_warp has been read
    if (lane == 0) of_warp[warp] = votes;
    if (!__syncthreads_or(votes != 0)) continue;
    Index at = before;
    for (unsigned w = 0; w < kThreads / 32; ++w) {
      const int n = __popc(of_warp[w]);
      if (w < warp) at += n;
      before += n;
    }
    if (is_mine) number(c, at + __popc(votes & ((1U << lane) - 1)));
  }
}

// Copies for expert blockIdx.x.
__global__ void __launch_bounds__(kThreads)
    count_kernel(Index copies, const __grid_constant__ ExpertPlaces p, const std::int32_t* chosen, std::int32_t* counts) {
  __shared__ int shared[32];
  const auto expert = static_cast<std::int32_t>(blockIdx.x);
  int sum = 0;
  if (p.capacity == 0)
    for (Index c = threadIdx.x; c < copies; c += kThreads) sum += chosen[c] == expert ? 1 : 0;
  const int all = p.capacity > 0 ? static_cast<int>(p.capacity) : block_sum(sum, shared);
  for (Index shard = threadIdx.x; shard < p.etp; shard += kThreads) counts[p.place(expert, shard)] = all;
}

// Gives the copies for expert blockIdx.x their rows, in order.
__global__ void __launch_bounds__(kThreads)
    place_kernel(Index copies, const __grid_constant__ ExpertPlaces p, const std::int32_t* chosen, const std::int32_t* counts, std::int32_t* index) {
  const auto expert = static_cast<std::int32_t>(blockIdx.x);
  number_in_order(
      0, copies, [&](Index c) { return chosen[c] == expert; },
      [&](Index c, Index n) {
        for (Index shard = 0; shard < p.etp; ++shard) {
          const Index place = p.place(expert, shard);
          Index row = 0;
          for (Index q = 0; q < place; ++q) row += counts[q];
          index[c * p.etp + shard] = n < counts[place] ? static_cast<std::int32_t>(row + n) : -1;
        }
      });
}

// Copies for the expert at place first + blockIdx.x.
__global__ void __launch_bounds__(kThreads) count_gathered_kernel(Index copies, const __grid_constant__ ExpertPlaces p, Index first, Index sources,
                                                                  const std::int32_t* chosen, std::int32_t* counts) {
  __shared__ int shared[32];
  int sum = 0;
  if (p.capacity == 0)
    for (Index c = threadIdx.x; c < copies; c += kThreads) sum += p.at(chosen[c]) == first + blockIdx.x ? 1 : 0;
  const int all = p.capacity > 0 ? static_cast<int>(sources * p.capacity) : block_sum(sum, shared);
  if (threadIdx.x == 0) counts[blockIdx.x] = all;
}

// Gives them their rows, in order; with a capacity those of source blockIdx.y, which has rows of its own. The index holds -1 before.
__global__ void __launch_bounds__(kThreads) place_gathered_kernel(Index copies, const __grid_constant__ ExpertPlaces p, Index first,
                                                                  const std::int32_t* chosen, const std::int32_t* counts, std::int32_t* index) {
  const Index expert = blockIdx.x, sources = gridDim.y, source = blockIdx.y;
  Index row = (expert * sources + source) * p.capacity;
  if (p.capacity == 0)
    for (Index e = 0; e < expert; ++e) row += counts[e];
  const Index room = p.capacity > 0 ? p.capacity : counts[expert];
  number_in_order(
      copies / sources * source, copies / sources * (source + 1), [&](Index c) { return p.at(chosen[c]) == first + expert; },
      [&](Index c, Index n) {
        if (n < room) index[c] = static_cast<std::int32_t>(row + n);
      });
}

// Rows that source blockIdx.x sent for expert blockIdx.y; those beyond what was sent, by all.
__global__ void __launch_bounds__(kThreads)
    received_kernel(Index rows, Index sources, Index experts, const std::int32_t* counts, std::int32_t* index, std::int32_t* sums) {
  const Index source = blockIdx.x, expert = blockIdx.y;
  Index from = 0, to = 0, all = 0, of_expert = 0;
  for (Index s = 0; s < sources; ++s)
    for (Index e = 0; e < experts; ++e) {
      const Index n = counts[s * experts + e];
      if (s < source || (s == source && e < expert)) from += n;
      if (e < expert || (e == expert && s < source)) to += n;
      if (e == expert) of_expert += n;
      all += n;
    }
  const Index n = counts[source * experts + expert];
  for (Index i = threadIdx.x; i < n; i += kThreads) index[from + i] = static_cast<std::int32_t>(to + i);
  const Index block = expert * sources + source, beyond = Index{gridDim.x} * gridDim.y * kThreads;
  for (Index i = all + block * kThreads + threadIdx.x; i < rows; i += beyond) index[i] = -1;
  if (source == 0 && threadIdx.x == 0) sums[expert] = static_cast<std::int32_t>(of_expert);
}

template <class T>
struct Permute {
  Index k, width;
  const T* x;
  const std::int32_t* index;
  T* rows;
  template <int V>
  __device__ void at(Index copy, Index c) const {
    const Index row = index[copy];
    if (row >= 0) move<V>(x + copy / k * width + c, rows + row * width + c);
  }
};

template <class T>
struct Unpermute {
  Index k, width;
  const T* rows;
  const std::int32_t* index;
  T* x;
  template <int V>
  __device__ void at(Index token, Index c) const {
    float sum[V]{};
    for (Index j = 0; j < k; ++j) {
      const Index row = index[token * k + j];
      if (row < 0) continue;
      float v[V];
      load<V>(rows + row * width + c, v);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += v[i];
    }
    store<V>(x + token * width + c, sum);
  }
};

// -1 everywhere: what no kernel places is nowhere.
void absent(Stream stream, Index copies, std::int32_t* index) {
  if (copies > 0) check_cuda(cudaMemsetAsync(index, 0xff, static_cast<std::size_t>(copies) * sizeof(std::int32_t), stream), "a fill");
}

}  // namespace

void route_forward(Stream stream, DType type, const Routing& routing, const Positions& positions, const void* logits, float* weights,
                   std::int32_t* chosen) {
  assert(routing.experts <= kMostExperts && routing.groups <= kMostGroups);
  if (routing.tokens == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    ORRERY_LAUNCH((route_kernel<T>), static_cast<unsigned>(routing.tokens), 32, 0, stream)
    (routing, positions, static_cast<const T*>(logits), weights, chosen);
    launched();
  });
}

void route_backward(Stream stream, DType type, const Routing& routing, const float* d_weights, const void* logits, const std::int32_t* chosen,
                    void* d_logits) {
  assert(routing.experts <= kMostExperts);
  if (routing.tokens == 0) return;
  by_type(type, [&](auto t) {
    using T = decltype(t);
    ORRERY_LAUNCH((route_backward_kernel<T>), static_cast<unsigned>(routing.tokens), 32, 0, stream)
    (routing, d_weights, static_cast<const T*>(logits), chosen, static_cast<T*>(d_logits));
    launched();
  });
}

void expert_sort(Stream stream, Index tokens, Index k, const ExpertPlaces& places, const std::int32_t* chosen, std::int32_t* index,
                 std::int32_t* counts) {
  const auto experts = static_cast<unsigned>(places.experts);
  absent(stream, tokens * k * places.etp, index);
  ORRERY_LAUNCH(count_kernel, experts, kThreads, 0, stream)(tokens * k, places, chosen, counts);
  launched();
  ORRERY_LAUNCH(place_kernel, experts, kThreads, 0, stream)(tokens * k, places, chosen, counts, index);
  launched();
}

void expert_sort_gathered(Stream stream, Index tokens, Index k, const ExpertPlaces& places, Index first, Index local, Index sources,
                          const std::int32_t* chosen, std::int32_t* index, std::int32_t* counts) {
  absent(stream, tokens * k, index);
  ORRERY_LAUNCH(count_gathered_kernel, static_cast<unsigned>(local), kThreads, 0, stream)(tokens * k, places, first, sources, chosen, counts);
  launched();
  const dim3 grid(static_cast<unsigned>(local), places.capacity > 0 ? static_cast<unsigned>(sources) : 1);
  ORRERY_LAUNCH(place_gathered_kernel, grid, kThreads, 0, stream)(tokens * k, places, first, chosen, counts, index);
  launched();
}

void expert_sort_received(Stream stream, Index rows, Index sources, Index experts, const std::int32_t* counts, std::int32_t* index,
                          std::int32_t* sums) {
  const dim3 grid(static_cast<unsigned>(sources), static_cast<unsigned>(experts));
  ORRERY_LAUNCH(received_kernel, grid, kThreads, 0, stream)(rows, sources, experts, counts, index, sums);
  launched();
}

void expert_permute(Stream stream, DType type, Index tokens, Index k, Index width, Index zeroed, const void* x, const std::int32_t* index,
                    void* rows) {
  zero_bytes(stream, bytes_of(type, zeroed * width), rows);
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({x, rows}, {width}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, tokens * k, width, Permute<T>{k, width, static_cast<const T*>(x), index, static_cast<T*>(rows)});
    });
  });
}

void expert_unpermute(Stream stream, DType type, Index tokens, Index k, Index width, const void* rows, const std::int32_t* index, void* x) {
  by_type(type, [&](auto t) {
    using T = decltype(t);
    by_width<T>({x, rows}, {width}, [&](auto v) {
      map_rows<decltype(v)::value>(stream, tokens, width, Unpermute<T>{k, width, static_cast<const T*>(rows), index, static_cast<T*>(x)});
    });
  });
}

}  // namespace orrery::executor::cuda
