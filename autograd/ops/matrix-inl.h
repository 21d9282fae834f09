#pragma once

#include <string_view>

#include "matrix.h"

#pragma GCC visibility push(hidden)

/// Common parts of linear() and of ops that begin with it.
namespace tapegrad {

class Grads;

namespace check {

/// Throws what linear() throws, in the name of `op`.
void linear(std::string_view op, const Var& x, const Var& weight, const Var& bias);

}  // namespace check

/// The rule of linear() from d (..., O), the gradient of its result: x, weight and bias are inputs
/// 0, 1 and 2 of the node.
void add_linear_gradients(Grads& g, const Var& d, const Var& x, const Var& weight);

}  // namespace tapegrad

#pragma GCC visibility pop
