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
    for (std::size_t k = 0; k < i; ++k) {
      if (parameters_[i].data != parameters_[k].data) continue;
      throw UsageError(fmt::format(
          "[{}] {} and {} are the same parameter: it would move twice a step; name it once", name_,
          parameters_[k].name, parameters_[i].name));
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

void Optimizer::prepare(std::vector<Tensor>& state) const {
  state.resize(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const ParameterData& p = *parameters_[i].data;
    if (moves(p) && !state[i].defined()) state[i] = Tensor::zeros(p.value.shape(), p.value.dtype());
  }
}

}  // namespace tapegrad
