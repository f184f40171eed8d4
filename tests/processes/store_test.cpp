#include "executor/comm/store.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <random>

#include "executor/comm/bytes.h"
#include "processes.h"

namespace orrery::executor {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

using std::chrono::milliseconds;

TEST(KeyStore, WhatOneSetsAllGet) {
  EXPECT_THAT(in_threads(4,
                         [](KeyStore& s) {
                           const std::string me = std::to_string(s.process());
                           s.set("from " + me, "value of " + me);
                           std::string all;
                           for (int p = 3; p >= 0; --p) all += s.get("from " + std::to_string(p)) + ";";
                           return all;
                         }),
              Each("value of 3;value of 2;value of 1;value of 0;"));
}

TEST(KeyStore, GatherGivesAllValuesInTheOrderOfProcesses) {
  EXPECT_THAT(in_threads(5,
                         [](KeyStore& s) {
                           std::string out;
                           for (int round = 0; round < 20; ++round) {
                             const auto all = s.gather("round", std::string(static_cast<std::size_t>(s.process()), static_cast<char>('a' + round)));
                             for (std::size_t p = 0; p < all.size(); ++p)
                               if (all[p] != std::string(p, static_cast<char>('a' + round))) return std::string("wrong");
                           }
                           return std::string("right");
                         }),
              Each("right"));
}

// 40 MB of each of 3: more than the 64 MiB / 3 that are exchanged at a time.
TEST(KeyStore, GatherTakesWhatDoesNotFitAMessage) {
  EXPECT_THAT(in_threads(3,
                         [](KeyStore& s) {
                           const auto size = [](std::size_t p) { return p == 1 ? std::size_t{0} : 40'000'000 - p; };
                           const auto of = [&](std::size_t p) {
                             std::string value(size(p), '\0');
                             for (std::size_t i = 0; i < value.size(); i += 1000) value[i] = static_cast<char>(i / 1000 * 7 + p);
                             return value;
                           };
                           const auto all = s.gather("large", of(static_cast<std::size_t>(s.process())), true);
                           for (std::size_t p = 0; p < all.size(); ++p)
                             if (all[p] != (s.process() == 0 ? of(p) : std::string())) return std::string("wrong");
                           return std::string("right");
                         }),
              Each("right"));
}

TEST(KeyStore, ManyThreadsOfAProcessAskAtOnce) {
  EXPECT_THAT(in_threads(2,
                         [](KeyStore& s) {
                           std::vector<std::thread> threads;
                           std::atomic<int> right{0};
                           for (int t = 0; t < 8; ++t)
                             threads.emplace_back([&, t] {
                               const auto key = [&](std::int64_t p) { return std::to_string(p) + "/" + std::to_string(t); };
                               s.set(key(s.process()), key(s.process()));
                               right += s.get(key(1 - s.process())) == key(1 - s.process());
                             });
                           for (std::thread& t : threads) t.join();
                           s.gather("all done", "");
                           return std::to_string(right);
                         }),
              Each("8"));
}

TEST(KeyStore, WhoDoesNotComeIsNamedToAllWhoDid) {
  const auto results = in_threads(4, [](KeyStore&) { return std::string("joined"); }, milliseconds{300}, {1, 3});
  EXPECT_THAT(results[0], AllOf(HasSubstr("processes 1 and 3 of 4 did not come to 127.0.0.1:"), EndsWith(" within 0.3 s")));
  EXPECT_THAT(results[2], HasSubstr("processes 1 and 3 of 4 did not come to 127.0.0.1:"));
}

TEST(KeyStore, AProcessThatReachesNobodySaysWhere) {
  // A port that nobody listens at, since it was just given back.
  const int s = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET, a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  ASSERT_EQ(bind(s, reinterpret_cast<sockaddr*>(&a), size), 0);
  ASSERT_EQ(getsockname(s, reinterpret_cast<sockaddr*>(&a), &size), 0);
  close(s);
  StoreSettings settings;
  settings.process = 3, settings.processes = 4, settings.port = ntohs(a.sin_port), settings.patience = milliseconds{120};
  const std::string what = caught([&] {
    KeyStore store(settings);
    return std::string();
  });
  EXPECT_EQ(what, "processes: process 3 of 4 did not reach 127.0.0.1:" + std::to_string(settings.port) +
                      " within 0.12 s: Connection refused\n"
                      "  hint: is process 0 running, and is that its machine? MASTER_ADDR and MASTER_PORT say where");
}

TEST(KeyStore, AnAbortReachesThoseWhoWaitAndThoseWhoAskLater) {
  const auto results = in_threads(3, [](KeyStore& s) {
    if (s.process() == 1) {
      s.gather("one waits, one works", "");
      s.abort("rank 5 ran out of memory");
      return std::string("aborted");
    }
    s.gather("one waits, one works", "");
    if (s.process() == 0) return s.get("never");
    std::promise<std::string> told;
    s.watch([&](const std::string& why) { told.set_value(why); });
    const std::string why = told.get_future().get();
    return caught([&] { return s.get("anything"); }) + " | " + why;
  });
  EXPECT_THAT(results, ElementsAre("process 0 of 3: rank 5 ran out of memory", "aborted",
                                   "process 2 of 3: rank 5 ran out of memory | rank 5 ran out of memory"));
}

TEST(KeyStore, AWatcherThatComesLateIsToldAtOnce) {
  const auto results = in_threads(2, [](KeyStore& s) {
    if (s.process() == 1) return s.abort("enough"), std::string();
    caught([&] { return s.get("never"); });
    std::string told;
    s.watch([&](const std::string& why) { told = why; });
    return told + s.failure();
  });
  EXPECT_EQ(results[0], "enoughenough");
}

TEST(KeyStore, AKeyThatNobodySetsEndsTheRunWithItsName) {
  const auto results =
      in_threads(2, [](KeyStore& s) { return s.get(s.process() == 0 ? "nccl id of dp" : "other", milliseconds{s.process() == 0 ? 100 : 19'000}); });
  EXPECT_THAT(results, ElementsAre("process 0 of 2: process 0 waited 0.1 s for 'nccl id of dp', which nobody has set",
                                   "process 1 of 2: process 0 waited 0.1 s for 'nccl id of dp', which nobody has set"));
}

TEST(KeyStore, WhoIsMissingFromAGatheringIsNamed) {
  const auto results = in_threads(3, [](KeyStore& s) {
    if (s.process() == 2) return s.get("never");
    s.gather("the losses", "", false, milliseconds{100});
    return std::string();
  });
  EXPECT_THAT(results, ElementsAre("process 0 of 3: process 2 of 3 did not come to 'the losses' within 0.1 s",
                                   "process 1 of 3: process 2 of 3 did not come to 'the losses' within 0.1 s",
                                   "process 2 of 3: process 2 of 3 did not come to 'the losses' within 0.1 s"));
}

TEST(KeyStore, AForkedProcessThatDiesEndsTheOthers) {
  const auto results = in_processes(4, [](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    KeyStore store(settings, meeting);
    store.gather("all", "");
    if (settings.process == 2) _exit(9);
    return store.get("never");
  });
  EXPECT_THAT(results, ElementsAre("process 0 of 4: process 2 of 4 has died", "process 1 of 4: process 2 of 4 has died", "",
                                   "process 3 of 4: process 2 of 4 has died"));
}

TEST(KeyStore, TheDeathOfTheFirstProcessEndsTheOthersToo) {
  const auto results = in_processes(3, [](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    KeyStore store(settings, meeting);
    store.gather("all", "");
    if (settings.process == 0) _exit(9);
    return store.get("never");
  });
  EXPECT_THAT(results, ElementsAre("", "process 1 of 3: process 0 of 3 has died", "process 2 of 3: process 0 of 3 has died"));
}

TEST(KeyStore, ForkedProcessesLeaveInAnyOrder) {
  const auto results = in_processes(4, [](const StoreSettings& settings, const std::function<void(int)>& meeting) {
    KeyStore store(settings, meeting);
    std::string out;
    for (const std::string& v : store.gather("all", std::to_string(settings.process * settings.process))) out += v + " ";
    return out;  // process 0 leaves as it pleases: it serves until all have
  });
  EXPECT_THAT(results, Each("0 1 4 9 "));
}

// Port scanners, browsers, another program's store: the run does not notice.
TEST(KeyStore, StrangersDoNotDisturb) {
  std::mt19937 random(7);
  std::vector<std::string> nonsense{"", "GET / HTTP/1.1\r\n\r\n", std::string(4, '\xff'), std::string(200, '\0')};
  for (int i = 0; i < 40; ++i) {
    std::string text(random() % 300, '\0');
    for (char& c : text) c = static_cast<char>(random());
    if (i % 2 && text.size() > 4) text[1] = text[2] = text[3] = '\0';  // a length that could be
    nonsense.push_back(text);
  }
  const auto results = in_threads(2, [&](KeyStore& s) {
    if (s.process() == 1)
      for (const std::string& text : nonsense) {
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in a{};
        a.sin_family = AF_INET, a.sin_port = htons(static_cast<std::uint16_t>(s.port())), a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return std::string("cannot connect");
        [[maybe_unused]] const auto sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        close(fd);
      }
    s.set(std::to_string(s.process()), "fine");
    return s.get(std::to_string(1 - s.process()));
  });
  EXPECT_THAT(results, Each("fine"));
}

TEST(KeyStore, TwoProcessesOfOneNumberAreToldApart) {
  const auto results = in_threads(2, [](KeyStore& s) {
    std::string what = "fine";
    if (s.process() == 1) {
      StoreSettings again;
      again.process = 1, again.processes = 2, again.port = s.port();
      what = caught([&] {
        KeyStore other(again);
        return std::string();
      });
      again.processes = 3, again.process = 2;
      what += " | " + caught([&] {
                KeyStore other(again);
                return std::string();
              });
    }
    s.gather("end", "");
    return what;
  });
  EXPECT_THAT(results, ElementsAre("fine",
                                   "process 1 of 2: two processes say that they are number 1 of 2 | "
                                   "process 2 of 3: process 2 says that there are 3 processes, process 0 that there are 2"));
}

TEST(KeyStore, ProcessesOfOneMachineHaveOneClock) {
  EXPECT_THAT(in_threads(2, [](KeyStore& s) { return std::to_string(s.clock().offset_ns) + " " + std::to_string(s.clock().uncertainty_ns); }),
              Each("0 0"));
}

// Here both have the same clock, whatever they think.
TEST(KeyStore, TheClocksOfDifferentMachinesAreComparedByQuestions) {
  const auto results = in_processes(3, [](StoreSettings settings, const std::function<void(int)>& meeting) {
    settings.machine = "machine " + std::to_string(settings.process);
    KeyStore store(settings, meeting);
    std::string what = "good";
    for (int i = 0; i < 3; ++i) {
      const ClockOffset c = store.clock();
      if (settings.process == 0 ? c.uncertainty_ns != 0 : c.uncertainty_ns <= 0) what = "no measurement";
      if (std::abs(c.offset_ns) > c.uncertainty_ns) what = fmt::format("{} ns, give or take {}", c.offset_ns, c.uncertainty_ns);
    }
    store.gather("the end", "");
    return what;
  });
  EXPECT_THAT(results, Each("good"));
}

TEST(KeyStore, APortThatIsTakenIsSaid) {
  const auto results = in_threads(1, [](KeyStore& s) {
    StoreSettings again;
    again.port = s.port();
    return caught([&] {
      KeyStore other(again);
      return std::string();
    });
  });
  EXPECT_THAT(results[0], AllOf(HasSubstr("processes: process 0 cannot listen at port "),
                                HasSubstr(": Address already in use\n  hint: another run meets there")));
}

TEST(Bytes, WhatIsWrittenIsRead) {
  ByteWriter w;
  w.put(std::int32_t{-3});
  w.text("abc");
  w.list(std::vector<double>{1.5, -2});
  const std::string bytes = w.take();
  ByteReader r(bytes);
  EXPECT_EQ(r.get<std::int32_t>(), -3);
  EXPECT_EQ(r.text(), "abc");
  EXPECT_EQ(r.list<double>(), (std::vector<double>{1.5, -2}));
  EXPECT_TRUE(r.empty());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    ByteReader cut(std::string_view(bytes).substr(0, n));
    EXPECT_THROW((cut.get<std::int32_t>(), cut.text(), cut.list<double>()), Error);
  }
}

}  // namespace
}  // namespace orrery::executor
