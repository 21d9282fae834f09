#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../core/tensor.h"
#include "tracked.h"

namespace tapegrad {

/// What a Parameter is at its stable address; optimizers and tapes share it.
struct ParameterData {
  Tensor value;
  Tensor grad;  // undefined until the first backward, and after zero_grad
  bool requires_grad = true;
};

namespace detail {
/// What `data` points to; throws UsageError if that is nothing.
ParameterData& defined(const std::shared_ptr<ParameterData>& data);
}  // namespace detail

/// A weight of a model: a value that is learned and the gradient of the loss for it.
///
/// Move-only, and its identity moves along: an optimizer made from a model stays valid when the
/// model is moved. Two members are one Parameter only where somebody wrote share(). A frozen
/// Parameter (`requires_grad` false) is a constant on the tape. What needs a value throws
/// UsageError if there is none: a layer that was never constructed, or has been moved from.
class Parameter : public detail::Tracked {
 public:
  Parameter() = default;
  /// `value` becomes its own, as a copy if somebody else holds it too.
  explicit Parameter(Tensor value);
  Parameter(Parameter&&) = default;
  Parameter& operator=(Parameter&&) = default;

  /// The same Parameter once more, to tie two members of a model (Press and Wolf 2017):
  ///
  ///   model.head.weight = model.embed.weight.share();
  ///
  /// Its gradient is the sum over all uses; it is listed, saved, clipped and stepped once.
  Parameter share() const;

  bool defined() const { return data_ != nullptr; }
  const Tensor& value() const { return get().value; }
  /// The gradient; zeros of the value's shape if there is none yet.
  Tensor grad() const {
    const Tensor& grad = get().grad;
    return grad.defined() ? grad : Tensor::zeros(value().shape(), value().dtype());
  }
  bool requires_grad() const { return get().requires_grad; }
  /// False freezes, and forgets the gradient, which would go stale.
  void set_requires_grad(bool on);
  /// A new value: initialisation, loading. Throws ShapeError or DtypeError unless shape and dtype
  /// stay.
  void set_value(const Tensor& value) { get().value.copy_from(value); }

  const std::shared_ptr<ParameterData>& data() const { return data_; }

 private:
  ParameterData& get() const { return detail::defined(data_); }

  std::shared_ptr<ParameterData> data_;
};

/// A Parameter under its name in a model, as in "lstm.weight_ih_l0".
struct NamedParameter {
  std::string name;
  std::shared_ptr<ParameterData> data;
  std::vector<std::string> ties = {};  // its other names, if several members share() it

  const Tensor& value() const { return detail::defined(data).value; }
  const Tensor& grad() const { return detail::defined(data).grad; }
};

using Parameters = std::vector<NamedParameter>;

}  // namespace tapegrad
