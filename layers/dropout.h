#pragma once

#include "../autograd/ops/dropout.h"

namespace tapegrad {

/// Dropout as a module: see dropout(). Whether it acts is the tape's matter, not the layer's.
class Dropout {
 public:
  double p = 0;

  Var operator()(Tape& tape, const Var& x) const { return dropout(tape, x, p); }
  void visit(auto&& v) { v("p", p); }
};

}  // namespace tapegrad
