#include "lstm_parameters.h"

namespace tapegrad {

LSTMParameters::LSTMParameters(const LSTMCellOptions& o, Rng& rng)
    : RecurrentParameters("LSTM", {4, o.input, o.hidden, static_cast<std::size_t>(o.bias), o.dtype},
                          rng) {
  if (o.bias == LSTMBias::none || o.init != LSTMInit::forget_one) return;
  Tensor bias = bias_ih.value();
  bias.slice(o.hidden, 2 * o.hidden).fill(1);
}

}  // namespace tapegrad
