#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>

#include "../embedding.h"
#include "../linear.h"
#include "gru.h"
#include "lstm.h"
#include "rnn.h"

namespace tapegrad {

struct StreamOptions {
  std::size_t sessions = 1;  // B: independent streams that move on in one call
  std::size_t block = 1;     // n: steps a call
};

/// Layers that a Stream can be made of.
template <class R>
concept Streamable = std::same_as<R, LSTM> || std::same_as<R, GRU> || std::same_as<R, RNN>;

/// A trained model that is run as its input comes, for real time. x (n, B, I) -> y (n, B, O), where
/// O is H without a head:
///
///   Stream stream(model.lstm, model.head);   // n = 1, B = 1
///   stream.step(x, y);                       // spans of I and O numbers
///
/// A call allocates nothing, takes no lock, throws nothing and makes no system call. It computes
/// the bits that LSTM, GRU or RNN (a stack of any depth, with its variants; dropout is off) and Linear
/// compute on an inference tape, whatever n and B are, with the same instruction set. (A head of more
/// than 6144 float32 inputs is summed otherwise.) Variants take more time.
///
/// A Stream has a copy of the weights as they were, which refresh() renews. It belongs to one
/// thread at a time; any number of them can be made of one model. What step() cannot take (spans of
/// another size than n, B and the model ask for, or of another dtype; an id that does not exist)
/// ends the program with a message.
class Stream {
 public:
  /// Begins at the first state. Throws UsageError for 0 sessions or steps, and for a layer of both
  /// directions; whatever the model throws when it is run: ShapeError, DtypeError, UsageError for
  /// weights that are undefined.
  template <Streamable R>
  explicit Stream(const R& layers, const StreamOptions& options = {});
  template <Streamable R>
  Stream(const R& layers, const Linear& head, const StreamOptions& options = {});
  /// Takes ids as input.
  template <Streamable R>
  Stream(const Embedding& embedding, const R& layers, const StreamOptions& options = {});
  template <Streamable R>
  Stream(const Embedding& embedding, const R& layers, const Linear& head,
         const StreamOptions& options = {});
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  /// Computes the next n steps, of a float32 model.
  void step(std::span<const float> x, std::span<float> y) noexcept;
  /// Computes those of a float64 model.
  void step(std::span<const double> x, std::span<double> y) noexcept;
  /// Maps ids (n, B) in [0, V) to y (n, B, O).
  void step(std::span<const std::int32_t> ids, std::span<float> y) noexcept;
  void step(std::span<const std::int32_t> ids, std::span<double> y) noexcept;

  /// Goes back to the first state: the layer's trained one, or zeros.
  void reset() noexcept;
  /// Returns a copy of the state, (L, B, H) each; c is undefined without an LSTM.
  LSTMState state() const;
  /// Goes on from another state. Throws UsageError, ShapeError or DtypeError unless it is like state().
  void set_state(const LSTMState& state);
  /// Takes the weights that the Parameters it was made of have now: after a training step, or
  /// loading. The state stays. Allocates nothing; the Parameters may not be changed meanwhile.
  void refresh() noexcept;

 private:
  template <class T>
  struct Engine;

  template <class R>
  Stream(const Embedding* embedding, const R& layers, const Linear* head,
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
