#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

#include "error.h"
#include "tensor.h"

#pragma GCC visibility push(hidden)

/// The one function by which the library throws its errors.
namespace tapegrad {

namespace detail {

/// Returns what stands for a value in a message: shapes and dtypes as to_string() has them.
template <class T>
const T& shown(const T& value) {
  return value;
}
inline std::string shown(const Shape& shape) { return to_string(shape); }
inline std::string_view shown(DType dtype) { return to_string(dtype); }

template <class T>
using Shown = decltype(shown(std::declval<const T&>()));

/// Returns "[where] words", with the arguments in their places.
std::string message(std::string_view where, fmt::string_view words, fmt::format_args args);

}  // namespace detail

/// Throws an E that says "[where] words": `fail<ShapeError>("lstm", "x has shape {}: it must ...",
/// x.shape())`. `where`: the function or the class that was called, by the name it has in code.
template <class E, class... Args>
[[noreturn]] void fail(std::string_view where, fmt::format_string<detail::Shown<Args>...> words,
                       const Args&... args) {
  // Named once more, because what is shown may be a temporary, which fmt does not take.
  [&](const auto&... named) {
    throw E(detail::message(where, words, fmt::make_format_args(named...)));
  }(detail::shown(args)...);
  __builtin_unreachable();
}

}  // namespace tapegrad

#pragma GCC visibility pop
