#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "module.h"

namespace tapegrad {

namespace detail {

/// Records the members of the original in the order of visit().
class Recorder final : public Visitor {
 public:
  struct Member {
    std::string path;
    const std::type_info& type;
    const void* value;     // a Parameter or a setting
    std::size_t size = 0;  // of a container
  };

  explicit Recorder(const char* op) : op_(op) {}
  void parameter(const std::string& path, Parameter& parameter) override;
  void setting(const std::string& path, const Setting& setting) override;
  std::size_t container(const std::string& path, std::size_t size) override;
  /// Throws UsageError for a gap that is too big for padding: a member that visit forgot.
  void module(VisitedModule module) override;
  /// Throws UsageError if a Parameter was forgotten where gaps are no evidence.
  void finish() { census_.check(op_); }

  const char* op() const { return op_; }
  const std::vector<Member>& members() const { return members_; }

 private:
  const char* op_;
  std::vector<Member> members_;
  Census census_;
};

/// Fills a default-constructed model with the recorded members.
class Filler final : public Visitor {
 public:
  /// Throws unless `original` can be copied.
  Filler(const Recorder& original, std::optional<DType> dtype);
  void parameter(const std::string& path, Parameter& parameter) override;
  void setting(const std::string& path, const Setting& setting) override;
  std::size_t container(const std::string& path, std::size_t size) override;
  /// Throws if the original has members that this one lacks.
  void finish() const;

 private:
  const Recorder::Member& next(const std::string& path, const std::type_info& type);
  [[noreturn]] void differs(const std::string& here) const;

  const Recorder& original_;
  std::optional<DType> dtype_;
  std::size_t position_ = 0;
  std::vector<std::pair<const ParameterData*, Parameter>> copied_;
};

template <class Model>
Model copy(const char* op, const Model& model, std::optional<DType> dtype) {
  static_assert(std::default_initializable<Model> && std::move_constructible<Model>,
                "clone() and to() need a model with a default constructor: Model() = default;");
  Recorder original(op);
  Walk::into(original, "", const_cast<Model&>(model));  // only reads
  original.finish();
  Filler filler(original, dtype);
  Model result{};
  Walk::into(filler, "", result);
  filler.finish();
  return result;
}

}  // namespace detail

/// Makes a deep copy: Parameters of its own with the same values, frozen where the original is,
/// tied where it is tied, and the same settings. Gradients are not copied, and an optimizer of the
/// original knows nothing of the copy.
///
/// What it takes: a default constructor (a plain struct has one), and a `visit` that names all
/// members and depends on nothing but settings that it has named before. Throws UsageError if there
/// is no Parameter (a moved-from or default-constructed model); if so many bytes of a module are
/// not named that they cannot be padding, because the copy would lose a member (a forgotten one
/// that is smaller than the alignment may pass); if visit names other members in a
/// default-constructed model.
template <Module Model>
Model clone(const Model& model) {
  return detail::copy("clone", model, std::nullopt);
}

/// Clones in another dtype: `to(model, DType::float64)` is the twin that gradients are checked
/// on. int32 Parameters stay. Throws as clone(), and DtypeError for int32.
template <Module Model>
Model to(const Model& model, DType dtype) {
  return detail::copy("to", model, dtype);
}

}  // namespace tapegrad
