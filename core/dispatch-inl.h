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

/// Dispatches arithmetic that has no integer form: int32 elements are refused, by the caller or as
/// they are read.
template <class F>
decltype(auto) dispatch_float(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32:
      return f(float{});
    case DType::float64:
      return f(double{});
    case DType::int32:
      return f(float{});  // who asks for the elements as float is told what they are: DtypeError
  }
  std::abort();  // no dtype
}

}  // namespace tapegrad
