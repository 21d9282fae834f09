#include <algorithm>

#include "../../autograd/ops/elementwise.h"
#include "../../core/dispatch-inl.h"
#include "../../core/kernels/dropout.h"
#include "stack-inl.h"

namespace tapegrad::stack_of {

void check_settings(const char* type, std::size_t layers, const StackSettings& s, bool has_c) {
  check::probability(type, "dropout", s.dropout);
  if (layers == 0) fail<UsageError>(type, "layers is 0: it must be at least 1");
  if (s.dropout > 0 && layers == 1) {
    fail<UsageError>(
        type, "dropout = {} acts between layers, but there is only one: put a Dropout after the {}",
        s.dropout, type);
  }
  const StackVariant& v = s.variant;
  check::probability(type, "input_dropout", v.input_dropout);
  check::probability(type, "recurrent_dropout", v.recurrent_dropout);
  check::probability(type, "weight_dropout", v.weight_dropout);
  check::probability(type, "zoneout_h", v.zoneout_h);
  check::probability(type, "zoneout_c", v.zoneout_c);
  for (const auto& [name, limit] :
       {std::pair("gradient_clip", v.gradient_clip), std::pair("cell_clip", v.cell_clip)}) {
    if (!(limit >= 0)) {
      fail<UsageError>(type, "{} is {}: it must be positive, or 0 for none", name, limit);
    }
  }
  if (!has_c && (v.zoneout_c > 0 || v.cell_clip > 0)) {
    fail<UsageError>(type, "{} acts on c, which only the LSTM has: leave it out",
                     v.cell_clip > 0 ? "cell_clip" : "zoneout_c");
  }
}

namespace {

/// z of zoneout: 1 with probability p and else 0 in training, p in evaluation; undefined for p = 0.
Tensor zoneout(Tape& tape, double p, const Shape& shape, DType dtype) {
  if (p == 0) return {};
  const std::optional<RandomKey> key = dropout_key(tape, p);
  if (!key) return Tensor::full(shape, p, dtype);
  Tensor z = kernels::dropout_mask(shape, p, key->bits, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    const std::span<T> values = z.mutable_values<T>();
    std::transform(values.begin(), values.end(), values.begin(),
                   [](T kept) { return kept == 0 ? T{1} : T{0}; });
  });
  return z;
}

}  // namespace

RecurrentVariant draw_variant(Tape& tape, const StackVariant& v, const Shape& x, std::size_t hidden,
                              DType dtype) {
  RecurrentVariant variant;
  if (const auto key = dropout_key(tape, v.recurrent_dropout)) {
    variant.recurrent_mask =
        kernels::dropout_mask({x[1], hidden}, v.recurrent_dropout, key->bits, dtype);
  }
  variant.zoneout_h = zoneout(tape, v.zoneout_h, {x[0], x[1], hidden}, dtype);
  variant.zoneout_c = zoneout(tape, v.zoneout_c, {x[0], x[1], hidden}, dtype);
  variant.gradient_clip = v.gradient_clip;
  variant.cell_clip = v.cell_clip;
  return variant;
}

Var merge(const Var& forward, const Var& backward, Merge merge) {
  switch (merge) {
    case Merge::sum:
      return forward + backward;
    case Merge::multiply:
      return forward * backward;
    case Merge::average:
      return 0.5 * (forward + backward);
    case Merge::concat:
      break;
  }
  return concat({forward, backward}, -1);
}

}  // namespace tapegrad::stack_of
