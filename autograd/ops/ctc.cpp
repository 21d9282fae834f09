#include "ctc.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "../../core/check-inl.h"
#include "../../core/data/sequences.h"
#include "../../core/dispatch-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/kernels/ctc.h"
#include "../../core/kernels/elementwise.h"
#include "../../core/kernels/reduce.h"
#include "../node.h"
#include "elementwise.h"
#include "gather.h"
#include "loss_weights-inl.h"
#include "reduce.h"
#include "shape.h"
#include "softmax.h"

namespace tapegrad {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// `lengths` (B) int32 in [0, most], or all `most` if they are undefined.
Tensor checked_lengths(const char* op, const char* name, const Tensor& lengths, std::size_t B,
                       std::size_t most) {
  if (!lengths.defined()) return Tensor::full({B}, static_cast<double>(most), DType::int32);
  if (lengths.shape() != Shape{B}) {
    fail<ShapeError>(op, "{} has shape {}: it must be (B), B = {}", name, lengths.shape(), B);
  }
  if (lengths.dtype() != DType::int32)
    fail<DtypeError>(op, "{} is {}: it must be int32", name, lengths.dtype());
  for (std::size_t b = 0; b < B; ++b) {
    const std::int32_t n = lengths.data<std::int32_t>()[b];
    if (n >= 0 && static_cast<std::size_t>(n) <= most) continue;
    fail<UsageError>(op, "{} has {} for sequence {}: it must be in [0, {}]", name, n, b, most);
  }
  return lengths;
}

/// Checks logits and blank, and returns the number of steps of each sequence.
Tensor checked_steps(const char* op, const Shape& logits, DType dtype, const Tensor& input_lengths,
                     std::int32_t blank) {
  if (logits.rank() != 3 || logits.numel() == 0)
    check::wrong_shape(op, "logits", logits, "(T, B, C) with T, B, C >= 1");
  check::real(op, "logits", dtype);
  if (blank < 0 || static_cast<std::size_t>(blank) >= logits[2])
    fail<UsageError>(op, "blank is {}: it must be a class, in [0, {})", blank, logits[2]);
  return checked_lengths(op, "input_lengths", input_lengths, logits[1], logits[0]);
}

/// Everything but the logits, checked and as kernels take it.
kernels::CTCTargets checked_targets(const char* op, const Var& logits, const Tensor& ids,
                                    const Tensor& input_lengths, const Tensor& target_lengths,
                                    const CTCOptions& options) {
  check::defined(op, {{"logits", logits}, {"targets", ids}});
  const Shape& shape = logits.shape();
  const Tensor steps = checked_steps(op, shape, logits.dtype(), input_lengths, options.blank);
  const std::size_t B = shape[1];
  if (ids.rank() != 2 || ids.size(1) != B) {
    check::mismatch(op, {"logits", "(T, B, C)", shape}, {"targets", "(S, B)", ids.shape()},
                    "B must match");
  }
  if (ids.dtype() != DType::int32)
    fail<DtypeError>(op, "targets are {}: they must be int32", ids.dtype());
  const Tensor lengths = checked_lengths(op, "target_lengths", target_lengths, B, ids.size(0));
  return {ids, lengths, steps, options.blank};
}

/// Checks the ids of the targets, and that there are enough steps for them.
void check_alignments(const char* op, const kernels::CTCTargets& targets, std::size_t classes,
                      bool zero_infinity) {
  const std::size_t B = targets.ids.size(1);
  for (std::size_t b = 0; b < B; ++b) {
    const auto of_sequence = [b](const Tensor& x) {
      return static_cast<std::size_t>(x.data<std::int32_t>()[b]);
    };
    const std::int32_t* ids = targets.ids.data<std::int32_t>() + b;
    std::size_t needed = 0;
    for (std::size_t s = 0; s < of_sequence(targets.lengths); ++s) {
      const std::int32_t id = ids[s * B];
      if (id < 0 || static_cast<std::size_t>(id) >= classes || id == targets.blank) {
        fail<UsageError>(op,
                         "id {} at place {} of target {} is out of range: ids must be in [0, {}) "
                         "and not the blank {}",
                         id, s, b, classes, targets.blank);
      }
      needed += s > 0 && id == ids[(s - 1) * B] ? 2 : 1;
    }
    if (needed <= of_sequence(targets.steps) || zero_infinity) continue;
    fail<UsageError>(op,
                     "sequence {} has {} steps but its target needs {}, one for each id and one "
                     "between equal ids: give it more steps, or zero_infinity to leave it out",
                     b, of_sequence(targets.steps), needed);
  }
}

/// The losses (B) as the options ask for them.
Var reduced(const Var& losses, const Tensor& lengths, const CTCOptions& options) {
  Var counted = losses;
  if (options.zero_infinity) {
    Tensor finite = Tensor::empty(losses.shape(), DType::int32);
    std::int32_t* to = finite.mutable_data<std::int32_t>();
    for (std::size_t b = 0; b < finite.numel(); ++b) to[b] = losses.value().at(b) == inf ? 0 : 1;
    counted = where(finite, losses, Tensor::scalar(0, losses.dtype()));
  }
  switch (options.reduction) {
    case CTCReduction::none:
      return counted;
    case CTCReduction::sum:
      return sum(counted);
    case CTCReduction::mean:
      break;
  }
  return mean(counted / Var(kernels::clamp(lengths.to(losses.dtype()), 1, inf)));
}

/// A float64 constant that selects by being added: 0 where `selects(row, column)`, else -inf.
template <class Selects>
Var selection(const Shape& shape, Selects selects) {
  Tensor result = Tensor::empty(shape, DType::float64);
  double* to = result.mutable_data<double>();
  for (std::size_t i = 0; i < shape.numel(); ++i)
    to[i] = selects(i / shape[1], i % shape[1]) ? 0 : -inf;
  return result;
}

/// Losses (B), by the recurrence of core/kernels/ctc.h over log a_t (B, L), L = 2 S + 1 states; in
/// float64 and normalized as there.
Var losses_composed(const Var& logits, const kernels::CTCTargets& targets) {
  const std::size_t T = logits.size(0), B = logits.size(1);
  const Tensor states = kernels::ctc_states(targets);
  const Shape shape = states.shape();
  const std::size_t L = shape[1];
  const auto id = [&](std::size_t b, std::size_t s) {
    return states.data<std::int32_t>()[b * L + s];
  };
  const Var may_skip = selection(shape, [&](std::size_t b, std::size_t s) {
    return s >= 2 && id(b, s) != targets.blank && id(b, s) != id(b, s - 2);
  });
  const Var at_end = selection(shape, [&](std::size_t b, std::size_t s) {
    const auto end = 2 * static_cast<std::size_t>(targets.lengths.data<std::int32_t>()[b]);
    return s == end || s + 1 == end;
  });
  const Var nowhere = selection({B, 2}, [](std::size_t, std::size_t) { return false; });
  const Tensor goes_on = valid_steps(targets.steps, {T, B, L}).to(DType::int32);
  const Var read = valid_steps(targets.steps, logits.shape()).to(DType::float64);
  const Var x = select_counted(cast(logits, DType::float64), read);
  const Vars log_y = unbind(gather(log_softmax(x), 2, kernels::repeat(states, 0, T)));
  Var a = selection(shape, [](std::size_t, std::size_t s) { return s == 0; });  // t = -1
  Var log_factor = Tensor::zeros({B}, DType::float64);  // by which all a_t have become larger
  for (std::size_t t = 0; t < T; ++t) {
    const Var before = concat({nowhere, a}, 1);
    const Var from = stack({a, slice(before, 1, 1, L + 1), slice(before, 1, 0, L) + may_skip}, 2);
    a = where(goes_on.row(t), log_y[t] + logsumexp(from), a);
    const Var largest = clamp(max(a.detach(), 1), std::numeric_limits<double>::lowest(),
                              inf);  // -inf - -inf would be NaN
    a -= repeat(largest, 1, L);
    log_factor += largest;
  }
  return cast(-(logsumexp(a + at_end) + log_factor), logits.dtype());
}

}  // namespace

Var ctc_loss(const Var& logits, const Tensor& targets, const Tensor& input_lengths,
             const Tensor& target_lengths, const CTCOptions& options) {
  const kernels::CTCTargets checked =
      checked_targets("ctc_loss", logits, targets, input_lengths, target_lengths, options);
  check_alignments("ctc_loss", checked, logits.size(2), options.zero_infinity);
  const Var ids = checked.ids, lengths = checked.lengths, steps = checked.steps;
  Node n("ctc_loss", {logits, ids, lengths, steps});
  n.note("blank", options.blank);
  const kernels::CTC result = kernels::ctc(logits.value(), checked, n.recording());
  const Var losses = n.out(result.losses);
  if (n.recording()) {
    const Var dlogits = result.dlogits;
    n.rule([logits, ids, lengths, steps, dlogits, blank = options.blank](Grads& g) {
      if (!g.graph()) return g.add(0, kernels::ctc_backward(dlogits.value(), g.d().value()));
      g.through(
          [blank](const Vars& in) {
            return Vars{
                losses_composed(in[0], {in[1].value(), in[2].value(), in[3].value(), blank})};
          },
          {logits, ids, lengths, steps});
    });
  }
  return reduced(losses, checked.lengths, options);
}

Var ctc_loss_composed(const Var& logits, const Tensor& targets, const Tensor& input_lengths,
                      const Tensor& target_lengths, const CTCOptions& options) {
  const kernels::CTCTargets checked =
      checked_targets("ctc_loss_composed", logits, targets, input_lengths, target_lengths, options);
  check_alignments("ctc_loss_composed", checked, logits.size(2), options.zero_infinity);
  return reduced(losses_composed(logits, checked), checked.lengths, options);
}

std::vector<std::vector<std::int32_t>> ctc_greedy_decode(const Tensor& logits,
                                                         const Tensor& input_lengths,
                                                         std::int32_t blank) {
  constexpr const char* name = "ctc_greedy_decode";
  check::defined(name, {{"logits", logits}});
  const Tensor steps = checked_steps(name, logits.shape(), logits.dtype(), input_lengths, blank);
  const std::size_t B = logits.size(1), C = logits.size(2);
  std::vector<std::vector<std::int32_t>> ids(B);
  dispatch_float(logits.dtype(), [&]<class T>(T) {
    for (std::size_t b = 0; b < B; ++b) {
      std::int32_t before = blank;
      for (std::size_t t = 0; t < static_cast<std::size_t>(steps.data<std::int32_t>()[b]); ++t) {
        const std::span<const T> row = logits.values<T>().subspan((t * B + b) * C, C);
        if (std::ranges::any_of(row, [](T x) { return std::isnan(x); }))
          fail<NonFiniteError>(name, "step {} of sequence {} has a NaN", t, b);
        const auto now = static_cast<std::int32_t>(std::ranges::max_element(row) - row.begin());
        if (now != before && now != blank) ids[b].push_back(now);
        before = now;
      }
    }
  });
  return ids;
}

}  // namespace tapegrad
