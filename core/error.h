#pragma once

#include "cxx20.h"

#include <stdexcept>
#include <string>

#include "error_context.h"

namespace tapegrad {

/// Base of everything tapegrad throws on purpose. A message has one form:
/// `[name] what has shape (letters) = (numbers) but ...: what must hold`, with the usual cure where
/// there is one, and at its end the scopes that it was thrown in: "(in decoder/lstm.1)". `name` is
/// that of the function or the class in code. After a throw parameters, gradients and optimizers are
/// as they were before the call.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message)
      : std::runtime_error(ErrorContext::appended_to(message)) {}
};

/// Shapes that do not fit together, or a shape that an operation cannot take.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// Two dtypes that would have to be mixed, or a dtype that an operation cannot take.
class DtypeError : public Error {
 public:
  using Error::Error;
};

/// A call that is wrong by its order or its arguments: a finished pass, two tapes, an option out of
/// range.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// A file that cannot be read or written, or whose content is not what it must be.
class FileError : public Error {
 public:
  using Error::Error;
};

/// A NaN or an infinity where only finite numbers make sense.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

}  // namespace tapegrad
