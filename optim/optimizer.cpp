#include "optimizer.h"

#include <fmt/format.h>

#include <cmath>

#include "../core/error.h"

namespace tapegrad {

void zero_grad(const Parameters& parameters) {
  for (const NamedParameter& p : parameters) p.data->grad = Tensor();
}

Optimizer::Optimizer(const char* name, Parameters parameters, double learning_rate)
    : name_(name), parameters_(std::move(parameters)) {
  if (parameters_.empty()) {
    throw UsageError(fmt::format("[{}] there are no parameters: nothing could be learned", name_));
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const NamedParameter& p = parameters_[i];
    if (p.data == nullptr || !p.value().defined()) {
      throw UsageError(fmt::format("[{}] {} is undefined: it must have a value", name_, p.name));
    }
    if (p.value().dtype() == DType::int32) {
      throw DtypeError(
          fmt::format("[{}] {} is int32: it must be float32 or float64", name_, p.name));
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (p.data != parameters_[k].data) continue;
      throw UsageError(fmt::format(
          "[{}] {} and {} are the same parameter: it would move twice a step; name it once", name_,
          parameters_[k].name, p.name));
    }
  }
  set_learning_rate(learning_rate);
}

void Optimizer::set_learning_rate(double lr) {
  check_option("lr", lr, 0, INFINITY);
  learning_rate_ = lr;
}

void Optimizer::check_option(const char* option, double value, double low, double high) const {
  if (value >= low && value < high) return;
  throw UsageError(
      fmt::format("[{}] {} is {}: it must be in [{}, {})", name_, option, value, low, high));
}

void Optimizer::check_gradients() const {
  for (const auto& [name, data] : parameters_) {
    if (!moves(*data)) continue;
    const Tensor& value = data->value;
    const Tensor& grad = data->grad;
    if (grad.shape() != value.shape()) {
      throw ShapeError(fmt::format(
          "[{}] {} has shape {} but its gradient has shape {}: the shapes must be equal", name_,
          name, to_string(value.shape()), to_string(grad.shape())));
    }
    if (grad.dtype() != value.dtype()) {
      throw DtypeError(fmt::format("[{}] {} is {} but its gradient is {}: the dtypes must be equal",
                                   name_, name, to_string(value.dtype()), to_string(grad.dtype())));
    }
  }
}

void Optimizer::prepare(std::vector<Tensor>& state) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto& [name, data] = parameters_[i];
    if (!moves(*data)) continue;
    const Shape& shape = data->value.shape();
    const DType dtype = data->value.dtype();
    Tensor& s = state[i];
    if (!s.defined()) s = Tensor::zeros(shape, dtype);
    if (s.shape() == shape && s.dtype() == dtype) continue;
    throw UsageError(fmt::format(
        "[{}] {} is {} {} but was {} {} in its first step: make a new optimizer", name_, name,
        to_string(dtype), to_string(shape), to_string(s.dtype()), to_string(s.shape())));
  }
}

}  // namespace tapegrad
