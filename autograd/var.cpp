#include "var.h"

#include <ostream>

#include "tape_errors-inl.h"

namespace tapegrad {

void Var::overwritten() { tape_errors::value_overwritten(); }

std::ostream& operator<<(std::ostream& out, const Var& x) { return out << x.value_; }

}  // namespace tapegrad
