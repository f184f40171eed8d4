// PipeDream's and PipeDream-2BW's delayed updates equal their serial emulation bit for bit: the stages' passes one after the other on one thread,
// each micro-batch with the weights that the schedule's definition gives it, kept as whole copies.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "executor/init.h"
#include "program/check.h"
#include "program/memory.h"
#include "run/runs.h"

namespace orrery::executor {
namespace {

using program::Instruction;
using program::Opcode;
using program::Operator;
using program::PassKind;

// Interprets one stage of a GPipe program.
class Stage {
 public:
  using Mail = std::map<std::pair<std::int64_t, int>, std::vector<std::byte>>;  // receiver's stage, channel

  Stage(const program::Program& program, const program::Role& role, const KernelSet& kernels, const KernelSettings& settings,
        const TokenSource& source, std::uint64_t seed, Mail& mail)
      : program_(program), role_(role), kernels_(kernels), settings_(settings), source_(source), mail_(mail), memory_(role.buffers.size()) {
    for (std::size_t i = 0; i < memory_.size(); ++i) memory_[i].resize(static_cast<std::size_t>(role.buffers[i].bytes));
    for (const program::Parameter& p : role.parameters)
      initialise(p, {}, seed, 0, std::span(weights() + p.offset, static_cast<std::size_t>(p.rows * p.cols)));
  }

  float* weights() { return reinterpret_cast<float*>(memory_[static_cast<std::size_t>(role_.parameter_buffer)].data()); }
  std::vector<float> copy_of_weights() { return {weights(), weights() + role_.buffers[static_cast<std::size_t>(role_.parameter_buffer)].elements}; }
  void set_weights(const std::vector<float>& values) { std::copy(values.begin(), values.end(), weights()); }
  double loss() const {
    return role_.loss_buffer < 0 ? 0 : *reinterpret_cast<const double*>(memory_[static_cast<std::size_t>(role_.loss_buffer)].data());
  }
  void clear_loss() {
    if (role_.loss_buffer >= 0) std::memset(memory_[static_cast<std::size_t>(role_.loss_buffer)].data(), 0, sizeof(double));
  }

  // Micro-batch 0 of the program, on the `sequence`-th sequence of the source; or the update number `update`.
  void run(PassKind receive, PassKind kind, std::int64_t sequence, std::int64_t update = 1) {
    for (const program::PassInstance& p : role_.body)
      if (p.microbatch == 0 && (role_.passes[p.pass].kind == receive || role_.passes[p.pass].kind == kind))
        run(role_.passes[p.pass], sequence, update);
  }

 private:
  void* at(std::uint32_t buffer) {
    const program::Buffer& b = role_.buffers[buffer];
    return b.alias < 0 ? memory_[buffer].data() : memory_[static_cast<std::size_t>(b.alias)].data() + b.alias_offset;
  }

  void run(const program::PassTemplate& pass, std::int64_t sequence, std::int64_t update) {
    for (std::uint32_t i = pass.first; i < pass.first + pass.count; ++i) {
      const Instruction& in = role_.instructions[i];
      std::vector<void*> operands;
      for (std::uint32_t a = in.accesses; a < in.accesses + in.access_count; ++a) operands.push_back(at(role_.accesses[a].buffer));
      const program::Shape& shape = program_.shapes[in.shape];
      if (in.opcode == Opcode::send) {
        const auto* from = static_cast<const std::byte*>(operands[0]);
        mail_[{role_.stage + in.peer, in.channel}].assign(from, from + shape.bytes);
      } else if (in.opcode == Opcode::recv) {
        const std::vector<std::byte>& sent = mail_.at({role_.stage, in.channel});
        std::copy(sent.begin(), sent.end(), static_cast<std::byte*>(operands[0]));
      } else if (in.op == Operator::load_tokens || in.op == Operator::load_targets) {
        std::vector<std::int32_t> window(static_cast<std::size_t>(program_.sequence + 1));
        source_.window(sequence, window);
        std::copy_n(window.begin() + (in.op == Operator::load_targets ? 1 : 0), program_.sequence, static_cast<std::int32_t*>(operands[0]));
      } else if (in.opcode == Opcode::compute) {
        KernelContext context{shape, operands, settings_};
        context.step = update;
        kernels_.run(context);
      }  // nothing is clipped: the norm needs no other stage
    }
  }

  const program::Program& program_;
  const program::Role& role_;
  const KernelSet& kernels_;
  const KernelSettings& settings_;
  const TokenSource& source_;
  Mail& mail_;
  std::vector<std::vector<std::byte>> memory_;
};

struct Serial {
  std::vector<double> losses;
  std::map<std::string, std::vector<float>> parameters;
};

// `version(stage, i)`: after how many updates micro-batch i finds the weights of a stage.
template <class Version>
Serial emulate(const Model& model, Plan plan, const TokenSource& source, std::int64_t steps, std::int64_t per_step, std::int64_t every,
               Version version) {
  const std::int64_t pp = plan.parallel.pp;
  plan.schedule = "gpipe", plan.batch.global = 1;
  const program::Program program = compiled(model, plan, 1);
  const std::unique_ptr<KernelSet> kernels = make_cpu_kernels();
  KernelSettings settings;
  settings.norm_epsilon = model.norm_epsilon, settings.rope_theta = model.rope_theta, settings.activation = model.activation;
  settings.vocab = model.vocab, settings.global_tokens = every * plan.batch.sequence;
  settings.optimizer.kind = plan.optimizer.kind == "sgd" ? OptimizerSettings::Kind::sgd : OptimizerSettings::Kind::adamw;
  settings.optimizer.lr = plan.optimizer.lr, settings.optimizer.betas = plan.optimizer.betas, settings.optimizer.eps = plan.optimizer.eps;
  settings.optimizer.weight_decay = plan.optimizer.weight_decay, settings.optimizer.clip = 0;

  Stage::Mail mail;
  std::vector<Stage> stages;
  std::vector<std::vector<std::vector<float>>> versions;  // by stage
  for (std::int64_t s = 0; s < pp; ++s) {
    stages.emplace_back(program, program.roles[static_cast<std::size_t>(s)], *kernels, settings, source, plan.seed, mail);
    versions.push_back({stages.back().copy_of_weights()});
  }
  const auto stage = [&](std::int64_t s) -> Stage& { return stages[static_cast<std::size_t>(s)]; };
  const auto take = [&](std::int64_t s, std::int64_t i) {
    stage(s).set_weights(versions[static_cast<std::size_t>(s)][static_cast<std::size_t>(version(s, i))]);
  };
  Serial out;
  for (std::int64_t i = 0; i < steps * per_step; ++i) {
    for (std::int64_t s = 0; s < pp; ++s) take(s, i), stage(s).run(PassKind::receive_forward, PassKind::forward, i);
    for (std::int64_t s = pp; s-- > 0;) take(s, i), stage(s).run(PassKind::receive_backward, PassKind::backward, i);
    if ((i + 1) % per_step == 0) {
      out.losses.push_back(stage(pp - 1).loss() / static_cast<double>(per_step * plan.batch.sequence));
      stage(pp - 1).clear_loss();
    }
    if ((i + 1) % every != 0) continue;
    for (std::int64_t s = 0; s < pp; ++s) {
      auto& known = versions[static_cast<std::size_t>(s)];
      stage(s).set_weights(known.back());
      stage(s).run(PassKind::optimizer, PassKind::optimizer, 0, (i + 1) / every);
      known.push_back(stage(s).copy_of_weights());
    }
  }
  for (std::int64_t s = 0; s < pp; ++s)
    for (const program::Parameter& p : program.roles[static_cast<std::size_t>(s)].parameters)
      out.parameters[p.name].assign(versions[static_cast<std::size_t>(s)].back().begin() + p.offset,
                                    versions[static_cast<std::size_t>(s)].back().begin() + p.offset + p.rows * p.cols);
  return out;
}

Plan asynchronous(const char* schedule, std::int64_t pp, std::int64_t microbatches, const char* optimizer, bool overlap) {
  Layout l;
  l.pp = pp, l.schedule = schedule, l.overlap = overlap;
  Plan p = plan_of(l, microbatches);
  p.optimizer.kind = optimizer, p.optimizer.clip = 0, p.optimizer.lr = p.optimizer.kind == "sgd" ? 0.2 : 1e-3;
  return p;
}

template <class Version>
void expect_serial(const Plan& plan, std::int64_t every, Version version) {
  const Model model = tiny_llama();
  const auto source = open_tokens("markov", model.vocab, 16, 1);
  const std::int64_t m = plan.batch.global;
  for (const std::int64_t steps : {1, 4}) {
    RunOptions options;
    options.steps = steps, options.poison = options.keep_parameters = true;
    const program::Program program = compiled(model, plan, 1);
    EXPECT_TRUE(program::check(program).empty());
    const RunResult r = run(program, model, plan, *source, options);
    const Serial serial = emulate(model, plan, *source, steps, m, every, version);
    ASSERT_EQ(r.steps.size(), static_cast<std::size_t>(steps));
    for (std::size_t s = 0; s < r.steps.size(); ++s) EXPECT_EQ(r.steps[s].loss, serial.losses[s]) << "step " << s;
    EXPECT_EQ(r.parameters, serial.parameters);
    for (std::int64_t rank = 0; rank < program.mesh.ranks(); ++rank) {
      const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
      EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].persistent, predicted.persistent) << "rank " << rank;
      if (steps == 1) continue;  // which only fills and empties the pipeline
      EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].peak_live, predicted.most_live) << "rank " << rank;
      EXPECT_LE(r.memory[static_cast<std::size_t>(rank)].arena, predicted.arena) << "rank " << rank;
    }
  }
}

// Each rank updates its part of the weights' next version and gathers the others': the same bits, since two terms add up the same in any order.
TEST(Asynchronous, ShardedOptimizerStatesChangeNothing) {
  const Model model = tiny_llama();
  const auto source = open_tokens("markov", model.vocab, 16, 1);
  for (const char* schedule : {"pipedream", "pipedream-2bw"})
    for (const bool overlap : {true, false}) {
      Plan plan = asynchronous(schedule, 2, 8, "adamw", overlap);
      RunOptions options;
      options.steps = 4, options.poison = options.keep_parameters = true;
      const RunResult whole = run(compiled(model, plan, 2), model, plan, *source, options);
      plan.sharding.zero = 1;
      const program::Program program = compiled(model, plan, 2);
      const RunResult r = run(program, model, plan, *source, options);
      EXPECT_EQ(r.parameters, whole.parameters) << schedule;
      EXPECT_EQ(r.replica_difference, 0);
      for (std::size_t s = 0; s < r.steps.size(); ++s) EXPECT_EQ(r.steps[s].loss, whole.steps[s].loss) << schedule << " step " << s;
      for (std::int64_t rank = 0; rank < program.mesh.ranks(); ++rank) {
        const program::MemoryReport predicted = program::memory(program, program.role_of(rank));
        EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].persistent, predicted.persistent) << "rank " << rank;
        EXPECT_EQ(r.memory[static_cast<std::size_t>(rank)].peak_live, predicted.most_live) << "rank " << rank;
        EXPECT_LT(predicted.persistent, whole.memory[static_cast<std::size_t>(rank)].persistent) << "rank " << rank;
      }
    }
}

struct Case {
  std::int64_t pp, microbatches;
  const char* optimizer;
  bool overlap;
};
class Asynchronous : public testing::TestWithParam<Case> {};

// Micro-batch i enters stage s when p − 1 − s others are between it and the end of the pipeline: it finds the weights before their updates.
TEST_P(Asynchronous, PipeDreamStashesTheWeightsOfEachForwardPass) {
  const auto [pp, m, optimizer, overlap] = GetParam();
  const std::int64_t last = pp - 1;
  expect_serial(asynchronous("pipedream", pp, m, optimizer, overlap), 1,
                [last](std::int64_t stage, std::int64_t i) { return std::max<std::int64_t>(0, i - (last - stage)); });
}

// W(t+1) = W(t) − η ∇f(W(t−1)): on every stage alike.
TEST_P(Asynchronous, PipeDream2bwIsLateByOneUpdateEverywhere) {
  const auto [pp, m, optimizer, overlap] = GetParam();
  expect_serial(asynchronous("pipedream-2bw", pp, m, optimizer, overlap), m,
                [m = m](std::int64_t, std::int64_t i) { return std::max<std::int64_t>(0, i / m - 1); });
}

INSTANTIATE_TEST_SUITE_P(Pipelines, Asynchronous,
                         testing::Values(Case{1, 1, "sgd", true}, Case{1, 3, "adamw", true}, Case{2, 2, "sgd", true}, Case{2, 5, "adamw", false},
                                         Case{4, 4, "adamw", true}, Case{4, 8, "sgd", false}, Case{4, 7, "sgd", true}),
                         [](const testing::TestParamInfo<Case>& c) {
                           return fmt::format("pp{}_m{}_{}{}", c.param.pp, c.param.microbatches, c.param.optimizer, c.param.overlap ? "" : "_sync");
                         });

}  // namespace
}  // namespace orrery::executor
