#include "parameter.h"

#include "../core/error.h"

namespace tapegrad {

Parameter Parameter::share() const {
  (void)existing();  // two undefined members would look tied and be two
  Parameter same;
  same.data_ = data_;
  return same;
}

void Parameter::set_requires_grad(bool on) {
  existing().requires_grad = on;
  if (!on) data_->grad = Tensor();
}

void Parameter::undefined() {
  throw UsageError(
      "[parameter] this parameter is undefined: construct the layer with its sizes and an Rng "
      "first, and do not use it after a move");
}

}  // namespace tapegrad
