#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "shape.h"

namespace tapegrad {

namespace detail {
struct LibraryWriter;
}

/// Type of a tensor's elements. int32 is for ids and masks only: nothing differentiates it.
enum class DType : std::uint8_t { float32, float64, int32 };

/// Bytes of one element.
std::size_t size_of(DType dtype);
/// Returns "float32", "float64" or "int32".
std::string_view to_string(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);

template <class T>
concept Element =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::int32_t>;

template <Element T>
inline constexpr DType dtype_of = std::same_as<T, float>    ? DType::float32
                                  : std::same_as<T, double> ? DType::float64
                                                            : DType::int32;

/// An array of numbers: contiguous, row-major, 64-byte aligned, its dtype known at run time.
///
/// A handle of 8 bytes: copies share the elements, `clone()` does not. Reading is free of ceremony;
/// writing is explicit (`mutable_data`, `fill`, `copy_from`) and raises `version()`, by which the
/// tape notices a value that was changed after it was saved. Slices along the first axis are views
/// of the same elements. Handles may be copied and dropped by many threads; elements follow the
/// usual rule of one writer or many readers.
///
/// Elements live as long as a handle does, so what points to them cannot be had from a temporary:
/// `f(x).value().values<float>()` does not compile, `const Tensor y = f(x).value();
/// y.values<float>()` does.
class Tensor {
 public:
  /// Makes no tensor: `defined()` is false, everything else throws UsageError.
  Tensor() = default;
  Tensor(const Tensor& other) noexcept : body_(other.body_) { retain(); }
  Tensor(Tensor&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  Tensor& operator=(Tensor other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~Tensor() { drop(); }

  /// Elements are not initialised.
  static Tensor empty(const Shape& shape, DType dtype = DType::float32);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::float32);
  static Tensor zeros(const Shape& shape, DType dtype = DType::float32);
  /// Copies `values`, row-major, of their type; throws ShapeError unless there are
  /// `shape.numel()` of them.
  template <Element T>
  static Tensor from(const Shape& shape, std::span<const T> values);
  template <Element T>
  static Tensor from(const Shape& shape, std::initializer_list<T> values) {
    return from(shape, std::span<const T>(values.begin(), values.size()));
  }
  /// Copies a vector, an array or whatever else lies in memory as they do.
  template <std::ranges::contiguous_range Values>
  requires(Element<std::ranges::range_value_t<Values>>) static Tensor
      from(const Shape& shape, const Values& values) {
    return from(shape, std::span<const std::ranges::range_value_t<Values>>(values));
  }
  /// Copies `values`, row-major, converted to `dtype`.
  static Tensor of(const Shape& shape, std::initializer_list<double> values,
                   DType dtype = DType::float32);
  static Tensor scalar(double value, DType dtype = DType::float32) {
    return full({}, value, dtype);
  }

  bool defined() const { return body_ != nullptr; }
  const Shape& shape() const& { return body().shape; }
  Shape shape() const&& { return body().shape; }
  DType dtype() const { return body().dtype; }
  std::size_t rank() const { return shape().rank(); }
  std::size_t size(Axis axis) const { return shape()[axis]; }
  std::size_t numel() const { return shape().numel(); }

  /// Returns the elements; throws DtypeError if they are not of type T.
  template <Element T>
  const T* data() const& {
    return static_cast<const T*>(raw(dtype_of<T>));
  }
  template <Element T>
  const T* data() const&& = delete;  // name the Tensor first
  template <Element T>
  std::span<const T> values() const& {
    return {data<T>(), numel()};
  }
  template <Element T>
  std::span<const T> values() const&& = delete;  // name the Tensor first
  /// Returns the elements for writing; raises the version. The pointer may be kept and written
  /// through later, which no version tells: from now on the elements are exposed().
  template <Element T>
  T* mutable_data() & {
    owner().exposed = true;
    return write<T>();
  }
  template <Element T>
  T* mutable_data() && = delete;  // name the Tensor first
  template <Element T>
  std::span<T> mutable_values() & {
    return {mutable_data<T>(), numel()};
  }
  template <Element T>
  std::span<T> mutable_values() && = delete;  // name the Tensor first
  /// Sets elements. In int32 a fraction is cut off, and UsageError is thrown for a value that
  /// does not fit; so with all that converts: `full`, `of`, `to`.
  void fill(double value);
  /// Copies elements; throws ShapeError or DtypeError unless `source` has this shape and dtype.
  void copy_from(const Tensor& source);

  /// Returns element `index` in row-major order, as a double; throws UsageError out of range.
  double at(std::size_t index) const;
  /// Returns the only element; throws ShapeError if there is not exactly one.
  double item() const;

  /// Rows [begin, end) of the first axis: a view. Throws ShapeError out of range or for a scalar.
  Tensor slice(std::size_t begin, std::size_t end) const;
  /// Returns row `index` of the first axis, without that axis: a view.
  Tensor row(std::size_t index) const;
  /// Returns the elements in another shape: a view, or this handle if the shape is the same
  /// already. Throws ShapeError if the numbers of elements
  /// differ.
  Tensor reshape(const Shape& shape) const;
  Tensor clone() const;
  /// Returns the values in another dtype: a copy, or the same handle if the dtype is the same
  /// already.
  Tensor to(DType dtype) const;

  /// Counts writes to the elements, through whatever handle.
  std::uint32_t version() const { return owner().version; }
  /// Returns true if a pointer for writing was ever handed out, by mutable_data() or
  /// mutable_values(): the elements may then change without a new version(), so nothing derived
  /// from them can be cached.
  bool exposed() const { return owner().exposed; }
  /// Returns true if no other handle shares these elements, so that they may be overwritten unseen.
  bool unique() const;
  bool shares_elements_with(const Tensor& other) const;

 private:
  /// Head of a pool block; the elements of an owner follow it, those of a view lie in `base`.
  struct Body {
    void* data;
    Body* base;  // owner of a view's elements; null in an owner
    std::atomic<std::uint32_t> references;
    std::uint32_t version;
    // May share its last bytes with what follows it, which keeps the head within one cache line.
    [[no_unique_address]] Shape shape;
    DType dtype;
    bool exposed = false;  // of an owner
  };
  static_assert(sizeof(Body) <= 64);
  friend struct detail::LibraryWriter;

  explicit Tensor(Body* body) : body_(body) {}
  Tensor view(const Shape& shape, std::size_t first_element) const;
  static void destroy(Body* body) noexcept;

  Body& body() const {
    if (body_ == nullptr) undefined();
    return *body_;
  }
  Body& owner() const {
    Body& b = body();
    return b.base != nullptr ? *b.base : b;
  }
  void* raw(DType wanted) const {
    Body& b = body();
    if (b.dtype != wanted) wrong_dtype(wanted);
    return b.data;
  }
  template <Element T>
  T* write() {
    void* elements = raw(dtype_of<T>);
    ++owner().version;
    return static_cast<T*>(elements);
  }
  void retain() const noexcept {
    if (body_ != nullptr) body_->references.fetch_add(1, std::memory_order_relaxed);
  }
  void drop() noexcept {
    if (body_ == nullptr) return;
    // The only handle need not lock the count: nobody else can copy it.
    if (body_->references.load(std::memory_order_acquire) == 1 ||
        body_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      destroy(body_);
    }
  }
  [[noreturn]] static void undefined();
  [[noreturn]] void wrong_dtype(DType wanted) const;

  Body* body_ = nullptr;
};

extern template Tensor Tensor::from<float>(const Shape&, std::span<const float>);
extern template Tensor Tensor::from<double>(const Shape&, std::span<const double>);
extern template Tensor Tensor::from<std::int32_t>(const Shape&, std::span<const std::int32_t>);

/// Prints the elements in brackets, six digits each, then dtype and shape: "[1, 2.5] float32 (2)".
/// Of many elements the first and the last three along each axis.
std::string to_string(const Tensor& x);
std::ostream& operator<<(std::ostream& out, const Tensor& x);

}  // namespace tapegrad
