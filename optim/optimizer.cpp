#include "optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "../core/error.h"
#include "../core/pool.h"

namespace tapegrad {

void Optimizer::check_groups() const {
  if (groups() == 0) throw UsageError(fmt::format("[{}] there are no groups: give one", name_));
  for (std::size_t g = 0; g < groups(); ++g) {
    check_learning_rate(learning_rates_[g], g);
    if (std::ranges::find(group_of_, g) != group_of_.end()) continue;
    throw UsageError(
        about(g) +
        " there are no parameters: nothing could be learned; construct the model first, and do not "
        "use it after a move");
  }
  const auto named = [&](std::size_t i) {
    const std::string& name = parameters_[i].name;
    return groups() == 1 ? name : fmt::format("{} of group {}", name, group_of_[i]);
  };
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const NamedParameter& p = parameters_[i];
    if (!p.defined() || !p.value().defined()) {
      throw UsageError(fmt::format("[{}] {} is undefined: it must have a value", name_, named(i)));
    }
    if (p.value().dtype() == DType::int32) {
      throw DtypeError(
          fmt::format("[{}] {} is int32: it must be float32 or float64", name_, named(i)));
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (p.data() != parameters_[k].data()) continue;
      throw UsageError(fmt::format(
          "[{}] {} and {} are the same parameter: it would move twice a step; name it once", name_,
          named(k), named(i)));
    }
  }
}

double Optimizer::learning_rate(std::size_t group) const {
  if (group < groups()) return learning_rates_[group];
  throw UsageError(
      fmt::format("[{}] there is no group {}: it must be in [0, {})", name_, group, groups()));
}

void Optimizer::check_learning_rate(double lr, std::size_t group) const {
  check_option(group, "lr", lr, 0, INFINITY);
}

void Optimizer::set_learning_rate(double lr) {
  check_learning_rate(lr, 0);
  for (double& rate : learning_rates_) rate = lr;
}

void Optimizer::set_learning_rate(double lr, std::size_t group) {
  (void)learning_rate(group);
  check_learning_rate(lr, group);
  learning_rates_[group] = lr;
}

std::string Optimizer::about(std::size_t group) const {
  return groups() == 1 ? fmt::format("[{}]", name_) : fmt::format("[{}] in group {}", name_, group);
}

void Optimizer::check_option(std::size_t group, const char* option, double value, double low,
                             double high) const {
  if (value >= low && value < high) return;
  throw UsageError(
      fmt::format("{} {} is {}: it must be in [{}, {})", about(group), option, value, low, high));
}

std::size_t Optimizer::checked_index(std::size_t i) const {
  if (i < parameters_.size()) return i;
  throw UsageError(
      fmt::format("[{}] parameter {} does not exist: there are {}", name_, i, parameters_.size()));
}

void Optimizer::check_gradients() const {
  bool any = false;
  for (const NamedParameter& p : parameters_) {
    const Tensor& value = p.value();
    const Tensor& grad = p.grad();
    if (!grad.defined() || !p.requires_grad()) continue;
    any = true;
    if (grad.shape() != value.shape()) {
      throw ShapeError(fmt::format(
          "[{}] {} has shape {} but its gradient has shape {}: the shapes must be equal", name_,
          p.name, to_string(value.shape()), to_string(grad.shape())));
    }
    if (grad.shares_elements_with(value)) {
      throw UsageError(fmt::format(
          "[{}] the gradient of {} lies in the memory of its value: give it a tensor of its own",
          name_, p.name));
    }
    if (grad.dtype() != value.dtype()) {
      throw DtypeError(fmt::format("[{}] {} is {} but its gradient is {}: the dtypes must be equal",
                                   name_, p.name, to_string(value.dtype()),
                                   to_string(grad.dtype())));
    }
  }
  if (any) return;
  throw UsageError(fmt::format(
      "[{}] no parameter has a gradient, so nothing would move: call backward() first, with a loss "
      "of the model that these parameters belong to",
      name_));
}

void Optimizer::prepare(std::initializer_list<std::vector<Tensor>*> states) const {
  pool::Vector<std::pair<Tensor*, Tensor>> fresh;
  for (std::vector<Tensor>* const state : states) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const NamedParameter& p = parameters_[i];
      if (!moves(i) || !remembers(i)) continue;
      const Shape& shape = p.value().shape();
      const DType dtype = p.value().dtype();
      Tensor& s = (*state)[i];
      if (!s.defined()) {
        fresh.emplace_back(&s, Tensor::zeros(shape, dtype));
      } else if (s.shape() != shape || s.dtype() != dtype) {
        throw UsageError(fmt::format(
            "[{}] {} is {} {} but was {} {} in its first step: make a new optimizer", name_, p.name,
            to_string(dtype), to_string(shape), to_string(s.dtype()), to_string(s.shape())));
      }
    }
  }
  for (auto& [s, zeros] : fresh) *s = std::move(zeros);
}

}  // namespace tapegrad
