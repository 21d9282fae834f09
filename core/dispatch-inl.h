#pragma once

#include <cstdlib>

#include "tensor.h"

namespace tapegrad {

/// Calls `f` with a value of the element type that `dtype` stands for: `dispatch(x.dtype(),
/// [&]<class T>(T) {...})`.
template <class F>
decltype(auto) dispatch(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int32:
      return f(std::int32_t{});
  }
  std::abort();  // no dtype
}

/// The same for arithmetic that has no integer form: the caller has refused int32.
template <class F>
decltype(auto) dispatch_float(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int32:
      break;
  }
  std::abort();  // the caller has let pass what it should have refused
}

}  // namespace tapegrad
