#pragma once

#include "cxx20.h"

#include <cstdint>
#include <vector>

namespace tapegrad::detail {

/// Base of a class whose objects can be found by their address: all that are alive in the process
/// are on one list. For Parameter: modules are plain structs, and a Parameter that visit() forgets
/// is seen nowhere but in the module's bytes.
class Tracked {
 public:
  Tracked() noexcept;
  Tracked(const Tracked&) noexcept : Tracked() {}
  Tracked& operator=(const Tracked&) noexcept { return *this; }
  ~Tracked();

  /// Returns the addresses of all that are alive, in ascending order.
  static std::vector<const Tracked*> alive();

 private:
  // Neighbours in the list, as complements of their addresses: whoever looks through memory for
  // pointers to such objects is not to find these.
  std::uintptr_t previous_;
  std::uintptr_t next_;
};

}  // namespace tapegrad::detail
