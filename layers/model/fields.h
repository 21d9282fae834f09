#pragma once

#include <concepts>
#include <cstddef>
#include <utility>
#include <vector>

#include "member.h"

/// Fields of a plain struct, named by its visit or not.
namespace tapegrad::detail {

class Visitor;

/// A member or base of an aggregate, in the order of declaration; an array counts element by
/// element.
struct Field {
  std::size_t bytes;
  std::size_t alignment;
  /// Shows a visitor the Parameters in such a field; null if its type has none.
  void (*show_parameters)(void* field, Visitor& visitor);
};

template <class T>
void show_parameters(T& field, Visitor& visitor);

/// Takes the place of a field in a braced initialiser, and notes its type.
struct Noting {
  std::vector<Field>* fields = nullptr;

  template <std::default_initializable T>
  operator T() const {  // NOLINT(google-explicit-constructor): is to convert
    fields->push_back({sizeof(T), alignof(T), nullptr});
    if constexpr (any_part<Leading, T>()) {
      fields->back().show_parameters = [](void* field, Visitor& visitor) {
        detail::show_parameters(*static_cast<T*>(field), visitor);
      };
    }
    return T();
  }
};

template <class T, std::size_t... Before>
constexpr std::size_t field_count(std::index_sequence<Before...> /*fields before*/) {
  if constexpr (sizeof...(Before) < 64 && requires { T{(void(Before), Noting())..., Noting()}; }) {
    return field_count<T>(std::make_index_sequence<sizeof...(Before) + 1>());
  }
  return sizeof...(Before);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-braces"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored \
    "-Wconversion"  // of bit fields, and which of two ways to an optional
/// Returns all fields of T, up to the first that has no default constructor.
template <class T>
std::vector<Field> fields_of() {
  std::vector<Field> fields;
  [&]<std::size_t... Each>(std::index_sequence<Each...>) {
    (void)T{(void(Each), Noting{&fields})...};
  }
  (std::make_index_sequence<field_count<T>(std::index_sequence<>())>());
  return fields;
}
#pragma GCC diagnostic pop

}  // namespace tapegrad::detail
