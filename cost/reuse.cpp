#include "cost/reuse.h"

#include <algorithm>
#include <cmath>

#include "program/arena.h"

namespace orrery::cost {
namespace {

using program::Instruction;
using program::Operator;

struct Interval {
  std::int64_t low = 0, high = 0;
  std::int64_t bytes() const { return high - low; }
};

// Bytes by recency of their last touch: an LRU stack whose entries are intervals of addresses.
class Stack {
 public:
  // One instruction's touches. Calls found(bytes, distance) for parts of them that add up to all, and makes them the most recent.
  template <class Found>
  void touch(std::vector<Interval> touched, Found found) {
    join(touched);
    std::int64_t missing = 0;
    for (const Interval& t : touched) missing += t.bytes();

    std::int64_t above = 0;  // bytes as recent as the entry's instruction, or more
    kept_.clear();
    std::size_t at = entries_.size();
    while (at > 0 && missing > 0 && above < Reuse::distance(Reuse::kBins)) {
      const std::size_t group_end = at;
      std::size_t group_begin = at;
      while (group_begin > 0 && entries_[group_begin - 1].instruction == entries_[group_end - 1].instruction)
        above += entries_[--group_begin].where.bytes();
      for (std::size_t e = group_end; e-- > group_begin;) {
        if (const std::int64_t common = take(entries_[e], touched); common > 0) {
          found(common, above);
          missing -= common;
        }
      }
      at = group_begin;
    }
    if (missing > 0) {  // never touched, or so long ago that nothing cares
      found(missing, Reuse::distance(Reuse::kBins));
      at = 0;
    }
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at), entries_.end());
    entries_.insert(entries_.end(), kept_.rbegin(), kept_.rend());
    for (const Interval& t : touched) entries_.push_back({t, next_});
    ++next_;
  }

 private:
  struct Entry {
    Interval where;
    std::uint64_t instruction = 0;
  };

  static void join(std::vector<Interval>& intervals) {
    std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) { return a.low < b.low; });
    std::size_t n = 0;
    for (const Interval& i : intervals) {
      if (i.bytes() <= 0) continue;
      if (n > 0 && i.low <= intervals[n - 1].high)
        intervals[n - 1].high = std::max(intervals[n - 1].high, i.high);
      else
        intervals[n++] = i;
    }
    intervals.resize(n);
  }

  // What of the entry is not touched goes to kept_, last part first. Returns the bytes that are.
  std::int64_t take(const Entry& entry, const std::vector<Interval>& touched) {
    std::int64_t common = 0, high = entry.where.high;
    for (std::size_t t = touched.size(); t-- > 0;) {
      const std::int64_t from = std::max(entry.where.low, touched[t].low), to = std::min(high, touched[t].high);
      if (from >= to) continue;
      common += to - from;
      if (to < high) kept_.push_back({{to, high}, entry.instruction});
      high = from;
    }
    if (entry.where.low < high) kept_.push_back({{entry.where.low, high}, entry.instruction});
    return common;
  }

  std::vector<Entry> entries_;  // most recent last; those of one instruction side by side
  std::vector<Entry> kept_;
  std::uint64_t next_ = 0;
};

// Bytes of an operand that the instruction touches.
std::int64_t touched_bytes(const program::Shape& shape, const Instruction& in, std::size_t place, const program::Buffer& buffer) {
  std::int64_t elements = buffer.elements;
  const bool of_table = (in.op == Operator::embedding_forward && place == 1) || (in.op == Operator::embedding_backward && place == 2);
  if (of_table) elements = std::min(elements, shape.dims[0] * shape.dims[1]);  // the rows that are looked up
  return bytes_of(buffer.dtype, elements);
}

}  // namespace

std::size_t Reuse::bin(std::int64_t distance) {
  const double log = std::log2(static_cast<double>(std::max<std::int64_t>(1, distance)));
  return static_cast<std::size_t>(std::clamp(std::lround(log) - kLeastLog, 0L, static_cast<long>(kBins) - 1));
}

bool Reuse::known() const {
  return std::any_of(share.begin(), share.end(), [](double s) { return s > 0; });
}

std::vector<double> Reuse::over(const std::vector<double>& distances) const {
  std::vector<double> out(distances.size(), 0);
  if (!known()) {
    out.back() = 1;
    return out;
  }
  for (std::size_t b = 0; b < kBins; ++b) {
    const auto d = static_cast<double>(distance(b));
    const auto above = static_cast<std::size_t>(std::lower_bound(distances.begin(), distances.end(), d) - distances.begin());
    if (above == 0 || above == distances.size()) {
      out[above == 0 ? 0 : above - 1] += share[b];
      continue;
    }
    const double place = std::log(d / distances[above - 1]) / std::log(distances[above] / distances[above - 1]);
    out[above - 1] += share[b] * (1 - place);
    out[above] += share[b] * place;
  }
  return out;
}

std::vector<Reuse> reuse(const program::Program& program) {
  std::vector<Reuse> out(program.shapes.size());
  for (const program::Role& role : program.roles) {
    program::Allocations memory(program, role);
    Stack stack;
    std::vector<Interval> touched;
    const auto run = [&](const std::vector<program::PassInstance>& passes, bool counted) {
      for (const program::PassInstance& pass : passes) {
        const program::PassTemplate& of = role.passes[pass.pass];
        for (std::uint32_t i = of.first; i < of.first + of.count; ++i) {
          const Instruction& in = role.instructions[i];
          memory.issue(in, pass.microbatch);
          touched.clear();
          for (std::uint32_t a = 0; a < in.access_count; ++a) {
            const program::Access& access = role.accesses[in.accesses + a];
            const std::int64_t low = memory.offset(access.buffer, pass.microbatch);
            if (low < 0 || in.op == Operator::wait) continue;
            touched.push_back({low, low + touched_bytes(program.shapes[in.shape], in, a, role.buffers[access.buffer])});
          }
          Reuse& mine = out[in.shape];
          const bool counts = counted && in.opcode == program::Opcode::compute;
          stack.touch(touched, [&](std::int64_t bytes, std::int64_t distance) {
            if (counts) mine.share[Reuse::bin(distance)] += static_cast<double>(bytes);
          });
          memory.complete(in, pass.microbatch);
        }
      }
    };
    run(role.prologue, false);
    run(role.body, false);
    run(role.body, true);
  }
  for (Reuse& r : out) {
    double sum = 0;
    for (const double s : r.share) sum += s;
    if (sum > 0)
      for (double& s : r.share) s /= sum;
  }
  return out;
}

}  // namespace orrery::cost
