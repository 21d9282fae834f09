#include "truncated_bptt.h"

#include <fmt/core.h>

#include <cstdint>
#include <vector>

#include "../../autograd/ops/shape.h"
#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"

namespace tapegrad::detail {
namespace {

constexpr const char* type = "TruncatedBPTT";

void check_window(const TruncatedBPTTOptions& options, const Tensor& x, const Tensor& before) {
  check::defined(type, {{"x", x}});
  const Shape& shape = x.shape();
  if (shape.rank() == 0 || shape[0] == 0) {
    check::wrong_shape(type, "x", shape, "(T, B, ...) with T >= 1");
  }
  if (shape[0] > options.k1) {
    fail<UsageError>(type, "x has {} steps but k1 is {}: cut the stream into windows of k1 steps",
                     shape[0], options.k1);
  }
  if (!before.defined()) return;
  if (shape.without(0) != before.shape().without(0)) {
    check::mismatch(type, {"x", "(T, B, ...)", shape},
                    {"the window before", "(T, B, ...)", before.shape()},
                    "all axes but the first must be equal; start() begins another stream");
  }
  if (x.dtype() != before.dtype()) {
    fail<DtypeError>(type, "x is {} but the window before was {}: convert one with to()", x.dtype(),
                     before.dtype());
  }
}

/// The model's steps, some of those of x; y must have as many, and the state as many parts as before.
Unrolled<Vars> steps_of(Tape& tape, const SequenceModel& model, const Tensor& x,
                        const Vars& state) {
  Unrolled<Vars> result = model(tape, x, state);
  check::defined(type, {{"the model's y", result.y}});
  const Shape& y = result.y.shape();
  if (y.rank() == 0 || y[0] != x.size(0)) {
    check::mismatch(type, {"x", "(T, B, ...)", x.shape()}, {"the model's y", "(T, ...)", y},
                    "T must match, a model gives an output for each step");
  }
  if (result.last.size() != state.size()) {
    fail<ShapeError>(type, "the model makes a state of {} parts from one of {}: they must match",
                     result.last.size(), state.size());
  }
  for (const Var& part : result.last) check::defined(type, {{"the model's state", part}});
  return result;
}

}  // namespace

void check_windows(const char* name, const TruncatedBPTTOptions& options) {
  const auto& [k1, k2, warm_up] = options;
  if (k1 == 0) fail<UsageError>(name, "k1 is 0: a window has at least one step");
  if (k2 < k1) {
    fail<UsageError>(name,
                     "k2 is {} but k1 is {}: gradients flow back through a whole window, k2 must "
                     "be at least k1",
                     k2, k1);
  }
  if (warm_up > k2) {
    fail<UsageError>(name,
                     "warm_up is {} but k2 is {}: no gradient learns what a state remembers for "
                     "more than k2 steps, warm_up must be at most k2",
                     warm_up, k2);
  }
}

Var StreamPast::run(Tape& tape, const TruncatedBPTTOptions& options, const Tensor& x,
                    const SequenceModel& model) {
  check_window(options, x, inputs);
  const Tensor all = inputs.defined() ? concat({inputs, x}, 0).value() : x;
  const std::size_t end = all.size(0), begin = end - x.size(0);
  // Of all steps, those before `warm` have no gradient; the next run goes from `next_begin` on.
  const std::size_t warm = begin - std::min(begin, options.context());
  const std::size_t next_begin = end - std::min(end, options.run_again());

  Vars now = state, next_state, outputs;
  std::size_t at = 0;
  for (const std::size_t stop : {std::min(warm, next_begin), std::max(warm, next_begin), end}) {
    if (stop > at) {
      const Tensor part = at == 0 && stop == end ? all : all.slice(at, stop);
      Unrolled<Vars> result;
      if (stop <= warm) {
        const Tape::Guard paused = tape.pause();
        result = steps_of(tape, model, part, now);
      } else {
        result = steps_of(tape, model, part, now);
      }
      if (stop > begin) {
        const std::size_t first = std::max(at, begin) - at;
        outputs.push_back(first == 0 ? result.y : slice(result.y, 0, first, stop - at));
      }
      now = std::move(result.last);
      at = stop;
    }
    if (at == next_begin) next_state = detached(now);
  }
  Var y = outputs.size() == 1 ? outputs[0] : concat(outputs, 0);
  // A copy: the caller may fill x again.
  Tensor next_inputs = next_begin < end ? all.slice(next_begin, end).clone() : Tensor();
  state = std::move(next_state);
  inputs = std::move(next_inputs);
  return y;
}

void StreamPast::save_inputs(Archive& a, std::size_t most) {
  // An object that is restored need not have seen a window: shape and dtype are the file's.
  const auto named = [&](const std::string& name, std::uint64_t now, std::uint64_t limit) {
    const std::uint64_t stored = a.peek(name, now);
    a(name, now, std::uint64_t{0}, limit);
    return std::min(stored, limit);
  };
  const auto rank =
      named("rank", inputs.defined() ? inputs.rank() : 0, most > 0 ? Shape::max_rank : 0);
  std::vector<std::size_t> dims;
  double elements = 1;  // the product of any numbers may overflow
  for (std::size_t k = 0; k < rank; ++k) {
    const std::size_t now = inputs.defined() && k < inputs.rank() ? inputs.size(k) : 0;
    const std::size_t limit = k == 0 ? std::min<std::size_t>(most, UINT32_MAX) : UINT32_MAX;
    dims.push_back(named(fmt::format("size.{}", k), now, limit));
    elements *= static_cast<double>(dims.back());
  }
  const bool present = rank > 0 && elements < 0x1p56;
  const DType dtype = inputs.defined() ? inputs.dtype() : DType::float32;
  const auto stored =
      named("dtype", static_cast<std::uint64_t>(dtype), static_cast<std::uint64_t>(DType::int32));
  a.tensor("inputs", inputs, present, present ? Shape(dims) : Shape(), static_cast<DType>(stored));
}

}  // namespace tapegrad::detail
