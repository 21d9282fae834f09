#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include "../../core/check-inl.h"
#include "recurrent.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::check {

/// Demands of one part of a recurrent state that it has the shape (B, H), or (L, B, H) for a stack,
/// that x, (B, I) or (T, B, I), asks for. Throws ShapeError, which says so if x looks like
/// (B, T, I), and DtypeError for int32.
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
/// Demands of variants that masks have the shapes of a sequence `x` and H, that rates are in [0, 1] and
/// that no limit is negative. Throws ShapeError, DtypeError or UsageError.
void variant(std::string_view op, const Shape& x, std::size_t hidden, DType dtype,
             const RecurrentVariant& variant);
/// Throws UsageError for a variant that only a cell with c has.
void without_cell(std::string_view op, const RecurrentVariant& variant);
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

/// A place of a cell: step t of the sequences that go on there.
struct At {
  std::size_t t;
  Tensor rows = {};  // (n) int32, ascending: the rows of the batch; undefined: all B
};
/// Computes one step of a cell, of primitive ops: x_t (n, I) and the parts of the state (n, ...), to
/// the next state.
using StepOfCell = std::function<Vars(const Var& x, const Vars& state, const At& at)>;
/// Returns what a cell shows after a step, (n, H), from its input and its new state.
using OutputOfCell = std::function<Var(const Var& x, const Vars& state)>;
/// Runs a cell over a sequence (T, B, I): y (T, B, H) and the parts of the last state (B, ...). A step
/// is given the rows that go on there, and no others.
Unrolled<Vars> unroll(const Var& x, Vars state, const Steps& steps, const StepOfCell& step,
                      const OutputOfCell& output);
/// Runs a cell that shows the first part of its state.
Unrolled<Vars> unroll(const Var& x, Vars state, const Steps& steps, const StepOfCell& step);

/// z_t old + (1 - z_t) fresh, where z and 1 - z select: zoneout; fresh without a z (T, B, H).
Var zone_out(const Tensor& z, const At& at, const Var& old, const Var& fresh);
/// m * h; h without an m (B, H).
Var seen(const Tensor& mask, const At& at, const Var& h);
/// Cuts the gradient of a pre-activation; 0: off.
Var cut_gradient(const Var& a, double limit);

}  // namespace tapegrad::recurrent

#pragma GCC visibility pop
