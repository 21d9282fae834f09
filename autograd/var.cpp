#include "var.h"

#include "tape_errors-inl.h"

namespace tapegrad {

void Var::overwritten() { tape_errors::value_overwritten(); }

}  // namespace tapegrad
