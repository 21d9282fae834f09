#pragma once

#include <cmath>
#include <cstddef>

#include "../dispatch-inl.h"
#include "../tensor.h"
#include "parallel-inl.h"

#pragma GCC visibility push(hidden)

/// A function of single elements made one of tensors, in blocks of about `block` elements.
namespace tapegrad::kernels {

/// y[i] = f(x[i]) for elements of type T.
template <class T, class F>
Tensor map_of(const Tensor& x, F f, std::size_t block) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  const T* from = x.data<T>();
  T* to = result.mutable_data<T>();
  for_blocks(x.numel(), block, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) to[i] = f(from[i]);
  });
  return result;
}

/// y[i] = f(x[i]).
template <class F>
Tensor map(const Tensor& x, F f, std::size_t block = cheap_block) {
  return dispatch_float(x.dtype(), [&]<class T>(T) { return map_of<T>(x, f, block); });
}

/// z[i] = f(x[i], y[i]) for equal shapes.
template <class F>
Tensor zip(const Tensor& x, const Tensor& y, F f, std::size_t block = cheap_block) {
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* a = x.data<T>();
    const T* b = y.data<T>();
    T* to = result.mutable_data<T>();
    for_blocks(x.numel(), block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) to[i] = f(a[i], b[i]);
    });
  });
  return result;
}

/// z[i] = f(large[i], small[i mod small's size]), for a shape of `small` that is a suffix of
/// `large`'s.
template <class F>
Tensor zip_repeated(const Tensor& large, const Tensor& small, F f,
                    std::size_t block = cheap_block) {
  if (small.numel() == 1) {
    return dispatch_float(large.dtype(), [&]<class T>(T) {
      return map_of<T>(
          large, [f, b = *small.data<T>()](T a) { return f(a, b); }, block);
    });
  }
  Tensor result = Tensor::empty(large.shape(), large.dtype());
  if (result.numel() == 0) return result;
  dispatch_float(large.dtype(), [&]<class T>(T) {
    const T* a = large.data<T>();
    const T* b = small.data<T>();
    T* to = result.mutable_data<T>();
    const std::size_t columns = small.numel();
    for_blocks(large.numel() / columns, rows_per_block(columns, block),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t row = begin * columns; row < end * columns; row += columns) {
                   for (std::size_t j = 0; j < columns; ++j) to[row + j] = f(a[row + j], b[j]);
                 }
               });
  });
  return result;
}

/// log(1 + e^x) without overflow; NaN stays NaN.
template <class T>
T log1p_exp(T x) {
  return (x > 0 ? x : T{0}) + std::log1p(std::exp(-std::abs(x)));
}

}  // namespace tapegrad::kernels

#pragma GCC visibility pop
