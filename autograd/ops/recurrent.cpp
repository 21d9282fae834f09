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

}  // namespace tapegrad::check
