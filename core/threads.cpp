#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

namespace tapegrad {
namespace {

/// True in a thread that is working on a task: what that task wants to parallelise runs in place.
thread_local bool inside_task = false;

/// One call of run_tasks() or run_team(). Lies on the caller's stack, so a call allocates nothing.
class Job {
 public:
  Job(std::size_t count, void (*call)(void*, std::size_t), void* task)
      : count_(count), call_(call), task_(task) {}
  /// A job whose tasks are the members of a team, which begins with this.
  Job(std::optional<Team>& team, void (*call)(void*, std::size_t), void* task)
      : count_(1), call_(call), task_(task), team_(&team) {
    team.emplace(1);
  }

  /// Prepares the job for help(): notes the caller's floating-point environment, and how many tasks
  /// there are for so many hands.
  void invite(std::size_t hands) noexcept {
    std::fegetenv(&environment_);
    if (team_ != nullptr) count_ = team_->emplace(hands).size();
  }

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

  std::size_t count_;
  void (*const call_)(void*, std::size_t);
  void* const task_;
  std::optional<Team>* const team_ = nullptr;
  std::atomic<std::size_t> next_{0};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::size_t error_index_ = 0;
  std::fenv_t environment_{};   // the caller's
  std::atomic<int> raised_{0};  // floating-point exceptions in helping threads
};

/// Lets the other half of a core, or another thread, have the time of one that waits.
void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits until ready(): spins for some microseconds, which is what a thread needs that has nearly as
/// much to do, then lets other threads run. Gives up after about `yields` of that, if there are any.
template <class Ready>
bool wait_awake(std::size_t yields, const Ready& ready) noexcept {
  constexpr int spins = 100;
  for (int i = 0; i < spins; ++i) {
    if (ready()) return true;
    relax();
  }
  for (std::size_t i = 0; yields == 0 || i < yields; ++i) {
    if (ready()) return true;
    std::this_thread::yield();
  }
  return ready();
}

/// Threads that wait for jobs that want helpers: awake at first, since the next job of a training
/// step comes soon, then asleep. One job at a time.
class ThreadPool {
 public:
  /// Runs the job with `helpers` other threads at most; a team is as large as there will be. False if
  /// another caller's job is running: then no worker is free.
  bool try_run(Job& job, std::size_t helpers) {
    const std::unique_lock in_use(in_use_, std::try_to_lock);
    if (!in_use.owns_lock()) return false;
    {
      const std::lock_guard lock(mutex_);
      start_workers(helpers);
      helpers = std::min(helpers, workers_);
      job.invite(helpers + 1);
      job_ = &job;
      wanted_ = helpers;
      for (std::size_t i = 0; i < std::min(helpers, asleep_); ++i) wake_.notify_one();
    }
    job.work();
    std::unique_lock lock(mutex_);
    wanted_ = 0;  // all tasks are taken: a worker that would come only now is not waited for
    const auto done = [this] { return active_ == 0; };
    lock.unlock();
    wait_awake(awake, done);
    lock.lock();
    done_.wait(lock, done);
    return true;
  }

  // In fork(): the child is to find mutex_ free, and a pool without a job.
  void before_fork() noexcept { mutex_.lock(); }
  void after_fork() noexcept { mutex_.unlock(); }
  void abandon_job() noexcept { wanted_ = active_ = 0; }

 private:
  static constexpr std::size_t awake = 100;  // yields, some ten microseconds

  void start_workers(std::size_t wanted) noexcept {
    try {
      for (; workers_ < wanted; ++workers_) std::thread([this] { serve(); }).detach();
    } catch (const std::exception&) {
      // The system gives no more threads: the work gets done by those there are.
    }
  }

  void serve() {
    const auto wanted = [this] { return wanted_ > 0; };
    std::unique_lock lock(mutex_);
    while (true) {
      if (!wanted()) {
        lock.unlock();
        wait_awake(awake, wanted);
        lock.lock();
      }
      ++asleep_;
      wake_.wait(lock, wanted);
      --asleep_;
      Job& job = *job_;
      ++active_;
      --wanted_;
      lock.unlock();
      job.help();
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex in_use_;  // held by the caller whose job runs
  std::mutex mutex_;   // guards writing of everything below
  std::condition_variable wake_;
  std::condition_variable done_;
  Job* job_ = nullptr;
  std::atomic<std::size_t> wanted_ = 0;  // workers that may still join the job
  std::atomic<std::size_t> active_ = 0;  // workers that have joined and not finished
  std::size_t asleep_ = 0;               // workers that only wake_ wakes up
  std::size_t workers_ = 0;              // threads started; never fewer again
};

std::atomic<ThreadPool*> current_pool{nullptr};

/// Makes the first pool, and lets fork() give a child a new one: the threads of its parent's are not
/// there. What the old one is made of stays, for a job that the child may be in the middle of.
ThreadPool* first_pool() {
  // Never destroyed: its threads sleep in it until the end. Not on the heap: who calls this has
  // begun to write results, so it must not throw.
  alignas(ThreadPool) static std::byte storage[sizeof(ThreadPool)];
  current_pool = new (storage) ThreadPool;
  pthread_atfork([] { current_pool.load()->before_fork(); },
                 [] { current_pool.load()->after_fork(); },
                 [] {
                   ThreadPool* const old = current_pool;
                   old->abandon_job();
                   old->after_fork();
                   if (auto* const fresh = new (std::nothrow) ThreadPool) current_pool = fresh;
                 });
  return current_pool;
}

ThreadPool& thread_pool() {
  static ThreadPool* const first = first_pool();
  (void)first;
  return *current_pool;
}

std::atomic<std::size_t>& thread_count() {
  static std::atomic<std::size_t> count{detail::cores()};
  return count;
}

}  // namespace

std::size_t detail::cores() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
#endif
  return std::max(1U, std::thread::hardware_concurrency());
}

void set_threads(std::size_t count) { thread_count() = count == 0 ? detail::cores() : count; }
std::size_t threads() { return thread_count().load(std::memory_order_relaxed); }

namespace {

void run(Job& job, std::size_t hands) {
  if (hands <= 1 || inside_task || !thread_pool().try_run(job, hands - 1)) job.work();
  job.finish();
}

}  // namespace

void detail::run_tasks(std::size_t count, void (*call)(void*, std::size_t), void* task) {
  Job job(count, call, task);
  run(job, std::min(threads(), count));
}

void Team::wait() noexcept {
  const std::size_t round = round_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
  } else {
    wait_awake(0, [&] { return round_.load(std::memory_order_acquire) != round; });
  }
}

void detail::run_team(std::size_t most, void (*call)(void*, Team&, std::size_t), void* member) {
  struct Members {
    void (*call)(void*, Team&, std::size_t);
    void* member;
    std::optional<Team> team;
  } members{call, member, {}};
  const auto run_member = [](void* m, std::size_t i) {
    auto& all = *static_cast<Members*>(m);
    all.call(all.member, *all.team, i);
  };
  Job job(members.team, run_member, &members);
  run(job, std::min(threads(), most));
}

}  // namespace tapegrad
