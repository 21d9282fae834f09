#pragma once

#include "recurrent.h"

namespace tapegrad {

/// Runs one LSTM layer over a whole sequence as one node: x (T, B, I), state (B, H) each -> y (T,
/// B, H) and the last state. Input products of all steps are one matrix product, and so are the
/// gradients of the weights and of x. An observer of Interest::internals is shown, each of all
/// steps: `gates` (T, B, 4H), i, f, g, o after their nonlinearity, and `cells` (T, B, H), c, when
/// it is recorded; `dgates` (T, B, 4H), the gradients before the nonlinearity, `dh` and `dc` (T, B,
/// H), the whole gradients of h and c, in a sweep that records no gradients.
///
/// Equations: lstm_cell(), and core/recurrent/lstm.h. Throws ShapeError; T = 0 and B = 0 are
/// errors; UsageError for a length out of range, a zoneout outside of [0, 1] or a negative clip.
LSTMResult lstm(const Var& x, const LSTMState& state, const LSTMWeights& weights,
                const Steps& steps = {}, const RecurrentVariant& variant = {});

/// Computes lstm(embedding(table, ids), state, weights), for a table (V, I) and ids (T, B) int32 in
/// [0, V). If the table E has fewer rows than there are ids, V < T B, it is one node, and P = E
/// W_ih^T (V, 4H) is made once in place of W_ih x_t at every step: y and the last state have the
/// same bits as those of the two ops, if I <= 6144. The gradient of a row of P is the sum of those
/// of all steps that used it, added in double; dE = dP W_ih, dW_ih = dP^T E. Ids behind a sequence's
/// end may be any numbers. Throws as embedding() and lstm() do.
LSTMResult embedding_lstm(const Var& table, const Tensor& ids, const LSTMState& state,
                          const LSTMWeights& weights, const Steps& steps = {},
                          const RecurrentVariant& variant = {});

/// Computes lstm() by a loop over lstm_cell(): the twin.
LSTMResult lstm_composed(const Var& x, const LSTMState& state, const LSTMWeights& weights,
                         const Steps& steps = {}, const RecurrentVariant& variant = {});

}  // namespace tapegrad
