#pragma once

#include <cstdint>

#include "recurrent.h"

namespace tapegrad {

using GRUResult = Unrolled<Var>;
/// `after`: the reset gate multiplies W_hn h + b_hn, as in torch, cuDNN and Keras. `before`: it
/// multiplies h, as published (Cho et al. 2014).
enum class GRUReset : std::uint8_t { after, before };

/// Runs one GRU layer, GRUReset::after, over a whole sequence as one node: x (T, B, I), h (B, H) ->
/// y (T, B, H) and the last h. An observer of Interest::internals is shown `gates` (T, B, 3H), r, z,
/// n after their nonlinearity, when it is recorded; `dgates` (T, B, 3H), the gradients of W_ih x +
/// b_ih, and `dh` (T, B, H), those of h, in a sweep that records no gradients.
///
/// Equations: gru_cell(), and core/recurrent/cells.h. Throws ShapeError; T = 0 and B = 0 are
/// errors; UsageError as lstm(), and for a variant of the LSTM alone.
GRUResult gru(const Var& x, const Var& h, const RecurrentWeights& weights, const Steps& steps = {},
              const RecurrentVariant& variant = {});

/// Computes a GRU layer by a loop over gru_cell(): the twin of gru(), and the only form that resets
/// before the product.
GRUResult gru_composed(const Var& x, const Var& h, const RecurrentWeights& weights,
                       GRUReset reset = GRUReset::after, const Steps& steps = {},
                       const RecurrentVariant& variant = {});

/// Makes one step, composed of primitive ops: x (B, I), h (B, H) -> (1 - z) n + z h, with
///
///   r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)         reset gate
///   z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)         update gate
///   n = tanh(W_in x + b_in + r (W_hn h + b_hn))        candidate; GRUReset::after
///   n = tanh(W_in x + b_in + W_hn (r h) + b_hn)        GRUReset::before
///
/// Throws ShapeError.
Var gru_cell(const Var& x, const Var& h, const RecurrentWeights& weights,
             GRUReset reset = GRUReset::after);

}  // namespace tapegrad
