#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Finds the items of a list by their names; the list must stay as it is.
template <class Named>
class NameIndex {
 public:
  explicit NameIndex(const std::vector<Named>& items) {
    sorted_.reserve(items.size());
    for (const Named& item : items) sorted_.push_back(&item);
    std::ranges::sort(sorted_, {}, name_of);
  }

  /// The item of that name, or null.
  const Named* find(std::string_view name) const {
    const auto found = std::ranges::lower_bound(sorted_, name, {}, name_of);
    return found != sorted_.end() && (*found)->name == name ? *found : nullptr;
  }
  /// A name that is there more than once, or null.
  const std::string* duplicate() const {
    const auto found = std::ranges::adjacent_find(sorted_, {}, name_of);
    return found == sorted_.end() ? nullptr : &(*found)->name;
  }

 private:
  static std::string_view name_of(const Named* item) { return item->name; }

  std::vector<const Named*> sorted_;
};

}  // namespace tapegrad

#pragma GCC visibility pop
