#include "dropout.h"

#include "../../core/error.h"
#include "../../core/kernels/elementwise.h"
#include "../node.h"
#include "check-inl.h"
#include "elementwise.h"

namespace tapegrad {

std::optional<RandomKey> dropout_key(Tape& tape, double p, std::string_view site) {
  check::probability("dropout", "p", p);
  if (p == 0 || tape.mode() == Tape::Mode::evaluation) return std::nullopt;
  if (tape.mode() == Tape::Mode::unspecified) {
    throw UsageError(
        "[dropout] this tape says neither training nor evaluation: make it with "
        "Tape::training({.seed = "
        "..., .pass = ...}), Tape::evaluation() or Tape::inference()");
  }
  return tape.random_key(site);
}

Var dropout(Tape& tape, const Var& x, double p, std::string_view site) {
  check::defined("dropout", {{"x", x}});
  tape.require_same_tape(x, "dropout");
  const std::optional<RandomKey> key = dropout_key(tape, p, site);
  return key ? dropout(x, p, *key) : x;
}

Var dropout(const Var& x, double p, RandomKey key) {  // y = x mask;   dx = dy mask
  check::defined("dropout", {{"x", x}});
  check::probability("dropout", "p", p);
  check::real("dropout", "x", x.dtype());
  const Var mask = kernels::dropout_mask(x.shape(), p, key.bits, x.dtype());
  Node n("dropout", {x});
  n.note("p", p);
  Var y = n.out(kernels::mul(x.value(), mask.value()));
  n.rule([mask](Grads& g) { g.add(0, g.d() * mask); });
  return y;
}

}  // namespace tapegrad
