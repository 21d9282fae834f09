#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "../embedding.h"
#include "../linear.h"
#include "lstm.h"

namespace tapegrad {

struct StreamOptions {
  std::size_t sessions = 1;  // B: independent streams that move on in one call
  std::size_t block = 1;     // n: steps a call
};

/// A trained model that is run as its input comes, for real time. x (n, B, I) -> y (n, B, O), where
/// O is H without a head:
///
///   Stream stream(model.lstm, model.head);   // n = 1, B = 1
///   stream.step(x, y);                       // spans of I and O numbers
///
/// A call allocates nothing, takes no lock, throws nothing and makes no system call. It computes
/// the bits that LSTM (a stack of any depth; dropout is off) and Linear compute on an inference
/// tape, whatever n and B are, with the same instruction set. (A head of more than 6144 float32
/// inputs is summed otherwise.)
///
/// A Stream has a copy of the weights as they were, which refresh() renews. It belongs to one
/// thread at a time; any number of them can be made of one model. What step() cannot take (spans of
/// another size than n, B and the model ask for, or of another dtype; an id that does not exist)
/// ends the program with a message.
class Stream {
 public:
  /// Starts from the zero state. Throws UsageError for 0 sessions or steps, and for an LSTM that is
  /// bidirectional or has zoneout, a cell clip, peepholes or a trained first state; whatever the model
  /// throws when it is run: ShapeError, DtypeError, UsageError for weights that are undefined.
  explicit Stream(const LSTM& lstm, const StreamOptions& options = {});
  Stream(const LSTM& lstm, const Linear& head, const StreamOptions& options = {});
  /// Takes ids as input.
  Stream(const Embedding& embedding, const LSTM& lstm, const StreamOptions& options = {});
  Stream(const Embedding& embedding, const LSTM& lstm, const Linear& head,
         const StreamOptions& options = {});
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  /// Makes the next n steps, of a float32 model.
  void step(std::span<const float> x, std::span<float> y) noexcept;
  /// Makes them of a float64 model.
  void step(std::span<const double> x, std::span<double> y) noexcept;
  /// Makes them of ids (n, B) in [0, V) -> y (n, B, O).
  void step(std::span<const std::int32_t> ids, std::span<float> y) noexcept;
  void step(std::span<const std::int32_t> ids, std::span<double> y) noexcept;

  /// Returns to the zero state.
  void reset() noexcept;
  /// Returns a copy of the state, (L, B, H) each.
  LSTMState state() const;
  /// Goes on from another state. Throws ShapeError or DtypeError unless it is like state().
  void set_state(const LSTMState& state);
  /// Takes the weights that the Parameters it was made of have now: after a training step, or
  /// loading. The state stays. Allocates nothing; nobody may change the Parameters meanwhile.
  void refresh() noexcept;

 private:
  template <class T>
  struct Engine;

  Stream(const Embedding* embedding, const LSTM& lstm, const Linear* head,
         const StreamOptions& options);
  template <class Use>
  decltype(auto) with_engine(Use&& use) const;
  template <class In, class T>
  void step_with(std::span<const In> x, std::span<T> y) const noexcept;

  // One of the two, by the dtype of the model.
  std::unique_ptr<Engine<float>> float32_;
  std::unique_ptr<Engine<double>> float64_;
};

}  // namespace tapegrad
