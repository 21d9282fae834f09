#include <fmt/core.h>

#include "../../core/fail-inl.h"
#include "recurrent-inl.h"

namespace tapegrad::check {

void state(std::string_view op, const Var& x, std::string_view name, const Var& part,
           const Shape& demanded) {
  state(op, x.shape(), name, part, demanded);
}

void state(std::string_view op, const Shape& x, std::string_view name, const Var& part,
           const Shape& demanded) {
  const bool sequence = x.rank() == 3, stack = demanded.rank() == 3;
  const std::size_t batch = demanded[demanded.rank() - 2], hidden = demanded[demanded.rank() - 1];
  const Shape& shape = part.shape();
  if (shape == demanded) return;
  const std::string make = fmt::format("make the state with zero_state({})", batch);
  if (stack && (shape.rank() != 3 || shape[0] != demanded[0])) {
    fail<ShapeError>(op, "the stack has {} layers but {} has shape {}: states are (L, B, H); {}",
                     demanded[0], name, shape, make);
  }
  if (shape.rank() != demanded.rank()) wrong_shape(op, name, shape, "a state, (B, H); " + make);
  const Named input{"x", sequence ? "(T, B, I)" : "(B, I)", x};
  const Named given{name, stack ? "(L, B, H)" : "(B, H)", shape};
  const std::size_t rows = shape[shape.rank() - 2];
  if (rows != batch && sequence && rows == x[0]) {
    mismatch(op, input, given,
             "B must match; x looks like (B, T, I), and transpose(x, 0, 1) makes it (T, B, I)");
  }
  if (rows != batch) {
    mismatch(op, input, given,
             "B must match; " + make +
                 (sequence ? ""
                           : ", or, if x is a step of unbind(), look whether the sequence is "
                             "(T, B, I)"));
  }
  wrong_shape(op, name, shape, fmt::format("{} with H = {}; {}", given.letters, hidden, make));
}

namespace {

/// "4H", "H".
std::string columns(const Recurrent& recurrent) {
  return recurrent.gates == 1 ? "H" : fmt::format("{}H", recurrent.gates);
}

}  // namespace

void sequence(const Recurrent& recurrent, const Shape& x, const RecurrentWeights& w) {
  const std::string_view op = recurrent.op;
  if (x.rank() != 3) {
    wrong_shape(
        op, "x", x,
        fmt::format("a sequence, (T, B, I); one step (B, I) is for {}Cell", recurrent.layer));
  }
  if (x[0] == 0) wrong_shape(op, "x", x, "(T, B, I) with T >= 1");
  if (x[1] == 0) wrong_shape(op, "x", x, "(T, B, I) with B >= 1");
  const std::string G = columns(recurrent), input_letters = "(" + G + ", I)";
  const Named weight_ih{"weight_ih", input_letters, w.ih.shape()};
  if (w.ih.shape().rank() != 2 || w.ih.size(0) == 0 || w.ih.size(0) % recurrent.gates != 0) {
    wrong_shape(op, "weight_ih", w.ih.shape(), input_letters + " with H >= 1");
  }
  if (w.ih.size(1) != x[2]) mismatch(op, weight_ih, {"x", "(T, B, I)", x}, "I must match");
  const std::size_t hidden = w.ih.size(0) / recurrent.gates;
  if (w.hh.shape() != Shape{w.ih.size(0), hidden}) {
    mismatch(op, weight_ih, {"weight_hh", "(" + G + ", H)", w.hh.shape()}, "H must match");
  }
  const auto bias = [&](std::string_view name, const Var& b) {
    if (!b.defined() || b.shape() == Shape{w.ih.size(0)}) return;
    mismatch(op, weight_ih, {name, "(" + G + ")", b.shape()}, "H must match");
  };
  bias("bias_ih", w.bias_ih);
  bias("bias_hh", w.bias_hh);
}

void step(const Recurrent& recurrent, const Shape& x, const RecurrentWeights& w) {
  const std::string_view op = recurrent.op;
  if (x.rank() != 2) {
    wrong_shape(
        op, "x", x,
        fmt::format("one step, (B, I); a sequence (T, B, I) is for {}, or step over unbind(x)",
                    recurrent.layer));
  }
  if (x[0] == 0) wrong_shape(op, "x", x, "(B, I) with B >= 1");
  if (w.ih.size(1) != x[1]) {
    mismatch(op, {"weight_ih", "(" + columns(recurrent) + ", I)", w.ih.shape()}, {"x", "(B, I)", x},
             "I must match");
  }
}

}  // namespace tapegrad::check
