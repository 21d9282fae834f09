#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <span>
#include <vector>

#include <tapegrad/tapegrad.h>

#include "../support/char_lm.h"

// Does a training step ask the system for anything, in whatever library? This program has malloc
// and its relatives in the place of the C library's, so that OpenBLAS counts too, trains the model
// of README.md, and counts calls and page faults of every step after the first ones. Steps of a
// Stream may take no lock either, and a process that may make no system call must survive them.
// usage: heap_probe      A line for each check; the last line is "N passed, N failed".

extern "C" {
// The C library's own, under the names that it keeps for this purpose.
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

std::atomic<std::size_t> calls{0};
std::atomic<std::size_t> locks{0};
std::atomic<bool> refusing{false};  // as if there were no memory left

template <class F>
void* counted(F&& take) {
  ++calls;
  return refusing ? nullptr : take();
}

}  // namespace

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {
void* malloc(std::size_t n) {
  return counted([&] { return __libc_malloc(n); });
}
void* calloc(std::size_t n, std::size_t size) {
  return counted([&] { return __libc_calloc(n, size); });
}
void* realloc(void* p, std::size_t n) {
  return counted([&] { return __libc_realloc(p, n); });
}
void* memalign(std::size_t alignment, std::size_t n) {
  return counted([&] { return __libc_memalign(alignment, n); });
}
void* aligned_alloc(std::size_t alignment, std::size_t n) { return memalign(alignment, n); }
void* valloc(std::size_t n) { return memalign(4096, n); }
int posix_memalign(void** p, std::size_t alignment, std::size_t n) {
  *p = memalign(alignment, n);
  return *p != nullptr ? 0 : ENOMEM;
}
void free(void* p) {
  if (p != nullptr) ++calls;
  __libc_free(p);
}
void* mmap(void* at, std::size_t n, int protection, int flags, int file, off_t offset) noexcept {
  ++calls;
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, n, protection, flags, file, offset));
}
int munmap(void* at, std::size_t n) noexcept {
  ++calls;
  return static_cast<int>(syscall(SYS_munmap, at, n));
}
int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static const auto lock =
      reinterpret_cast<int (*)(pthread_mutex_t*)>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  ++locks;
  return lock(mutex);
}
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

namespace {

using namespace tapegrad;
using namespace tapegrad::testing;

int passed = 0, failed = 0;

void check(bool good, const char* what, std::size_t threads, std::size_t found) {
  ++(good ? passed : failed);
  std::printf("%s: %s, %zu threads: %zu\n", good ? "passed" : "FAILED", what, threads, found);
}

std::size_t page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_minflt + usage.ru_majflt);
}

/// Trains and returns the last loss; calls `after_step` after each step.
template <class F>
double train(const Tensor& ids, std::size_t steps, F&& after_step) {
  constexpr std::size_t vocabulary = 60;
  Rng rng(1);
  CharLM model{{vocabulary, 64, rng},
               {{.input = 64, .hidden = 128, .layers = 2, .dropout = 0.2}, rng},
               {128, vocabulary, rng}};
  Adam adam(parameters(model), {.lr = 2e-3});
  LSTMState state = model.lstm.zero_state(32);
  double last = 0;
  std::uint64_t step = 0;
  while (step < steps) {
    for (const auto& [x, y, first] : StreamWindows(ids, 32, 32)) {
      Tape tape = Tape::training({.seed = 1, .pass = step++});
      auto [h, next] = model.lstm(tape, model.embed(tape, x), state);
      Var loss = cross_entropy(model.head(tape, h), y);
      adam.zero_grad();
      tape.backward(loss);
      clip_grad_norm(adam.parameters(), 5.0);
      adam.step();
      state = next.detach();
      last = loss.item();
      after_step();
      if (step == steps) break;
    }
  }
  return last;
}

Tensor text() {
  Tensor ids = Tensor::empty({32 * 32 * 10 + 1}, DType::int32);
  std::int32_t i = 0;
  for (std::int32_t& id : ids.mutable_values<std::int32_t>()) id = (i += 7) % 60;
  return ids;
}

void measure(std::size_t threads) {
  constexpr std::size_t warm_up = 20, measured = 100;
  set_threads(threads);
  struct Step {
    std::size_t calls, faults;
  };
  std::vector<Step> steps;
  steps.reserve(warm_up + measured);
  const Tensor ids = text();
  train(ids, warm_up + measured, [&] { steps.push_back({calls, page_faults()}); });
  std::size_t most = 0;
  std::vector<std::size_t> faults;
  for (std::size_t i = warm_up; i < steps.size(); ++i) {
    most = std::max(most, steps[i].calls - steps[i - 1].calls);
    faults.push_back(steps[i].faults - steps[i - 1].faults);
  }
  check(most == 0, "calls of malloc, free, mmap and their like in a training step, at most",
        threads, most);
  std::nth_element(faults.begin(), faults.begin() + measured / 2, faults.end());
  check(faults[measured / 2] == 0, "page faults in a training step, median", threads,
        faults[measured / 2]);
}

/// The signal that ends a process which calls act() and may not call the system meanwhile; 0: none.
template <class F>
std::size_t signal_without_system(F&& act) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    act();
    syscall(SYS_exit, 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return static_cast<std::size_t>(WTERMSIG(status));
}

/// Counters that stand still would pass everything. (Where pages are huge, 64 MiB have 32 of them.)
void check_counters() {
  constexpr std::size_t bytes = std::size_t{1} << 26;
  const std::size_t faults_before = page_faults(), calls_before = calls;
  void* const block = std::malloc(bytes);
  std::memset(block, 1, bytes);
  const bool touched = static_cast<volatile char*>(block)[bytes - 1] == 1;
  std::free(block);
  const std::size_t found_calls = calls - calls_before, faults = page_faults() - faults_before;
  check(touched && faults >= 16, "page faults of a block that is touched", 1, faults);
  check(found_calls == 2, "calls of malloc and free for it", 1, found_calls);
  const std::size_t locks_before = locks;
  std::mutex().lock();
  check(locks == locks_before + 1, "locks of a mutex", 1, locks - locks_before);
  const std::size_t signal = signal_without_system([] { syscall(SYS_getpid); });
  check(signal == SIGKILL, "signal for a system call", 1, signal);
}

/// The first parallel call of the process happens in the middle of an optimizer's step, when there
/// is no memory: the step must be made all the same, by one thread, or half of it would be.
void check_cold_threads() {
  constexpr std::size_t many = 300'000;  // so many that an update is split among threads
  set_threads(2);
  Parameter w(Tensor::full({many}, 1));
  w.set_grad(Tensor::full({many}, 1));
  SGD sgd({{"w", w}}, {.lr = 0.5});
  std::size_t wrong = many;
  refusing = true;
  try {
    sgd.step();
    wrong = 0;
  } catch (const std::bad_alloc&) {
  }
  refusing = false;
  const Tensor moved = w.value();
  for (const float v : moved.values<float>()) wrong += v != 0.5F ? 1 : 0;
  check(wrong == 0, "weights left alone by a step that cannot start its threads", 2, wrong);
}

/// Steps of a Stream of every kind.
void check_stream() {
  Rng rng(1);
  const LSTM mono({.input = 1, .hidden = 40}, rng),
      deep({.input = 8, .hidden = 64, .layers = 2}, rng);
  const Linear sample(40, 1, rng), classes(64, 60, rng);
  const Embedding embedding(60, 8, rng);
  Stream one(mono, sample), block(mono, sample, {.block = 64});
  Stream sessions(embedding, deep, classes, {.sessions = 5});
  Stream wide(LSTM({.input = 1024, .hidden = 4}, rng), {.sessions = 150, .block = 2});
  const GRU gru_layers({.input = 1, .hidden = 40}, rng);
  Stream gru(gru_layers, sample, {.block = 64}), grus(gru_layers, sample, {.sessions = 64});
  Stream rnn(RNN({.input = 1, .hidden = 40, .variant = {.zoneout_h = 0.1}}, rng), sample,
             {.block = 64});
  const std::vector<float> x(1024 * 300, 0.25F);
  std::vector<float> y(4096);
  const std::vector<std::int32_t> ids = {1, 2, 3, 4, 5};
  const auto run = [&] {
    for (int step = 0; step < 1000; ++step) {
      one.step(std::span(x).first(1), std::span(y).first(1));
      block.step(std::span(x).first(64), std::span(y).first(64));
      sessions.step(ids, std::span(y).first(5 * 60));
      wide.step(x, std::span(y).first(4 * 300));
      wide.reset();
      for (Stream* hidden : {&gru, &grus, &rnn}) {
        hidden->step(std::span(x).first(64), std::span(y).first(64));
      }
    }
  };
  const std::size_t calls_before = calls, locks_before = locks;
  run();
  const std::size_t found_calls = calls - calls_before, found_locks = locks - locks_before;
  check(found_calls == 0, "calls of malloc and its like in steps of a Stream", 1, found_calls);
  check(found_locks == 0, "locks in steps of a Stream", 1, found_locks);
  const std::size_t signal = signal_without_system(run);
  check(signal == 0, "signal for a system call in steps of a Stream", 1, signal);
}

}  // namespace

int main() {
  check_counters();
  check_stream();
  check_cold_threads();
  for (const std::size_t threads : {1U, 2U}) measure(threads);
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
