// Runs a role's body twice in its head and says which accesses nothing orders: an oracle for the builder's dependencies and marks that shares no
// code with it. Knows only what one rank knows: order within a stream, local dependencies, events, `issued`.
#pragma once

#include <fmt/format.h>

#include <array>
#include <map>
#include <string>
#include <vector>

#include "program/program.h"

namespace orrery::program {

class RaceFinder {
 public:
  RaceFinder(const Program& program, const Role& role) : program_(program), role_(role), streams_(program.streams.size()), splits_(program.splits) {}

  std::vector<std::string> run(int steps = 2) {
    stream_clock_.assign(streams_, Clock(streams_, 0));
    issued_.assign(streams_, 0);
    for (int step = 0; step < steps; ++step) {
      for (const PassInstance& instance : role_.body) pass(instance);
      for (const auto& [key, object] : objects_)
        if (object.live && role_.buffers[key.first].lifetime != Lifetime::persistent)
          say(fmt::format("{} of micro-batch {} is not freed at the end of the step", role_.buffers[key.first].name, key.second));
    }
    return problems_;
  }

 private:
  using Clock = std::vector<std::int64_t>;  // by stream: how many of its instructions are complete
  struct Touch {
    std::int64_t begin, end;
    bool write;
    std::size_t stream;
    std::int64_t number;
    std::string who;
  };
  struct Object {
    bool live = false;
    std::vector<Touch> touches;
  };
  static void join(Clock& into, const Clock& other) {
    for (std::size_t s = 0; s < into.size(); ++s) into[s] = std::max(into[s], other[s]);
  }
  void say(std::string what) {
    if (problems_.size() < 20) problems_.push_back(std::move(what));
  }

  void pass(const PassInstance& instance) {
    const PassTemplate& t = role_.passes[instance.pass];
    std::vector<Clock> done(t.count);
    for (std::uint32_t n = 0; n < t.count; ++n) {
      const Instruction& i = role_.instructions[t.first + n];
      Clock clock = stream_clock_[i.stream];
      for (std::uint32_t d = i.dependencies; d < i.dependencies + i.dependency_count; ++d) {
        const Dependency& on = role_.dependencies[d];
        if (on.kind == DependencyKind::local) {
          if (on.index >= n) say(fmt::format("{} depends on later instruction {}", n, on.index));
          join(clock, done[on.index]);
        } else if (on.kind == DependencyKind::issued) {
          join(clock, stream_clock_[on.index]);
        } else {
          const std::int64_t of = role_.events[on.index].per_microbatch ? instance.of(i) : -1;
          if (const auto at = events_.find({on.index, of}); at != events_.end()) join(clock, at->second);
        }
      }
      const std::int64_t number = ++issued_[i.stream];
      const std::string who = fmt::format("{} #{} ({}, micro-batch {})", t.name, n, name(i.op), instance.of(i));
      for (std::uint32_t a = i.accesses; a < i.accesses + i.access_count; ++a) touch(role_.accesses[a], i, instance, clock, number, who);
      clock[i.stream] = number;
      done[n] = clock;
      stream_clock_[i.stream] = clock;
      if (i.signal != kNone) events_[{i.signal, role_.events[i.signal].per_microbatch ? instance.of(i) : -1}] = clock;
    }
  }

  void touch(const Access& access, const Instruction& i, const PassInstance& instance, const Clock& clock, std::int64_t number,
             const std::string& who) {
    const Buffer& view = role_.buffers[access.buffer];
    const std::uint32_t root = view.alias >= 0 ? static_cast<std::uint32_t>(view.alias) : access.buffer;
    const Buffer& buffer = role_.buffers[root];
    Object& object = objects_[{root, buffer.lifetime == Lifetime::microbatch ? instance.of(i)
                                     : buffer.lifetime == Lifetime::sequence ? instance.of(i) / splits_
                                                                             : -1}];
    if (buffer.lifetime == Lifetime::persistent) {
      if (access.first || access.last) say(who + " marks the persistent " + buffer.name);
    } else {
      if (access.first == object.live) say(who + (object.live ? " allocates the live " : " uses the dead ") + buffer.name);
      object.live = true;
    }
    if (access.first && i.stream != kComputeStream && clock[kComputeStream] < issued_[kComputeStream])
      say(who + " may take memory that the compute stream still uses, for " + buffer.name);
    const std::int64_t begin = view.alias_offset, end = begin + program_.covered_bytes(view);
    const bool write = access.mode != AccessMode::read;
    for (const Touch& before : object.touches)
      if (before.stream != i.stream && before.begin < end && begin < before.end && (write || before.write || access.last) &&
          clock[before.stream] < before.number)
        say(fmt::format("{} races with {} on {}", who, before.who, view.name));
    // Only the latest of each stream and range matters: streams are in order.
    std::erase_if(object.touches, [&](const Touch& t) { return t.stream == i.stream && t.begin >= begin && t.end <= end && (write || !t.write); });
    object.touches.push_back({begin, end, write, i.stream, number, who});
    if (access.last) {
      if (i.stream != kComputeStream) say(who + " frees on another stream " + buffer.name);
      object.live = false;
      object.touches.clear();
    }
  }

  const Program& program_;
  const Role& role_;
  std::size_t streams_;
  std::int64_t splits_;
  std::vector<Clock> stream_clock_;
  std::vector<std::int64_t> issued_;
  std::map<std::pair<std::uint16_t, std::int64_t>, Clock> events_;
  std::map<std::pair<std::uint32_t, std::int64_t>, Object> objects_;
  std::vector<std::string> problems_;
};

}  // namespace orrery::program
