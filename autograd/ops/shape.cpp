#include "shape.h"

#include <fmt/core.h>

#include <functional>
#include <utility>

#include "../../core/check-inl.h"
#include "../../core/kernels/indexing.h"
#include "../node.h"
#include "../tape_errors-inl.h"

namespace tapegrad {
namespace {

/// At least one part, all of one dtype.
void check_parts(const char* op, const Vars& parts) {
  if (parts.empty()) check::no_parts(op);
  for (const Var& part : parts) check::defined(op, {{"a part", part}});
  const DType dtype = parts[0].dtype();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].dtype() == dtype) continue;
    tape_errors::mixed_dtypes(op, "part 0", dtype, fmt::format("part {}", i), parts[i].dtype());
  }
}

/// Part k is [ends[k - 1], ends[k]) of the axis; the last end is its size.
void split_at(const Var& x, Axis axis, pool::Vector<std::size_t> ends, std::span<Var> parts) {
  Node n("split", {x});
  n.note("axis", axis);
  std::size_t begin = 0;
  for (std::size_t k = 0; k < ends.size(); ++k) {
    parts[k] = n.out(kernels::slice(x.value(), axis, begin, ends[k]));
    begin = ends[k];
  }
  n.rule([axis, ends = std::move(ends)](Grads& g) {
    if (g.graph()) {
      Vars d;
      for (std::size_t k = 0; k < ends.size(); ++k) d.push_back(g.d(k));
      return g.add(0, concat(d, axis));
    }
    auto [dx, beta] = g.into(0);
    if (beta == 0) dx.fill(0);
    for (std::size_t k = 0; k < ends.size(); ++k) {
      if (g.has(k)) kernels::add_slice(dx, g.d(k).value(), axis, k == 0 ? 0 : ends[k - 1]);
    }
  });
}

}  // namespace

Var reshape(const Var& x, const Shape& shape) {
  check::defined("reshape", {{"x", x}});
  if (x.shape() == shape) return x;
  if (x.shape().numel() != shape.numel()) {
    check::mismatch("reshape", {"x", "", x.shape()}, {"the result", "", shape},
                    "the numbers of elements must be equal");
  }
  Node n("reshape", {x});
  Var y = n.out(x.value().reshape(shape));
  n.rule([before = x.shape()](Grads& g) { g.add(0, reshape(g.d(), before)); });
  return y;
}

Var transpose(const Var& x, Axis axis0, Axis axis1) {
  check::defined("transpose", {{"x", x}});
  axis0 = check::axis("transpose", x.shape(), axis0);
  axis1 = check::axis("transpose", x.shape(), axis1);
  if (axis0 == axis1) return x;
  Node n("transpose", {x});
  n.note("axis0", axis0);
  n.note("axis1", axis1);
  Var y = n.out(kernels::transpose(x.value(), axis0, axis1));
  n.rule([axis0, axis1](Grads& g) { g.add(0, transpose(g.d(), axis0, axis1)); });
  return y;
}

Var transpose(const Var& x) {
  check::defined("transpose", {{"x", x}});
  if (x.shape().rank() != 2) {
    check::wrong_shape("transpose", "x", x.shape(), "of rank 2, (M, N), or the axes be given");
  }
  return transpose(x, 0, 1);
}

Var slice(const Var& x, Axis axis, std::size_t begin, std::size_t end) {
  check::defined("slice", {{"x", x}});
  const Axis typed = std::exchange(axis, check::axis("slice", x.shape(), axis));
  if (begin > end || end > x.size(axis)) {
    check::no_such_range("slice", x.shape(), typed, begin, end);
  }
  Node n("slice", {x});
  n.note("axis", axis);
  n.note("begin", begin);
  n.note("end", end);
  Var y =
      n.out(axis == 0 ? x.value().slice(begin, end) : kernels::slice(x.value(), axis, begin, end));
  n.rule([axis, begin, size = x.size(axis)](Grads& g) {
    if (g.graph()) return g.add(0, pad(g.d(), axis, begin, size));
    auto [dx, beta] = g.into(0);
    if (beta == 0) dx.fill(0);
    kernels::add_slice(dx, g.d().value(), axis, begin);
  });
  return y;
}

Var pad(const Var& x, Axis axis, std::size_t begin, std::size_t size) {
  check::defined("pad", {{"x", x}});
  check::real("pad", "x", x.dtype());
  const Axis typed = std::exchange(axis, check::axis("pad", x.shape(), axis));
  if (begin > size || x.size(axis) > size - begin) {
    check::no_such_range("pad", x.shape().with(axis, size), typed, begin, begin + x.size(axis));
  }
  Node n("pad", {x});
  n.note("axis", axis);
  n.note("begin", begin);
  Tensor whole = Tensor::zeros(x.shape().with(axis, size), x.dtype());
  kernels::add_slice(whole, x.value(), axis, begin);
  Var y = n.out(std::move(whole));
  n.rule([axis, begin, part = x.size(axis)](Grads& g) {
    g.add(0, slice(g.d(), axis, begin, begin + part));
  });
  return y;
}

Var concat(const Vars& parts, Axis axis) {
  check_parts("concat", parts);
  axis = check::axis("concat", parts[0].shape(), axis);
  pool::Vector<Tensor> tensors;
  pool::Vector<std::size_t> ends;
  std::size_t end = 0;
  for (const Var& part : parts) {
    if (part.shape().rank() != parts[0].shape().rank() ||
        part.shape().with(axis, 0) != parts[0].shape().with(axis, 0)) {
      check::mismatch("concat", {"the first part", "", parts[0].shape()},
                      {"another", "", part.shape()},
                      "all axes but the one of the concatenation must be equal");
    }
    tensors.push_back(part.value());
    ends.push_back(end += part.size(axis));
  }
  const pool::Vector<std::reference_wrapper<const Var>> inputs(parts.begin(), parts.end());
  Node n("concat", Node::InputSpan(inputs));
  n.note("axis", axis);
  Var y = n.out(kernels::concat(tensors, axis));
  n.rule([axis, ends = std::move(ends)](Grads& g) {
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (g.needs(i)) g.add(i, slice(g.d(), axis, i == 0 ? 0 : ends[i - 1], ends[i]));
    }
  });
  return y;
}

Var stack(const Vars& parts, Axis axis) {
  check_parts("stack", parts);
  axis = check::new_axis("stack", parts[0].shape(), axis);
  Vars thick;
  for (const Var& part : parts) {
    check::equal_shapes("stack", "the first part", parts[0].shape(), "another", part.shape());
    thick.push_back(reshape(part, part.shape().inserted(axis, 1)));
  }
  return concat(thick, axis);
}

Vars unbind(const Var& x) {
  check::defined("unbind", {{"x", x}});
  check::axis("unbind", x.shape(), 0);
  if (x.size(0) == 0) return {};
  Node n("unbind", {x});
  Vars steps;
  steps.reserve(x.size(0));
  for (std::size_t t = 0; t < x.size(0); ++t) steps.push_back(n.out(x.value().row(t)));
  n.rule([steps_count = x.size(0)](Grads& g) {
    if (g.graph()) {
      Vars d;
      for (std::size_t t = 0; t < steps_count; ++t) d.push_back(g.d(t));
      return g.add(0, stack(d));
    }
    auto [dx, beta] = g.into(0);
    if (beta == 0) dx.fill(0);
    for (std::size_t t = 0; t < steps_count; ++t) {
      if (!g.has(t)) continue;
      const Tensor d = g.d(t).value();
      kernels::add_slice(dx, d.reshape(d.shape().inserted(0, 1)), 0, t);
    }
  });
  return steps;
}

void detail::split_equally(const Var& x, Axis axis, std::span<Var> parts) {
  check::defined("split", {{"x", x}});
  const Axis typed = std::exchange(axis, check::axis("split", x.shape(), axis));
  const std::size_t count = parts.size();
  if (count == 0 || x.size(axis) % count != 0) {
    check::no_equal_parts("split", x.shape(), typed, count);
  }
  pool::Vector<std::size_t> ends;
  for (std::size_t k = 1; k <= count; ++k) ends.push_back(k * (x.size(axis) / count));
  split_at(x, axis, std::move(ends), parts);
}

Vars split(const Var& x, std::span<const std::size_t> sizes, Axis axis) {
  check::defined("split", {{"x", x}});
  if (sizes.empty()) check::no_parts("split");
  const Axis typed = std::exchange(axis, check::axis("split", x.shape(), axis));
  check::parts_fill_axis("split", x.shape(), typed, sizes);
  pool::Vector<std::size_t> ends;
  for (const std::size_t size : sizes) ends.push_back(ends.empty() ? size : ends.back() + size);
  Vars parts(sizes.size());
  split_at(x, axis, std::move(ends), parts);
  return parts;
}

}  // namespace tapegrad
