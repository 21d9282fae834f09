#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <fstream>
#include <mutex>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "../../core/pool.h"
#include "../../core/tensor.h"
#include "../support/extended.h"

TEST_SUITE_BEGIN("threads");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr bool reuses = !sanitized;

/// Hands blocks from one thread to another.
class Channel {
 public:
  void send(void* block) {
    const std::lock_guard lock(mutex_);
    blocks_.push_back(block);
    changed_.notify_all();
  }
  void* receive() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !blocks_.empty(); });
    void* block = blocks_.front();
    blocks_.pop_front();
    return block;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<void*> blocks_;
};

}  // namespace

TEST_CASE("pool: blocks of all sizes are aligned, distinct and as large as asked for") {
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  for (std::size_t bytes = 0; bytes < 3000; bytes += bytes < 300 ? 1 : 61) {
    auto* block = static_cast<unsigned char*>(pool::allocate(bytes));
    REQUIRE(reinterpret_cast<std::uintptr_t>(block) % pool::alignment == 0);
    std::memset(block, static_cast<int>(bytes % 251), bytes);
    blocks.emplace_back(block, bytes);
  }
  for (const auto& [block, bytes] : blocks) {
    const auto wanted = static_cast<unsigned char>(bytes % 251);
    CHECK(std::all_of(block, block + bytes, [&](unsigned char b) { return b == wanted; }));
    pool::release(block, bytes);
  }
}

TEST_CASE("pool: sizes around every power of two come back to the list they are taken from") {
  for (std::size_t power = 6; power < 22; ++power) {
    for (const std::size_t quarters : {4U, 5U, 6U, 7U}) {
      for (const std::size_t bytes :
           {(std::size_t{1} << power) / 4 * quarters - 1, (std::size_t{1} << power) / 4 * quarters,
            (std::size_t{1} << power) / 4 * quarters + 1}) {
        void* first = pool::allocate(bytes);
        std::memset(first, 1, bytes);
        pool::release(first, bytes);
        void* second = pool::allocate(bytes);
        if (reuses) CHECK(first == second);
        std::memset(second, 2, bytes);
        pool::release(second, bytes);
      }
    }
  }
}

TEST_CASE("pool: a step that asks for the same sizes again gets the same blocks") {
  if (!reuses) return;
  const auto step = [] {
    std::set<const void*> blocks;
    std::vector<Tensor> alive;
    for (std::size_t n = 1; n < 2000; n = n * 3 / 2 + 1) {
      alive.push_back(Tensor::empty({n}));
      alive.push_back(alive.back().slice(0, 1));
    }
    for (const Tensor& t : alive) blocks.insert(t.data<float>());
    return blocks;
  };
  const auto first = step();
  CHECK(step() == first);
  CHECK(step() == first);
}

TEST_CASE("pool: what one thread allocates and another one releases comes back") {
  if (!reuses) return;
  constexpr std::size_t bytes = 12345, at_once = 100, rounds = 300;
  Channel there, back;
  std::thread releaser([&] {
    while (void* block = there.receive()) {
      pool::release(block, bytes);
      back.send(block);
    }
  });
  std::set<void*> seen;
  for (std::size_t round = 0; round < rounds; ++round) {
    std::vector<void*> blocks;
    for (std::size_t i = 0; i < at_once; ++i) blocks.push_back(pool::allocate(bytes));
    for (void* block : blocks) {
      seen.insert(block);
      there.send(block);
    }
    for (std::size_t i = 0; i < at_once; ++i) back.receive();
  }
  there.send(nullptr);
  releaser.join();
  // What is in use, and a bounded list in the other thread.
  CHECK(seen.size() <= at_once + 64);
}

TEST_CASE("pool: a thread that ends leaves its blocks to the others") {
  if (!reuses) return;
  constexpr std::size_t bytes = 77777;
  std::set<void*> seen;
  for (int round = 0; round < 50; ++round) {
    std::thread([&] {
      std::vector<void*> blocks;
      for (int i = 0; i < 10; ++i) blocks.push_back(pool::allocate(bytes));
      seen.insert(blocks.begin(), blocks.end());
      for (void* block : blocks) pool::release(block, bytes);
    }).join();
  }
  CHECK(seen.size() == 10);
}

TEST_CASE("pool: poisoned blocks are NaN in float and double, and only while it is on") {
  pool::poison(true);
  const Tensor single = Tensor::empty({1000});
  const Tensor twice = Tensor::empty({1000}, DType::float64);
  const Tensor zeros = Tensor::zeros({1000});
  pool::poison(false);
  for (std::size_t i = 0; i < 1000; ++i) {
    REQUIRE(std::isnan(single.at(i)));
    REQUIRE(std::isnan(twice.at(i)));
    REQUIRE(zeros.at(i) == 0);
  }
  if (!reuses) return;
  void* block = pool::allocate(4000);
  std::memset(block, 0, 4000);
  pool::release(block, 4000);
  auto* again = static_cast<unsigned char*>(pool::allocate(4000));
  CHECK(again[3999] == 0);
  pool::release(again, 4000);
}

TEST_CASE("pool: trim gives free blocks back and leaves those in use alone") {
  Tensor alive = Tensor::full({1000}, 3);
  { const Tensor dropped = Tensor::full({1000}, 4); }
  pool::trim();
  CHECK(alive.at(999) == 3);
  alive = Tensor();
  pool::trim();
  CHECK(Tensor::full({1000}, 5).at(999) == 5);
}

TEST_CASE("pool: what lies idle is bounded, whatever sizes went by") {
  if (!reuses) return;
  constexpr std::size_t mega = std::size_t{1} << 20;
  pool::trim();
  const std::size_t others = pool::usage().in_use;
  CHECK(pool::usage().idle == 0);
  std::size_t most = 0;
  for (std::size_t size = mega; size <= 40 * mega; size += size / 4) {  // sequences that grow
    most = std::max(most, size);
    pool::release(pool::allocate(size), size);
    const std::size_t bound = std::max(64 * mega, 2 * (others + most + most / 4));
    REQUIRE(pool::usage().idle <= bound);
  }
  CHECK(pool::usage().in_use == others);
  pool::trim();
  CHECK(pool::usage().idle == 0);
}

TEST_CASE(
    "pool: a step of many sizes is met from what lies idle, also if most of it is temporary") {
  if (!reuses) return;
  constexpr std::size_t mega = std::size_t{1} << 20;
  pool::trim();
  // Forward and backward take different sizes: all of them together are twice what is in use.
  const auto step = [] {
    std::set<void*> blocks;
    for (const std::size_t size : {40 * mega, 50 * mega}) {
      std::vector<void*> alive;
      for (int i = 0; i < 4; ++i) alive.push_back(pool::allocate(size));
      blocks.insert(alive.begin(), alive.end());
      for (void* block : alive) pool::release(block, size);
    }
    return blocks;
  };
  const auto first = step();
  CHECK(step() == first);
  CHECK(step() == first);
  pool::trim();
}

TEST_CASE("pool: idle memory goes back before memory is said to be short") {
  if (!reuses) return;
  // In a child, whose address space is limited to 1 GiB more than it has now.
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    constexpr std::size_t mega = std::size_t{1} << 20;
    int result = 1;
    try {
      pool::trim();
      std::size_t pages = 0;
      std::ifstream("/proc/self/statm") >> pages;
      const rlim_t limit = pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) + 1024 * mega;
      const rlimit limits{limit, limit};
      setrlimit(RLIMIT_AS, &limits);
      std::thread([] {  // idle in the name of another thread
        std::vector<void*> blocks;
        for (int i = 0; i < 60; ++i) blocks.push_back(pool::allocate(10 * mega));
        for (void* block : blocks) pool::release(block, 10 * mega);
      })
          .join();
      const bool idle = pool::usage().idle >= 600 * mega;
      pool::release(pool::allocate(800 * mega), 800 * mega);
      bool refused = false;
      try {
        pool::allocate(2048 * mega);
      } catch (const std::bad_alloc&) {
        refused = true;
      }
      result = idle && refused ? 0 : 2;
    } catch (...) {
    }
    _exit(result);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_SUITE_END();
