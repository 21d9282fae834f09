#include <doctest/doctest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../../autograd/tape.h"
#include "../../core/kernels/gemm.h"
#include "../../core/pool.h"
#include "../../core/threads.h"
#include "../support/threads.h"

TEST_SUITE_BEGIN("threads");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// The exit status of a child that forks off and calls `child`; a child that hangs is killed.
template <class Child>
int status_of_child(const Child& child) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(30);
    _exit(child() ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("threads: as many as set; 0 is what the process may use") {
  const Threads three(3);
  CHECK(threads() == 3);
  set_threads(0);
  cpu_set_t set;
  REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0);
  CHECK(threads() == static_cast<std::size_t>(CPU_COUNT(&set)));
  CHECK(status_of_child([] {
          cpu_set_t one;
          CPU_ZERO(&one);
          CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
          sched_setaffinity(0, sizeof one, &one);
          set_threads(0);
          return threads() == 1;
        }) == 0);
}

TEST_CASE("threads: every task runs once, whatever the numbers") {
  for (const std::size_t count : {1U, 2U, 3U, 8U}) {
    const Threads number(count);
    for (const std::size_t tasks : {0U, 1U, 2U, 3U, 7U, 100U, 1000U}) {
      std::vector<std::atomic<int>> runs(tasks);
      parallel_tasks(tasks, [&](std::size_t i) { ++runs[i]; });
      CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& n) { return n == 1; }));
    }
  }
}

TEST_CASE("threads: results are seen by the caller, and by the next call's tasks") {
  const Threads two(2);
  std::vector<int> values(64, 0);  // plain ints: the thread sanitizer would notice a race
  for (int round = 0; round < 500; ++round) {
    parallel_tasks(values.size(), [&](std::size_t i) { values[i] += static_cast<int>(i); });
  }
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(values[i] == 500 * static_cast<int>(i));
}

TEST_CASE("threads: several threads take part, the caller among them, at most as many as set") {
  const Threads two(2);
  // Both tasks wait for each other, so one thread alone would not get through: the second is given
  // a minute.
  std::atomic<int> arrived{0};
  std::vector<std::thread::id> ids(2);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  parallel_tasks(2, [&](std::size_t i) {
    ids[i] = std::this_thread::get_id();
    ++arrived;
    while (arrived < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  CHECK(arrived == 2);
  CHECK(ids[0] != ids[1]);
  CHECK(std::count(ids.begin(), ids.end(), std::this_thread::get_id()) == 1);

  set_threads(4);  // more workers than the next call may use
  parallel_tasks(100, [](std::size_t) {});
  set_threads(2);
  std::atomic<int> active{0}, most{0};
  parallel_tasks(200, [&](std::size_t) {
    const int now = ++active;
    int seen = most;
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    --active;
  });
  CHECK(most <= 2);
}

TEST_CASE("threads: one thread runs tasks in order in the caller") {
  const Threads one(1);
  std::vector<std::size_t> order;
  parallel_tasks(5, [&](std::size_t i) { order.push_back(i); });
  CHECK(order == std::vector<std::size_t>{0, 1, 2, 3, 4});
}

TEST_CASE("threads: a call from inside a task runs in that task's thread") {
  const Threads two(2);
  std::vector<int> sums(20, 0);
  parallel_tasks(sums.size(), [&](std::size_t i) {
    const auto self = std::this_thread::get_id();
    parallel_tasks(10, [&](std::size_t j) {
      if (std::this_thread::get_id() != self) throw std::logic_error("another thread");
      parallel_tasks(2, [&](std::size_t k) { sums[i] += static_cast<int>(j + k); });
    });
  });
  CHECK(std::all_of(sums.begin(), sums.end(), [](int s) { return s == 100; }));
  parallel_tasks(1, [&](std::size_t) {  // also while the workers have nothing to do
    const auto self = std::this_thread::get_id();
    std::atomic<int> elsewhere{0};
    parallel_tasks(50, [&](std::size_t) {
      if (std::this_thread::get_id() != self) ++elsewhere;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    });
    CHECK(elsewhere == 0);
  });
}

TEST_CASE("threads: the exception of the first task that threw, after all have run") {
  for (const std::size_t count : {1U, 2U, 4U}) {
    const Threads number(count);
    for (int round = 0; round < 50; ++round) {
      std::atomic<int> runs{0};
      CHECK_THROWS_WITH_AS(parallel_tasks(20,
                                          [&](std::size_t i) {
                                            ++runs;
                                            if (i >= 5) throw std::runtime_error(std::to_string(i));
                                          }),
                           "5", std::runtime_error);
      CHECK(runs == 20);
    }
    int after = 0;
    parallel_tasks(1, [&](std::size_t) { ++after; });  // the pool is as before
    CHECK(after == 1);
  }
}

TEST_CASE("threads: an exception of a nested call passes through its task") {
  const Threads two(2);
  const auto outer = [](std::size_t) {
    parallel_tasks(2, [](std::size_t) { throw std::runtime_error("inner"); });
  };
  CHECK_THROWS_WITH_AS(parallel_tasks(4, outer), "inner", std::runtime_error);
}

TEST_CASE("threads: callers on several threads at once") {
  const Threads two(2);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 300; ++round) {
        std::vector<int> values(17, 0);
        parallel_tasks(values.size(), [&](std::size_t i) { values[i] = static_cast<int>(i) + 1; });
        for (std::size_t i = 0; i < values.size(); ++i) {
          if (values[i] != static_cast<int>(i) + 1) ++wrong;
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("threads: the number may change while others work") {
  const Threads two(2);
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    for (std::size_t n = 0; !stop; ++n) set_threads(1 + n % 4);
  });
  int sum = 0;
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> runs{0};
    parallel_tasks(30, [&](std::size_t) { ++runs; });
    sum += runs;
  }
  stop = true;
  changer.join();
  CHECK(sum == 300 * 30);
}

TEST_CASE("threads: members of a team run at the same time, and wait for each other") {
  for (const std::size_t count : {1U, 2U, 3U}) {
    const Threads number(count);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::vector<std::size_t> steps;  // plain: the thread sanitizer would notice a race
      std::vector<std::thread::id> ids;
      std::mutex mutex;
      std::atomic<int> wrong{0};
      parallel_team(8, [&](Team& team, std::size_t i) {
        {
          const std::lock_guard lock(mutex);
          steps.resize(team.size());
          ids.push_back(std::this_thread::get_id());
        }
        team.wait();
        for (std::size_t step = 1; step <= 200; ++step) {
          steps[i] = step;
          team.wait();
          for (const std::size_t other : steps) wrong += other != step;
          team.wait();
        }
      });
      CHECK(steps == std::vector<std::size_t>(count, 200));
      CHECK(std::set(ids.begin(), ids.end()).size() == count);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("threads: a team inside a task, or of one, is its caller alone") {
  const Threads three(3);
  std::atomic<int> wrong{0};
  const auto alone = [&](std::size_t most) {
    const auto self = std::this_thread::get_id();
    parallel_team(most, [&](Team& team, std::size_t i) {
      wrong += team.size() != 1 || i != 0 || std::this_thread::get_id() != self;
      team.wait();
    });
  };
  alone(1);
  parallel_tasks(6, [&](std::size_t) { alone(3); });
  parallel_team(3, [&](Team&, std::size_t) { alone(3); });
  CHECK(wrong == 0);
}

#ifdef __SANITIZE_THREAD__  // it knows no threads of a child whose parent had several
constexpr bool knows_children = false;
#else
constexpr bool knows_children = true;
#endif

TEST_CASE("threads: a child of fork() has its own threads, whatever others did at the time" *
          doctest::skip(!knows_children)) {
  const Threads two(2);
  parallel_tasks(100, [](std::size_t) {});
  std::atomic<bool> stop{false};
  std::vector<std::thread> others;  // take the locks of the library, again and again
  others.emplace_back([&] {
    while (!stop) pool::release(pool::allocate(1 << 20), 1 << 20);
  });
  others.emplace_back([&] {
    while (!stop) parallel_tasks(4, [](std::size_t) { std::this_thread::yield(); });
  });
  others.emplace_back([&] {
    while (!stop) Tape tape = Tape::inference();
  });
  for (int repeat = 0; repeat < 20; ++repeat) {
    CHECK(status_of_child([] {
            set_threads(3);
            std::atomic<std::size_t> members{0};
            parallel_team(3, [&](Team& team, std::size_t) {
              ++members;
              team.wait();
            });
            const Tensor ones = Tensor::full({300, 300}, 1);
            const Tensor sums = kernels::matmul(ones, ones);
            return members == 3 && sums.values<float>()[89999] == 300;
          }) == 0);
  }
  stop = true;
  for (std::thread& other : others) other.join();
}

TEST_SUITE_END();
