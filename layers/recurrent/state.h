#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../../autograd/ops/recurrent.h"

namespace tapegrad {

/// Calls f(name, part) for each Var of a recurrent state, in order. A state is a Var, a struct that
/// names its parts, or a std::tuple, std::pair, std::array or std::vector of states:
///
///   struct MyState {
///     Var h, m;
///     void parts(auto&& v) { v("h", h); v("m", m); }   // visit is for what has Parameters
///   };
///
/// Names are paths, as "state.h" or "state.0.h" for the `name` "state".
template <class State, class F>
void for_each_part(State& state, const F& f, const std::string& name = "state") {
  const auto into = [&](std::string_view member, auto& part) {
    for_each_part(part, f, name + "." + std::string(member));
  };
  const auto numbered = [&, n = 0](auto& part) mutable { into(std::to_string(n++), part); };
  if constexpr (std::same_as<State, Var>) {
    f(name, state);
  } else if constexpr (requires { state.parts(into); }) {
    state.parts(into);
  } else if constexpr (requires { std::tuple_size<State>::value; }) {
    auto each = numbered;
    std::apply([&](auto&... parts) { (each(parts), ...); }, state);
  } else {
    auto each = numbered;
    for (auto& part : state) each(part);
  }
}

/// Returns a state as constants: where backpropagation through time is cut.
template <class State>
State detached(State state) {
  for_each_part(state, [](const std::string&, Var& part) { part = part.detach(); });
  return state;
}

namespace detail {

/// Returns the Vars of a state.
template <class State>
Vars parts_of(State state) {
  Vars parts;
  for_each_part(state, [&](const std::string&, Var& part) { parts.push_back(part); });
  return parts;
}

/// Returns a state like `state`, of other Vars.
template <class State>
State with_parts(State state, const Vars& parts) {
  std::size_t next = 0;
  for_each_part(state, [&](const std::string&, Var& part) { part = parts[next++]; });
  return state;
}

}  // namespace detail
}  // namespace tapegrad
