#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "pool.h"

namespace tapegrad {

/// A name for what the thread is doing while the object lives. The message of every Error made
/// meanwhile ends with the names, outermost first: "... (in decoder/lstm.1)".
///
/// Contexts nest; several may end in any order, but in the thread that made them.
class [[nodiscard]] ErrorContext {
 public:
  static constexpr std::size_t no_index = SIZE_MAX;

  explicit ErrorContext(std::string_view name, std::size_t index = no_index);
  ErrorContext(const ErrorContext&) = delete;
  ErrorContext& operator=(const ErrorContext&) = delete;
  ~ErrorContext();

  /// Returns the names of this thread's contexts, as in "decoder/lstm.1"; empty outside of any.
  static std::string path();
  /// Returns `message` with the path behind it.
  static std::string appended_to(const std::string& message);

 private:
  pool::Vector<char> name_;
  std::size_t index_;
  ErrorContext* outer_;
};

}  // namespace tapegrad
