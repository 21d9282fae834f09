#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "tensor.h"

#pragma GCC visibility push(hidden)

/// Texts that several files make. (fmt::join would do it too, but takes seconds to compile.)
namespace tapegrad {

/// Returns the words one after the other, `between` between two.
std::string joined(std::span<const std::string> words, std::string_view between);
std::string joined(std::span<const std::size_t> numbers, std::string_view between);

/// Returns "float32 (2, 3)".
std::string described(DType dtype, const Shape& shape);
inline std::string described(const Tensor& t) { return described(t.dtype(), t.shape()); }

/// Returns the text with what is not UTF-8 replaced.
std::string as_utf8(std::string_view text);
/// Returns text of unknown origin as a message may carry it: control characters, quotes and
/// backslashes escaped, what is not UTF-8 replaced.
std::string escaped(std::string_view text);
/// Returns escaped(text), cut if it is long: a name in a message.
std::string shown(std::string_view text);

/// Returns a path as a message may carry it: escaped only if it has control characters.
std::string shown_path(const std::filesystem::path& path);

/// Returns "is it a, b, c?": of `names`, of which there must be one, those nearest to `wanted`, or
/// beginning nearest to it; at most three, and none twice as far as the nearest.
std::string near_names(std::string_view wanted, std::span<const std::string> names,
                       bool beginning = false);

/// A list in a message: the first items, as many as a reader may want to see, and the number of the
/// others.
class Listing {
 public:
  void add(std::string_view item);
  bool empty() const { return text_.empty(); }
  /// Returns "a; b; c", or "a; b; ...; and 19976 more".
  std::string text() const;

 private:
  std::string text_;
  std::size_t more_ = 0;
};

}  // namespace tapegrad

#pragma GCC visibility pop
