// Private: kept_gate-inl.h for one Highway vector. Highway compiles this once for each instruction
// set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_
#undef TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_
#else
#define TAPEGRAD_CORE_RECURRENT_KEPT_GATE_VECTORS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <iterator>
#include <limits>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// e^x = scale (1 + q), q = e^r - 1 with x = n ln 2 + r, |r| <= ln 2 / 2 and scale = 2^n.
template <class V>
struct Exponential {
  V scale, q;
};

/// Coefficients of (e^r - 1 - r) / r^2 (near minimax), so that q has the relative error 2.3e-8 in
/// float and 4.9e-19 in double.
inline constexpr float exponential_float[] = {0x1p-1f, 0x1.5554dcp-3f, 0x1.555518p-5f,
                                              0x1.120be2p-7f, 0x1.6d117cp-10f};
inline constexpr double exponential_double[] = {
    0x1p-1,
    0x1.5555555555557p-3,
    0x1.5555555555556p-5,
    0x1.11111111100bep-7,
    0x1.6c16c16c162c3p-10,
    0x1.a01a01abf85abp-13,
    0x1.a01a01a6e1e2ap-16,
    0x1.71de01fdbf9cap-19,
    0x1.27e4db46cddd1p-22,
    0x1.af4e554377204p-26,
    0x1.1f7340dbc337ep-29,
};

/// The numbers of a dtype that e^x is made of. From -lowest on, e^x counts as 0; up to highest it is
/// a number.
template <class T>
struct ExponentialRange {
  static constexpr bool narrow = sizeof(T) == 4;
  static constexpr T highest = narrow ? T(88) : T(709);
  static constexpr T lowest = -highest;
  static constexpr int mantissa_bits = narrow ? 23 : 52;
  /// Adding this rounds n to a whole number, whose lowest bits are then those of n + bias.
  static constexpr T rounding = narrow ? T(0x1.8p23f) + T(127) : static_cast<T>(0x1.8p52) + T(1023);
  // ln 2 = high + low, and n * high is exact.
  static constexpr T ln2_high = narrow ? T(0.693359375) : static_cast<T>(6.93145751953125e-1);
  static constexpr T ln2_low =
      narrow ? T(-2.12194440e-4) : static_cast<T>(1.42860682030941723212e-6);
};

/// For x in [lowest, highest]; a NaN makes q one.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Exponential<V> exponential(D d, V x) {
  using T = hn::TFromD<D>;
  using Range = ExponentialRange<T>;
  const hn::RebindToUnsigned<D> bits;
  const V rounding = hn::Set(d, Range::rounding);
  const V rounded = hn::MulAdd(x, hn::Set(d, static_cast<T>(1.44269504088896340736)), rounding);
  const V n = hn::Sub(rounded, rounding);
  V r = hn::NegMulAdd(n, hn::Set(d, Range::ln2_high), x);
  r = hn::NegMulAdd(n, hn::Set(d, Range::ln2_low), r);
  const auto series = [&](const auto& c) HWY_ATTR {
    constexpr std::size_t last = std::size(std::remove_reference_t<decltype(c)>{}) - 1;
    static_assert(last % 2 == 0);
    const V square = hn::Mul(r, r);
    V even = hn::Set(d, c[last]), odd = hn::Set(d, c[last - 1]);  // two short chains
    for (std::size_t i = last - 2; i > 0; i -= 2) {
      even = hn::MulAdd(even, square, hn::Set(d, c[i]));
      odd = hn::MulAdd(odd, square, hn::Set(d, c[i - 1]));
    }
    even = hn::MulAdd(even, square, hn::Set(d, c[0]));
    return hn::MulAdd(hn::MulAdd(odd, r, even), square, r);
  };
  const V scale = hn::BitCast(d, hn::ShiftLeft<Range::mantissa_bits>(hn::BitCast(bits, rounded)));
  if constexpr (Range::narrow) {
    return {scale, series(exponential_float)};
  } else {
    return {scale, series(exponential_double)};
  }
}

/// kept_sigmoid(keep_sigmoid(a)): max ULP error 3 for |a| <= 87 (708), its slope 4 there; the least
/// normal number off beyond.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V keep_sigmoid(D d, V a) {
  using T = hn::TFromD<D>;
  const V lowest = hn::Set(d, ExponentialRange<T>::lowest);
  const V x = hn::Neg(hn::Abs(a));
  const auto [scale, q] = exponential(d, hn::IfThenElse(hn::Lt(x, lowest), lowest, x));
  const V e = hn::MulAdd(scale, q, scale);
  const V distance = hn::Div(e, hn::Add(hn::Set(d, T{1}), e));
  return hn::CopySign(distance, hn::Neg(a));
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

/// kept_tanh(keep_tanh(a)): max ULP error 3 for all a; its slope 4 for |a| <= 43.5 (354), four times
/// the least normal number off beyond.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V keep_tanh(D d, V a) {
  using T = hn::TFromD<D>;
  constexpr T least = std::numeric_limits<T>::min();
  const V one = hn::Set(d, T{1}), two = hn::Set(d, T{2});
  const V highest = hn::Set(d, ExponentialRange<T>::highest);
  const V x = hn::Mul(two, hn::Abs(a));
  const auto [scale, q] = exponential(d, hn::IfThenElse(hn::Gt(x, highest), highest, x));
  const V e = hn::MulAdd(scale, q, hn::Sub(scale, one));  // e^x - 1
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
  const auto at_end = hn::Ge(hn::Abs(k), one);
  const V inside = hn::IfThenElse(at_end, one, k);  // k^2 may overflow, and be a trap
  return hn::IfThenElse(at_end, near_1, hn::NegMulAdd(inside, inside, one));
}

/// The gates themselves, for who keeps nothing.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V sigmoid_gate(D d, V a) {
  return kept_sigmoid(d, keep_sigmoid(d, a));
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_gate(D d, V a) {
  return kept_tanh(d, keep_tanh(d, a));
}

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
