#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// Returns text of unknown origin as a message may carry it: control characters, quotes and
/// backslashes escaped, what is not UTF-8 replaced.
std::string escaped(std::string_view text);
/// Returns escaped(text), cut if it is long: a name in a message.
std::string shown(std::string_view text);

/// Returns a path as a message may carry it: escaped only if it has control characters.
std::string shown_path(const std::filesystem::path& path);

/// A list in a message, of which only the first few items are kept, and the others counted.
class Listing {
 public:
  void add(std::string item) {
    if (items_.size() < 8) items_.push_back(std::move(item));
    ++count_;
  }
  bool empty() const { return count_ == 0; }
  /// Returns "a; b; c", or "a; b; ...; and 19992 more".
  std::string text() const;

 private:
  std::vector<std::string> items_;
  std::size_t count_ = 0;
};

}  // namespace tapegrad

#pragma GCC visibility pop
