#pragma once

#include "cxx20.h"

#include <cstddef>
#include <type_traits>

namespace tapegrad {

/// How many threads kernels may use; 1 until set. Process-wide. 0 means as many as the machine has
/// cores.
///
/// Results never depend on it: work is split into the same blocks whatever the number, only who
/// does them differs.
void set_threads(std::size_t count);
std::size_t threads();

namespace detail {
void run_tasks(std::size_t count, void (*call)(void*, std::size_t), void* task);
}

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

}  // namespace tapegrad
