#include "min_cells.h"

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/shape.h"
#include "../../core/check-inl.h"

namespace tapegrad {
namespace {

Linear make_linear(const MinCellOptions& o, std::size_t blocks, Rng& rng) {
  return {o.input, blocks * o.hidden, rng, {.bias = o.bias, .dtype = o.dtype}};
}

Var candidate_of(const Var& u, MinCandidate candidate) {
  if (candidate == MinCandidate::linear) return u;
  const Var above = relu(u);
  return above + sigmoid(u - above);  // sigmoid(0) = 1/2
}

Var step(const char* type, Tape& tape, const ScanCoefficients& by, const Var& x, const Var& h) {
  check::defined(type, {{"h", h}});
  check::real(type, "h", h.dtype());
  tape.require_same_tape(h, type, "h");
  if (x.shape().rank() != 2) {
    check::wrong_shape(type, "x", x.shape(),
                       "one step, (B, I); a sequence (T, B, I) is for Recurrent");
  }
  if (h.shape() != by.a.shape()) {
    check::mismatch(type, {"a", "(B, H)", by.a.shape()}, {"h", "(B, H)", h.shape()},
                    "they must be equal");
  }
  return by.a * h + by.b;
}

Tensor zeros(const char* type, const Linear& linear, std::size_t blocks, std::size_t batch) {
  const Tensor& weight = linear.weight.value();
  const Shape shape{batch, weight.size(0) / blocks};
  if (batch == 0) check::wrong_shape(type, "the state (B, H)", shape, "of at least one row");
  return Tensor::zeros(shape, weight.dtype());
}

}  // namespace

MinGRUCell::MinGRUCell(const MinCellOptions& o, Rng& rng)
    : linear(make_linear(o, 2, rng)), candidate(o.candidate) {}

ScanCoefficients MinGRUCell::coefficients(Tape& tape, const Var& x) const {
  const auto [u_z, u_h] = split<2>(linear(tape, x), -1);
  return {sigmoid(-u_z), sigmoid(u_z) * candidate_of(u_h, candidate)};  // 1 - z = sigmoid(-u_z)
}

Var MinGRUCell::operator()(Tape& tape, const Var& x, const Var& h) const {
  return step("MinGRUCell", tape, coefficients(tape, x), x, h);
}

Var MinGRUCell::zero_state(std::size_t batch) const {
  return zeros("MinGRUCell", linear, 2, batch);
}

MinLSTMCell::MinLSTMCell(const MinCellOptions& o, Rng& rng)
    : linear(make_linear(o, 3, rng)), candidate(o.candidate) {}

ScanCoefficients MinLSTMCell::coefficients(Tape& tape, const Var& x) const {
  const auto [u_f, u_i, u_h] = split<3>(linear(tape, x), -1);
  const Var ratio = softplus(-u_i) - softplus(-u_f);  // -softplus(-u) = log sigmoid(u)
  return {sigmoid(ratio), sigmoid(-ratio) * candidate_of(u_h, candidate)};
}

Var MinLSTMCell::operator()(Tape& tape, const Var& x, const Var& h) const {
  return step("MinLSTMCell", tape, coefficients(tape, x), x, h);
}

Var MinLSTMCell::zero_state(std::size_t batch) const {
  return zeros("MinLSTMCell", linear, 3, batch);
}

}  // namespace tapegrad
