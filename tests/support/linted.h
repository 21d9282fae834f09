#pragma once

#include <cstdint>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/tape.h"
#include "../../core/rng.h"
#include "../../layers/dropout.h"
#include "../../layers/linear.h"

/// What the programs train that the linter looks at.
namespace tapegrad::testing {

/// Learns y (4, 1) of x (4, 2).
struct LintedNet {
  Linear body, head;
  Dropout dropout{0.5};

  explicit LintedNet(std::uint64_t seed = 1) {
    Rng rng(seed);
    body = Linear(2, 8, rng);
    head = Linear(8, 1, rng);
  }
  void visit(auto&& v) {
    v("body", body);
    v("head", head);
    v("dropout", dropout);
  }
  Var operator()(Tape& tape, const Var& x) const {
    return head(tape, dropout(tape, tanh(body(tape, x))));
  }
  static Tensor x() { return Rng(2).normal({4, 2}, 0, 1); }
  static Var loss_of(const Var& y) { return mse(y, Rng(3).normal({4, 1}, 0, 1)); }
  Var loss(Tape& tape) const { return loss_of((*this)(tape, x())); }
};

inline Tape training(std::uint64_t pass) { return Tape::training({.seed = 1, .pass = pass}); }

}  // namespace tapegrad::testing
