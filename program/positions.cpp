#include "program/positions.h"

#include <algorithm>

namespace orrery::program {
namespace {

void append(Runs& runs, Run run) {
  if (run.count <= 0) return;
  if (!runs.empty() && runs.back().first + runs.back().count == run.first)
    runs.back().count += run.count;
  else
    runs.push_back(run);
}

// 1 + 2 + … + n, or 0.
std::int64_t triangle(std::int64_t n) { return n > 0 ? n * (n + 1) / 2 : 0; }

}  // namespace

Runs positions(const ContextShare& share, std::int64_t outer) {
  Runs out;
  if (share.balanced && share.outer > 1) {
    const std::int64_t chunk = share.sequence / (2 * share.outer);
    append(out, {outer * chunk, chunk});
    append(out, {(2 * share.outer - 1 - outer) * chunk, chunk});
  } else {
    const std::int64_t chunk = share.sequence / share.outer;
    append(out, {outer * chunk, chunk});
  }
  return out;
}

Runs positions(const ContextShare& share, std::int64_t outer, std::int64_t inner) {
  const std::int64_t rows = share.sequence / (share.outer * share.inner);
  return part(positions(share, outer), inner * rows, rows);
}

Runs part(const Runs& runs, std::int64_t first, std::int64_t count) {
  Runs out;
  std::int64_t row = 0;
  for (const Run& run : runs) {
    const std::int64_t begin = std::max(row, first), end = std::min(row + run.count, first + count);
    if (begin < end) append(out, {run.first + begin - row, end - begin});
    row += run.count;
  }
  return out;
}

Runs shifted(Runs runs, std::int64_t by) {
  for (Run& run : runs) run.first += by;
  return runs;
}

std::int64_t length(const Runs& runs) {
  std::int64_t n = 0;
  for (const Run& run : runs) n += run.count;
  return n;
}

std::int64_t twice_attended_pairs(const Runs& queries, const Runs& keys, bool causal) {
  std::int64_t twice = 0;
  for (const Run& q : queries)
    for (const Run& k : keys) {
      if (!causal) {
        twice += 2 * q.count * k.count;
        continue;
      }
      // Σ over queries p of min(count, max(0, p − k.first)) is a difference of triangles; with those of p − k.first + 1 it is twice the pairs with
      // the diagonal counted half.
      const auto below = [&](std::int64_t shift) {  // pairs with key <= query + shift - 1
        const std::int64_t low = q.first - k.first + shift, high = low + q.count - 1;
        return (triangle(high) - triangle(low - 1)) - (triangle(high - k.count) - triangle(low - 1 - k.count));
      };
      twice += below(0) + below(1);
    }
  return twice;
}

}  // namespace orrery::program
