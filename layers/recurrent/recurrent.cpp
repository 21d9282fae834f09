#include "recurrent.h"

#include <cstdint>

#include "../../autograd/inspect/scope.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/packing-inl.h"
#include "../../autograd/ops/recurrent-inl.h"
#include "../../autograd/ops/shape.h"
#include "../../core/fail-inl.h"

namespace tapegrad::detail {
namespace {

constexpr const char* type = "Recurrent";

void check_sequence(Tape& tape, const Var& x, const Steps& steps) {
  batch_of(x);
  tape.require_same_tape(x, type);
  recurrent::check_lengths(type, steps, x.shape());
}

void check_part(Tape& tape, const Var& x, const std::string& name, const Var& part) {
  check::defined(type, {{name, part}});
  tape.require_same_tape(part, type, name);
  const Shape& shape = part.shape();
  const std::size_t batch = x.size(1);
  if (shape.rank() > 0 && shape[0] == batch) return;
  const bool swapped = shape.rank() > 0 && shape[0] == x.size(0);
  check::mismatch(
      type, {"x", "(T, B, I)", x.shape()}, {name, "(B, ...)", shape},
      swapped ? "B must match; x looks like (B, T, I), and transpose(x, 0, 1) makes it (T, B, I)"
              : fmt::format("B must match; make the state with zero_state({})", batch));
}

void check_next(const std::vector<std::string>& names, const Vars& before, const Vars& next) {
  if (next.size() != before.size()) {
    fail<ShapeError>(type, "the cell makes a state of {} parts from one of {}: they must match",
                     next.size(), before.size());
  }
  for (std::size_t i = 0; i < next.size(); ++i) {
    check::defined(type, {{names[i], next[i]}});
    if (next[i].shape() != before[i].shape()) {
      fail<ShapeError>(type, "the cell makes {} of shape {} from shape {}: a step must keep it",
                       names[i], next[i].shape(), before[i].shape());
    }
    if (next[i].dtype() != before[i].dtype()) {
      fail<DtypeError>(type, "the cell makes {} {} from {}: a step must keep the dtype", names[i],
                       next[i].dtype(), before[i].dtype());
    }
  }
}

void check_output(const Var& x, const Var& y) {
  check::defined(type, {{"the cell's output", y}});
  if (y.shape().rank() > 0 && y.size(0) == x.size(0)) return;
  check::mismatch(type, {"x", "(B, I)", x.shape()}, {"the cell's output", "(B, H)", y.shape()},
                  "B must match");
}

/// The places among the T B rows that a batch of sequences has, (N) int32.
Tensor rows_with_steps(const Steps& steps, std::size_t T, std::size_t B) {
  pool::Vector<std::int32_t> rows;
  const std::int32_t* const lengths = steps.lengths.data<std::int32_t>();
  for (std::size_t t = 0; t < T; ++t) {
    for (std::size_t b = 0; b < B; ++b) {
      if (t < static_cast<std::size_t>(lengths[b])) {
        rows.push_back(static_cast<std::int32_t>(t * B + b));
      }
    }
  }
  return Tensor::from({rows.size()}, rows);
}

}  // namespace

std::size_t batch_of(const Var& x) {
  check::defined(type, {{"x", x}});
  const Shape& shape = x.shape();
  if (shape.rank() != 3) {
    check::wrong_shape(type, "x", shape,
                       "a sequence, (T, B, I); one step (B, I) is for the cell itself");
  }
  if (shape[0] == 0) check::wrong_shape(type, "x", shape, "(T, B, I) with T >= 1");
  if (shape[1] == 0) check::wrong_shape(type, "x", shape, "(T, B, I) with B >= 1");
  return shape[1];
}

Unrolled<Vars> run_steps(Tape& tape, const Var& x, const Vars& state,
                         const std::vector<std::string>& names, const Steps& steps,
                         const StepFunction& step, const OutputFunction& output) {
  check_sequence(tape, x, steps);
  for (std::size_t i = 0; i < state.size(); ++i) check_part(tape, x, names[i], state[i]);
  const Scope scope(tape, "recurrent");
  return recurrent::unroll(
      x, state, steps,
      [&](const Var& x_t, const Vars& before, const recurrent::At&) {
        Vars next = step(x_t, before);
        check_next(names, before, next);
        return next;
      },
      [&](const Var& x_t, const Vars& next) {
        Var y = output(x_t, next);
        check_output(x_t, y);
        return y;
      });
}

Unrolled<Var> run_scan(Tape& tape, const Var& x, const Var& h, const Steps& steps,
                       const CoefficientsFunction& coefficients) {
  check_sequence(tape, x, steps);
  check_part(tape, x, "state", h);
  const Scope scope(tape, "recurrent");
  const std::size_t T = x.size(0), B = x.size(1), I = x.size(2);
  if (!steps.lengths.defined()) {
    const auto [a, b] = coefficients(x);
    return scan(a, b, h, steps);
  }
  // Coefficients of the rows that there are; scan() reads no others.
  const Tensor rows = rows_with_steps(steps, T, B);
  const auto [a, b] = coefficients(embedding(reshape(x, {T * B, I}), rows));
  const auto in_place = [&](const Var& v) {
    return reshape(scatter_rows(v, rows, T * B), {T, B, v.size(1)});
  };
  return scan(in_place(a), in_place(b), h, steps);
}

Var residual(const Var& x, const Var& h) {
  if (x.shape() != h.shape()) {
    check::mismatch("Residual", {"x", "(B, I)", x.shape()},
                    {"the cell's output", "(B, H)", h.shape()},
                    "I and H must match: x + h is the output");
  }
  return x + h;
}

}  // namespace tapegrad::detail
