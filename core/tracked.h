#pragma once

#include "cxx20.h"

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

  /// The addresses of all that are alive, in ascending order.
  static std::vector<const Tracked*> alive();

 private:
  Tracked* previous_;
  Tracked* next_;
};

}  // namespace tapegrad::detail
