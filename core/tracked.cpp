#include "tracked.h"

#include <algorithm>
#include <functional>
#include <mutex>

namespace tapegrad::detail {
namespace {

// Both are ready before the first static Parameter and good until after the last one.
constinit std::mutex mutex;
constinit Tracked* first = nullptr;

}  // namespace

Tracked::Tracked() noexcept : previous_(nullptr) {
  const std::lock_guard lock(mutex);
  next_ = first;
  if (first != nullptr) first->previous_ = this;
  first = this;
}

Tracked::~Tracked() {
  const std::lock_guard lock(mutex);
  (previous_ != nullptr ? previous_->next_ : first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

std::vector<const Tracked*> Tracked::alive() {
  std::vector<const Tracked*> all;
  {
    const std::lock_guard lock(mutex);
    for (const Tracked* t = first; t != nullptr; t = t->next_) all.push_back(t);
  }
  std::ranges::sort(all, std::less{});
  return all;
}

}  // namespace tapegrad::detail
