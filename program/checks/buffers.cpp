#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "program/arena.h"
#include "program/checks/checks.h"

namespace orrery::program::checks {
namespace {

// Follows every instance of every buffer of one role in issue order. Which issue is surely complete before another starts is kept as one clock per
// issue: for each stream, how many of its instructions.
class BufferCheck {
 public:
  BufferCheck(const Program& program, const IssueList& list, Violations& out)
      : program_(program), list_(list), role_(*list.role), out_(out), own_(ownership(role_)), streams_(program.streams.size()) {
    clocks_.assign(list.issues.size() * streams_, 0);
    slot_.assign(role_.buffers.size(), 0);
    for (std::size_t b = 0; b < role_.buffers.size(); ++b) end_.push_back(own_.offset[b] + program.covered_bytes(role_.buffers[b]));
    std::size_t slots = 0;
    for (std::size_t b = 0; b < role_.buffers.size(); ++b) {
      slot_[b] = slots;
      if (role_.buffers[b].alias < 0) slots += program.instances(role_.buffers[b]);
    }
    instances_.resize(slots);
    freed_.resize(streams_);
    for (std::size_t b = 0; b < role_.buffers.size(); ++b)
      if (role_.buffers[b].alias < 0 && role_.buffers[b].lifetime == Lifetime::persistent) instances_[slot_[b]].state = Instance::live;
  }

  void run() {
    std::vector<std::uint32_t> host(streams_, 0), issued(streams_, 0);
    std::int32_t step = list_.passes.empty() ? 0 : list_.passes.front().step;
    for (std::uint32_t i = 0; i < list_.issues.size(); ++i) {
      const std::int32_t now = list_.passes[list_.issues[i].pass].step;
      // Without a prologue a step ends as it began, so whatever is live is a leak; with one only the end of the whole tells.
      if (now != step && role_.prologue.empty()) leaks(fmt::format("step {}", step + 1));
      step = now;
      const Instruction& it = list_.instruction(i);
      std::uint32_t* clock = &clocks_[i * streams_];
      const auto join = [&](const std::uint32_t* other) {
        for (std::size_t s = 0; s < streams_; ++s) clock[s] = std::max(clock[s], other[s]);
      };
      join(host.data());
      if (const std::uint32_t previous = list_.issues[i].previous; previous != kNever) join(&clocks_[previous * streams_]);
      for (const std::uint32_t need : list_.needs_of(i)) join(&clocks_[need * streams_]);

      const auto accesses = std::span(role_.accesses).subspan(it.accesses, it.access_count);
      for (const Access& access : accesses)
        if (access.first) {
          // Memory is given back in issue order: what is allocated here may be what any earlier instruction freed.
          for (std::size_t other = 0; other < streams_; ++other)
            if (other != it.stream && clock[other] < freed_[other].number)
              say(Rule::freed_once, i, access.buffer,
                  fmt::format("{} allocates {} without waiting for {}, which may still use memory that it frees", list_.in_words(i),
                              name_of(access.buffer), list_.in_words(freed_[other].issue)));
          allocate(i, access);
        }
      const std::uint32_t number = it.opcode == Opcode::host_wait ? 0 : ++issued[it.stream];
      for (const Access& access : accesses) use(i, access, number);
      if (number) clock[it.stream] = number;
      for (const Access& access : accesses)
        if (access.last) {
          release(i, access);
          if (number) freed_[it.stream] = {number, i};  // what a host_wait frees is free for all that is issued after it
        }
      if (it.opcode == Opcode::host_wait) std::copy(clock, clock + streams_, host.begin());
    }
    leaks(role_.prologue.empty() ? fmt::format("step {}", kSteps) : std::string("the program"));
  }

 private:
  // What one stream did to one view of an instance: number and issue of its last write and last read; number 0: none.
  struct Use {
    std::uint32_t view = 0;
    std::uint8_t stream = 0;
    std::uint32_t write = 0, write_issue = 0, read = 0, read_issue = 0;
  };
  struct Instance {
    enum State : std::uint8_t { never, live, freed } state = never;
    std::uint32_t freed_by = 0, allocated_by = 0;
    std::vector<Use> uses;
  };

  Instance& instance(const Access& access, std::uint32_t issue) {
    const std::uint32_t owner = own_.owner[access.buffer];
    return instances_[slot_[owner] + program_.instance(role_.buffers[owner], list_.microbatch(issue))];
  }
  const std::string& name_of(std::uint32_t buffer) const { return role_.buffers[buffer].name; }
  std::int64_t begin(std::uint32_t view) const { return own_.offset[view]; }
  std::int64_t end(std::uint32_t view) const { return end_[view]; }

  // Once for each instruction and buffer: a fault in a template shows in every micro-batch.
  void say(Rule rule, std::uint32_t issue, std::uint32_t buffer, std::string words) {
    if (said_.insert({static_cast<int>(rule), list_.issues[issue].instruction, buffer}).second) out_.push_back({rule, std::move(words)});
  }

  void allocate(std::uint32_t issue, const Access& access) {
    Instance& of = instance(access, issue);
    if (of.state == Instance::live)
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} allocates {}, which {} allocated and nothing freed since", list_.in_words(issue), name_of(access.buffer),
                      list_.in_words(of.allocated_by)));
    of = {.state = Instance::live, .freed_by = 0, .allocated_by = issue, .uses = {}};
  }

  void release(std::uint32_t issue, const Access& access) {
    Instance& of = instance(access, issue);
    if (of.state == Instance::never) {
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} frees {}, which was never allocated", list_.in_words(issue), name_of(access.buffer)));
      return;
    }
    if (of.state == Instance::freed) {
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} frees {}, which {} freed before", list_.in_words(issue), name_of(access.buffer), list_.in_words(of.freed_by)));
      return;
    }
    const std::uint32_t* clock = &clocks_[issue * streams_];
    for (const Use& u : of.uses) {
      if (clock[u.stream] >= std::max(u.write, u.read)) continue;
      say(Rule::freed_once, issue, access.buffer,
          fmt::format("{} frees {} while {} may still use it on stream {}", list_.in_words(issue), name_of(access.buffer),
                      list_.in_words(u.write > u.read ? u.write_issue : u.read_issue), program_.streams[u.stream].name));
    }
    of.state = Instance::freed;
    of.freed_by = issue;
    of.uses.clear();
  }

  void use(std::uint32_t issue, const Access& access, std::uint32_t number) {
    Instance& of = instance(access, issue);
    const std::uint32_t view = access.buffer;
    const bool reads = access.mode != AccessMode::write, writes = access.mode != AccessMode::read;
    if (of.state == Instance::never) {
      if (reads)
        say(Rule::written_before_read, issue, view, fmt::format("{} reads {}, which was never written", list_.in_words(issue), name_of(view)));
      else
        say(Rule::freed_once, issue, view, fmt::format("{} writes {}, which was never allocated", list_.in_words(issue), name_of(view)));
      return;
    }
    if (of.state == Instance::freed) {
      say(Rule::freed_once, issue, view,
          fmt::format("{} {} {}, which {} freed before", list_.in_words(issue), reads ? "reads" : "writes", name_of(view),
                      list_.in_words(of.freed_by)));
      return;
    }
    const bool persistent = role_.buffers[own_.owner[view]].lifetime == Lifetime::persistent;
    if (reads && !persistent && !covered(of, view))
      say(Rule::written_before_read, issue, view, fmt::format("{} reads {}, which was never written whole", list_.in_words(issue), name_of(view)));

    const std::uint32_t* clock = &clocks_[issue * streams_];
    const std::uint8_t stream = list_.instruction(issue).stream;
    const bool host = number == 0;
    Use* mine = nullptr;
    for (Use& u : of.uses) {
      if (u.view == view && u.stream == stream) mine = &u;
      const bool ordered = (u.stream == stream && !host) || (u.write <= clock[u.stream] && (!writes || u.read <= clock[u.stream]));
      if (ordered || begin(u.view) >= end(view) || begin(view) >= end(u.view)) continue;
      if (u.write > clock[u.stream])
        say(Rule::written_before_read, issue, view,
            fmt::format("{} {} {}, which {} writes on stream {}: nothing orders the two", list_.in_words(issue), reads ? "reads" : "writes",
                        name_of(view), list_.in_words(u.write_issue), program_.streams[u.stream].name));
      else if (writes && u.read > clock[u.stream])
        say(Rule::written_before_read, issue, view,
            fmt::format("{} writes {}, which {} reads on stream {}: nothing orders the two", list_.in_words(issue), name_of(view),
                        list_.in_words(u.read_issue), program_.streams[u.stream].name));
    }
    if (host) return;
    if (!mine) mine = &of.uses.emplace_back(Use{.view = view, .stream = stream});
    if (reads) {
      mine->read = number;
      mine->read_issue = issue;
    }
    if (writes) {
      mine->write = number;
      mine->write_issue = issue;
    }
  }

  // Whether what was written to the instance so far leaves no byte of the view out.
  bool covered(const Instance& of, std::uint32_t view) const {
    std::vector<std::pair<std::int64_t, std::int64_t>> written;
    for (const Use& u : of.uses) {
      if (!u.write) continue;
      if (begin(u.view) <= begin(view) && end(u.view) >= end(view)) return true;
      written.emplace_back(begin(u.view), end(u.view));
    }
    std::sort(written.begin(), written.end());
    std::int64_t upto = begin(view);
    for (const auto& [from, to] : written)
      if (from <= upto) upto = std::max(upto, to);
    return upto >= end(view);
  }

  void leaks(const std::string& end_of) {
    for (std::uint32_t b = 0; b < role_.buffers.size(); ++b) {
      const Buffer& buffer = role_.buffers[b];
      if (buffer.alias >= 0 || buffer.lifetime == Lifetime::persistent) continue;
      const std::size_t count = program_.instances(buffer);
      for (std::size_t m = 0; m < count; ++m) {
        Instance& of = instances_[slot_[b] + m];
        if (of.state == Instance::live)
          say(Rule::freed_once, of.allocated_by, b,
              fmt::format("{} allocates {}, which nothing frees by the end of {}", list_.in_words(of.allocated_by), buffer.name, end_of));
        of = {};
      }
    }
  }

  const Program& program_;
  const IssueList& list_;
  const Role& role_;
  Violations& out_;
  Ownership own_;
  std::vector<std::int64_t> end_;  // by buffer: where it ends in its owner
  std::size_t streams_;
  std::vector<std::uint32_t> clocks_;  // by issue, by stream: what is complete when the issue is
  std::vector<std::size_t> slot_;
  std::vector<Instance> instances_;
  struct Free {
    std::uint32_t number = 0, issue = 0;
  };
  std::vector<Free> freed_;  // by stream: its latest instruction that freed anything
  std::set<std::tuple<int, std::uint32_t, std::uint32_t>> said_;
};

}  // namespace

void check_buffers(const Program& program, const IssueList& list, Violations& out) { BufferCheck(program, list, out).run(); }

}  // namespace orrery::program::checks
