#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "../../autograd/parameters.h"
#include "truncated_bptt.h"

/// A measure of what truncated backpropagation through time leaves out.
namespace tapegrad {

/// A truncated gradient g beside the full one f, of one Parameter or of all together.
struct TruncatedGradient {
  std::string name;   // of the Parameter; "all"
  double cosine = 0;  // g f / (|g| |f|); 0 if one of them is 0, 1 if both are
  double error = 0;   // |g - f| / |f|; infinite if f alone is 0, 0 if both are
  double norm = 0;    // |f|
};

/// Bias of truncation on some data: all parameters as one vector, and each.
struct TruncationBias {
  TruncatedGradient all;
  std::vector<TruncatedGradient> parameters;  // in the order of the list, without frozen ones

  /// Returns a table for people.
  std::string text() const;
};

/// Loss of a window, a single number: of the outputs y (T, ...) of the steps [begin, begin + T).
using WindowLoss = std::function<Var(Tape& tape, const Var& y, std::size_t begin)>;

namespace detail {
TruncationBias truncation_bias(const SequenceModel& model, const Vars& first, const Tensor& x,
                               const WindowLoss& loss, const Parameters& parameters,
                               const TruncatedBPTTOptions& options);
}  // namespace detail

/// Compares the gradient that TruncatedBPTT gives for a stretch x (N, B, ...) of a stream, summed over
/// its windows, with the full gradient: the same weights, data and losses, but no state is a
/// constant except the first. The model is that of TruncatedBPTT. Dropout is off, no Parameter or
/// gradient is changed; the full gradient takes the memory of all N steps.
///
///   const auto model = [&](Tape& t, const Tensor& ids, const LSTMState& s) {
///     return lstm(t, embed(t, ids), s);
///   };
///   const auto loss = [&](Tape& t, const Var& y, std::size_t begin) {
///     return cross_entropy(head(t, y), targets.slice(begin, begin + y.size(0)));
///   };
///   const TruncationBias bias = truncation_bias(model, lstm.zero_state(B), ids, loss,
///                                               parameters(net), {.k1 = 16, .k2 = 32});
///
/// With k2 - k1 >= N, or with k2 >= N where k1 divides N, the two are the same sum: cosine 1, and an
/// error of rounding alone. Throws UsageError for options that TruncatedBPTT refuses, and if no
/// Parameter learns; what TruncatedBPTT, the model and the loss throw.
template <class Model, class State>
TruncationBias truncation_bias(Model&& model, const State& first, const Tensor& x,
                               const WindowLoss& loss, const Parameters& parameters,
                               const TruncatedBPTTOptions& options) {
  const auto on_parts = detail::on_parts(model, first);
  return detail::truncation_bias(std::ref(on_parts), detail::parts_of(first), x, loss, parameters,
                                 options);
}

}  // namespace tapegrad
