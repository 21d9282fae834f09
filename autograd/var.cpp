#include "var.h"

#include "tape_errors.h"

namespace tapegrad {

void Var::overwritten() { tape_errors::value_overwritten(); }

}  // namespace tapegrad
