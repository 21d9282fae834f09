#pragma once

#include "cxx20.h"

#include <atomic>
#include <cstddef>
#include <type_traits>

namespace tapegrad {

/// Sets (returns) how many threads kernels may use, process-wide; until set, and with 0, as many as
/// there are cores that the process may run on (sched_getaffinity; a limit of processor time, as
/// containers have, is not one of cores). Work that is done before a thread would wake up stays in
/// the caller's.
///
/// Results never depend on it: no sum is taken apart otherwise than by the sizes.
///
/// After fork() the child has its own threads, as many as are set. (Only a child of a call from
/// inside a task works alone.)
void set_threads(std::size_t count);
std::size_t threads();

namespace detail {
/// Cores that the process may run on.
std::size_t cores();
void run_tasks(std::size_t count, void (*call)(void*, std::size_t), void* task);
}  // namespace detail

/// Calls task(0), ..., task(count - 1), each once, on up to `threads()` threads, and returns when
/// all are done. The first exception is rethrown after that. A call from inside a task runs in that
/// task's thread. All threads run tasks in the caller's floating-point environment (rounding,
/// exception masks, treatment of subnormal numbers) and hand it the exception flags they raise.
template <class Task>
void parallel_tasks(std::size_t count, Task&& task) {
  using Plain = std::remove_reference_t<Task>;
  detail::run_tasks(
      count, [](void* t, std::size_t i) { (*static_cast<Plain*>(t))(i); },
      const_cast<std::remove_const_t<Plain>*>(&task));
}

/// Threads that work on one job at the same time, and may wait for each other. The team lies on the
/// stack of the thread that called parallel_team().
class Team {
 public:
  explicit Team(std::size_t size) : size_(size) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  std::size_t size() const { return size_; }
  /// Returns when all members have called it as often as this one. Spins for a moment, for members
  /// that have nearly as much to do, then yields, for those that have no core at the time.
  void wait() noexcept;

 private:
  const std::size_t size_;
  std::atomic<std::size_t> arrived_{0}, round_{0};
};

namespace detail {
void run_team(std::size_t most, void (*call)(void*, Team&, std::size_t), void* member);
}

/// Calls member(team, 0), ..., member(team, team.size() - 1) at the same time, the first one in the
/// caller's thread; team.size() is at most `most` and threads(), and 1 from inside a task or while
/// another thread has a team. `member` must not throw: the others would wait for ever.
template <class Member>
void parallel_team(std::size_t most, Member&& member) {
  using Plain = std::remove_reference_t<Member>;
  detail::run_team(
      most, [](void* m, Team& team, std::size_t i) { (*static_cast<Plain*>(m))(team, i); },
      const_cast<std::remove_const_t<Plain>*>(&member));
}

}  // namespace tapegrad
