#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../core/rng.h"

/// One line for an op: its gradients are checked in float64 to first and second order, for every
/// subset of its inputs being differentiable, and for accumulation into gradients that are there
/// already; then its recorded gradients against the raw ones, and float32 against float64.
///
/// All of it is repeated with as many seeds as the environment's TAPEGRAD_SEEDS says (default 1):
/// tests/extended.sh takes 200.
namespace tapegrad::testing {

using In = std::span<const Var>;
using Out = Vars;
using Op = std::function<Out(In)>;

struct OpOptions {
  double low = -2;  // inputs are uniform in [low, high)
  double high = 2;
  double away_from = 0;   // |x| is at least this: keeps clear of a kink at 0
  bool distinct = false;  // no two elements are close: keeps clear of kinks where they are equal
  bool second_order = true;
  std::uint64_t seed = 1;
  /// Allowed error of float32 gradients, relative to the largest element of the float64 gradient.
  double float32_tolerance = 1e-5;
};

/// Shapes may have axes of size 0: then what is checked is that all gradients exist and are empty.
void check_op(const std::string& name, const Op& op, const std::vector<Shape>& shapes,
              OpOptions options = {});

/// Inputs as check_op draws them.
std::vector<GradcheckInput> random_inputs(const std::vector<Shape>& shapes,
                                          const OpOptions& options);

}  // namespace tapegrad::testing
