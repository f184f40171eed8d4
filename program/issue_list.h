// A role's program written out: every instruction of the prologue, of a number of steps and of the epilogue, in issue order, dependencies resolved.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "program/program.h"

namespace orrery::program {

struct IssueList {
  static constexpr std::uint32_t kNever = 0xffffffff;

  struct Pass {
    PassInstance instance;
    std::int32_t step = 0;  // repetition of the body; -1: prologue; `steps`: epilogue
  };
  struct Issue {
    std::uint32_t instruction = 0;               // index into Role::instructions
    std::uint32_t pass = 0;                      // index into `passes`
    std::uint32_t previous = kNever;             // issue before it on its stream; a host_wait is on none
    std::uint32_t first_need = 0, end_need = 0;  // range of `needs`
  };

  const Role* role = nullptr;
  std::vector<Pass> passes;
  std::vector<Issue> issues;
  std::vector<std::uint32_t> needs;  // issues that must be complete before

  const Instruction& instruction(std::uint32_t issue) const { return role->instructions[issues[issue].instruction]; }
  std::uint16_t microbatch(std::uint32_t issue) const { return passes[issues[issue].pass].instance.of(instruction(issue)); }
  std::span<const std::uint32_t> needs_of(std::uint32_t issue) const {
    return std::span(needs).subspan(issues[issue].first_need, issues[issue].end_need - issues[issue].first_need);
  }
  // "stage 1's recv (instruction 0 of forward of micro-batch 3)", with the step where it is not the first.
  std::string in_words(std::uint32_t issue) const;
};

// Requires indices within their ranges (Rule::well_formed).
IssueList issue_list(const Program& program, const Role& role, std::int32_t steps);

}  // namespace orrery::program
