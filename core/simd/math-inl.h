// Private: exp, sigmoid, tanh and their slopes of one Highway vector. Highway compiles this once for each
// instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_SIMD_MATH_INL_H_
#undef TAPEGRAD_CORE_SIMD_MATH_INL_H_
#else
#define TAPEGRAD_CORE_SIMD_MATH_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// x, but not beyond -most and most; NaN stays. What a function makes of such an x and then does not
/// take may overflow, which a program may have made a trap. Not by CopySign: clang 14 compiles that
/// wrongly for AVX-512 where the sign is split off again, as hwy::Tanh does.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V limited(D d, V x, double most) {
  const V end = hn::Set(d, static_cast<hn::TFromD<D>>(most)), start = hn::Neg(end);
  return hn::IfThenElse(hn::Gt(x, end), end, hn::IfThenElse(hn::Lt(x, start), start, x));
}
/// e^most is inf, e^-most is 0.
template <class T>
inline constexpr double most_exponent = sizeof(T) == 4 ? 104 : 1000;

/// e^x. hwy::Exp is good between underflow and just above overflow, and makes 0 of a NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp(D d, V x) {
  const V y = hn::Exp(d, limited(d, x, most_exponent<hn::TFromD<D>>));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}
/// e^-|x|.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_down(D d, V x) {
  using T = hn::TFromD<D>;
  return hn::Exp(d, hn::Neg(hn::Min(hn::Abs(x), hn::Set(d, static_cast<T>(most_exponent<T>)))));
}

/// 1 / (1 + e^-x), by e = e^-|x| <= 1: 1 / (1 + e) for x >= 0, e / (1 + e) for x < 0.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const V e = exp_down(d, x);
  const V y = hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

/// e / (1 + e)^2; x where that is NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V slope_of(D d, V x, V e) {
  const V sum = hn::Add(hn::Set(d, hn::TFromD<D>{1}), e);
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Div(e, hn::Mul(sum, sum)));
}

/// The slope of sigmoid, from x: e / (1 + e)^2 with e = e^-|x|. 1 - sigmoid(x) would be 0 from
/// x = 17 (float) or 37 (double) on.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid_slope(D d, V x) {
  return slope_of(d, x, exp_down(d, x));
}

/// The slope of tanh, from x: 4 e / (1 + e)^2 with e = e^-2|x|.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_slope(D d, V x) {
  using T = hn::TFromD<D>;
  const V a = hn::Min(hn::Abs(x), hn::Set(d, static_cast<T>(most_exponent<T> / 2)));
  return hn::Mul(hn::Set(d, T{4}), slope_of(d, x, hn::Exp(d, hn::Neg(hn::Add(a, a)))));
}

/// hwy::Tanh is (e^2|x| - 1) / (e^2|x| + 1) with the sign of x, and 1 from |x| = 18.7 on; a NaN
/// comes through it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh(D d, V x) {
  return hn::Tanh(d, limited(d, x, 20));
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
