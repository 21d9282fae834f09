#pragma once

#include <functional>
#include <vector>

#include "../../autograd/tape.h"
#include "kernel_cases.h"
#include "op_check.h"

namespace tapegrad::testing {

/// Loss and gradients for all inputs, by the raw path and by the rule, both dtypes.
inline void check_loss(const std::function<Var(In)>& f, const std::vector<Tensor>& inputs,
                       double expected, const std::vector<std::vector<double>>& gradients,
                       double roundings = 8) {
  for (const DType dtype : float_types) {
    Tape tape;
    Vars x;
    for (const Tensor& in : inputs) x.push_back(tape.leaf(in.to(dtype)));
    const Var loss = f(x);
    check_values(loss.value(), {}, dtype, {expected}, roundings);
    for (const bool create_graph : {false, true}) {
      CAPTURE(create_graph);
      const Vars dx = tape.gradient(loss, x, {.retain = true, .create_graph = create_graph});
      for (std::size_t i = 0; i < x.size(); ++i) {
        CAPTURE(i);
        check_values(dx[i].value(), x[i].shape(), dtype, gradients[i], roundings);
      }
    }
  }
}

/// The same for a loss of one input.
inline void check_loss(const std::function<Var(const Var&)>& f, const Tensor& x, double expected,
                       const std::vector<double>& gradient) {
  check_loss([&](In in) { return f(in[0]); }, {x}, expected, {gradient});
}

}  // namespace tapegrad::testing
