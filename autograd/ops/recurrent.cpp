#include <fmt/core.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>

#include "../../core/fail-inl.h"
#include "../../core/kernels/indexing.h"
#include "elementwise.h"
#include "embedding.h"
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
  real(op, name, part.dtype());
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

Tensor rows_of(const Tensor& x, const At& at) {
  return at.rows.defined() ? kernels::take_rows(x, at.rows) : x;
}
Tensor at_step(const Tensor& x, const At& at) {  // (T, B, H) -> (n, H)
  return rows_of(x.slice(at.t, at.t + 1).reshape({x.size(1), x.size(2)}), at);
}

/// x (B, ...) with one row after the other: (B, F).
Var as_rows(const Var& x) {
  return x.shape().rank() == 2 ? x : reshape(x, {x.size(0), x.value().numel() / x.size(0)});
}
/// Returns rows of x (B, ...).
Var take(const Var& x, const Tensor& rows) {
  return reshape(embedding(as_rows(x), rows), x.shape().with(0, rows.numel()));
}
/// Returns x (n, ...) as those rows of B, the others 0.
Var put(const Var& x, const Tensor& rows, std::size_t batch) {
  return reshape(scatter_rows(as_rows(x), rows, batch), x.shape().with(0, batch));
}
/// Returns x (B, ...) with these rows replaced by `fresh` (n, ...).
Var replace(const Var& x, const Tensor& rows, const Var& fresh) {
  const std::size_t batch = x.size(0), n = rows.numel();
  Tensor from = Tensor::empty({batch}, DType::int32);
  std::int32_t* const place = from.mutable_data<std::int32_t>();
  std::iota(place, place + batch, static_cast<std::int32_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    place[rows.data<std::int32_t>()[i]] = static_cast<std::int32_t>(i);
  }
  return take(concat({fresh, x}, 0), from);
}

}  // namespace

Unrolled<Vars> unroll(const Var& x, Vars state, const Steps& steps, const StepOfCell& step,
                      const OutputOfCell& output) {
  const Vars inputs = unbind(x);
  const std::size_t T = inputs.size(), B = x.size(1);
  Vars y(T);
  Shape shape;  // of y[t]
  for (std::size_t k = 0; k < T; ++k) {
    const std::size_t t = steps.reverse ? T - 1 - k : k;
    const At at{t, going_on(steps, t)};
    if (at.rows.defined() && at.rows.numel() == 0) continue;
    if (!at.rows.defined()) {
      state = step(inputs[t], state, at);
      y[t] = output(inputs[t], state);
    } else {
      const Var x_t = take(inputs[t], at.rows);
      Vars before;
      for (const Var& part : state) before.push_back(take(part, at.rows));
      const Vars next = step(x_t, before, at);
      y[t] = put(output(x_t, next), at.rows, B);
      for (std::size_t part = 0; part < state.size(); ++part) {
        state[part] = replace(state[part], at.rows, next[part]);
      }
    }
    shape = y[t].shape();
  }
  if (shape == Shape{}) {  // all sequences have length 0
    shape = output(Tensor::zeros(inputs[0].shape(), x.dtype()), state).shape();
  }
  for (Var& y_t : y) {
    if (!y_t.defined()) y_t = Tensor::zeros(shape, x.dtype());
  }
  return {stack(y), state};
}

Unrolled<Vars> unroll(const Var& x, Vars state, const Steps& steps, const StepOfCell& step) {
  return unroll(x, std::move(state), steps, step,
                [](const Var&, const Vars& next) { return next[0]; });
}

Var zone_out(const Tensor& z, const At& at, const Var& old, const Var& fresh) {
  if (!z.defined()) return fresh;
  const Var stays = at_step(z, at);
  return masked(old, stays.value()) + masked(fresh, (1.0 - stays).value());
}

Var seen(const Tensor& mask, const At& at, const Var& h) {
  return mask.defined() ? masked(h, rows_of(mask, at)) : h;
}

Var cut_gradient(const Var& a, double limit) { return limit > 0 ? clip_gradient(a, limit) : a; }

}  // namespace tapegrad::recurrent
