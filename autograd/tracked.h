#pragma once

#include <vector>

namespace tapegrad::detail {

/// The base of Parameter: keeps a list of all objects of the process that are alive, so that one
/// can be found by its address. Modules are plain structs; a Parameter that visit() forgets is seen
/// nowhere but in the module's bytes.
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
