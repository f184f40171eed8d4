#include "executor/checkpoint/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>
#include <string>

#include "executor/checkpoint/names.h"
#include "run/runs.h"
#include "support/segmented_plans.h"

namespace orrery::executor {
namespace {

// What a stretch's elements are of the whole parameter; -1: padding.
std::vector<std::int64_t> elements(const Stretch& s) {
  std::vector<std::int64_t> out;
  const program::Parameter& p = *s.parameter;
  for (std::int64_t i = s.first; i < s.first + s.count; ++i) {
    const std::int64_t row = s.origin.row + i / p.cols, col = s.origin.col + i % p.cols;
    out.push_back(row < p.global_rows && col < p.global_cols ? row * p.global_cols + col : -1);
  }
  return out;
}

struct Case {
  Model model;
  Layout layout;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const Layout& l :
       {Layout{}, Layout{.dp = 2, .zero = 1}, Layout{.dp = 2, .tp = 2, .pp = 2, .sp = true, .zero = 1}, Layout{.dp = 4, .zero = 3},
        Layout{.dp = 4, .zero = 2, .data = "replicas"}, Layout{.dp = 4, .zero = 3, .data = "replicas"}, Layout{.dp = 2, .tp = 4, .zero = 0},
        Layout{.pp = 2, .schedule = "interleaved", .vp = 2}, Layout{.dp = 2, .pp = 2, .schedule = "dualpipe", .zero = 1}, Layout{.dp = 2, .cp = 2},
        Layout{.dp = 2, .tp = 2, .data = "servers"}})
    for (const Model& m : {tiny_llama(), tiny_gpt2()}) out.push_back({m, l});
  for (const Layout& l : {Layout{.ep = 1}, Layout{.dp = 4, .ep = 2}, Layout{.dp = 4, .zero = 1, .ep = 2},
                          Layout{.dp = 2, .tp = 2, .sp = true, .zero = 1, .ep = 2, .etp = 2}, Layout{.dp = 4, .zero = 3, .ep = 2},
                          Layout{.dp = 4, .data = "robin", .ep = 4}})
    for (const Model& m : {tiny_mixture(), tiny_deepseek()}) out.push_back({m, l});
  return out;
}

void expect_everything_once(const program::Program& program, const std::string& name) {
  // By parameter and element: how often it is written; and all that is held.
  std::map<std::string, std::vector<int>> written;
  std::map<std::string, std::vector<bool>> held;
  for (std::int64_t r = 0; r < program.ranks(); ++r) {
    const program::Role& role = program.role_of(r);
    const std::int64_t size = role.buffers[static_cast<std::size_t>(role.parameter_buffer)].elements;
    for (const Stretch& s : held_parameters(program, r)) {
      EXPECT_LE(s.at + s.count, size);
      std::vector<bool>& here = held[s.parameter->name];
      here.resize(static_cast<std::size_t>(s.parameter->global_rows * s.parameter->global_cols));
      for (const std::int64_t e : elements(s))
        if (e >= 0) here[static_cast<std::size_t>(e)] = true;
    }
    const StateBuffers buffers = state_buffers(role);
    for (const OwnedStretch& s : owned_states(program, r, true)) {
      EXPECT_LE(s.in_parameters + s.count, size);
      if (buffers.m >= 0) {
        EXPECT_LE(s.at + s.count, role.buffers[static_cast<std::size_t>(buffers.m)].elements);
      }
      std::vector<int>& times = written[s.parameter->name];
      times.resize(static_cast<std::size_t>(s.parameter->global_rows * s.parameter->global_cols));
      for (const std::int64_t e : elements(s))
        if (e >= 0) ++times[static_cast<std::size_t>(e)];
    }
  }
  EXPECT_EQ(written.size(), held.size()) << name;
  for (const auto& [parameter, times] : written) {
    EXPECT_EQ(std::count(times.begin(), times.end(), 1), static_cast<std::int64_t>(times.size())) << name << ": " << parameter;
    const std::vector<bool>& here = held.at(parameter);
    EXPECT_EQ(std::count(here.begin(), here.end(), true), static_cast<std::int64_t>(times.size())) << name << ": " << parameter;
  }
}

TEST(State, EveryElementIsWrittenOnceWhateverTheLayout) {
  for (const auto& [model, layout] : cases()) expect_everything_once(compiled(model, plan_of(layout), layout.dp), model.name + " " + name(layout));
}

TEST(State, EveryElementIsWrittenOnceBySegmentsToo) {
  for (const std::int64_t zero : {0, 1}) {
    Plan plan = plan_of({.dp = 2});
    plan.batch.global = 8, plan.batch.micro = 2, plan.sharding.zero = zero;
    const std::int64_t devices = test::divide(plan, tiny_llama(), {{.dp = 2, .tp = 2, .sp = true}, {.dp = 4, .pp = 2}});
    expect_everything_once(program::compile(tiny_llama(), cores(devices), plan), "segments");
  }
}

TEST(State, WhatARankOwnsOfItsStatesIsInItsParametersToo) {
  for (const auto& [model, layout] : cases()) {
    const program::Program program = compiled(model, plan_of(layout), layout.dp);
    for (std::int64_t r = 0; r < program.ranks(); ++r) {
      const program::Role& role = program.role_of(r);
      const auto size = static_cast<std::size_t>(role.buffers[static_cast<std::size_t>(role.parameter_buffer)].elements);
      std::vector<std::pair<const program::Parameter*, std::int64_t>> at(size);  // by place in the parameter buffer
      for (const Stretch& s : held_parameters(program, r))
        for (std::int64_t i = 0; i < s.count; ++i) at[static_cast<std::size_t>(s.at + i)] = {s.parameter, s.first + i};
      std::vector<bool> states(size);
      std::int64_t wrong = 0;
      for (const OwnedStretch& s : owned_states(program, r, false))
        for (std::int64_t i = 0; i < s.count; ++i) {
          wrong += at[static_cast<std::size_t>(s.in_parameters + i)] != std::pair(s.parameter, s.first + i) ? 1 : 0;
          wrong += states[static_cast<std::size_t>(s.at + i)] ? 1 : 0;
          states[static_cast<std::size_t>(s.at + i)] = true;
        }
      EXPECT_EQ(wrong, 0) << name(layout);
    }
  }
}

TEST(State, RunsOfAStretchCoverItAndNothingElse) {
  for (const Case& of_case : cases()) {
    const Model& model = of_case.model;
    const Layout& layout = of_case.layout;  // clang 14 does not let lambdas have bindings
    const program::Program program = compiled(model, plan_of(layout), layout.dp);
    for (std::int64_t r = 0; r < program.ranks(); ++r)
      for (const OwnedStretch& s : owned_states(program, r, true)) {
        const std::vector<std::int64_t> of = elements(s);
        const program::Parameter& p = *s.parameter;
        std::vector<int> seen(of.size(), 0);
        const Rows rows = rows_of(s);
        for (const StoredPlace& place : stored_places(model, p, rows.begin, rows.end))
          for_each_run(s, place, [&](std::int64_t stored, std::int64_t element, std::int64_t count, std::int64_t step) {
            for (std::int64_t i = 0; i < count; ++i) {
              const auto e = static_cast<std::size_t>(element + i * step);
              ++seen[e];
              const std::int64_t row = of[e] / p.global_cols - place.row, col = of[e] % p.global_cols;
              const std::int64_t expected = place.transposed ? col * place.shape[1] + place.first + row : (place.first + row) * p.global_cols + col;
              ASSERT_EQ(stored + i, expected) << p.name << " of " << name(layout);
            }
          });
        for (std::size_t i = 0; i < of.size(); ++i) ASSERT_EQ(seen[i], of[i] >= 0 ? 1 : 0) << p.name << " of " << name(layout);
      }
  }
}

std::map<std::string, std::vector<std::int64_t>> stored_shapes(const Model& model) {
  std::map<std::string, std::vector<std::int64_t>> out;
  const program::Program program = compiled(model, plan_of({}), 1);
  for (const program::Parameter& p : program.roles.front().parameters)
    for (const StoredPlace& place : stored_places(model, p, 0, p.global_rows)) out[place.tensor] = place.shape;
  return out;
}

// Names and shapes as transformers' modelling files give them; [out, in], of GPT-2 [in, out].
TEST(Names, OfLlama) {
  const auto shapes = stored_shapes(tiny_llama());
  EXPECT_EQ(shapes.size(), 4U * 9 + 3);  // four layers of seven matrices and two norms; both tables and the last norm
  const auto is = [&](const char* tensor, std::vector<std::int64_t> shape) { EXPECT_EQ(shapes.at(tensor), shape) << tensor; };
  is("model.embed_tokens.weight", {61, 32});
  is("model.layers.0.input_layernorm.weight", {32});
  is("model.layers.3.self_attn.q_proj.weight", {32, 32});
  is("model.layers.3.self_attn.k_proj.weight", {16, 32});
  is("model.layers.3.self_attn.v_proj.weight", {16, 32});
  is("model.layers.3.self_attn.o_proj.weight", {32, 32});
  is("model.layers.3.post_attention_layernorm.weight", {32});
  is("model.layers.3.mlp.gate_proj.weight", {48, 32});
  is("model.layers.3.mlp.up_proj.weight", {48, 32});
  is("model.layers.3.mlp.down_proj.weight", {32, 48});
  is("model.norm.weight", {32});
  is("lm_head.weight", {61, 32});
}

TEST(Names, OfGpt2) {
  const auto shapes = stored_shapes(tiny_gpt2());
  EXPECT_EQ(shapes.size(), 4U * 12 + 4);
  const auto is = [&](const char* tensor, std::vector<std::int64_t> shape) { EXPECT_EQ(shapes.at(tensor), shape) << tensor; };
  is("transformer.wte.weight", {61, 32});
  is("transformer.wpe.weight", {64, 32});
  is("transformer.h.3.ln_1.bias", {32});
  is("transformer.h.3.attn.c_attn.weight", {32, 96});
  is("transformer.h.3.attn.c_attn.bias", {96});
  is("transformer.h.3.attn.c_proj.weight", {32, 32});
  is("transformer.h.3.mlp.c_fc.weight", {32, 48});
  is("transformer.h.3.mlp.c_fc.bias", {48});
  is("transformer.h.3.mlp.c_proj.weight", {48, 32});
  is("transformer.ln_f.weight", {32});
}

TEST(Names, OfMixtral) {
  const auto shapes = stored_shapes(tiny_mixture());
  EXPECT_EQ(shapes.at("model.layers.1.block_sparse_moe.gate.weight"), (std::vector<std::int64_t>{8, 32}));
  EXPECT_EQ(shapes.at("model.layers.1.block_sparse_moe.experts.7.w1.weight"), (std::vector<std::int64_t>{24, 32}));
  EXPECT_EQ(shapes.at("model.layers.1.block_sparse_moe.experts.0.w2.weight"), (std::vector<std::int64_t>{32, 24}));
  EXPECT_EQ(shapes.at("model.layers.1.block_sparse_moe.experts.3.w3.weight"), (std::vector<std::int64_t>{24, 32}));
}

}  // namespace
}  // namespace orrery::executor
