#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <typeindex>
#include <utility>
#include <vector>

#include "../core/tensor.h"
#include "../core/tracked.h"

namespace tapegrad {

/// Counter of one kind of event in the life of a Parameter.
struct ParameterEvent {
  std::uint64_t count = 0;
  /// Number of the last one among all events of the Parameter, which are numbered from 1 on in
  /// their order; 0: none yet. So `clip.last > step.last` says which of two came later.
  std::uint64_t last = 0;
};

/// Counters of the events of a Parameter, for tools that look for mistakes in a training loop.
struct ParameterEvents {
  ParameterEvent backward;   // a pass has added to its gradient
  ParameterEvent clip;       // its gradient was limited by a clip function, changed or not
  ParameterEvent step;       // an optimizer has moved its value
  ParameterEvent zero_grad;  // its gradient was forgotten
  ParameterEvent set_value;  // its value was set, by a copy or a file too
  ParameterEvent set_grad;   // its gradient was set
  ParameterEvent optimizer;  // an optimizer that moves it was made
  std::uint64_t all = 0;     // sum of all counts
};

namespace detail {

/// Things computed from a value, one of each type, each valid for one version of the value.
class DerivedCache {
 public:
  using Make = std::function<std::shared_ptr<const void>()>;
  std::shared_ptr<const void> get(std::type_index type, const Tensor& value, const Make& make);

 private:
  struct Entry {
    std::type_index type;
    std::uint32_t version;
    std::shared_ptr<const void> thing;
  };
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

}  // namespace detail

/// A learned value and the gradient of the loss for it, at a stable address that models, tapes and
/// optimizers share. Users hold it as a Parameter or NamedParameter, which have the same functions.
class ParameterData {
 public:
  explicit ParameterData(Tensor value);
  ParameterData(const ParameterData&) = delete;
  ParameterData& operator=(const ParameterData&) = delete;

  const Tensor& value() const { return value_; }
  const Tensor& grad() const { return has_grad_ ? grad_ : none(); }
  Tensor grad_or_zeros() const;
  bool requires_grad() const { return requires_grad_; }
  const ParameterEvents& events() const { return events_; }
  template <class T, class MakeT>
  std::shared_ptr<const T> derived(MakeT&& make) const;

  void set_value(const Tensor& value);
  void set_grad(const Tensor& grad);
  Tensor mutable_grad();
  void zero_grad();
  void set_requires_grad(bool on);
  void record(ParameterEvent ParameterEvents::*event);

 private:
  friend class Tape;
  friend struct TapeState;
  static const Tensor& none();
  void own_grad();
  /// Returns the gradient's memory if it may be written to, because there is no gradient now; else
  /// an undefined Tensor. The caller gives the memory back by accept_grad(), or it is made anew.
  Tensor take_buffer();
  /// Prepares to take a pass's gradient, which has memory of its own: whatever may
  /// throw. No visible change.
  void prepare_grad();
  /// Takes it, which cannot fail: adds the same `gradient`, whose memory it may keep.
  void accept_grad(Tensor gradient) noexcept;

  Tensor value_;
  Tensor
      grad_;  // memory that is kept, whether or not there is a gradient; undefined before the first
  bool has_grad_ = false;
  bool requires_grad_ = true;
  ParameterEvents events_;
  mutable detail::DerivedCache derived_;
};

/// Common base of Parameter and NamedParameter, for reading. Functions that need a value throw
/// UsageError if there is none: a layer that was never constructed, or has been moved from.
class ParameterHandle {
 public:
  bool defined() const { return data_ != nullptr; }
  const Tensor& value() const& { return get().value(); }
  Tensor value() && { return get().value(); }
  /// Returns the gradient; undefined if there is none: before the first backward, and after
  /// zero_grad().
  ///
  /// Its memory is kept from pass to pass. A copy of this Tensor keeps its numbers all the same:
  /// whatever writes gradients (backward, clipping) writes into new memory if somebody holds one.
  const Tensor& grad() const& { return get().grad(); }
  Tensor grad() && { return get().grad(); }
  /// Returns the gradient; zeros of the value's shape if there is none.
  Tensor grad_or_zeros() const { return get().grad_or_zeros(); }
  /// Returns false if the Parameter is frozen, a constant on the tape that optimizers leave alone.
  bool requires_grad() const { return get().requires_grad(); }
  const ParameterEvents& events() const { return get().events(); }

  /// Returns `make(value())`, computed once per version of the value and shared by all
  /// threads, as packed weights are:
  ///
  ///   std::shared_ptr<const Packed> packed = weight.derived<Packed>(pack);
  ///
  /// One thing per type T is kept; the next version replaces it. Any number of threads may ask at
  /// once while nobody changes the value: one makes it, the others wait. `make` must not ask for
  /// something derived from the same Parameter. If it throws, nothing is kept.
  ///
  /// A value that is exposed() (a pointer for writing was handed out, as gradcheck's grad_block()
  /// takes) may change without a new version: then nothing is kept, and each call makes a new one.
  /// clone(model) has values of its own, which are not exposed.
  template <class T, class MakeT>
  std::shared_ptr<const T> derived(MakeT&& make) const {
    return get().derived<T>(std::forward<MakeT>(make));
  }

  /// Returns the identity: equal for members and list entries that are the same Parameter.
  const std::shared_ptr<ParameterData>& data() const { return data_; }

 protected:
  ParameterHandle() = default;
  explicit ParameterHandle(std::shared_ptr<ParameterData> data) : data_(std::move(data)) {}
  ParameterHandle(const ParameterHandle&) = default;
  ParameterHandle(ParameterHandle&&) = default;
  ParameterHandle& operator=(const ParameterHandle&) = default;
  ParameterHandle& operator=(ParameterHandle&&) = default;
  ~ParameterHandle() = default;

  ParameterData& get() const {
    if (data_ == nullptr) undefined();
    return *data_;
  }

 private:
  [[noreturn]] static void undefined();

  std::shared_ptr<ParameterData> data_;
};

/// A weight of a model: a value that is learned and the gradient of the loss for it.
///
/// Move-only, and its identity moves along: an optimizer made from a model stays valid when the
/// model is moved. Two members are one Parameter only where somebody wrote share().
class Parameter : public detail::Tracked, public ParameterHandle {
 public:
  Parameter() = default;
  /// Takes ownership of `value`; clones it if its storage is shared.
  explicit Parameter(Tensor value)
      : ParameterHandle(std::make_shared<ParameterData>(std::move(value))) {}
  Parameter(Parameter&&) = default;
  Parameter& operator=(Parameter&&) = default;

  /// Shares the Parameter, to tie two members of a model (Press and Wolf 2017):
  ///
  ///   model.head.weight = model.embed.weight.share();
  ///
  /// Its gradient is the sum over all uses; it is listed, saved, clipped and stepped once.
  Parameter share() const;

  /// Sets the value by copying into the memory of the present one: initialisation, loading. Throws
  /// ShapeError or DtypeError unless shape and dtype stay.
  void set_value(const Tensor& value) { get().set_value(value); }
  /// Sets the gradient by copying. Throws ShapeError or DtypeError unless it is like the value.
  void set_grad(const Tensor& grad) { get().set_grad(grad); }
  /// Returns the gradient, to write into; throws UsageError if there is none. As long as this
  /// Tensor is held, the next backward leaves it as it is and puts its gradient elsewhere.
  Tensor mutable_grad() { return get().mutable_grad(); }
  /// Forgets the gradient, so that the next backward starts from zero. Keeps its memory.
  void zero_grad() { get().zero_grad(); }
  /// Unfreezes, or with false freezes and drops the gradient, which would go stale.
  void set_requires_grad(bool on) { get().set_requires_grad(on); }

 private:
  explicit Parameter(std::shared_ptr<ParameterData> data) : ParameterHandle(std::move(data)) {}
};

/// A Parameter under its name in a model, as in "lstm.weight_ih_l0". A handle: copies are the same
/// Parameter, and a const one changes it too.
struct NamedParameter : ParameterHandle {
  NamedParameter(std::string its_name, const ParameterHandle& parameter,
                 std::vector<std::string> other_names = {})
      : ParameterHandle(parameter), name(std::move(its_name)), ties(std::move(other_names)) {}

  /// Returns what the functions of Parameter return.
  void set_value(const Tensor& value) const { get().set_value(value); }
  void set_grad(const Tensor& grad) const { get().set_grad(grad); }
  Tensor mutable_grad() const { return get().mutable_grad(); }
  void zero_grad() const { get().zero_grad(); }
  /// Counts an event, for functions that work on Parameters.
  void record(ParameterEvent ParameterEvents::*event) const { get().record(event); }
  void set_requires_grad(bool on) const { get().set_requires_grad(on); }

  std::string name;
  std::vector<std::string> ties;  // its other names, if several members share() it
};

template <class T, class MakeT>
std::shared_ptr<const T> ParameterData::derived(MakeT&& make) const {
  const auto make_shared = [&]() -> std::shared_ptr<const void> {
    return std::make_shared<const T>(make(value_));
  };
  return std::static_pointer_cast<const T>(derived_.get(typeid(T), value_, std::ref(make_shared)));
}

}  // namespace tapegrad
