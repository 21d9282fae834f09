#include "dropout.h"

#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/kernels/dropout.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "../tape_state-inl.h"

namespace tapegrad {
namespace {

/// y = x mask, and 0 where mask is 0, whatever x is there.   dx = the same of dy
Var drop(const Var& x, const Var& mask, double p) {
  check::defined("dropout", {{"x", x}, {"mask", mask}});
  Node n("dropout", {x});
  n.note("p", p);
  Var y = n.out(kernels::masked(x.value(), mask.value()));
  n.rule([mask, p](Grads& g) { g.add(0, drop(g.d(), mask, p)); });
  return y;
}

/// Dropout with one decision for all elements along an axis.
Var dropout_along(const char* op, Tape& tape, const Var& x, double p, std::string_view site,
                  Axis axis, std::size_t rank, const char* rule) {
  check::defined(op, {{"x", x}});
  check::real(op, "x", x.dtype());
  tape.require_same_tape(x, op);
  check::probability(op, "p", p);
  if (x.shape().rank() != rank) check::wrong_shape(op, "x", x.shape(), rule);
  const std::optional<RandomKey> key = dropout_key(tape, p, site);
  if (!key) return x;
  const Tensor one = kernels::dropout_mask(x.shape().without(axis), p, key->bits, x.dtype());
  return drop(x, kernels::repeat(one, axis, x.size(axis)), p);
}

}  // namespace

std::optional<RandomKey> dropout_key(Tape& tape, double p, std::string_view site) {
  check::probability("dropout", "p", p);
  if (p == 0 || tape.mode() == Tape::Mode::evaluation) return std::nullopt;
  if (tape.mode() == Tape::Mode::unspecified) {
    fail<UsageError>(
        "dropout",
        "this tape says neither training nor evaluation: make it with Tape::training({{.seed = "
        "..., .pass = ...}}), Tape::evaluation() or Tape::inference()");
  }
  TapeState::of(tape).dropped = true;
  return tape.random_key(site);
}

Var dropout(Tape& tape, const Var& x, double p, std::string_view site) {
  check::defined("dropout", {{"x", x}});
  check::real("dropout", "x", x.dtype());  // in any mode, lest it come out in training alone
  tape.require_same_tape(x, "dropout");
  const std::optional<RandomKey> key = dropout_key(tape, p, site);
  return key ? dropout(x, p, *key) : x;
}

Var variational_dropout(Tape& tape, const Var& x, double p, std::string_view site) {
  return dropout_along("variational_dropout", tape, x, p, site, 0, 3, "a sequence, (T, B, F)");
}

Var row_dropout(Tape& tape, const Var& x, double p, std::string_view site) {
  return dropout_along("row_dropout", tape, x, p, site, 1, 2, "a table, (R, F)");
}

Var dropout(const Var& x, double p, RandomKey key) {
  check::defined("dropout", {{"x", x}});
  check::probability("dropout", "p", p);
  check::real("dropout", "x", x.dtype());
  return drop(x, kernels::dropout_mask(x.shape(), p, key.bits, x.dtype()), p);
}

}  // namespace tapegrad
