#include "tape_gradcheck.h"

#include <fmt/core.h>

#include <algorithm>

#include "../../core/fail-inl.h"
#include "../../core/words-inl.h"
#include "../../core/write-inl.h"
#include "../inspect/observer.h"
#include "../ops/elementwise.h"
#include "../ops/reduce.h"

namespace tapegrad {
namespace {

/// sum over outputs and their elements of weight * value: one number in which nothing cancels by
/// accident. A number alone keeps its size: then the gradients are those that training sees.
Var weighted(const Vars& outputs, std::uint64_t seed, std::string_view stream) {
  if (outputs.empty()) {
    fail<UsageError>("gradcheck", "the function gave no outputs: it must return at least one");
  }
  if (outputs.size() == 1 && outputs[0].value().numel() == 1) return sum(outputs[0]);
  Rng rng(seed, stream);
  Var total;
  for (const Var& y : outputs) {
    const Var part = sum(y * Var(rng.normal(y.shape(), 0, 1, y.dtype())));
    total = total.defined() ? total + part : part;
  }
  return total;
}

/// `value`: its elements are the checker's to change until it has returned.
GradBlock block_of(const std::string& name, Tensor value, const Tensor& gradient) {
  const std::span<const std::size_t> dims = value.shape().dims();
  GradBlock block = grad_block(name, detail::write<double>(value), gradient.data<double>(),
                               value.numel(), {dims.begin(), dims.end()});
  block.shape.assign(dims.begin(), dims.end());  // a scalar has no axes
  return block;
}

/// Calls the rows of an LSTM's parameters by their gates: torch's names and layout, which are ours
/// too. It is an LSTM if the weight_hh of the same name has 4 H rows and H columns.
void name_gates(std::vector<GradBlock>& blocks) {
  for (GradBlock& block : blocks) {
    for (const std::string_view part : {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}) {
      const std::size_t at = block.name.find(part);
      if (at == std::string::npos || block.shape.empty()) continue;
      std::string name = block.name;
      name.replace(at, part.size(), "weight_hh");
      const auto hh = std::ranges::find(blocks, name, &GradBlock::name);
      if (hh == blocks.end() || hh->shape.size() != 2 || hh->shape[0] != 4 * hh->shape[1]) continue;
      if (block.shape[0] == hh->shape[0]) block.gates = {"i", "f", "g", "o"};
    }
  }
}

/// Branches that relu, max, clamp took in the last evaluation, and in the first one,
/// which stands at the values that are checked.
class Branches : public Observer {
 public:
  Branches() : Observer(Interest::branches) {}

  void start() { taken_.clear(); }
  void on_branch(std::size_t node, const char* op, const Tensor& choice) override {
    taken_.push_back({node, op, choice});
  }

  /// 0 as long as all goes as in the first evaluation.
  std::uint64_t differ() {
    if (first_.empty()) first_ = taken_;
    return where().empty() ? 0 : 1;
  }
  /// "relu#4[2, 17]", the first branch that went another way than at first.
  std::string where() const {
    for (std::size_t k = 0; k < std::min(first_.size(), taken_.size()); ++k) {
      const Tensor &a = first_[k].choice, &b = taken_[k].choice;
      for (std::size_t i = 0; i < a.numel(); ++i) {
        if (i < b.numel() && a.at(i) == b.at(i)) continue;
        return fmt::format("{}#{}[{}]", taken_[k].op, taken_[k].node,
                           joined(place(a.shape(), i), ", "));
      }
    }
    return first_.size() == taken_.size() ? "" : "the number of branches";
  }

 private:
  struct Branch {
    std::size_t node;
    const char* op;
    Tensor choice;
  };
  static std::vector<std::size_t> place(const Shape& shape, std::size_t index) {
    std::vector<std::size_t> result(shape.rank());
    for (std::size_t axis = shape.rank(); axis-- > 0; index /= shape[axis]) {
      result[axis] = index % shape[axis];
    }
    return result;
  }

  std::vector<Branch> first_, taken_;
};

/// The values that the checker writes into by pointers, without new versions: what is cached by
/// version notices at touch(), and at the end, when the values are put back.
class Perturbed {
 public:
  Perturbed(std::vector<Tensor> inputs, const Parameters& parameters) : values_(std::move(inputs)) {
    for (const NamedParameter& p : parameters) values_.push_back(p.value());
  }
  Perturbed(const Perturbed&) = delete;
  Perturbed& operator=(const Perturbed&) = delete;
  ~Perturbed() { touch(); }
  void touch() {
    for (Tensor& value : values_) detail::write<double>(value);
  }

 private:
  std::vector<Tensor> values_;
};

void check_float64(const std::string& name, const Tensor& value) {
  if (value.dtype() == DType::float64) return;
  fail<DtypeError>(
      "gradcheck",
      "{} is {}: it must be float64; float32 cannot resolve a difference of two losses", name,
      value.dtype());
}

}  // namespace

Parameters detail::learned(const Parameters& all) {
  Parameters result;
  for (const NamedParameter& p : all.distinct()) {
    if (p.requires_grad()) result.push_back(p);
  }
  return result;
}

GradcheckReport gradcheck(const TapeFunction& f, const std::vector<GradcheckInput>& inputs,
                          const Parameters& all, const GradcheckOptions& options) {
  const Parameters parameters = detail::learned(all);
  std::vector<Tensor> values;  // of the inputs, ours to perturb
  for (const GradcheckInput& input : inputs) {
    check_float64(input.name, input.value);
    values.push_back(input.value.clone());
  }
  for (const NamedParameter& p : parameters) check_float64(p.name, p.value());

  Branches branches;
  const auto with_tape = [&](auto&& use) {
    Tape tape = Tape::training({.seed = options.seed, .pass = 0});
    observe(tape, branches);
    branches.start();
    Vars leaves;
    for (const Tensor& value : values) leaves.push_back(tape.leaf(value));
    const Var loss = weighted(f(tape, leaves), options.seed, "gradcheck outputs");
    return use(tape, leaves, loss);
  };

  const Vars gradients = with_tape([&](Tape& tape, Vars x, const Var& loss) {
    for (const NamedParameter& p : parameters) x.push_back(tape.leaf(p));
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
    blocks.push_back(
        block_of(parameters[i].name, parameters[i].value(), gradients[values.size() + i].value()));
  }
  name_gates(blocks);
  GradcheckOptions with_branches = options;
  if (!options.branches) {
    with_branches.branches = [&] { return branches.differ(); };
    with_branches.where = [&] { return branches.where(); };
  }
  Perturbed perturbed(values, parameters);
  return gradcheck(
      [&] {
        perturbed.touch();
        return with_tape([](Tape&, const Vars&, const Var& loss) { return loss.item(); });
      },
      blocks, with_branches);
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
