#pragma once

#include <cstddef>
#include <initializer_list>

#include "../../autograd/parameter.h"
#include "../../autograd/var.h"

/// Values where a test wants some, in few words.
namespace tapegrad::testing {

inline Tensor number(double value) { return Tensor::scalar(value, DType::float64); }

inline Parameter parameter(std::initializer_list<double> values) {
  return Parameter(Tensor::of({values.size()}, values, DType::float64));
}

inline Var values(const Shape& shape, DType dtype = DType::float32) {
  return Tensor::full(shape, 0.5, dtype);
}

}  // namespace tapegrad::testing
