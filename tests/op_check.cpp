#include "op_check.h"

#include <cmath>

#include "../autograd/ops/elementwise.h"
#include "../autograd/ops/reduce.h"

namespace tapegrad::testing {
namespace {

/// backward() must add to what is there: 7 before, 7 + gradient after, the gradient as gradient()
/// gives it.
void check_accumulation(const std::string& name, const Op& op,
                        const std::vector<GradcheckInput>& inputs) {
  Parameters parameters;
  for (const GradcheckInput& in : inputs) {
    auto data = std::make_shared<ParameterData>();
    data->value = in.value.clone();
    data->grad = Tensor::full(in.value.shape(), 7, DType::float64);
    parameters.push_back({in.name, data});
  }
  Tape tape;
  Vars leaves;
  for (const NamedParameter& p : parameters) leaves.push_back(tape.leaf(p.data));
  Var loss;
  for (const Var& y : op(leaves)) loss = loss.defined() ? loss + sum(y) : sum(y);
  const Vars expected = tape.gradient(loss, leaves, {.retain = true});
  tape.backward(loss);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::size_t k = 0; k < inputs[i].value.numel(); ++k) {
      INFO(name, ": input ", i, ", element ", k);
      CHECK(parameters[i].grad().at(k) ==
            doctest::Approx(7 + expected[i].value().at(k)).epsilon(1e-14));
    }
  }
}

}  // namespace

std::vector<GradcheckInput> random_inputs(const std::vector<Shape>& shapes,
                                          const OpOptions& options) {
  Rng rng(options.seed, "op_check");
  std::vector<GradcheckInput> inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    Tensor value = rng.uniform(shapes[i], options.low, options.high, DType::float64);
    for (double& x : value.mutable_values<double>()) {
      if (std::abs(x) < options.away_from) x = std::copysign(options.away_from + std::abs(x), x);
    }
    inputs.push_back({"input " + std::to_string(i), value});
  }
  return inputs;
}

void check_op(const std::string& name, const Op& op, const std::vector<Shape>& shapes,
              OpOptions options) {
  const std::vector<GradcheckInput> all = random_inputs(shapes, options);
  for (std::size_t subset = 1; subset < (std::size_t{1} << all.size()); ++subset) {
    std::vector<GradcheckInput> differentiable;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if ((subset >> i & 1) != 0) differentiable.push_back(all[i]);
    }
    const TapeFunction f = [&](Tape&, std::span<const Var> leaves) {
      Vars x;
      for (std::size_t i = 0, next = 0; i < all.size(); ++i) {
        x.push_back((subset >> i & 1) != 0 ? leaves[next++] : Var(all[i].value));
      }
      return op(x);
    };
    const GradcheckReport first = gradcheck(f, differentiable);
    CHECK_MESSAGE(first, name, ", inputs ", subset, ": ", first.text());
    if (!options.second_order) continue;
    const GradcheckReport second = gradgradcheck(f, differentiable, {.seed = 2});
    CHECK_MESSAGE(second, name, ", inputs ", subset, ", second order: ", second.text());
  }
  check_accumulation(name, op, all);
}

}  // namespace tapegrad::testing
