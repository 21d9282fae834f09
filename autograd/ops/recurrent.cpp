#include <fmt/core.h>

#include <cmath>
#include <utility>

#include "../../core/fail-inl.h"
#include "elementwise.h"
#include "packing-inl.h"
#include "recurrent-inl.h"
#include "shape.h"

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

void variant(std::string_view op, const Shape& x, std::size_t hidden, DType dtype,
             const RecurrentVariant& v) {
  const auto mask = [&](std::string_view name, const Tensor& given, const Shape& demanded,
                        std::string_view letters, bool rate) {
    if (!given.defined()) return;
    if (given.shape() != demanded) {
      fail<ShapeError>(op, "{} has shape {}: it must be {} = {}", name, given.shape(), letters,
                       demanded);
    }
    if (given.dtype() != dtype) {
      fail<DtypeError>(op, "{} is {} but x is {}: the dtypes must be equal", name, given.dtype(),
                       dtype);
    }
    for (std::size_t i = 0; i < given.numel(); ++i) {
      const double value = given.at(i);
      if (value >= 0 && (rate ? value <= 1 : std::isfinite(value))) continue;
      fail<UsageError>(op, "{} has {} at position {} of shape {}: it must be {}", name, value, i,
                       given.shape(), rate ? "in [0, 1]" : "finite and at least 0");
    }
  };
  mask("recurrent_mask", v.recurrent_mask, {x[1], hidden}, "(B, H)", false);
  mask("zoneout_h", v.zoneout_h, {x[0], x[1], hidden}, "(T, B, H)", true);
  mask("zoneout_c", v.zoneout_c, {x[0], x[1], hidden}, "(T, B, H)", true);
  if (v.peephole.defined() && v.peephole.shape() != Shape{3, hidden}) {
    wrong_shape(op, "peephole", v.peephole.shape(), fmt::format("(3, H) with H = {}", hidden));
  }
  for (const auto& [name, limit] :
       {std::pair("gradient_clip", v.gradient_clip), std::pair("cell_clip", v.cell_clip)}) {
    if (!(limit >= 0)) {
      fail<UsageError>(op, "{} is {}: it must be positive, or 0 for none", name, limit);
    }
  }
}

void without_cell(std::string_view op, const RecurrentVariant& v) {
  const char* const given = v.zoneout_c.defined()  ? "zoneout_c"
                            : v.peephole.defined() ? "peephole"
                            : v.cell_clip > 0      ? "cell_clip"
                                                   : nullptr;
  if (given == nullptr) return;
  fail<UsageError>(op, "{} acts on c, which only the LSTM has: leave it out", given);
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

namespace tapegrad::recurrent {
namespace {

Var at_step(const Tensor& x, std::size_t t) {  // (T, B, H) -> (B, H)
  return x.slice(t, t + 1).reshape({x.size(1), x.size(2)});
}

}  // namespace

Vars unroll(const Var& x, Vars state, const Steps& steps, const StepOfTwin& step) {
  const Vars inputs = unbind(x);
  Vars y(inputs.size());
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    const std::size_t t = steps.reverse ? inputs.size() - 1 - k : k;
    if (!steps.lengths.defined()) {
      state = step(inputs[t], state, t);
      y[t] = state[0];
      continue;
    }
    // What is behind a sequence's end is not taken, whatever it is.
    const auto zeros = [](const Var& like) { return Tensor::zeros(like.shape(), like.dtype()); };
    const Tensor reads = going_on(steps, t, inputs[t].shape());
    const Vars next = step(where(reads, inputs[t], zeros(inputs[t])), state, t);
    for (std::size_t part = 0; part < state.size(); ++part) {
      const Tensor moves = going_on(steps, t, state[part].shape());
      if (part == 0) y[t] = where(moves, next[0], zeros(next[0]));
      state[part] = where(moves, next[part], state[part]);
    }
  }
  state.insert(state.begin(), stack(y));
  return state;
}

Var zone_out(const Tensor& z, std::size_t t, const Var& old, const Var& fresh) {
  if (!z.defined()) return fresh;
  const Var stays = at_step(z, t);
  return masked(old, stays.value()) + masked(fresh, (1.0 - stays).value());
}

Var seen(const Tensor& mask, const Var& h) { return mask.defined() ? masked(h, mask) : h; }

Var cut_gradient(const Var& a, double limit) { return limit > 0 ? clip_gradient(a, limit) : a; }

}  // namespace tapegrad::recurrent
