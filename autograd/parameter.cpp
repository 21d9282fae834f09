#include "parameter.h"

#include <utility>

#include "tape_errors-inl.h"

namespace tapegrad {

ParameterData& detail::defined(const std::shared_ptr<ParameterData>& data) {
  if (data == nullptr) tape_errors::undefined_parameter("parameter");
  return *data;
}

Parameter::Parameter(Tensor value) : data_(std::make_shared<ParameterData>()) {
  data_->value = !value.defined() || value.unique() ? std::move(value) : value.clone();
}

Parameter Parameter::share() const {
  (void)get();  // two undefined members would look tied and be two
  Parameter same;
  same.data_ = data_;
  return same;
}

void Parameter::set_requires_grad(bool on) {
  get().requires_grad = on;
  if (!on) data_->grad = Tensor();
}

}  // namespace tapegrad
