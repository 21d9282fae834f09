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

/// e^-x, for x = magnitude or twice that.
template <class V>
struct Exponent {
  V magnitude;
  bool twice;
};
/// e^-x = scale (1 + q), q = e^r - 1 with -x = n ln 2 + r, |r| <= ln 2 / 2 and scale = 2^n.
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

/// The numbers of a dtype that e^-x is made of.
template <class T>
struct ExponentialRange {
  static constexpr bool narrow = sizeof(T) == 4;
  /// From here on e^-x counts as 0.
  static constexpr T highest = narrow ? T(88) : T(709);
  /// Up to here e^-x is a normal number.
  static constexpr T highest_normal = narrow ? T(87.33) : static_cast<T>(708.3);
  static constexpr int mantissa_bits = narrow ? 23 : 52;
  /// Adding this rounds n to a whole number, whose lowest bits are then those of n + bias.
  static constexpr T rounding = narrow ? T(0x1.8p23f) + T(127) : static_cast<T>(0x1.8p52) + T(1023);
  /// ln 2 = high + low. Where a product is not rounded before it is added, high is the float that is
  /// nearest to ln 2, and n low so small that only the first term of the series needs it; else n high
  /// is exact.
  static constexpr bool low_is_late = narrow && HWY_NATIVE_FMA;
  static constexpr T ln2_high = low_is_late ? T(0x1.62e43p-1)
                                : narrow    ? T(0.693359375)
                                            : static_cast<T>(6.93145751953125e-1);
  static constexpr T ln2_low = low_is_late ? T(-0x1.05c61p-29)
                               : narrow    ? T(-2.12194440e-4)
                                           : static_cast<T>(1.42860682030941723212e-6);
  static constexpr T log2_e = T(1.44269504088896340736L);
};

/// e^-x of n vectors in lockstep, for x in [0, highest]; a NaN makes q one. One chain of dependent
/// operations would wait for most of them, and a processor does not look far enough ahead to find
/// the next chain.
template <std::size_t n, class D, class V = hn::Vec<D>>
HWY_INLINE void exponentials(D d, const Exponent<V> (&x)[n], Exponential<V> (&e)[n]) {
  using Range = ExponentialRange<hn::TFromD<D>>;
  const hn::RebindToUnsigned<D> bits;
  const V rounding = hn::Set(d, Range::rounding);
  const V ln2_high = hn::Set(d, Range::ln2_high), ln2_low = hn::Set(d, Range::ln2_low);
  const auto without_low = [&](V& r, V rounded) HWY_ATTR {
    r = hn::NegMulAdd(hn::Sub(rounded, rounding), ln2_low, r);
  };
  V rounded[n], r[n], square[n], pair[n], sum[n], low[n];
  for (std::size_t i = 0; i < n; ++i) {
    const V log2_e = hn::Set(d, x[i].twice ? 2 * Range::log2_e : Range::log2_e);
    rounded[i] = hn::NegMulAdd(x[i].magnitude, log2_e, rounding);
  }
  for (std::size_t i = 0; i < n; ++i) {
    const V m = x[i].magnitude;
    const V whole = hn::Sub(rounded[i], rounding);
    r[i] = hn::NegMulSub(whole, ln2_high, x[i].twice ? hn::Add(m, m) : m);
  }
  for (std::size_t i = 0; i < n && !Range::low_is_late; ++i) without_low(r[i], rounded[i]);
  for (std::size_t i = 0; i < n; ++i) square[i] = hn::Mul(r[i], r[i]);
  const auto series = [&](const auto& c) HWY_ATTR {
    constexpr std::size_t last = std::size(std::remove_reference_t<decltype(c)>{}) - 1;
    static_assert(last % 2 == 0);
    for (std::size_t i = 0; i < n; ++i) sum[i] = hn::Set(d, c[last]);
    for (std::size_t term = last; term > 2; term -= 2) {
      const V even = hn::Set(d, c[term - 2]), odd = hn::Set(d, c[term - 1]);
      for (std::size_t i = 0; i < n; ++i) pair[i] = hn::MulAdd(odd, r[i], even);
      for (std::size_t i = 0; i < n; ++i) sum[i] = hn::MulAdd(sum[i], square[i], pair[i]);
    }
    for (std::size_t i = 0; i < n; ++i) {
      pair[i] = hn::MulAdd(hn::Set(d, c[1]), r[i], hn::Set(d, c[0]));
    }
  };
  if constexpr (Range::narrow) {
    series(exponential_float);
  } else {
    series(exponential_double);
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (Range::low_is_late) without_low(r[i], rounded[i]);
    // In two halves, which do not wait for each other.
    low[i] = hn::MulAdd(pair[i], square[i], r[i]);
    e[i].q = hn::MulAdd(sum[i], hn::Mul(square[i], square[i]), low[i]);
    e[i].scale = hn::BitCast(d, hn::ShiftLeft<Range::mantissa_bits>(hn::BitCast(bits, rounded[i])));
  }
}

/// A gate, and what is kept of it.
template <class V>
struct Gate {
  V y, kept;
};

/// |a|, at most `most`; a NaN stays.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V limited_magnitude(D d, V a, hn::TFromD<D> most) {
  const V magnitude = hn::Abs(a), end = hn::Set(d, most);
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
  return hn::Min(end, magnitude);  // the second one of two that cannot be compared
#else
  return hn::IfThenElse(hn::Gt(magnitude, end), end, magnitude);
#endif
}

/// sigmoid(a) = 1 / (1 + e) where a >= 0 and e / (1 + e) where a < 0, e = e^-|a|. What is kept is made
/// of 1 - y = e y.
/// Max error: ULP = 3 for |a| <= 87 (708), its slope, from what is kept, 4 there; the least normal
/// number off beyond.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Exponent<V> sigmoid_exponent(D d, V a) {
  return {limited_magnitude(d, a, ExponentialRange<hn::TFromD<D>>::highest), false};
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE Gate<V> sigmoid_gate(D d, V a, const Exponential<V>& exponential) {
  const auto [scale, q] = exponential;
  const V one = hn::Set(d, hn::TFromD<D>{1}), e = hn::MulAdd(scale, q, scale);
  const auto negative = hn::Lt(a, hn::Zero(d));
  const V y = hn::Div(hn::IfThenElse(negative, e, one), hn::MulAdd(scale, q, hn::Add(one, scale)));
  return {y, hn::IfThenElse(negative, y, hn::Neg(hn::Mul(e, y)))};
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

/// tanh(a) = (1 - e) / (1 + e) with the sign of a, e = e^-2|a|. What is kept near its ends is made of
/// 1 - |y| = 2 e / (1 + e) = e (1 + |y|).
/// Max error: ULP = 3 for all a, its slope, from what is kept, 4 for |a| <= 43.5 (354); five times the
/// least normal number off beyond.
template <class D, class V = hn::Vec<D>>
HWY_INLINE Exponent<V> tanh_exponent(D d, V a) {
  return {limited_magnitude(d, a, ExponentialRange<hn::TFromD<D>>::highest_normal / 2), true};
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE Gate<V> tanh_gate(D d, V a, const Exponential<V>& exponential) {
  using T = hn::TFromD<D>;
  const auto [scale, q] = exponential;
  const V one = hn::Set(d, T{1}), e = hn::MulAdd(scale, q, scale);
  const V rest = hn::NegMulAdd(scale, q, hn::Sub(one, scale));  // 1 - e
  const V y = hn::CopySign(hn::Div(rest, hn::MulAdd(scale, q, hn::Add(one, scale))), a);
  const V distance =
      hn::Mul(hn::Mul(e, hn::Set(d, 1 / std::numeric_limits<T>::min())), hn::Add(one, hn::Abs(y)));
  const auto near_1 = hn::Lt(e, hn::Set(d, T{1} / 3));
  return {y, hn::IfThenElse(near_1, hn::CopySign(distance, a), y)};
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

}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
