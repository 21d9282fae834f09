#include "rows.h"

#include <algorithm>

#include "../dispatch-inl.h"
#include "loops-inl.h"

namespace tapegrad::kernels {
namespace {

template <class T>
void add_run(const T* from, std::size_t n, T* to) {
  for (std::size_t i = 0; i < n; ++i) to[i] += from[i];
}

}  // namespace

Tensor take_rows(const Tensor& table, const Tensor& ids) {
  const std::size_t columns = table.size(1);
  Tensor result = Tensor::empty(ids.shape().inserted(ids.rank(), columns), table.dtype());
  dispatch(table.dtype(), [&]<class T>(T) {
    const T* rows = table.data<T>();
    T* to = result.mutable_data<T>();
    for (const std::int32_t id : ids.values<std::int32_t>()) {
      to = std::copy_n(rows + static_cast<std::size_t>(id) * columns, columns, to);
    }
  });
  return result;
}

void add_rows(Tensor& table, const Tensor& ids, const Tensor& rows) {
  const std::size_t columns = table.size(1);
  dispatch_float(table.dtype(), [&]<class T>(T) {
    const T* from = rows.data<T>();
    T* to = table.mutable_data<T>();
    for (const std::int32_t id : ids.values<std::int32_t>()) {
      add_run(from, columns, to + static_cast<std::size_t>(id) * columns);
      from += columns;
    }
  });
}

Tensor slice(const Tensor& x, std::size_t axis, std::size_t begin, std::size_t end) {
  Tensor result = Tensor::empty(x.shape().with(axis, end - begin), x.dtype());
  const Axes axes = Axes::around(x.shape(), axis);
  const std::size_t run = (end - begin) * axes.inner;
  dispatch(x.dtype(), [&]<class T>(T) {
    const T* from = x.data<T>() + begin * axes.inner;
    T* to = result.mutable_data<T>();
    for (std::size_t o = 0; o < axes.outer; ++o) {
      to = std::copy_n(from + o * axes.n * axes.inner, run, to);
    }
  });
  return result;
}

void add_slice(Tensor& total, const Tensor& part, std::size_t axis, std::size_t begin) {
  const Axes axes = Axes::around(total.shape(), axis);
  const std::size_t run = part.size(axis) * axes.inner;
  dispatch_float(total.dtype(), [&]<class T>(T) {
    const T* from = part.data<T>();
    T* to = total.mutable_data<T>() + begin * axes.inner;
    for (std::size_t o = 0; o < axes.outer; ++o) {
      add_run(from + o * run, run, to + o * axes.n * axes.inner);
    }
  });
}

Tensor concat(std::span<const Tensor> parts, std::size_t axis) {
  const Tensor& first = parts.front();
  std::size_t size = 0;
  for (const Tensor& part : parts) size += part.size(axis);
  Tensor result = Tensor::empty(first.shape().with(axis, size), first.dtype());
  const Axes axes = Axes::around(result.shape(), axis);
  dispatch(first.dtype(), [&]<class T>(T) {
    T* to = result.mutable_data<T>();
    for (const Tensor& part : parts) {
      const T* from = part.data<T>();
      const std::size_t run = part.size(axis) * axes.inner;
      for (std::size_t o = 0; o < axes.outer; ++o) {
        std::copy_n(from + o * run, run, to + o * axes.n * axes.inner);
      }
      to += run;
    }
  });
  return result;
}

}  // namespace tapegrad::kernels
