#include "derivatives.h"

#include <algorithm>

#include "../core/dispatch-inl.h"
#include "ops/elementwise.h"
#include "ops/reduce.h"
#include "tape_errors-inl.h"

namespace tapegrad {
namespace {

/// x[0] . v[0] + x[1] . v[1] + ...
Var dot(const Vars& x, const Vars& v) {
  Var total;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Var part = sum(x[i] * v[i]);
    total = total.defined() ? total + part : part;
  }
  return total;
}

void check_directions(const char* op, const Vars& x, const Vars& v) {
  if (x.size() != v.size()) tape_errors::directions(op, x.size(), v.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (v[i].shape() != x[i].shape() || v[i].dtype() != x[i].dtype()) {
      tape_errors::not_alike(op, "a direction v", v[i].value(), "its x", x[i].shape(),
                             x[i].dtype());
    }
  }
}

}  // namespace

Var jvp(Tape& tape, const Var& y, const Vars& x, const Vars& v) {
  check_directions("jvp", x, v);
  const Var u = tape.leaf(Tensor::zeros(y.shape(), y.dtype()));
  const Var directional = dot(tape.gradient(y, x, {.create_graph = true}, u), v);
  if (!directional.recorded()) return Tensor::zeros(y.shape(), y.dtype());  // y depends on no x
  return tape.gradient(directional, {u}, {.retain = true})[0];
}

Vars hvp(Tape& tape, const Var& y, const Vars& x, const Vars& v) {
  check_directions("hvp", x, v);
  const Var slope = dot(tape.gradient(y, x, {.create_graph = true}), v);
  if (slope.recorded()) return tape.gradient(slope, x, {.retain = true});
  Vars zeros;  // the gradient is constant
  for (const Var& each : x) zeros.push_back(Tensor::zeros(each.shape(), each.dtype()));
  return zeros;
}

Tensor hessian(Tape& tape, const Var& y, const Var& x) {
  const std::size_t n = x.shape().numel();
  Tensor result = Tensor::zeros({n, n}, x.dtype());
  const Var slope = tape.gradient(y, {x}, {.create_graph = true})[0];
  if (!slope.recorded()) return result;
  dispatch_float(x.dtype(), [&]<class T>(T) {
    T* row = result.mutable_data<T>();
    for (std::size_t i = 0; i < n; ++i, row += n) {
      Tensor one = Tensor::zeros(x.shape(), x.dtype());
      one.mutable_data<T>()[i] = 1;
      const Vars d = tape.gradient(slope, {x}, {.retain = true}, one);
      std::ranges::copy(d[0].value().template values<T>(), row);
    }
  });
  return result;
}

}  // namespace tapegrad
