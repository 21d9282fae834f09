#include "op_check.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "extended.h"
#include "is_worse.h"

namespace tapegrad::testing {
namespace {

/// A number that every output and every element of it has its own share in.
Var weighted_sum(const Vars& outputs) {
  Rng rng(3, "op_check weights");
  Var total;
  for (const Var& y : outputs) {
    const Tensor weights = rng.normal(y.shape(), 0, 1, DType::float64).to(y.dtype());
    const Var part = sum(y * Var(weights));
    total = total.defined() ? total + part : part;
  }
  return total;
}

/// Gradients of the weighted sum for all inputs.
Vars gradients(const Op& op, const std::vector<Tensor>& inputs) {
  Tape tape;
  Vars leaves;
  for (const Tensor& in : inputs) leaves.push_back(tape.leaf(in));
  const Var loss = weighted_sum(op(leaves));
  return tape.gradient(loss, leaves);
}

/// Gradients add up: backward() to the 7 that a parameter has before, and the op's rule to the 5
/// that a later use of each input has left there already.
void check_accumulation(const std::string& name, const Op& op,
                        const std::vector<GradcheckInput>& inputs) {
  Parameters parameters;
  for (const GradcheckInput& in : inputs) {
    Parameter parameter(in.value.clone());
    parameter.set_grad(Tensor::full(in.value.shape(), 7, DType::float64));
    parameters.push_back({in.name, parameter});
  }
  Tape tape;
  Vars leaves;
  for (const NamedParameter& p : parameters) leaves.push_back(tape.leaf(p));
  const Var loss = weighted_sum(op(leaves));
  const Vars expected = tape.gradient(loss, leaves, {.retain = true});
  Var more = loss;
  for (const Var& leaf : leaves) more = more + sum(5.0 * leaf);
  tape.backward(more);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    CHECK(expected[i].shape() == inputs[i].value.shape());
    for (std::size_t k = 0; k < inputs[i].value.numel(); ++k) {
      INFO(name, ": input ", i, ", element ", k);
      CHECK(parameters[i].grad().at(k) ==
            doctest::Approx(12 + expected[i].value().at(k)).epsilon(1e-14));
    }
  }
}

/// The same inputs, which float32 holds exactly, in both precisions.
void check_float32(const std::string& name, const Op& op, const std::vector<GradcheckInput>& inputs,
                   double tolerance) {
  std::vector<Tensor> single, twin;
  for (const GradcheckInput& in : inputs) {
    single.push_back(in.value.to(DType::float32));
    twin.push_back(single.back().to(DType::float64));
  }
  const Vars got = gradients(op, single);
  const Vars expected = gradients(op, twin);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO(name, " in float32, input ", i);
    CHECK(got[i].dtype() == DType::float32);
    REQUIRE(got[i].shape() == expected[i].shape());
    double largest = 0, worst = 0;
    for (std::size_t k = 0; k < inputs[i].value.numel(); ++k) {
      const double reference = expected[i].value().at(k);
      const double error = std::abs(got[i].value().at(k) - reference);
      if (is_worse(std::abs(reference), largest)) largest = std::abs(reference);
      if (is_worse(error, worst)) worst = error;
    }
    CHECK(std::isfinite(largest));
    CHECK(worst <= tolerance * largest + 1e-30);
  }
}

void check_orders(const std::string& name, const Op& op, const std::vector<GradcheckInput>& all,
                  const OpOptions& options) {
  for (std::size_t subset = 1; subset < (std::size_t{1} << all.size()); ++subset) {
    std::vector<GradcheckInput> differentiable;
    std::size_t elements = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if ((subset >> i & 1) == 0) continue;
      differentiable.push_back(all[i]);
      elements += all[i].value.numel();
    }
    if (elements == 0) continue;  // nothing to take a difference of
    const TapeFunction f = [&](Tape&, std::span<const Var> leaves) {
      Vars x;
      for (std::size_t i = 0, next = 0; i < all.size(); ++i) {
        x.push_back((subset >> i & 1) != 0 ? leaves[next++] : Var(all[i].value));
      }
      return op(x);
    };
    const GradcheckReport first = gradcheck(f, differentiable, {}, {.seed = options.seed});
    CHECK_MESSAGE(first, name, ", inputs ", subset, ": ", first.text());
    if (!options.second_order) continue;
    const GradcheckReport second = gradgradcheck(f, differentiable, {.seed = options.seed + 1});
    CHECK_MESSAGE(second, name, ", inputs ", subset, ", second order: ", second.text());
  }
}

/// The rule that is recorded for second order gives the gradients of the raw path. (That its own
/// derivatives are right, which gradgradcheck finds, does not say so.)
void check_graph(const std::string& name, const Op& op, const std::vector<GradcheckInput>& inputs) {
  Tape tape;
  Vars leaves;
  for (const GradcheckInput& in : inputs) leaves.push_back(tape.leaf(in.value));
  const Var loss = weighted_sum(op(leaves));
  const Vars recorded = tape.gradient(loss, leaves, {.create_graph = true});
  const Vars raw = tape.gradient(loss, leaves);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::size_t k = 0; k < inputs[i].value.numel(); ++k) {
      INFO(name, ", recorded: input ", i, ", element ", k);
      CHECK(recorded[i].value().at(k) == doctest::Approx(raw[i].value().at(k)).epsilon(1e-12));
    }
  }
}

/// Moves the elements apart: the k-th smallest of all of them lies in the k-th of equal parts of
/// [low, high), in its middle 60 %.
void make_distinct(std::vector<GradcheckInput>& inputs, const OpOptions& options) {
  std::vector<double*> elements;
  for (GradcheckInput& in : inputs) {
    for (double& x : in.value.mutable_values<double>()) elements.push_back(&x);
  }
  std::ranges::sort(elements, {}, [](const double* x) { return *x; });
  const double part = (options.high - options.low) / static_cast<double>(elements.size());
  for (std::size_t k = 0; k < elements.size(); ++k) {
    const double place = (*elements[k] - options.low) / (options.high - options.low);
    *elements[k] = options.low + part * (static_cast<double>(k) + 0.2 + 0.6 * place);
  }
}

}  // namespace

std::vector<GradcheckInput> random_inputs(const std::vector<Shape>& shapes,
                                          const OpOptions& options) {
  Rng rng(options.seed, "op_check");
  std::vector<GradcheckInput> inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    Tensor value = rng.uniform(shapes[i], options.low, options.high, DType::float64);
    inputs.push_back({"input " + std::to_string(i), value});
  }
  if (options.distinct) make_distinct(inputs, options);
  for (GradcheckInput& in : inputs) {
    for (double& x : in.value.mutable_values<double>()) {
      if (std::abs(x) < options.away_from) x = std::copysign(options.away_from + std::abs(x), x);
    }
  }
  return inputs;
}

void check_op(const std::string& name, const Op& op, const std::vector<Shape>& shapes,
              OpOptions options) {
  for (const std::uint64_t last = options.seed + seeds(); options.seed < last; ++options.seed) {
    const std::vector<GradcheckInput> inputs = random_inputs(shapes, options);
    check_orders(name, op, inputs, options);
    check_accumulation(name, op, inputs);
    if (options.second_order) check_graph(name, op, inputs);
    check_float32(name, op, inputs, options.float32_tolerance);
  }
}

}  // namespace tapegrad::testing
