// Compiled programs that are broken on purpose: the checker sees it. That unbroken ones pass is compile_order_test.cpp's.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "program/arena.h"
#include "program/check.h"
#include "program/compile.h"
#include "program/memory.h"
#include "program/small_models.h"

namespace orrery::program {
namespace {

Program any_program() {
  const Model model = *rc::gen::arbitrary<bool>() ? small_llama(3) : small_gpt2(3);
  const auto dp = *rc::gen::element<std::int64_t>(1, 2);
  Plan plan = small_plan(*rc::gen::element<std::int64_t>(1, 2), *rc::gen::element<std::int64_t>(2, 3), dp, *rc::gen::inRange<std::int64_t>(1, 4));
  plan.parallel.sp = plan.parallel.tp > 1 && *rc::gen::arbitrary<bool>();
  plan.sharding.zero = *rc::gen::element<std::int64_t>(0, 1);
  plan.schedule = *rc::gen::element<std::string>("gpipe", "1f1b");
  plan.recompute.kind = *rc::gen::element<std::string>("none", "full");
  plan.overlap.p2p = *rc::gen::arbitrary<bool>();
  return compile(model, small_cluster(plan, dp), plan);
}

bool reports(const Program& program, Rule rule) {
  const auto violations = check(program);
  return std::any_of(violations.begin(), violations.end(), [&](const Violation& v) { return v.rule == rule; });
}

// Index of a random element of `from` for which `is` holds.
template <class T, class Is>
std::size_t any_index(const std::vector<T>& from, Is is) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < from.size(); ++i)
    if (is(from[i])) found.push_back(i);
  RC_PRE(!found.empty());
  return *rc::gen::elementOf(found);
}

Role& any_role(Program& program) { return program.roles[*rc::gen::inRange<std::size_t>(0, program.roles.size())]; }

bool runs(const Role& role, const std::vector<PassInstance>& body, std::uint32_t access) {
  return std::any_of(body.begin(), body.end(), [&](const PassInstance& p) {
    const PassTemplate& pass = role.passes[p.pass];
    return access >= role.instructions[pass.first].accesses && pass.count > 0 &&
           access < role.instructions[pass.first + pass.count - 1].accesses + role.instructions[pass.first + pass.count - 1].access_count;
  });
}

RC_GTEST_PROP(CheckBroken, AMissingFreeIsSeen, ()) {
  Program program = any_program();
  Role& role = any_role(program);
  const std::size_t at = any_index(role.accesses, [](const Access& a) { return a.last; });
  RC_PRE(runs(role, role.body, static_cast<std::uint32_t>(at)));
  role.accesses[at].last = false;
  RC_ASSERT(reports(program, Rule::freed_once));
}

RC_GTEST_PROP(CheckBroken, AMissingAllocationIsSeen, ()) {
  Program program = any_program();
  Role& role = any_role(program);
  const std::size_t at = any_index(role.accesses, [](const Access& a) { return a.first; });
  RC_PRE(runs(role, role.body, static_cast<std::uint32_t>(at)));
  role.accesses[at].first = false;
  RC_ASSERT(reports(program, Rule::freed_once));
}

RC_GTEST_PROP(CheckBroken, AReceiveLeftOutIsSeen, ()) {
  Program program = any_program();
  Role& role = any_role(program);
  const auto receives = [&](const PassInstance& p) {
    const PassKind kind = role.passes[p.pass].kind;
    return kind == PassKind::receive_forward || kind == PassKind::receive_backward;
  };
  role.body.erase(role.body.begin() + static_cast<std::ptrdiff_t>(any_index(role.body, receives)));
  RC_ASSERT(reports(program, Rule::matched_point_to_point));
}

RC_GTEST_PROP(CheckBroken, ADependencyOfARecvsReaderIsNeeded, ()) {
  Program program = any_program();
  RC_PRE(program.mesh.size[static_cast<std::size_t>(Axis::tp)] == 1);  // otherwise the wait may be implied by a collective's
  Role& role = any_role(program);
  const std::size_t at = any_index(role.instructions, [&](const Instruction& i) {
    if (i.opcode != Opcode::compute || i.dependency_count != 1) return false;
    const Dependency& d = role.dependencies[i.dependencies];
    return d.kind == DependencyKind::event && role.events[d.index].name.find("received") != std::string::npos;
  });
  role.instructions[at].dependency_count = 0;
  RC_ASSERT(reports(program, Rule::written_before_read));
}

RC_GTEST_PROP(CheckBroken, ABackwardInPlaceOfItsForwardIsSeen, ()) {
  // The first stage turns a micro-batch back in the place where it should run its forward.
  Program program = any_program();
  Role& role = program.roles.front();
  const std::size_t forward = any_index(role.body, [&](const PassInstance& p) { return role.passes[p.pass].kind == PassKind::forward; });
  const std::size_t backward = any_index(role.body, [&](const PassInstance& p) {
    return role.passes[p.pass].kind == PassKind::backward && p.microbatch == role.body[forward].microbatch;
  });
  std::swap(role.body[forward], role.body[backward]);
  RC_ASSERT(!check(program).empty());
}

// The executor places every instance where Allocations says: no two live instances may share a byte, in any compiled program.
RC_GTEST_PROP(Allocations, LiveInstancesOfCompiledProgramsShareNoByte, ()) {
  const Program program = any_program();
  for (const Role& role : program.roles) {
    Allocations allocations(program, role);
    std::map<std::int64_t, std::int64_t> live;  // start -> end
    std::map<std::pair<std::uint32_t, std::uint16_t>, std::int64_t> where;
    const auto place = [&](std::uint32_t buffer, std::uint16_t microbatch) {
      const std::int64_t start = allocations.offset(buffer, microbatch), end = start + role.buffers[buffer].bytes;
      RC_ASSERT(start >= 0);
      if (end == start) return;
      const auto after = live.lower_bound(start);
      RC_ASSERT((after == live.end() || after->first >= end));
      RC_ASSERT((after == live.begin() || std::prev(after)->second <= start));
      live[start] = end;
      where[{buffer, role.buffers[buffer].lifetime == Lifetime::microbatch ? microbatch : std::uint16_t{0}}] = start;
    };
    const Ownership own = ownership(role);
    for (std::uint32_t b = 0; b < role.buffers.size(); ++b)
      if (role.buffers[b].alias < 0 && role.buffers[b].lifetime == Lifetime::persistent) place(b, 0);
    for (const PassInstance& pass : role.body)
      for (std::uint32_t i = 0; i < role.passes[pass.pass].count; ++i) {
        const Instruction& it = role.instructions[role.passes[pass.pass].first + i];
        allocations.issue(it, pass.microbatch);
        for (std::uint32_t a = it.accesses; a < it.accesses + it.access_count; ++a)
          if (role.accesses[a].first) place(own.owner[role.accesses[a].buffer], pass.microbatch);
        for (std::uint32_t a = it.accesses; a < it.accesses + it.access_count; ++a)
          if (role.accesses[a].last) {
            const std::uint32_t owner = own.owner[role.accesses[a].buffer];
            live.erase(where[{owner, role.buffers[owner].lifetime == Lifetime::microbatch ? pass.microbatch : std::uint16_t{0}}]);
          }
        allocations.complete(it, pass.microbatch);
      }
    RC_ASSERT(allocations.live() == allocations.persistent());
    RC_ASSERT(allocations.high_water() == memory(program, role).arena);
  }
}

}  // namespace
}  // namespace orrery::program
