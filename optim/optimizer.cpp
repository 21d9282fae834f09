#include "optimizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <span>
#include <utility>

#include "../core/fail-inl.h"
#include "../core/pool.h"
#include "../core/words-inl.h"
#include "clip-inl.h"

namespace tapegrad {

void Optimizer::start() {
  if (groups() == 0) fail<UsageError>(name_, "there are no groups: give one");
  for (std::size_t g = 0; g < groups(); ++g) {
    if (std::ranges::find(group_of_, g) != group_of_.end()) continue;
    refuse_option(g,
                  "there are no parameters: nothing could be learned; construct the model first, "
                  "and do not use it after a move");
  }
  const auto named = [&](std::size_t i) {
    const std::string& name = parameters_[i].name;
    return groups() == 1 ? name : fmt::format("{} of group {}", name, group_of_[i]);
  };
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const NamedParameter& p = parameters_[i];
    if (!p.defined() || !p.value().defined()) {
      fail<UsageError>(name_, "{} is undefined: it must have a value", named(i));
    }
    if (p.value().dtype() == DType::int32) {
      fail<DtypeError>(name_, "{} is int32: it must be float32 or float64", named(i));
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (p.data() != parameters_[k].data()) continue;
      fail<UsageError>(name_,
                       "{} and {} are the same parameter: it would move twice a step; name it once",
                       named(k), named(i));
    }
  }
  memories_.assign(parameters_.size(), {0, std::vector<Tensor>(slots_.size())});
  for (std::size_t g = 0; g < groups(); ++g) check_option(g, "lr", learning_rates_[g], 0, INFINITY);
  for (const NamedParameter& p : parameters_) p.record(&ParameterEvents::optimizer);
}

std::size_t Optimizer::checked_index(std::size_t i) const {
  if (i < parameters_.size()) return i;
  fail<UsageError>(name_, "parameter {} does not exist: there are {}", i, parameters_.size());
}

const Tensor& Optimizer::slot(std::size_t i, std::string_view name) const {
  const std::vector<Tensor>& slots = memories_[checked_index(i)].slots;
  const auto place = std::ranges::find(slots_, name);
  if (place != slots_.end()) return slots[static_cast<std::size_t>(place - slots_.begin())];
  fail<UsageError>(name_, "there is no slot '{}': there are {}", shown(name), joined(slots_, ", "));
}

std::string Optimizer::in_group(std::size_t group) const {
  return groups() == 1 ? "" : fmt::format("in group {} ", group);
}

// --- options ---

namespace {

/// `value` as arithmetic in `dtype` sees it, with subnormal numbers as 0.
double in_kernel(double value, DType dtype) {
  const double rounded = dtype == DType::float64 ? value : static_cast<float>(value);
  const double smallest = dtype == DType::float64 ? std::numeric_limits<double>::min()
                                                  : std::numeric_limits<float>::min();
  return std::abs(rounded) < smallest ? 0 : rounded;
}

}  // namespace

DType Optimizer::narrowest_dtype(std::size_t group) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (group_of_[i] == group && parameters_[i].value().dtype() == DType::float32) {
      return DType::float32;
    }
  }
  return DType::float64;
}

void Optimizer::check_option(std::size_t group, const char* option, double value, double low,
                             double high) const {
  if (!(value >= low && value < high)) {
    fail<UsageError>(name_, "{}{} is {}: it must be in [{}, {})", in_group(group), option, value,
                     low, high);
  }
  const DType dtype = narrowest_dtype(group);
  const double seen = in_kernel(value, dtype);
  if (seen < high && (seen != 0 || value == 0)) return;
  fail<UsageError>(name_,
                   "{}{} is {}, which is {} in the arithmetic of {}: it must be in [{}, {}) there, "
                   "and 0 only if 0 is meant",
                   in_group(group), option, value, seen, dtype, low, high);
}

void Optimizer::check_positive(std::size_t group, const char* option, double value) const {
  check_option(group, option, value, 0, INFINITY);
  if (value > 0) return;
  fail<UsageError>(name_, "{}{} is 0: it must be greater, or a gradient of 0 divides 0 by 0",
                   in_group(group), option);
}

void Optimizer::refuse_option(std::size_t group, const char* why) const {
  fail<UsageError>(name_, "{}{}", in_group(group), why);
}

double Optimizer::learning_rate(std::size_t group) const {
  if (group < groups()) return learning_rates_[group];
  fail<UsageError>(name_, "there is no group {}: it must be in [0, {})", group, groups());
}

void Optimizer::check_learning_rate(double lr, std::size_t group) const {
  if (lr > 0 && in_kernel(lr, narrowest_dtype(group)) == 0) return;  // the end of a schedule
  check_option(group, "lr", lr, 0, INFINITY);
}

void Optimizer::set_learning_rate(double lr) {
  set_learning_rates(std::vector<double>(groups(), lr));
}

void Optimizer::set_learning_rates(const std::vector<double>& rates) {
  if (rates.size() != groups()) {
    fail<UsageError>(name_, "there are {} rates for {} groups: give one for each", rates.size(),
                     groups());
  }
  for (std::size_t g = 0; g < groups(); ++g) check_learning_rate(rates[g], g);
  learning_rates_ = rates;
}

void Optimizer::set_learning_rate(double lr, std::size_t group) {
  (void)learning_rate(group);
  check_learning_rate(lr, group);
  learning_rates_[group] = lr;
}

// --- a step ---

/// Whatever of a step may throw: makes slots of zeros for each Parameter that takes its first step.
void Optimizer::prepare() {
  bool any = false;
  for (std::size_t i = 0; i < parameters_.size(); ++i) any = any || moves(i);
  if (!any) {
    fail<UsageError>(name_,
                     "no parameter has a gradient, so nothing would move: call backward() first, "
                     "with a loss of the model that these parameters belong to");
  }
  pool::Vector<std::pair<Tensor*, Tensor>> fresh;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!moves(i)) continue;
    const Tensor& value = parameters_[i].value();
    for (std::size_t k = 0; k < slots_.size(); ++k) {
      Tensor& slot = memories_[i].slots[k];
      if (slot.defined() || !remembers(group_of_[i], k)) continue;
      fresh.emplace_back(&slot, Tensor::zeros(value.shape(), value.dtype()));
    }
  }
  for (auto& [slot, zeros] : fresh) *slot = std::move(zeros);
}

void Optimizer::update_all(const kernels::Ratio& scale) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!moves(i)) continue;
    const NamedParameter& p = parameters_[i];
    Memory& memory = memories_[i];
    const std::size_t g = group_of_[i];
    const Step step{g, ++memory.steps, learning_rates_[g]};
    const std::span<Tensor> slots(memory.slots);
    const auto update_block = [&](const auto& u) { update(step, u); };
    if (p.value().dtype() == DType::float64) {
      kernels::for_updates<double>(p.value(), p.grad(), slots, scale, std::cref(update_block));
    } else {
      kernels::for_updates<float>(p.value(), p.grad(), slots, scale, std::cref(update_block));
    }
    p.record(&ParameterEvents::step);
  }
}

void Optimizer::step() {
  prepare();
  update_all({});
}

GradNorm Optimizer::step(const StepOptions& options) {
  if (options.passes == 0) {
    fail<UsageError>(name_, "passes is 0: give the number of backward passes since zero_grad()");
  }
  const auto n = static_cast<double>(options.passes);
  const GradNorm sum =
      detail::measure_grad_norm(name_, "clip_norm", parameters_, options.clip_norm, n);
  prepare();
  if (std::isfinite(options.clip_norm)) {
    for (const NamedParameter& p : parameters_) p.record(&ParameterEvents::clip);
  }
  update_all({sum.after / n, sum.before});
  return {sum.before / n, sum.after / n};
}

void Optimizer::state(Archive& a) {
  a.fact("optimizer", name_);
  for (std::size_t g = 0; g < groups(); ++g) {
    const double largest = narrowest_dtype(g) == DType::float32
                               ? std::numeric_limits<float>::max()
                               : std::numeric_limits<double>::max();
    a(fmt::format("{}.lr", g), learning_rates_[g], 0.0, largest);
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Memory& memory = memories_[i];
    const Tensor& value = parameters_[i].value();
    const std::string name = fmt::format("{}.{}.", group_of_[i], parameters_[i].name);
    const std::uint64_t steps = a.peek(name + "steps", memory.steps);
    a(name + "steps", memory.steps);
    for (std::size_t k = 0; k < slots_.size(); ++k) {
      const bool has_slot = steps > 0 && remembers(group_of_[i], k);
      a.tensor(name + slots_[k], memory.slots[k], has_slot, value.shape(), value.dtype());
    }
  }
}

}  // namespace tapegrad
