#pragma once

#include "../../core/recurrent/cells.h"
#include "recurrent-inl.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::recurrent {

/// Computes one step of a cell that carries h alone: x (B, I), h (B, H) -> h. Checks its arguments.
using Step = Var (*)(const Var& x, const Var& h, const RecurrentWeights& weights);

/// Runs a cell over a sequence as one node; `step` is what its twin consists of.
Unrolled<Var> fused(const char* op, const char* layer, kernels::cells::Cell cell, Step step,
                    const Var& x, const Var& h, const RecurrentWeights& weights);
/// Computes the same by a loop over step().
Unrolled<Var> composed(Step step, const Var& x, const Var& h, const RecurrentWeights& weights);

/// Checks the arguments of one step.
void check_step(const check::Recurrent& recurrent, const Var& x, const Var& h,
                const RecurrentWeights& weights);

}  // namespace tapegrad::recurrent

#pragma GCC visibility pop
