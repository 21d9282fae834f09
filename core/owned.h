#pragma once

#include "cxx20.h"

#include <array>
#include <cstddef>
#include <tuple>
#include <utility>

namespace tapegrad {

/// A standard container that hands its elements out by value where it is a temporary itself, so
/// that `const Tensor& g = tape.gradient(y, x)[0].value()` keeps what it refers to.
template <class Container>
struct Owned : Container {
  using Container::Container;
  Owned() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): nothing else distinguishes the two
  Owned(Container container) : Container(std::move(container)) {}
  using T = typename Container::value_type;

  T& operator[](std::size_t i) & { return Container::operator[](i); }
  const T& operator[](std::size_t i) const& { return Container::operator[](i); }
  T operator[](std::size_t i) const&& { return Container::operator[](i); }
  T& at(std::size_t i) & { return Container::at(i); }
  const T& at(std::size_t i) const& { return Container::at(i); }
  T at(std::size_t i) const&& { return Container::at(i); }
  T& front() & { return Container::front(); }
  const T& front() const& { return Container::front(); }
  T front() const&& { return Container::front(); }
  T& back() & { return Container::back(); }
  const T& back() const& { return Container::back(); }
  T back() const&& { return Container::back(); }
};

}  // namespace tapegrad

// An array of that kind can be taken apart: `auto [i, f, g, o] = split<4>(gates, 1);`
template <class T, std::size_t N>
struct std::tuple_size<tapegrad::Owned<std::array<T, N>>> : std::integral_constant<std::size_t, N> {
};
template <std::size_t I, class T, std::size_t N>
struct std::tuple_element<I, tapegrad::Owned<std::array<T, N>>> {
  using type = T;
};
