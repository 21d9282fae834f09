// Private: exp, sigmoid and tanh of one Highway vector, and loads and stores of a row's end.
// Highway compiles this once for each instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_KERNELS_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_KERNELS_VECTOR_MATH_INL_H_
#undef TAPEGRAD_CORE_KERNELS_VECTOR_MATH_INL_H_
#else
#define TAPEGRAD_CORE_KERNELS_VECTOR_MATH_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// e^x. hwy::Exp is good between underflow and just above overflow, and makes 0 of a NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp(D d, V x) {
  using T = hn::TFromD<D>;
  const V most = hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 104 : 1000));  // e^most = inf
  const V y = hn::Exp(d, hn::IfThenElse(hn::Gt(x, most), most, x));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

/// 1 / (1 + e^-x), by e = e^-|x| <= 1: 1 / (1 + e) for x >= 0, e / (1 + e) for x < 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const V e = hn::Exp(d, hn::Neg(hn::Abs(x)));
  const V y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

/// The slope of sigmoid, from x: e / (1 + e)^2 with e = e^-|x|. 1 - sigmoid(x) would be 0 from
/// x = 17 (float) or 37 (double) on.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid_slope(D d, V x) {
  using T = hn::TFromD<D>;
  const V e = hn::Exp(d, hn::Neg(hn::Abs(x)));
  const V sum = hn::Add(hn::Set(d, T{1}), e);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Div(e, hn::Mul(sum, sum)));
}

/// The slope of tanh, from x: 4 e / (1 + e)^2 with e = e^-2|x|.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_slope(D d, V x) {
  using T = hn::TFromD<D>;
  return hn::Mul(hn::Set(d, T{4}), sigmoid_slope(d, hn::Add(x, x)));
}

/// hwy::Tanh is (e^2|x| - 1) / (e^2|x| + 1) with the sign of x, and 1 from |x| = 18.7 on; a NaN
/// comes through it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh(D d, V x) {
  return hn::Tanh(d, x);
}

/// Which lanes of a vector are read and written: all of them, or the first `count`, so that the end
/// of a row passes through the same arithmetic as its body.
struct AllLanes {};
struct FirstLanes {
  std::size_t count;
};

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load(D d, const T* from, AllLanes) {
  return hn::LoadU(d, from);
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store(D d, hn::Vec<D> v, T* to, AllLanes) {
  hn::StoreU(v, d, to);
}

#if HWY_MEM_OPS_MIGHT_FAULT  // a masked load may touch what is behind the row

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load(D d, const T* from, FirstLanes lanes) {
  HWY_ALIGN T buffer[hn::MaxLanes(D())] = {};
  std::copy_n(from, lanes.count, buffer);
  return hn::Load(d, buffer);
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store(D d, hn::Vec<D> v, T* to, FirstLanes lanes) {
  HWY_ALIGN T buffer[hn::MaxLanes(D())];
  hn::Store(v, d, buffer);
  std::copy_n(buffer, lanes.count, to);
}

#else

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load(D d, const T* from, FirstLanes lanes) {
  return hn::MaskedLoad(hn::FirstN(d, lanes.count), d, from);
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store(D d, hn::Vec<D> v, T* to, FirstLanes lanes) {
  hn::BlendedStore(v, hn::FirstN(d, lanes.count), d, to);
}

#endif

/// Calls f(d, j, lanes) for the columns 0, ..., count - 1 in vectors: j is a vector's first column.
template <class T, class F>
HWY_INLINE void for_vectors(std::size_t count, const F& f) {
  const hn::ScalableTag<T> d;
  const std::size_t width = hn::Lanes(d);
  std::size_t j = 0;
  for (; j + width <= count; j += width) f(d, j, AllLanes{});
  if (j < count) f(d, j, FirstLanes{count - j});
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
