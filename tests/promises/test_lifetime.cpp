#include <doctest/doctest.h>

#include <concepts>
#include <cstdint>
#include <utility>

#include "../../autograd/inspect/trace.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/data/windows.h"
#include "../../core/io/safetensors.h"

TEST_SUITE_BEGIN("misuse");

// What lies in a temporary's memory cannot be kept: an accessor of a temporary returns a value of
// its own or does not compile. `T` is asked as a name (T&, const T&) and as a temporary (T, const
// T).

namespace {

using namespace tapegrad;

template <class T, class E>
concept Reads = requires(T&& t) {
  std::forward<T>(t).template data<E>();
}
|| requires(T&& t) { std::forward<T>(t).template values<E>(); };
template <class T, class E>
concept Writes = requires(T&& t) {
  std::forward<T>(t).template mutable_data<E>();
}
|| requires(T&& t) { std::forward<T>(t).template mutable_values<E>(); };
template <class T>
concept HasDims = requires(T&& t) {
  std::forward<T>(t).dims();
};
template <class T>
concept Iterates = requires(T&& t) {
  std::forward<T>(t).begin();
}
|| requires(T&& t) { std::forward<T>(t).end(); };

template <class E>
constexpr bool elements_of_names_only =
    Reads<Tensor&, E>&& Reads<const Tensor&, E> && !Reads<Tensor, E> && !Reads<const Tensor, E> &&
    Writes<Tensor&, E> && !Writes<Tensor, E> && !Writes<const Tensor&, E> &&
    !Writes<const Tensor, E>;
static_assert(elements_of_names_only<float>);
static_assert(elements_of_names_only<double>);
static_assert(elements_of_names_only<std::int32_t>);

static_assert(HasDims<Shape&> && HasDims<const Shape&> && !HasDims<Shape> && !HasDims<const Shape>);
static_assert(Iterates<const StreamWindows&> && !Iterates<StreamWindows> &&
              !Iterates<const StreamWindows>);

template <class T>
using ShapeOf = decltype(std::declval<T>().shape());
static_assert(std::same_as<ShapeOf<const Tensor&>, const Shape&>);
static_assert(std::same_as<ShapeOf<Tensor>, Shape> && std::same_as<ShapeOf<const Tensor>, Shape>);
static_assert(std::same_as<ShapeOf<const Var&>, const Shape&>);
static_assert(std::same_as<ShapeOf<Var>, Shape> && std::same_as<ShapeOf<const Var>, Shape>);

template <class T>
using ValueOf = decltype(std::declval<T>().value());
static_assert(std::same_as<ValueOf<Var&>, const Tensor&>);
static_assert(std::same_as<ValueOf<const Var&>, const Tensor&>);
static_assert(std::same_as<ValueOf<Var>, Tensor> && std::same_as<ValueOf<const Var>, Tensor>);

// Lists of what has such accessors: an element of a temporary list is a value.
template <class T>
constexpr bool elements_are_values =
    std::same_as<decltype(std::declval<T>()[0]), typename T::value_type>&&
        std::same_as<decltype(std::declval<T>().at(0)), typename T::value_type>&&
            std::same_as<decltype(std::declval<T>().front()), typename T::value_type>&&
                std::same_as<decltype(std::declval<T>().back()), typename T::value_type>&&
                    std::same_as<decltype(std::declval<const T>()[0]), typename T::value_type>&&
                        std::same_as<decltype(std::declval<T&>()[0]), typename T::value_type&>&&
                            std::same_as<decltype(std::declval<const T&>()[0]),
                                         const typename T::value_type&>;
static_assert(elements_are_values<Vars>);
static_assert(elements_are_values<decltype(unbind(std::declval<Var>()))>);
static_assert(elements_are_values<decltype(split<2>(std::declval<Var>(), 0))>);
static_assert(elements_are_values<decltype(TensorFile::tensors)>);
static_assert(!Reads<decltype(std::declval<TensorFile>().tensors[0].tensor), float>);

static_assert(std::same_as<decltype(std::declval<Trace&>().name("y", std::declval<Var>())), Var>);

}  // namespace

TEST_CASE("a value bound to a temporary's accessor lives as long as the name it has") {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({2}, {1, 2}));
  const Tensor& y = (x + 1).value();
  const Shape& shape = (x + 1).shape();
  const Tensor& dx = tape.gradient(sum(3 * x), {x})[0].value();
  const Tensor& half = split<2>(x, 0)[1].value();
  const Tensor others = Tensor::full({2}, 9);  // would lie where y did
  CHECK(y.at(1) == 3);
  CHECK(shape == Shape{2});
  CHECK(dx.at(0) == 3);
  CHECK(half.item() == 2);
  CHECK(others.at(0) == 9);

  const auto [a, b] = split<2>(x, 0);
  CHECK(a.item() + b.item() == 3);
}

TEST_CASE("the value of a Var that is moved from moves along") {
  Var x = Tensor::of({2}, {1, 2});
  const Tensor value = std::move(x).value();
  CHECK(value.unique());
}
