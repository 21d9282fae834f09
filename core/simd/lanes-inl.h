// Private: loads and stores of a row's end, for vectors of any width; how many vectors a panel has. Highway compiles this once
// for each instruction set, so it has Highway's include guard.

#if defined(TAPEGRAD_CORE_SIMD_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TAPEGRAD_CORE_SIMD_LANES_INL_H_
#undef TAPEGRAD_CORE_SIMD_LANES_INL_H_
#else
#define TAPEGRAD_CORE_SIMD_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Vectors of a panel of a packed operand, and of a tile of 6 rows (product.cpp).
constexpr std::size_t max_vectors = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 4 : 2;

/// Lanes of a vector that are read and written: all of them, or the first `count`, so that the end
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

/// 0 in the lanes that nobody reads: what a function makes of them may overflow, and be a trap.
template <class D>
HWY_INLINE hn::Vec<D> others_0(D, hn::Vec<D> v, AllLanes) {
  return v;
}
template <class D>
HWY_INLINE hn::Vec<D> others_0(D d, hn::Vec<D> v, FirstLanes lanes) {
  return hn::IfThenElseZero(hn::FirstN(d, lanes.count), v);
}

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
