// What tests of communicators share. The conformance tests (tests/communicator) know an implementation by the one function that its test binary
// defines.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "executor/communicator.h"

namespace orrery::executor {

// Makes a fresh world of the implementation under test, calls `body` once per rank (of those that live in this process), at the same time, and
// rethrows what a body threw. Each test binary defines it.
void run_on_ranks(std::int64_t ranks, const std::function<void(Communicator&)>& body);

// Calls `body` for each rank in [first, last), each on a thread of its own, and rethrows what one threw first.
inline void on_threads(std::int64_t first, std::int64_t last, const std::function<void(std::int64_t)>& body) {
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::exception_ptr thrown;
  for (std::int64_t r = first; r < last; ++r)
    threads.emplace_back([&, r] {
      try {
        body(r);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!thrown) thrown = std::current_exception();
      }
    });
  for (std::thread& t : threads) t.join();
  if (thrown) std::rethrow_exception(thrown);
}

inline CommOperation operation(program::Operator op, std::span<const std::int64_t> members, std::int64_t elements, const void* in, void* out,
                               std::uint8_t stream = 1) {
  CommOperation o;
  o.op = op;
  o.elements = elements;
  o.input = in;
  o.output = out;
  o.members = members;
  o.stream = stream;
  return o;
}

// On one number, in place.
inline CommOperation operation(program::Operator op, std::span<const std::int64_t> members, float& x, std::uint8_t stream = 1) {
  return operation(op, members, 1, &x, &x, stream);
}

// A send or a receive of all of `data`; `pair` is this rank and its peer.
inline CommOperation message(program::Operator op, std::int64_t me, const std::int64_t (&pair)[2], std::vector<float>& data, std::uint8_t stream,
                             std::uint8_t channel) {
  EXPECT_EQ(pair[0], me);
  CommOperation o = operation(op, pair, static_cast<std::int64_t>(data.size()), data.data(), data.data(), stream);
  o.channel = channel;
  return o;
}

}  // namespace orrery::executor
