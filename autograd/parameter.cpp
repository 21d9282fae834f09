#include "parameter.h"

#include <algorithm>
#include <utility>

#include "../core/fail-inl.h"
#include "../core/kernels/elementwise.h"
#include "tape_errors-inl.h"

namespace tapegrad {

std::shared_ptr<const void> detail::DerivedCache::get(std::type_index type, const Tensor& value,
                                                      const Make& make) {
  if (value.exposed()) return make();
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(entries_, type, &Entry::type);
  if (found != entries_.end() && found->version == value.version()) return found->thing;
  if (found != entries_.end()) entries_.erase(found);  // its memory is free for the new one
  std::shared_ptr<const void> thing = make();
  entries_.push_back({type, value.version(), thing});
  return thing;
}

ParameterData::ParameterData(Tensor value)
    : value_(!value.defined() || value.unique() ? std::move(value) : value.clone()) {}

const Tensor& ParameterData::none() {
  static const Tensor undefined;
  return undefined;
}

Tensor ParameterData::grad_or_zeros() const {
  return has_grad_ ? grad_ : Tensor::zeros(value_.shape(), value_.dtype());
}

void ParameterData::record(ParameterEvent ParameterEvents::*event) {
  ++(events_.*event).count;
  (events_.*event).last = ++events_.all;
}

void ParameterData::set_value(const Tensor& value) {
  value_.copy_from(value);
  record(&ParameterEvents::set_value);
}

void ParameterData::set_grad(const Tensor& grad) {
  if (grad.shape() != value_.shape()) {
    fail<ShapeError>("set_grad",
                     "the gradient has shape {} but the value has shape {}: they must be equal",
                     grad.shape(), value_.shape());
  }
  if (grad.dtype() != value_.dtype()) {
    fail<DtypeError>("set_grad", "the gradient is {} but the value is {}: convert it with to()",
                     grad.dtype(), value_.dtype());
  }
  const bool writable = grad_.defined() && grad_.unique();
  Tensor memory = writable ? grad_ : Tensor::empty(grad.shape(), grad.dtype());
  memory.copy_from(grad);  // which may be this gradient
  grad_ = std::move(memory);
  has_grad_ = true;
  record(&ParameterEvents::set_grad);
}

Tensor ParameterData::mutable_grad() {
  if (!has_grad_) {
    fail<UsageError>("mutable_grad",
                     "there is no gradient to write into: call backward() or set_grad() first");
  }
  own_grad();
  return grad_;
}

void ParameterData::zero_grad() {
  has_grad_ = false;
  record(&ParameterEvents::zero_grad);
}

void ParameterData::set_requires_grad(bool on) {
  requires_grad_ = on;
  if (!on) has_grad_ = false;
}

Tensor ParameterData::take_buffer() {
  return !has_grad_ && grad_.defined() && grad_.unique() ? std::move(grad_) : Tensor();
}

/// Somebody who holds the old gradient keeps it.
void ParameterData::own_grad() {
  if (!grad_.unique()) grad_ = grad_.clone();
}

void ParameterData::prepare_grad() {
  if (has_grad_) return own_grad();
  if (grad_.defined() && !grad_.unique()) grad_ = Tensor();  // the pass's memory takes its place
}

void ParameterData::accept_grad(Tensor gradient) noexcept {
  if (has_grad_) {
    kernels::accumulate(grad_, gradient);
  } else if (grad_.defined()) {
    grad_.copy_from(gradient);
  } else {
    grad_ = std::move(gradient);
  }
  has_grad_ = true;
  record(&ParameterEvents::backward);
}

void ParameterHandle::undefined() { tape_errors::undefined_parameter("Parameter"); }

Parameter Parameter::share() const {
  (void)get();  // two undefined members would look tied and be two
  return Parameter(data());
}

}  // namespace tapegrad
