#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "../../autograd/tape.h"
#include "../../core/data/windows.h"
#include "../../core/io/archive.h"
#include "state.h"

namespace tapegrad {

/// Lengths, in steps, of truncated backpropagation through time.
struct TruncatedBPTTOptions {
  std::size_t k1 = 0;       // most steps of a window, the steps between two updates
  std::size_t k2 = k1;      // steps that gradients flow back from the end of a window of k1 steps
  std::size_t warm_up = 0;  // at most k2 steps in front of those, run again without gradient

  /// Returns how many steps in front of a window are run again with gradient: k2 - k1.
  std::size_t context() const { return k2 - k1; }
  /// Returns how many are run again in all.
  std::size_t run_again() const {
    return context() + std::min(warm_up, std::numeric_limits<std::size_t>::max() - context());
  }
};

namespace detail {

/// A recurrent model whose state is a list of Vars.
using SequenceModel = std::function<Unrolled<Vars>(Tape&, const Tensor& x, const Vars& state)>;

/// Throws UsageError unless 1 <= k1 <= k2 and warm_up <= k2.
void check_windows(const char* name, const TruncatedBPTTOptions& options);

/// Memory of a stream between two windows.
struct StreamPast {
  Vars state;     // before `inputs`
  Tensor inputs;  // of the steps that are run again with the next window, (n, B, ...); or undefined

  /// Runs a window: y (T, ...) of its steps; then this is the past of the next one.
  Var run(Tape& tape, const TruncatedBPTTOptions& options, const Tensor& x,
          const SequenceModel& model);
  /// Saves or restores the inputs, of which there are as many as the file has, at most `most` steps.
  void save_inputs(Archive& a, std::size_t most);
};

/// Returns a model whose state is like `like` as one of Vars.
template <class Model, class State>
auto on_parts(Model& model, const State& like) {
  return [&](Tape& tape, const Tensor& x, const Vars& state) {
    const auto [y, next] = model(tape, x, with_parts(like, state));
    return Unrolled<Vars>{y, parts_of(next)};
  };
}

}  // namespace detail

/// Truncated backpropagation through time over a stream that is read window by window (Williams and
/// Peng 1990, BPTT(k2; k1)): carries the state of a model from one window to the next, as constants.
///
///   const auto model = [&](Tape& t, const Tensor& ids, const LSTMState& s) {
///     return lstm(t, embed(t, ids), s);
///   };
///   TruncatedBPTT bptt(lstm.zero_state(32), {.k1 = 50});
///   const StreamWindows windows(ids, 50, 32);
///   for (const Window& window : windows) {
///     Tape tape = Tape::training({.seed = 1, .pass = step++});
///     tape.backward(cross_entropy(head(tape, bptt(tape, model, window)), window.targets));
///     ...
///   }
///
/// With k2 = k1, each window starts from the state at the end of the one before; nothing is kept but
/// that. With k2 > k1, the k2 - k1 steps in front of a window are run again, with gradient; the loss
/// is of the window alone, whose outputs are what a call returns. The warm_up steps in front of these
/// are run again without gradient, so that the state there is nearer to the present weights
/// (Kapturowski et al. 2019, "burn-in"). At the beginning of a stream there are fewer such steps, or
/// none: a first state that is better than zeros comes from burn_in() of a layer.
///
/// The state from which a run starts was computed by the run before, with the weights of that time.
/// A window's gradient is exact for the objective in which that state, after warming up, is a constant.
///
/// State: what a layer's zero_state() returns, or any other of state.h. Copies are independent.
template <class State>
class TruncatedBPTT {
 public:
  /// Begins a stream with `first`. Throws UsageError unless 1 <= k1 <= k2 and warm_up <= k2.
  TruncatedBPTT(State first, const TruncatedBPTTOptions& options) : options_(options) {
    detail::check_windows("TruncatedBPTT", options);
    start(std::move(first));
  }

  /// Begins another stream, of which there is no past. A state that is recorded in the pass of the
  /// first window (a trained one, from first_state()) gets the gradient of that window.
  void start(State first) {
    past_ = {detail::parts_of(first), {}};
    first_ = std::move(first);
  }

  /// Runs the next window x (T, B, ...), T <= k1, and returns its outputs y (T, ...). The model
  /// maps (tape, x, state) to a pair, or a struct of two members: y and the next state; it may be
  /// called with parts of the steps, up to three times a window. x is copied if it is needed again.
  /// Throws UsageError for more than k1 steps, ShapeError or DtypeError for an x that is not like
  /// that of the window before, ShapeError for T = 0 and for a model whose y is not (T, ...) or
  /// whose state has other parts; what the model throws, for a state of another batch size for
  /// example. The state is then as before the call.
  template <class Model>
  Var operator()(Tape& tape, Model&& model, const Tensor& x) {
    return run(tape, model, x, past_);
  }
  /// Runs the next window of ids. One that is the first of a text begins another stream, with the
  /// state that this one began with.
  template <class Model>
  Var operator()(Tape& tape, Model&& model, const Window& window) {
    return run(tape, model, window.inputs, window.first ? beginning() : past_);
  }

  const TruncatedBPTTOptions& options() const { return options_; }

  /// Saves or restores the past: a training that is continued gives the same bits. The stream must
  /// have been begun with a state of the same shapes.
  void state(Archive& a) {
    a.fact("k1", options_.k1);
    a.fact("k2", options_.k2);
    a.fact("warm_up", options_.warm_up);
    State carried = detail::with_parts(first_, past_.state);
    for_each_part(carried, [&](const std::string& name, Var& part) {
      Tensor value = part.value().clone();
      a(name, value);
      part = value;
    });
    if (a.loading()) past_.state = detail::parts_of(carried);
    past_.save_inputs(a, options_.run_again());
  }

 private:
  detail::StreamPast beginning() const { return {detail::parts_of(first_), {}}; }
  template <class Model>
  Var run(Tape& tape, Model& model, const Tensor& x, detail::StreamPast past) {
    const auto on_parts = detail::on_parts(model, first_);
    Var y = past.run(tape, options_, x, std::ref(on_parts));
    past_ = std::move(past);
    return y;
  }

  TruncatedBPTTOptions options_;
  State first_;
  detail::StreamPast past_;
};

}  // namespace tapegrad
