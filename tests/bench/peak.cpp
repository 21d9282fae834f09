// How fast fused multiply-adds can be: a loop of them that touches no memory, compiled for each
// instruction set.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/peak.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

HWY_BEFORE_NAMESPACE();
namespace bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Operations per nanosecond of one core: the best of some bursts of a few milliseconds.
template <class T>
double one_core() {
  constexpr std::size_t sums = 12;  // that do not wait for each other, nor fill the registers
  constexpr std::size_t rounds = 200'000;
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, T(0.999)), summand = hn::Set(d, T(0.001));  // the sums tend to 1
  hn::Vec<decltype(d)> sum[sums];
  for (std::size_t i = 0; i < sums; ++i) sum[i] = hn::Set(d, T(i));
  double best = 0;
  for (int burst = 0; burst < 10; ++burst) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < sums; ++i) sum[i] = hn::MulAdd(sum[i], factor, summand);
    }
    volatile T result = 0;
    for (std::size_t i = 0; i < sums; ++i) result = result + hn::GetLane(sum[i]);
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - begin;
    best = std::max(best, static_cast<double>(2 * hn::Lanes(d) * sums * rounds) / time.count());
  }
  return best;
}

double peak_float() { return one_core<float>(); }
double peak_double() { return one_core<double>(); }
const char* target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "bench.h"

namespace bench {
namespace {
HWY_EXPORT(peak_float);
HWY_EXPORT(peak_double);
HWY_EXPORT(target);
}  // namespace

double peak_gflops(bool float64, std::size_t threads) {
  std::vector<double> peaks(threads);
  std::vector<std::jthread> cores;
  for (double& peak : peaks) {
    cores.emplace_back([&peak, float64] {
      peak = float64 ? HWY_DYNAMIC_DISPATCH(peak_double)() : HWY_DYNAMIC_DISPATCH(peak_float)();
    });
  }
  cores.clear();  // waits for them
  double sum = 0;
  for (const double peak : peaks) sum += peak;
  return sum;
}

const char* simd_target() { return HWY_DYNAMIC_DISPATCH(target)(); }

}  // namespace bench
#endif
