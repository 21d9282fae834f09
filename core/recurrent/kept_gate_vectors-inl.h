// Private: kept_gate-inl.h for one Highway vector. Highway compiles this once for each instruction
// set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_
#undef TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_
#else
#define TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <limits>

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V = hn::Vec<D>>
HWY_INLINE V keep_sigmoid(D d, V a) {
  const V one = hn::Set(d, hn::TFromD<D>{1});
  const V e = hn::Exp(d, hn::Neg(hn::Abs(a)));  // makes 0 of a NaN
  const V distance = hn::Div(e, hn::Add(one, e));
  return hn::IfThenElse(hn::IsNaN(a), a, hn::CopySign(distance, hn::Neg(a)));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V kept_sigmoid(D d, V k) {
  // Not IfNegativeThenElse: in Highway 1.0.3 that is wrong on SSSE3.
  const hn::RebindToSigned<D> bits;
  const V negative = hn::BitCast(d, hn::BroadcastSignBit(hn::BitCast(bits, k)));
  return hn::Add(k, hn::And(negative, hn::Set(d, hn::TFromD<D>{1})));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V kept_sigmoid_slope(D, V k) {
  const V distance = hn::Abs(k);
  return hn::NegMulAdd(distance, distance, distance);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V keep_tanh(D d, V a) {
  using T = hn::TFromD<D>;
  constexpr T least = std::numeric_limits<T>::min();
  const V two = hn::Set(d, T{2});
  const V most = hn::Set(d, static_cast<T>(sizeof(T) == 4 ? 88 : 709));
  const V x = hn::Mul(two, hn::Abs(a));
  const V e = hn::Expm1(d, hn::IfThenElse(hn::Gt(x, most), most, x));
  const V numerator = hn::IfThenElse(hn::Gt(e, two), hn::Set(d, 2 / least), e);
  return hn::CopySign(hn::Div(numerator, hn::Add(e, two)), a);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V kept_tanh(D d, V k) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const V least = hn::Set(d, std::numeric_limits<T>::min());
  const V near_1 = hn::NegMulAdd(hn::Abs(k), least, one);
  return hn::IfThenElse(hn::Ge(hn::Abs(k), one), hn::CopySign(near_1, k), k);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V kept_tanh_slope(D d, V k) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const V u = hn::Mul(hn::Abs(k), hn::Set(d, std::numeric_limits<T>::min()));
  const V near_1 = hn::Mul(u, hn::Sub(hn::Set(d, T{2}), u));
  return hn::IfThenElse(hn::Ge(hn::Abs(k), one), near_1, hn::NegMulAdd(k, k, one));
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
