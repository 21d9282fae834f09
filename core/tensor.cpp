#include "tensor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "dispatch-inl.h"
#include "fail-inl.h"
#include "kernels/parallel-inl.h"
#include "pool.h"

namespace tapegrad {
namespace {

constexpr std::size_t head_bytes = pool::alignment;

std::size_t block_bytes(const Shape& shape, DType dtype) {
  return head_bytes + shape.numel() * size_of(dtype);
}

/// `value` as an element; throws for what does not fit in an int32, where C++ leaves the result
/// open.
template <class To, class From>
To element(From value) {
  if constexpr (std::same_as<To, std::int32_t> && std::floating_point<From>) {
    const auto exact = static_cast<double>(value);
    if (!(exact > -0x1p31 - 1 && exact < 0x1p31)) {
      fail<UsageError>("Tensor", "the value {} does not fit in an int32", value);
    }
  }
  return static_cast<To>(value);
}

}  // namespace

std::size_t size_of(DType dtype) {
  return dispatch(dtype, []<class T>(T) { return sizeof(T); });
}

std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::float64:
      return "float64";
    case DType::int32:
      return "int32";
  }
  std::abort();  // no dtype
}

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  void* block = pool::allocate(block_bytes(shape, dtype));
  void* data = static_cast<std::byte*>(block) + head_bytes;
  return Tensor(new (block) Body{data, nullptr, 1, 0, shape, dtype});
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
  Tensor result = empty(shape, dtype);
  result.fill(value);
  return result;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) {
  Tensor result = empty(shape, dtype);
  std::memset(result.body_->data, 0, shape.numel() * size_of(dtype));
  return result;
}

template <Element T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values) {
  if (values.size() != shape.numel()) {
    fail<ShapeError>("Tensor", "shape {} has {} elements but {} values were given", shape,
                     shape.numel(), values.size());
  }
  Tensor result = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), static_cast<T*>(result.body_->data));
  return result;
}

template Tensor Tensor::from<float>(const Shape&, std::span<const float>);
template Tensor Tensor::from<double>(const Shape&, std::span<const double>);
template Tensor Tensor::from<std::int32_t>(const Shape&, std::span<const std::int32_t>);

Tensor Tensor::of(const Shape& shape, std::initializer_list<double> values, DType dtype) {
  return from<double>(shape, std::span<const double>(values.begin(), values.size())).to(dtype);
}

void Tensor::fill(double value) {
  dispatch(dtype(), [&]<class T>(T) {
    const T filling = element<T>(value);
    T* const to = write<T>();
    kernels::for_blocks(numel(), kernels::cheap_block, [&](std::size_t begin, std::size_t end) {
      std::fill(to + begin, to + end, filling);
    });
  });
}

void Tensor::copy_from(const Tensor& source) {
  if (source.shape() != shape()) {
    fail<ShapeError>("copy_from", "source has shape {} but this tensor has shape {}",
                     source.shape(), shape());
  }
  if (source.dtype() != dtype()) {
    fail<DtypeError>("copy_from", "source is {} but this tensor is {}: convert it with to()",
                     source.dtype(), dtype());
  }
  ++owner().version;
  auto* const to = static_cast<std::byte*>(body_->data);
  const auto* const from = static_cast<const std::byte*>(source.body_->data);
  const std::size_t bytes = numel() * size_of(dtype());
  const bool apart = from + bytes <= to || to + bytes <= from;  // views may overlap
  kernels::for_blocks(bytes, apart ? 4 * kernels::cheap_block : bytes,
                      [&](std::size_t begin, std::size_t end) {
                        std::memmove(to + begin, from + begin, end - begin);
                      });
}

double Tensor::at(std::size_t index) const {
  if (index >= numel()) {
    fail<UsageError>("at", "index {} is outside of shape {} with {} elements", index, shape(),
                     numel());
  }
  return dispatch(dtype(), [&]<class T>(T) { return static_cast<double>(data<T>()[index]); });
}

double Tensor::item() const {
  if (numel() != 1) {
    fail<ShapeError>("item", "the tensor has shape {}: it must have exactly one element", shape());
  }
  return at(0);
}

Tensor Tensor::view(const Shape& shape, std::size_t first_element) const {
  Body& elements = owner();
  void* data = static_cast<std::byte*>(body_->data) + first_element * size_of(body_->dtype);
  void* block = pool::allocate(head_bytes);
  elements.references.fetch_add(1, std::memory_order_relaxed);
  return Tensor(new (block) Body{data, &elements, 1, 0, shape, body_->dtype});
}

Tensor Tensor::slice(std::size_t begin, std::size_t end) const {
  if (rank() == 0 || begin > end || end > size(0)) {
    fail<ShapeError>("slice", "rows [{}, {}) do not exist in shape {}", begin, end, shape());
  }
  const std::size_t row_size = shape().without(0).numel();
  return view(shape().with(0, end - begin), begin * row_size);
}

Tensor Tensor::row(std::size_t index) const {
  if (rank() == 0 || index >= size(0)) {
    fail<ShapeError>("row", "row {} does not exist in shape {}", index, shape());
  }
  const Shape row_shape = shape().without(0);
  return view(row_shape, index * row_shape.numel());
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape == this->shape()) return *this;
  if (shape.numel() != numel()) {
    fail<ShapeError>("reshape", "shape {} has {} elements but {} has {}", this->shape(), numel(),
                     shape, shape.numel());
  }
  return view(shape, 0);
}

Tensor Tensor::clone() const {
  Tensor result = empty(shape(), dtype());
  std::memcpy(result.body_->data, body_->data, numel() * size_of(dtype()));
  return result;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == this->dtype()) return *this;
  Tensor result = empty(shape(), dtype);
  dispatch(this->dtype(), [&]<class From>(From) {
    dispatch(dtype, [&]<class To>(To) {
      const std::span<const From> source = values<From>();
      std::transform(source.begin(), source.end(), static_cast<To*>(result.body_->data),
                     [](From v) { return element<To>(v); });
    });
  });
  return result;
}

bool Tensor::unique() const {
  const Body& b = body();
  return b.base == nullptr && b.references.load(std::memory_order_acquire) == 1;
}

bool Tensor::shares_elements_with(const Tensor& other) const { return &owner() == &other.owner(); }

void Tensor::destroy(Body* body) noexcept {
  Body* base = body->base;
  const std::size_t bytes = base != nullptr ? head_bytes : block_bytes(body->shape, body->dtype);
  body->~Body();
  pool::release(body, bytes);
  if (base != nullptr && base->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    destroy(base);  // once at most: the base of a view is an owner
  }
}

void Tensor::undefined() {
  fail<UsageError>("Tensor", "this tensor is undefined: give it a value first");
}

void Tensor::wrong_dtype(DType wanted) const {
  fail<DtypeError>("Tensor", "the elements are {} but {} was asked for: convert with to()", dtype(),
                   wanted);
}

}  // namespace tapegrad
