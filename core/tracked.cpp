#include "tracked.h"

#include <algorithm>
#include <functional>
#include <mutex>

#include "fork-inl.h"

namespace tapegrad::detail {
namespace {

// Both are ready before the first static object and good until after the last one.
constinit std::mutex mutex;
constinit Tracked* first = nullptr;

std::mutex& list_mutex() { return mutex; }
[[maybe_unused]] const bool usable_after_fork = hold_in_fork<list_mutex>();

std::uintptr_t hidden(Tracked* t) { return ~reinterpret_cast<std::uintptr_t>(t); }
// NOLINTNEXTLINE(performance-no-int-to-ptr): the complement is there to be no pointer
Tracked* shown(std::uintptr_t link) { return reinterpret_cast<Tracked*>(~link); }

}  // namespace

Tracked::Tracked() noexcept : previous_(hidden(nullptr)) {
  const std::lock_guard lock(mutex);
  next_ = hidden(first);
  if (first != nullptr) first->previous_ = hidden(this);
  first = this;
}

Tracked::~Tracked() {
  const std::lock_guard lock(mutex);
  Tracked* const previous = shown(previous_);
  Tracked* const next = shown(next_);
  if (previous != nullptr) {
    previous->next_ = next_;
  } else {
    first = next;
  }
  if (next != nullptr) next->previous_ = previous_;
}

std::vector<const Tracked*> Tracked::alive() {
  std::vector<const Tracked*> all;
  {
    const std::lock_guard lock(mutex);
    for (const Tracked* t = first; t != nullptr; t = shown(t->next_)) all.push_back(t);
  }
  std::sort(all.begin(), all.end(), std::less{});
  return all;
}

}  // namespace tapegrad::detail
