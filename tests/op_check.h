#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "../autograd/gradcheck/tape_gradcheck.h"
#include "../core/rng.h"

/// One line for an op: its gradients are checked in float64 to first and second order, for every
/// subset of its inputs being differentiable, and for accumulation into gradients that are there
/// already.
namespace tapegrad::testing {

using Op = std::function<Vars(std::span<const Var>)>;

struct OpOptions {
  double low = -2;  // inputs are uniform in [low, high)
  double high = 2;
  double away_from = 0;  // |x| is at least this: keeps clear of a kink at 0
  bool second_order = true;
  std::uint64_t seed = 1;
};

void check_op(const std::string& name, const Op& op, const std::vector<Shape>& shapes,
              OpOptions options = {});

/// Inputs as check_op draws them.
std::vector<GradcheckInput> random_inputs(const std::vector<Shape>& shapes,
                                          const OpOptions& options);

}  // namespace tapegrad::testing
