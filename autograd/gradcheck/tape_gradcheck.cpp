#include "tape_gradcheck.h"

#include <fmt/format.h>

#include "../../core/error.h"
#include "../ops/elementwise.h"
#include "../ops/reduce.h"

namespace tapegrad {
namespace {

/// sum over outputs and their elements of weight * value: one number in which nothing cancels by
/// accident.
Var weighted(const Vars& outputs, std::uint64_t seed, std::string_view stream) {
  Rng rng(seed, stream);
  Var total;
  for (const Var& y : outputs) {
    const Var part = sum(y * Var(rng.normal(y.shape(), 0, 1, y.dtype())));
    total = total.defined() ? total + part : part;
  }
  return total;
}

GradBlock block_of(const std::string& name, Tensor& value, const Tensor& gradient) {
  const std::span<const std::size_t> dims = value.shape().dims();
  GradBlock block = grad_block(name, value.mutable_data<double>(), gradient.data<double>(),
                               value.numel(), {dims.begin(), dims.end()});
  block.shape.assign(dims.begin(), dims.end());  // a scalar has no axes
  return block;
}

void check_float64(const std::string& name, const Tensor& value) {
  if (value.dtype() == DType::float64) return;
  throw DtypeError(fmt::format(
      "[gradcheck] {} is {}: it must be float64; float32 cannot resolve a difference of two losses",
      name, to_string(value.dtype())));
}

}  // namespace

GradcheckReport gradcheck(const TapeFunction& f, const std::vector<GradcheckInput>& inputs,
                          const Parameters& parameters, const GradcheckOptions& options) {
  std::vector<Tensor> values;  // of the inputs, ours to perturb
  for (const GradcheckInput& input : inputs) {
    check_float64(input.name, input.value);
    values.push_back(input.value.clone());
  }
  for (const NamedParameter& p : parameters) check_float64(p.name, p.value());

  const auto with_tape = [&](auto&& use) {
    Tape tape = Tape::training({.seed = options.seed, .pass = 0});
    Vars leaves;
    for (const Tensor& value : values) leaves.push_back(tape.leaf(value));
    const Var loss = weighted(f(tape, leaves), options.seed, "gradcheck outputs");
    return use(tape, leaves, loss);
  };

  const Vars gradients = with_tape([&](Tape& tape, Vars x, const Var& loss) {
    for (const NamedParameter& p : parameters) x.push_back(tape.leaf(p.data));
    if (loss.recorded()) return tape.gradient(loss, x);
    for (Var& v : x)
      v = Tensor::zeros(v.shape(), DType::float64);  // f is constant, as the slope of a linear op
    return x;
  });
  std::vector<GradBlock> blocks;
  for (std::size_t i = 0; i < values.size(); ++i) {
    blocks.push_back(block_of(inputs[i].name, values[i], gradients[i].value()));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    blocks.push_back(block_of(parameters[i].name, parameters[i].data->value,
                              gradients[values.size() + i].value()));
  }
  return gradcheck(
      [&] {
        // The checker has written behind the tensors' backs: what is cached by version must notice.
        for (Tensor& value : values) value.mutable_data<double>();
        for (const NamedParameter& p : parameters) p.data->value.mutable_data<double>();
        return with_tape([](Tape&, const Vars&, const Var& loss) { return loss.item(); });
      },
      blocks, options);
}

GradcheckReport gradcheck(const std::function<Var(Tape&)>& f, const Parameters& parameters,
                          const GradcheckOptions& options) {
  return gradcheck([&](Tape& tape, std::span<const Var>) { return Vars{f(tape)}; },
                   std::vector<GradcheckInput>{}, parameters, options);
}

GradcheckReport gradgradcheck(const TapeFunction& f, const std::vector<GradcheckInput>& inputs,
                              const GradcheckOptions& options) {
  return gradcheck(
      [&](Tape& tape, std::span<const Var> x) {
        const Var y = weighted(f(tape, x), options.seed, "gradgradcheck outputs");
        return tape.gradient(y, {x.begin(), x.end()}, {.retain = true, .create_graph = true});
      },
      inputs, {}, options);
}

}  // namespace tapegrad
