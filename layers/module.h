#pragma once

#include <concepts>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "../autograd/parameters.h"

/// A module is any type with a `visit`, which names its members in order:
///
///   struct CharLM {
///     Embedding embed; LSTM lstm; Linear head;
///     void visit(auto&& v) { v("embed", embed); v("lstm", lstm); v("head", head); }
///   };
///
/// No base class, no registration: names such as "lstm.weight_ih_l0" are paths of these members. A
/// member is
///
///   * a Parameter;
///   * a module, or a container of modules or Parameters, whose path has their number ("cells.0.");
///   * a setting: whatever else can be copied without sharing anything (a number, an enum, a
///     string). parameters() passes it over, clone() copies it.
///
/// A constant that is a Tensor is a frozen Parameter: then it is saved, cloned and converted.
/// visit changes nothing, and names the same members in the same order every time.
///
/// Call operators are const and change nothing either: any number of threads can use one model at
/// once, each with a tape of its own, for inference or for Tape::gradient(), while nobody changes
/// its Parameters (Tape::backward() does, and optimizers, loading, freezing).
namespace tapegrad {

namespace detail {

/// Where an object lies: what is not covered by the members that `visit` names was forgotten.
struct Extent {
  const std::byte* begin;
  std::size_t bytes;
  std::string name;
};

/// A member that is neither Parameter nor module, whatever its type.
struct Setting {
  const std::type_info& type;
  void* value;
  void (*assign)(void* to, const void* from);
};

/// What a walk over a model meets, in the order of its `visit`, under the paths of parameters().
class Walker {
 public:
  virtual ~Walker() = default;
  virtual void parameter(const std::string& path, Parameter& parameter) = 0;
  virtual void setting(const std::string&, const Setting&) {}
  /// A container of `size` modules; returns how many it shall have.
  virtual std::size_t container(const std::string&, std::size_t size) { return size; }
  /// After the members of a module. `padding`: more bytes than this between members are no padding.
  virtual void module(const Extent&, std::size_t /*padding*/, const std::vector<Extent>&) {}
};

class Walk;

template <class T>
concept Visited = requires(T& t, Walk& walk) {
  t.visit(walk);
};
/// An element of a container that puts its number into the names itself, as in "weight_ih_l0".
template <class T>
concept VisitedByNumber = requires(T& t, Walk& walk) {
  t.visit(walk, std::size_t{});
};

template <class T>
concept Container = requires(T& t) {
  std::begin(t);
  std::size(t);
};
template <Container T>
using ElementOf = std::remove_cvref_t<decltype(*std::begin(std::declval<T&>()))>;

/// Whether a walk goes into members of this type.
template <class T>
constexpr bool is_walked() {
  if constexpr (std::same_as<T, Parameter> || Visited<T> || VisitedByNumber<T>) {
    return true;
  } else if constexpr (Container<T>) {
    if constexpr (!std::same_as<ElementOf<T>, T>) return is_walked<ElementOf<T>>();
  }
  return false;
}

/// Whether a copy shares what it refers to.
template <class T>
constexpr bool is_shared() {
  if constexpr (std::is_pointer_v<T>) {
    return !std::is_function_v<std::remove_pointer_t<T>>;
  } else if constexpr (std::same_as<T, Tensor> || std::same_as<T, NamedParameter> ||
                       std::same_as<T, Parameters> || requires(T & t) { t.use_count(); }) {
    return true;
  } else if constexpr (Container<T>) {
    if constexpr (!std::same_as<ElementOf<T>, T>) return is_shared<ElementOf<T>>();
  }
  return false;
}

/// The `v` of a module's visit.
class Walk {
 public:
  Walk(Walker& walker, std::string prefix) : walker_(walker), prefix_(std::move(prefix)) {}

  template <class Member>
  void operator()(std::string_view name, Member& member) {
    static_assert(!std::is_const_v<Member>, "visit() must not be const, nor its members");
    const std::string path = prefix_ + std::string(name);
    members_.push_back(extent(path, member));
    if constexpr (is_walked<Member>()) {
      walk(path, member);
    } else {
      static_assert(!is_shared<Member>(),
                    "a copy of this member of a module would share what it refers to: use a frozen "
                    "Parameter for a constant Tensor, and a value instead of a pointer");
      static_assert(std::is_copy_assignable_v<Member>,
                    "a member of a module must be a Parameter, a module (visit), a container of "
                    "these, or a setting that can be copied");
      walker_.setting(path, {typeid(Member), &member, [](void* to, const void* from) {
                               *static_cast<Member*>(to) = *static_cast<const Member*>(from);
                             }});
    }
  }

  /// Into a module: its members are named `prefix` + name.
  template <class Module, class... Number>
  static void into(Walker& walker, const std::string& prefix, Module& module, Number... number) {
    Walk inside(walker, prefix);
    module.visit(inside, number...);
    if constexpr (!std::is_empty_v<Module> && !std::is_polymorphic_v<Module>) {
      walker.module(extent(prefix, module), alignof(Module) - 1, inside.members_);
    }
  }

 private:
  template <class T>
  static Extent extent(const std::string& name, const T& object) {
    return {reinterpret_cast<const std::byte*>(&object), sizeof(T), name};
  }

  template <class Member>
  void walk(const std::string& path, Member& member) {
    if constexpr (std::same_as<Member, Parameter>) {
      walker_.parameter(path, member);
    } else if constexpr (Visited<Member>) {
      into(walker_, path + ".", member);
    } else {
      const std::size_t size = walker_.container(path, std::size(member));
      if constexpr (requires { member.resize(size); }) {
        if (size != std::size(member)) member.resize(size);
      }
      for (std::size_t number = 0; auto& element : member) {
        if constexpr (VisitedByNumber<ElementOf<Member>>) {
          into(walker_, prefix_, element, number);
        } else {
          walk(path + "." + std::to_string(number), element);
        }
        ++number;
      }
    }
  }

  Walker& walker_;
  std::string prefix_;
  std::vector<Extent> members_;
};

class ParameterList final : public Walker {
 public:
  void parameter(const std::string& path, Parameter& parameter) override;
  Parameters found;
};

}  // namespace detail

template <class T>
concept Module = detail::Visited<T>;

/// All Parameters of a model with their paths, in the order of its `visit`; one that is shared is
/// listed once, under its first name, the others are its `ties`. What is undefined is left out.
/// Throws UsageError if a path occurs twice.
template <Module Model>
Parameters parameters(const Model& model) {
  detail::ParameterList list;
  // visit is not const, so that clone() can use it, but nothing here writes.
  detail::Walk::into(list, "", const_cast<Model&>(model));
  return std::move(list.found);
}

}  // namespace tapegrad
