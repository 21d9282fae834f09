#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "../parameters.h"
#include "../tape.h"
#include "gradcheck.h"

/// Gradient checks of functions of Vars, on the tape.
namespace tapegrad {

/// A tensor to differentiate with respect to, under the name it has in the report.
struct GradcheckInput {
  std::string name;
  Tensor value;  // float64; not changed
};

namespace detail {
/// Returns the Parameters that are not frozen.
Parameters learned(const Parameters& all);
}  // namespace detail

/// Function under test: one output or more of any shape, from the inputs (leaves on the tape) and
/// from Parameters that the function has captured.
using TapeFunction = std::function<Vars(Tape&, std::span<const Var>)>;

/// Compares the tape's gradients of `f` for all inputs and parameters with central differences: see
/// gradcheck().
///
/// The outputs, unless they are a single number, are reduced to one with fixed random weights
/// (normal, from `options.seed`), because a plain sum hides bugs that cancel. Every evaluation has
/// a training tape of its own with one and the same stream, so dropout masks repeat. Frozen
/// Parameters are constants: they are not checked. Throws DtypeError unless all inputs and
/// parameters are float64, UsageError if f gives no outputs.
GradcheckReport gradcheck(const TapeFunction& f, const std::vector<GradcheckInput>& inputs,
                          const Parameters& parameters = {}, const GradcheckOptions& options = {});

/// Checks a loss, or any other single value, of parameters alone.
GradcheckReport gradcheck(const std::function<Var(Tape&)>& f, const Parameters& parameters,
                          const GradcheckOptions& options = {});

/// Checks second derivatives: the function under test is the gradient of f for its inputs, weighted
/// like the outputs above.
GradcheckReport gradgradcheck(const TapeFunction& f, const std::vector<GradcheckInput>& inputs,
                              const GradcheckOptions& options = {});

}  // namespace tapegrad
