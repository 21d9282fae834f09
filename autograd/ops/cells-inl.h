#pragma once

#include "../../core/recurrent/cells.h"
#include "recurrent-inl.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::recurrent {

/// Computes one step of a cell that carries h alone, of primitive ops: x (B, I), h (B, H) -> h. `seen`
/// is what W_hh is multiplied by, h or m * h; gradients of pre-activations are cut to
/// `gradient_clip`, 0: not.
using Step = Var (*)(const Var& x, const Var& h, const Var& seen, const RecurrentWeights& weights,
                     double gradient_clip);

/// Runs a cell over a sequence as one node; `step` is what its twin consists of.
Unrolled<Var> fused(const char* op, const char* layer, kernels::cells::Cell cell, Step step,
                    const Var& x, const Var& h, const RecurrentWeights& weights, const Steps& steps,
                    const RecurrentVariant& variant);
/// Computes the same by a loop over step().
Unrolled<Var> composed(Step step, const Var& x, const Var& h, const RecurrentWeights& weights,
                       const Steps& steps, const RecurrentVariant& variant);

/// Checks the arguments of a sequence.
void check_call(const check::Recurrent& recurrent, const Var& x, const Var& h,
                const RecurrentWeights& weights, const Steps& steps,
                const RecurrentVariant& variant);
/// Checks the arguments of one step.
void check_step(const check::Recurrent& recurrent, const Var& x, const Var& h,
                const RecurrentWeights& weights);

}  // namespace tapegrad::recurrent

#pragma GCC visibility pop
