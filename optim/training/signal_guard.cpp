#include "signal_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <utility>

#include "../../core/fail-inl.h"

namespace tapegrad {
namespace {

constexpr std::array<std::pair<int, const char*>, 3> signals{
    {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"}}};
volatile std::sig_atomic_t signal_received = 0;
std::array<struct sigaction, signals.size()> actions_before;
std::atomic<bool> exists{false};

void note_signal(int number) {
  if (signal_received != 0) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  signal_received = number;
}

}  // namespace

SignalGuard::SignalGuard() {
  if (exists.exchange(true))
    fail<UsageError>("SignalGuard", "there is one already: pass it on, or end its scope first");
  forget();
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  for (std::size_t k = 0; k < signals.size(); ++k) {
    const int number = signals[k].first;
    (void)sigaction(number, nullptr, &actions_before[k]);
    // Under nohup. (A shell without job control ignores SIGINT for what runs beside it, but whoever
    // sends it there means it.)
    if (number == SIGHUP && actions_before[k].sa_handler == SIG_IGN) continue;
    (void)sigaction(number, &action, nullptr);
  }
}
SignalGuard::~SignalGuard() {
  for (std::size_t k = 0; k < signals.size(); ++k)
    (void)sigaction(signals[k].first, &actions_before[k], nullptr);
  exists = false;
}

int SignalGuard::received() { return signal_received; }
void SignalGuard::forget() { signal_received = 0; }
const char* SignalGuard::name() {
  const auto found = std::ranges::find(signals, received(), &std::pair<int, const char*>::first);
  return found == signals.end() ? nullptr : found->second;
}

std::string SignalGuard::on_step(const TrainingStep& step) const {
  if (received() == 0) return "";
  return fmt::format("{} came: ended after step {}, with what was learned so far", name(),
                     step.step);
}

}  // namespace tapegrad
