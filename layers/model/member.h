#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../../autograd/parameters.h"
#include "../../autograd/var.h"

/// Types that the members of a module may have: the rules of module.h for the compiler.
namespace tapegrad::detail {

class Walk;

template <class T>
concept Visited = requires(T& t, Walk& walk) {
  t.visit(walk);
};

template <class T>
concept Range = requires(T& t) {
  std::begin(t);
};
template <Range T>
using ElementOf = std::remove_cvref_t<decltype(*std::begin(std::declval<T&>()))>;

/// Tests for a std::vector, std::array or the like of other things (a path is a range of paths).
template <class T>
constexpr bool is_range_of_others() {
  if constexpr (Range<T>) return !std::same_as<ElementOf<T>, T>;
  return false;
}
/// A range that does not hold its elements.
template <class T>
concept View = std::ranges::enable_view<T> || std::ranges::enable_borrowed_range<T> ||
    std::same_as<T, std::initializer_list<typename T::value_type>>;
template <class T>
concept Container = is_range_of_others<T>() && !View<T>;

/// Tests whether a walk goes into members of this type.
template <class T>
constexpr bool is_walked() {
  if constexpr (std::same_as<T, Parameter> || Visited<T>) {
    return true;
  } else if constexpr (Container<T>) {
    return is_walked<ElementOf<T>>();
  }
  return false;
}

template <class T>
concept Optional = requires(const T& t) {
  typename T::value_type;
  t.has_value();
};
/// A std::pair, std::tuple or std::variant.
template <class T>
concept Compound = requires {
  std::tuple_size<T>::value;
}
|| requires(const T& t) { t.valueless_by_exception(); };

template <class Property, class T, class... Outer>
constexpr bool any_part();

/// In a braced initialiser an `Anything` takes the place of any one member of an aggregate, an
/// `AnyWith` of one that has the property.
struct Anything {
  template <class T>
  operator T() const noexcept;  // NOLINT(google-explicit-constructor): is to convert
};
template <class Property, class... Outer>
struct AnyWith {
  template <class T>
  requires(any_part<Property, T, Outer...>()) operator T()
      const noexcept;  // NOLINT(google-explicit-constructor): is to convert
};

/// Tests the members of an aggregate, as far as the first 32.
template <class Property, class T, class... Outer, std::size_t... Before>
constexpr bool any_member(std::index_sequence<Before...> /*members before*/) {
  if constexpr (requires { T{(void(Before), Anything{})..., AnyWith<Property, Outer...>{}}; }) {
    return true;
  } else if constexpr (sizeof...(Before) < 32 && requires {
                         T{(void(Before), Anything{})..., Anything{}};
                       }) {
    return any_member<Property, T, Outer...>(std::make_index_sequence<sizeof...(Before) + 1>());
  }
  return false;
}

template <class Property, class... Outer>
struct AnyPartOf {
  template <template <class...> class C, class... Parts>
  static constexpr bool compound(const C<Parts...>*) {
    return (any_part<Property, Parts, Outer...>() || ...);
  }
};

/// Tests whether T or a part of it has the property: an element of a container, pair, tuple,
/// variant or optional, a member of an aggregate. A module answers for its members itself. `Outer`:
/// the types that T is a part of; a type that is a part of itself (a tree) adds nothing.
template <class Property, class T, class... Outer>
constexpr bool any_part() {
  if constexpr (Property::template of<T>) {
    return true;
  } else if constexpr (Visited<T> || (std::same_as<T, Outer> || ...)) {
    return false;
  } else if constexpr (is_range_of_others<T>()) {
    return any_part<Property, ElementOf<T>, T, Outer...>();
  } else if constexpr (Compound<T>) {
    return AnyPartOf<Property, T, Outer...>::compound(static_cast<const T*>(nullptr));
  } else if constexpr (Optional<T>) {
    return any_part<Property, typename T::value_type, T, Outer...>();
  } else if constexpr (std::is_class_v<T> && std::is_aggregate_v<T>) {
    return any_member<Property, T, T, Outer...>(std::index_sequence<>());
  }
  return false;
}

/// Smart pointers and iterators.
template <class T>
concept Pointing = std::is_class_v<T> && !Optional<T> &&
                   (
                       requires(const T& t) { *t; } || requires(const T& t) { t.operator->(); } ||
                       requires(const T& t) { t.use_count(); });
/// std::reference_wrapper.
template <class T>
concept Referring = requires(const T& t) {
  requires std::is_lvalue_reference_v<decltype(t.get())>;
  requires std::is_convertible_v<const T&, decltype(t.get())>;
};

/// Refers to something that a copy would refer to as well.
struct Shared {
  template <class T>
  static constexpr bool of =
      std::is_reference_v<T> ||
      (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>) ||
      std::same_as<T, Tensor> || std::same_as<T, Var> || std::same_as<T, NamedParameter> ||
      Pointing<T> || Referring<T> || View<T>;
};

/// Holds Parameters.
struct Learned {
  template <class T>
  static constexpr bool of = std::same_as<T, Parameter> || Visited<T>;
};

/// Holds Parameters, or may point to what does.
struct Leading {
  template <class T>
  static constexpr bool of = Learned::of<T> || Pointing<T>;
};

template <class T>
constexpr bool is_shared() {
  return any_part<Shared, T>();
}

/// Explains in the compiler's words why a module cannot have such a member.
template <class Member>
constexpr void check_member() {
  static_assert(!std::is_const_v<Member>, "visit() must not be const, nor its members");
  static_assert(
      !any_part<Shared, Member>(),
      "this member of a module refers to something that a copy of the module would share and a "
      "file "
      "would lose (a Var, an LSTMState, a Tensor, a pointer or smart pointer, a reference, a "
      "view). "
      "A module or its elements: hold them by value, in a std::vector if there are many. A "
      "constant "
      "Tensor: hold a frozen Parameter. A Var or a state: pass it to the call and return the next "
      "one. A view: hold a std::string or std::vector. Anything else: v.skip(\"name\", member)");
  static_assert(
      is_walked<Member>() || !any_part<Learned, Member>(),
      "this member of a module holds Parameters where a walk does not find them: hold "
      "modules and Parameters by value, or in a std::vector or std::array of them; not in "
      "an optional, pair, tuple, variant, map, or struct without visit");
  static_assert(
      is_walked<Member>() || std::is_copy_assignable_v<Member>,
      "a member of a module must be a Parameter, a module (visit), a container of these, or "
      "a setting that can be copied; v.skip(\"name\", member) for what is none of these");
}

}  // namespace tapegrad::detail
