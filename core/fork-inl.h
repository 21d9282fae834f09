#pragma once

#include <pthread.h>

#include <mutex>

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Has fork() hold a mutex of the process's life, so that no child finds one locked by a thread that it
/// does not have. `mutex` returns the mutex. True, for who wants to initialise a static by the call.
template <std::mutex& (*mutex)()>
[[gnu::visibility("hidden")]] bool hold_in_fork() {
  pthread_atfork([] { mutex().lock(); }, [] { mutex().unlock(); }, [] { mutex().unlock(); });
  return true;
}

}  // namespace tapegrad

#pragma GCC visibility pop
