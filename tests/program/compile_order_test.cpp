#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "program/check.h"
#include "program/compile.h"
#include "program/race_finder.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

std::string words(const Plan& p, std::int64_t dp) {
  return fmt::format("tp {} sp {} cp {} {} ({}) pp {} dp {} {} m {} zero {} ({}{}, {} replicas, {}) recompute {} ({}) overlap {}{}{}", p.parallel.tp,
                     p.parallel.sp, p.parallel.cp, p.parallel.cp_kind, p.parallel.cp_inner.value_or(0), p.parallel.pp, dp, p.schedule,
                     p.batch.global / dp, p.sharding.zero, p.sharding.reshard_after_forward ? "reshard" : "keep",
                     p.sharding.reduce_every_microbatch ? "" : " once", p.sharding.replicas, p.data_parallel.kind, p.recompute.kind,
                     p.runtime.framework, p.overlap.grad_reduce, p.overlap.param_gather, p.overlap.p2p) +
         (p.overlap.ep ? " ep" : "") + " " + p.runtime.moe_dispatcher.value_or("") + " " + p.moe.expert_map.value_or("");
}

std::vector<std::string> problems(const Model& model, const Plan& plan, std::int64_t dp) {
  const Program program = compile(model, small_cluster(plan, dp), plan);
  std::vector<std::string> all;
  for (const Violation& v : check(program)) all.push_back(fmt::format("{}: {}: {}", words(plan, dp), name(v.rule), v.what));
  for (const Role& role : program.roles)
    for (const std::string& problem : RaceFinder(program, role).run()) all.push_back(fmt::format("{}: {}: {}", words(plan, dp), role.name, problem));
  return all;
}

struct Compiles {
  std::string schedule;
  std::int64_t vp;
};
void showValue(const Compiles& c, std::ostream& out) { out << c.schedule << " vp " << c.vp; }

TEST(CompiledOrder, EveryCombinationPassesEveryCheck) {
  for (const std::int64_t tp : {1, 2, 4})
    for (const std::int64_t pp : {1, 2, 4})
      for (const std::int64_t dp : {1, 2, 4})
        for (const char* schedule : {"gpipe", "1f1b"})
          for (const std::int64_t zero : {0, 1})
            for (const char* recompute : {"none", "full"})
              for (const bool sp : {false, true}) {
                if (sp && tp == 1) continue;
                Plan p = small_plan(tp, pp, dp, 4);
                p.schedule = schedule, p.sharding.zero = zero, p.recompute.kind = recompute, p.parallel.sp = sp;
                EXPECT_EQ(problems(small_gpt2(), p, dp), std::vector<std::string>{});
              }
}

TEST(CompiledOrder, EverySynchronousScheduleOfWholePassesIsWritten) {
  const Compiles cases[]{{"interleaved", 2}, {"interleaved", 3}, {"looped-bfs", 2}, {"circular", 2}, {"zb-h1", 1},    {"zb-h2", 1},
                         {"zb-auto", 1},     {"zbv", 2},         {"v-half", 2},     {"v-min", 2},    {"dualpipe", 1}, {"dualpipev", 2}};
  for (const auto& [schedule, vp] : cases)
    for (const std::int64_t pp : {1, 2, 4})
      for (const bool tied : {false, true})
        for (const bool overlap : {false, true}) {
          if (std::string_view(schedule) == "dualpipe" && pp == 1) continue;  // half of its ranks face each end
          Plan p = small_plan(1, pp, 1, 8);
          p.schedule = schedule, p.parallel.vp = vp, p.overlap.p2p = overlap;
          Model m = small_llama(pp * vp);
          m.tie_embeddings = tied;
          EXPECT_EQ(problems(m, p, 1), std::vector<std::string>{}) << schedule << " pp " << pp << " vp " << vp;
        }
}

// The backward half runs its one layer again, from its own micro-batch's input, before the forward half reads what it received.
TEST(CompiledOrder, HalvesOfAPassWaitForTheirOwnMicrobatchesMessages) {
  Plan p = small_plan(1, 2, 2, 8);
  p.schedule = "interleaved", p.parallel.vp = 2, p.parallel.ep = 2, p.overlap.ep = true, p.recompute.kind = "full";
  Model m = small_llama(4);
  m.moe = Moe{};
  m.moe->experts = 4, m.moe->experts_per_token = 2, m.moe->intermediate = 8;
  EXPECT_EQ(problems(m, p, 2), std::vector<std::string>{});
}

RC_GTEST_PROP(CompiledOrder, EveryLegalPlanPassesEveryCheck, ()) {
  const std::int64_t tp = *rc::gen::element(1, 2, 4), pp = *rc::gen::element(1, 2, 3, 4), dp = *rc::gen::element(1, 2, 3);
  Plan p = small_plan(tp, pp, dp, *rc::gen::inRange(1, 13));
  const Compiles shape =
      *rc::gen::element(Compiles{"gpipe", 1}, Compiles{"1f1b", 1}, Compiles{"interleaved", 2}, Compiles{"interleaved", 3}, Compiles{"looped-bfs", 2},
                        Compiles{"zb-h1", 1}, Compiles{"zb-h2", 1}, Compiles{"zb-auto", 1}, Compiles{"zbv", 2}, Compiles{"v-half", 2},
                        Compiles{"dualpipe", 1}, Compiles{"dualpipe", 1}, Compiles{"dualpipev", 2}, Compiles{"dualpipev", 2}, Compiles{"seq1f1b", 1});
  p.schedule = shape.schedule, p.parallel.vp = shape.vp;
  if (p.schedule.starts_with("dualpipe")) p.schedule_args.overlap_rule = *rc::gen::element<std::string>("deepseek", "none");
  p.sharding.zero = *rc::gen::inRange(0, 4);
  p.sharding.reshard_after_forward = *rc::gen::arbitrary<bool>(), p.sharding.reduce_every_microbatch = *rc::gen::arbitrary<bool>();
  if (p.sharding.zero == 0) {
    p.data_parallel.kind = *rc::gen::element<std::string>("ddp", "horovod", "parameter-server", "priority");
    p.data_parallel.hierarchical = p.data_parallel.kind != "parameter-server" && *rc::gen::arbitrary<bool>();
  } else {
    p.sharding.replicas = *rc::gen::element<std::int64_t>(1, dp);
  }
  p.recompute.kind = *rc::gen::element<std::string>("none", "full");
  p.runtime.framework = *rc::gen::element<std::string>("orrery", "megatron-core");
  p.parallel.sp = tp > 1 && *rc::gen::arbitrary<bool>();
  p.batch.sequence = 16, p.parallel.cp = *rc::gen::element(1, 1, 2, 4);
  p.parallel.cp_kind = *rc::gen::element<std::string>("allgather", "p2p", "a2a", "a2a+p2p");
  p.parallel.cp_inner = *rc::gen::element(1, 2), p.parallel.cp_balanced = *rc::gen::arbitrary<bool>();
  if (p.schedule == "seq1f1b") p.schedule_args.splits = *rc::gen::element(2, 4);
  p.overlap.grad_reduce = *rc::gen::arbitrary<bool>(), p.overlap.param_gather = *rc::gen::arbitrary<bool>();
  p.overlap.p2p = *rc::gen::arbitrary<bool>(), p.overlap.tp = p.parallel.sp && *rc::gen::arbitrary<bool>();
  if (p.sharding.zero == 3 && p.overlap.param_gather) {
    p.data_parallel.prefetch = *rc::gen::inRange(0, 4);
    if (*rc::gen::arbitrary<bool>()) p.data_parallel.rate_limit = *p.data_parallel.prefetch + *rc::gen::inRange(1, 3);
  }
  p.data_parallel.bucket_bytes = *rc::gen::inRange(1, 10000);
  p.optimizer.post_validation = pp > 1 && p.schedule != "interleaved" && shape.vp == 1 && p.schedule != "dualpipe" && *rc::gen::arbitrary<bool>();
  p.precision.params = *rc::gen::element(DType::fp32, DType::bf16);
  Model m = *rc::gen::arbitrary<bool>() ? small_llama() : small_gpt2();
  p.runtime.fused_epilogues = !m.gated_mlp && !p.overlap.tp && *rc::gen::arbitrary<bool>();
  m.layers = *rc::gen::inRange<std::int64_t>(pp * shape.vp, pp * shape.vp + 3);
  m.tie_embeddings = *rc::gen::arbitrary<bool>(), m.embedding_norm = *rc::gen::arbitrary<bool>();
  m.parallel_block = *rc::gen::arbitrary<bool>(), m.parallel_shared_norm = *rc::gen::arbitrary<bool>(), m.qk_norm = *rc::gen::arbitrary<bool>();
  m.head_bias = *rc::gen::arbitrary<bool>(), m.attention_out_bias = *rc::gen::arbitrary<bool>(), m.mlp_bias = *rc::gen::arbitrary<bool>();
  if (!m.parallel_block && m.norm == Normalization::rmsnorm && *rc::gen::arbitrary<bool>()) {
    m.mla = Mla{*rc::gen::element<std::int64_t>(0, 6), 6, 4, 2, 3, *rc::gen::arbitrary<bool>()};
    m.kv_heads = m.heads, m.head_dim = m.qk_dim(), m.qk_norm = false;
  }
  if (!m.parallel_block && *rc::gen::arbitrary<bool>()) {
    m.moe = Moe{};
    m.moe->experts = 4, m.moe->experts_per_token = *rc::gen::inRange(1, 4), m.moe->intermediate = 8;
    m.moe->shared_intermediate = *rc::gen::element(0, 8), m.moe->first_dense = *rc::gen::inRange(0, 3);
    p.parallel.sp = tp > 1;
    p.parallel.ep = *rc::gen::element(1, 2, 4), p.parallel.etp = *rc::gen::element(1, 2);
    p.runtime.moe_balanced = *rc::gen::arbitrary<bool>();
    if (*rc::gen::arbitrary<bool>()) p.moe.capacity_factor = 1.5, p.moe.drop = true;
    if (!p.runtime.moe_balanced && !p.moe.drop) p.moe.load = *rc::gen::element<std::string>("balanced", "zipf:1", "dirichlet:0.5");
    if (tp * dp % (p.parallel.ep * p.parallel.etp) != 0) p.parallel.ep = p.parallel.etp = 1;
    p.runtime.moe_dispatcher = *rc::gen::element<std::string>("alltoall", "hierarchical", "allgather");
    p.moe.expert_map = *rc::gen::element<std::string>("linear", "round-robin");
    if (!p.runtime.moe_balanced && !p.moe.drop && *rc::gen::arbitrary<bool>()) p.moe.room = "load";
    p.overlap.ep = (p.schedule == "1f1b" || p.schedule == "interleaved") && *rc::gen::arbitrary<bool>();
  }
  if (!m.parallel_block && !m.embedding_norm && m.position == PositionEmbedding::rope && m.norm == Normalization::rmsnorm)
    m.mtp_layers = *rc::gen::element(0, 0, 1, 2), m.mtp_shared = m.mtp_layers > 0 && *rc::gen::arbitrary<bool>();
  RC_PRE(refusals(m, small_cluster(p, dp), p).empty());  // some schedules ask for enough micro-batches
  RC_ASSERT(problems(m, p, dp) == std::vector<std::string>{});
}

}  // namespace
}  // namespace orrery::program
