#pragma once

#include <cstddef>
#include <string_view>

#include "../../core/check-inl.h"
#include "../interest.h"
#include "recurrent.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::check {

/// Demands of one part of a recurrent state that it has the shape (B, H), or (L, B, H) for a stack,
/// that x, (B, I) or (T, B, I), asks for. Throws ShapeError, which says so if x looks like
/// (B, T, I).
void state(std::string_view op, const Var& x, std::string_view name, const Var& part,
           const Shape& demanded);
/// Checks the shape of x.
void state(std::string_view op, const Shape& x, std::string_view name, const Var& part,
           const Shape& demanded);

/// A recurrent op, for errors.
struct Recurrent {
  std::string_view op;     // "lstm"
  std::string_view layer;  // "LSTM"
  std::size_t gates;       // blocks of H that the weights have: 4
};
/// Demands of a sequence's shape `x` and of a layer's weights that they go together. Throws
/// ShapeError.
void sequence(const Recurrent& recurrent, const Shape& x, const RecurrentWeights& weights);
/// Demands the same of one step's input and of W_ih; the other weights are judged by linear().
void step(const Recurrent& recurrent, const Shape& x, const RecurrentWeights& weights);

}  // namespace tapegrad::check

namespace tapegrad::recurrent {

/// Returns what a kernel reads: null if there is none.
template <class T>
const T* data_or_null(const Var& v) {
  return v.defined() ? v.value().data<T>() : nullptr;
}
template <class T>
const T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

/// Returns the memory that a kernel may write to: null if the result is not wanted.
template <class T>
T* memory(Tensor& t) {
  return t.defined() ? t.mutable_data<T>() : nullptr;
}

/// (T, B, blocks * H), if an observer wants to see what the kernel keeps to itself; `recorder`: a
/// Node or Grads.
template <class Recorder>
Tensor internal(const Recorder& recorder, const Var& y, std::size_t blocks) {
  if (!recorder.wants(Interest::internals)) return {};
  return Tensor::empty(y.shape().with(2, blocks * y.size(2)), y.dtype());
}

}  // namespace tapegrad::recurrent

#pragma GCC visibility pop
