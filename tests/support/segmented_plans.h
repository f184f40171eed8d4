// Plans with segments, for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "core/model.h"
#include "core/plan.h"

namespace orrery::test {

struct Split {
  std::int64_t dp = 1, tp = 1, pp = 1;
  bool sp = false;
  bool recompute = false;
  std::int64_t cp = 1;
};

inline std::string name(const Split& s) {
  std::string out = "dp" + std::to_string(s.dp) + "_tp" + std::to_string(s.tp) + (s.sp ? "sp" : "") + "_pp" + std::to_string(s.pp);
  return out + (s.cp > 1 ? "_cp" + std::to_string(s.cp) : "") + (s.recompute ? "_recompute" : "");
}

// The plan with the model's layers dealt out evenly to as many segments, the last ones first. Returns the devices that these need.
inline std::int64_t divide(Plan& plan, const Model& model, const std::vector<Split>& splits) {
  std::int64_t layer = 0, devices = 0, left = static_cast<std::int64_t>(splits.size());
  plan.segments.emplace();
  for (const Split& s : splits) {
    SegmentSpec segment;
    segment.first_layer = layer, segment.layers = (model.layers - layer) / left--;
    segment.devices = s.dp * s.tp * s.pp * s.cp;
    segment.parallel = plan.parallel;
    segment.parallel->tp = s.tp, segment.parallel->sp = s.sp, segment.parallel->pp = s.pp, segment.parallel->cp = s.cp;
    if (s.recompute) segment.recompute.emplace().kind = "full";
    layer += segment.layers, devices += *segment.devices;
    plan.segments->push_back(segment);
  }
  return devices;
}

// Two or three segments of at most so many ranks together; `pick` chooses one of several numbers.
template <class Pick>
std::vector<Split> draw_splits(std::int64_t most_ranks, Pick pick) {
  std::vector<Split> out;
  for (std::int64_t n = pick(std::vector<std::int64_t>{2, 3}), left = most_ranks - n + 1; n > 0; --n, ++left) {
    const auto some = [&](std::int64_t& into) {
      std::vector<std::int64_t> fit;
      for (const std::int64_t k : {1, 2, 4})
        if (k * out.back().dp * out.back().tp * out.back().pp <= left) fit.push_back(k);
      into = pick(fit);
    };
    out.emplace_back();
    some(out.back().dp), some(out.back().tp), some(out.back().pp);
    out.back().sp = out.back().tp > 1 && pick(std::vector<std::int64_t>{0, 1}) == 1;
    out.back().recompute = pick(std::vector<std::int64_t>{0, 1}) == 1;
    left -= out.back().dp * out.back().tp * out.back().pp;
  }
  return out;
}

}  // namespace orrery::test
