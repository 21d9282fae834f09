#pragma once

#include <cstdint>

#include "recurrent.h"

namespace tapegrad {

using RNNResult = Unrolled<Var>;
enum class RNNNonlinearity : std::uint8_t { tanh, relu };

/// Runs one RNN layer (Elman 1990) over a whole sequence as one node: x (T, B, I), h (B, H) -> y (T,
/// B, H) and the last h. An observer of Interest::internals is shown `gates` (T, B, H), phi(a), when
/// it is recorded; `dgates` and `dh` (T, B, H), the gradients of a and h, in a sweep that records no
/// gradients. With relu an observer of branches is shown where y > 0.
///
/// Equations: rnn_cell(), and core/recurrent/cells.h. Throws ShapeError; T = 0 and B = 0 are
/// errors; UsageError as lstm(), and for a variant of the LSTM alone.
RNNResult rnn(const Var& x, const Var& h, const RecurrentWeights& weights,
              RNNNonlinearity nonlinearity = RNNNonlinearity::tanh, const Steps& steps = {},
              const RecurrentVariant& variant = {});

/// Computes rnn() by a loop over rnn_cell(): the twin.
RNNResult rnn_composed(const Var& x, const Var& h, const RecurrentWeights& weights,
                       RNNNonlinearity nonlinearity = RNNNonlinearity::tanh,
                       const Steps& steps = {}, const RecurrentVariant& variant = {});

/// Makes one step, composed of primitive ops: x (B, I), h (B, H) -> phi(W_ih x + b_ih + W_hh h +
/// b_hh), phi tanh or relu. Throws ShapeError.
Var rnn_cell(const Var& x, const Var& h, const RecurrentWeights& weights,
             RNNNonlinearity nonlinearity = RNNNonlinearity::tanh);

}  // namespace tapegrad
