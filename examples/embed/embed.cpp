// Embeds the simulator: how does the step time of Llama-3.1-8B on 64 H100 depend on tensor parallelism?
#include <cstdio>

#include "core/cluster_json.h"
#include "core/error.h"
#include "core/model_json.h"
#include "cost/cost.h"
#include "program/compile.h"
#include "sim/simulate.h"

int main() {
  try {
    const orrery::Model model = orrery::load_model("llama-3.1-8b");
    const orrery::Cluster cluster = orrery::load_cluster("dgx-h100:64");
    orrery::Plan plan;
    plan.batch = {.global = 256, .micro = 1, .sequence = 8192};
    plan.sharding.zero = 1;
    for (const int tp : {1, 2, 4, 8}) {
      plan.parallel.tp = tp;
      plan.parallel.sp = tp > 1;
      const orrery::program::Program program = orrery::program::compile(model, cluster, plan);
      const orrery::cost::Table cost = orrery::cost::price(program, cluster, nullptr);
      const orrery::sim::Result result = orrery::sim::simulate(program, cost, cluster);
      std::printf("tp %d: %.3f s per step\n", tp, orrery::to_seconds(result.step).v);
    }
  } catch (const orrery::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
