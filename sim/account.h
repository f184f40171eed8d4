// Reads a finished run: who waited for what, where the step's time went, which chain of instructions made it as long as it is.
//
// The engine only leaves start and finish times. Here the last period is issued once more with all times known, in a straight line per rank, to find
// for every instruction the one that decided its start. Nothing of this costs the engine anything, and nothing is estimated.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "core/timeline.h"
#include "program/memory.h"
#include "sim/engine.h"
#include "sim/machine.h"
#include "sim/simulate.h"

namespace orrery::sim {

class Account {
 public:
  // Reads the engine's last period and, for what crosses into it, the one before.
  Account(const Machine& machine, const Engine& engine, Cancel cancel = {});

  // Fills in everything but step, steady, periods, makespan and instructions, which the result must hold already.
  void write(const Options& options, Result& result);

 private:
  // Positions count from the beginning of the period before: 0 … n-1, the last period's are n … 2n-1.
  struct Met {
    std::uint32_t position = 0, partner_rank = 0, partner = kNoRecord;
    std::int64_t ready = 0, start = 0;
  };
  struct Issued {
    std::uint32_t decided_by = 0;   // position; kHost: the host, and which position held it up
    std::uint32_t step = 0;         // index in LoweredRole::steps
    std::uint32_t met = kNoRecord;  // index into RankView::met
  };
  struct RankView {
    const LoweredRole* role = nullptr;
    std::uint32_t n = 0;
    const std::int64_t *finishes[2] = {nullptr, nullptr}, *starts[2] = {nullptr, nullptr};  // of the period before, of the last
    std::vector<Issued> issued;                                                             // by position
    std::vector<Met> met;

    std::int64_t finish(std::uint32_t position) const { return position < n ? finishes[0][position] : finishes[1][position - n]; }
    std::int64_t start(std::uint32_t position, const Step& step) const;
    std::int64_t start(std::uint32_t position) const { return start(position, role->steps[issued[position].step]); }
    WorkClass work(std::uint32_t position) const { return role->classes[issued[position].step]; }
    const Met* meeting(std::uint32_t position) const { return issued[position].met == kNoRecord ? nullptr : &met[issued[position].met]; }
  };
  // Waiting before one instruction, by WaitCause.
  struct Waits {
    struct Part {
      std::int64_t waited = 0, transfer = 0;
    };
    std::array<Part, 8> by_cause{};
    WaitCause cause = WaitCause::none;  // what ended last
  };

  // A message: which instruction of which rank, by position in the last period.
  struct Arrow {
    std::int64_t from_rank = 0, to_rank = 0;
    std::uint32_t from = 0, to = 0;
  };
  // An instruction of the critical path.
  struct Link {
    std::uint32_t rank = 0, position = 0;
  };

  // An instruction of the last period, as replay() comes by.
  struct Moment {
    std::uint32_t pass = 0, instruction = 0;  // index of the pass instance, index in the pass
    std::uint32_t position = 0, step = 0;
    std::int64_t start = 0, finish = 0, free = 0;  // `free`: since when its stream was
  };
  // The ranks that are recorded in the place of a simulated one.
  struct Recording {
    std::vector<std::pair<std::int64_t, std::uint32_t>> as;  // rank, index of its first span
    std::vector<std::uint32_t> place;                        // by position in the last period: of its span, from the first one on
  };

  template <class Visit>
  void replay(std::uint32_t r, Visit visit);
  std::vector<Recording> recordings(const Options& options, Timeline& out) const;
  std::int64_t earliest_start() const;
  void find_meetings();
  Waits explain_wait(std::uint32_t r, std::uint32_t position, std::int64_t from) const;
  // `chain`: its instructions of the last period, the last one first.
  CriticalPath critical_path(std::int64_t step, std::vector<Link>& chain) const;
  // The next free place of each stream's spans, from a rank's first one on.
  std::vector<std::uint32_t> stream_places(const RankView& view) const;
  void sort_streams(Recording& recording, const RankView& view, Timeline& out) const;
  void add_arrows(std::uint32_t r, const Recording& recording);
  // Live bytes change in issue order, so that their peak does not depend on timing; time is only where the changes are drawn: an allocation where its
  // instruction starts, a release where it ends.
  void add_memory(std::uint32_t r, std::int64_t as_rank, std::int64_t origin, const program::MemoryReport& report, Timeline& out) const;
  std::uint32_t span_kind(std::uint32_t role, std::uint32_t step, Timeline& out);
  void finish_timeline(const Options& options, const std::vector<Recording>& recordings, const std::vector<Link>& critical, std::int64_t origin,
                       Timeline& out);

  const Machine& machine_;
  const Engine& engine_;
  Cancel cancel_;
  std::int64_t period_;
  std::vector<RankView> ranks_;
  std::map<std::tuple<std::uint32_t, program::Opcode, WorkClass, double>, std::uint32_t> kinds_;
  std::vector<std::vector<std::uint32_t>> kind_of_step_;  // by role and step, once it is known
  std::vector<Arrow> arrows_;
};

}  // namespace orrery::sim
