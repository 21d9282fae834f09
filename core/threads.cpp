#include "threads.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace tapegrad {
namespace {

std::atomic<std::size_t> thread_count{1};

/// True in a thread that is working on a task: what that task wants to parallelise runs in place.
thread_local bool inside_task = false;

/// One call of run_tasks(). Lies on the caller's stack, so a call allocates nothing.
class Job {
 public:
  Job(std::size_t count, void (*call)(void*, std::size_t), void* task)
      : count_(count), call_(call), task_(task) {}

  /// Prepares the job for help(): notes the caller's floating-point environment.
  void invite() noexcept { std::fegetenv(&environment_); }

  /// Takes tasks until there are none left.
  void work() noexcept {
    const bool outer = std::exchange(inside_task, true);
    for (std::size_t i = take(); i < count_; i = take()) {
      try {
        call_(task_, i);
      } catch (...) {
        keep_first_error(i);
      }
    }
    inside_task = outer;
  }

  /// Works in another thread as if in the caller's: in its floating-point environment (rounding,
  /// exception masks, treatment of subnormal numbers), and what exceptions the tasks raise is kept
  /// for the caller. Results would depend on who does a task otherwise.
  void help() noexcept {
    std::fenv_t own;
    std::fegetenv(&own);
    std::fesetenv(&environment_);
    std::feclearexcept(FE_ALL_EXCEPT);
    work();
    raised_.fetch_or(std::fetestexcept(FE_ALL_EXCEPT), std::memory_order_relaxed);
    std::fesetenv(&own);
  }

  /// Ends the job in the caller's thread, when all tasks are done.
  void finish() const {
    if (const int raised = raised_.load(std::memory_order_relaxed)) std::feraiseexcept(raised);
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::size_t take() noexcept { return next_.fetch_add(1, std::memory_order_relaxed); }

  /// First by index, not by time: which error is reported does not depend on threads().
  void keep_first_error(std::size_t index) noexcept {
    const std::lock_guard lock(error_mutex_);
    if (!error_ || index < error_index_) {
      error_ = std::current_exception();
      error_index_ = index;
    }
  }

  const std::size_t count_;
  void (*const call_)(void*, std::size_t);
  void* const task_;
  std::atomic<std::size_t> next_{0};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::size_t error_index_ = 0;
  std::fenv_t environment_{};   // the caller's
  std::atomic<int> raised_{0};  // floating-point exceptions in helping threads
};

/// Threads that sleep until a job wants helpers. One job at a time.
class ThreadPool {
 public:
  /// False if another caller's job is running: then the pool has no hands free.
  bool try_run(Job& job, std::size_t helpers) {
    const std::unique_lock in_use(in_use_, std::try_to_lock);
    if (!in_use.owns_lock()) return false;
    job.invite();
    {
      const std::lock_guard lock(mutex_);
      start_workers(helpers);
      job_ = &job;
      wanted_ = std::min(helpers, workers_);
      for (std::size_t i = 0; i < wanted_; ++i) wake_.notify_one();
    }
    job.work();
    std::unique_lock lock(mutex_);
    wanted_ = 0;  // a worker that wakes up only now is not waited for
    done_.wait(lock, [&] { return active_ == 0; });
    return true;
  }

 private:
  void start_workers(std::size_t wanted) noexcept {
    try {
      for (; workers_ < wanted; ++workers_) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {
      // The system gives no more threads: the work gets done by those there are.
    }
  }

  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return wanted_ > 0; });
      --wanted_;
      ++active_;
      Job& job = *job_;
      lock.unlock();
      job.help();
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex in_use_;  // held by the caller whose job runs
  std::mutex mutex_;   // guards everything below
  std::condition_variable wake_;
  std::condition_variable done_;
  Job* job_ = nullptr;
  std::size_t wanted_ = 0;   // workers that may still join the job
  std::size_t active_ = 0;   // workers that have joined and not finished
  std::size_t workers_ = 0;  // threads started; never fewer again
};

ThreadPool& thread_pool() {
  // Never destroyed: its threads sleep in it until the end. Not on the heap: who calls this has
  // begun to write results, so it must not throw.
  alignas(ThreadPool) static std::byte storage[sizeof(ThreadPool)];
  static auto* const pool = new (storage) ThreadPool;
  return *pool;
}

}  // namespace

void set_threads(std::size_t count) {
  if (count == 0) count = std::max(1U, std::thread::hardware_concurrency());
  thread_count.store(count, std::memory_order_relaxed);
}

std::size_t threads() { return thread_count.load(std::memory_order_relaxed); }

void detail::run_tasks(std::size_t count, void (*call)(void*, std::size_t), void* task) {
  Job job(count, call, task);
  const std::size_t hands = std::min(threads(), count);
  if (hands <= 1 || inside_task || !thread_pool().try_run(job, hands - 1)) job.work();
  job.finish();
}

}  // namespace tapegrad
