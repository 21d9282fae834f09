#include "rng.h"

#include <Random123/philox.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "dispatch-inl.h"
#include "fail-inl.h"
#include "io/archive.h"
#include "write-inl.h"

namespace tapegrad {
namespace {

std::array<std::uint32_t, 4> philox(std::uint64_t key,
                                    const std::array<std::uint32_t, 4>& counter) {
  const auto low = static_cast<std::uint32_t>(key);
  const auto high = static_cast<std::uint32_t>(key >> 32);
  const r123::Philox4x32::ctr_type words = r123::Philox4x32()(
      {{counter[0], counter[1], counter[2], counter[3]}}, r123::Philox4x32::key_type{{low, high}});
  return {words[0], words[1], words[2], words[3]};
}

/// FNV-1a: names are short, and Philox mixes what comes out of it.
std::uint64_t hash(std::string_view name) {
  std::uint64_t h = 0xcbf29ce484222325U;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return h;
}

/// The numbers of type T in [low, high), of which there is at least one; `low` alone if both are
/// equal.
template <class T>
class Interval {
 public:
  Interval(double low, double high)
      : low_(low), high_(high), first_(rounded(low)), last_(rounded(high)) {
    constexpr T infinity = std::numeric_limits<T>::infinity();
    const bool finite = std::abs(first_) < infinity && std::abs(last_) < infinity;  // false for NaN
    if (finite && low < high && first_ < low) first_ = std::nextafter(first_, infinity);
    if (finite && low < high && last_ >= high) last_ = std::nextafter(last_, -infinity);
    if (finite && low <= high && first_ <= last_) return;
    fail<UsageError>(
        "uniform",
        "low is {} but high is {}: both must be finite, low not above high, and a {} between them",
        low, high, dtype_of<T>);
  }
  /// The number at `part` in [0, 1) of the way.
  T at(double part) const {
    const double width = high_ - low_;
    const double v = std::isinf(width) ? low_ * (1 - part) + high_ * part : low_ + width * part;
    return std::clamp(static_cast<T>(v), first_, last_);
  }

 private:
  /// Beyond the largest T infinity, which a cast does not promise.
  static T rounded(double v) {
    constexpr double most = std::numeric_limits<T>::max();
    return std::abs(v) > most ? std::numeric_limits<T>::infinity() : static_cast<T>(v);
  }

  double low_, high_;
  T first_, last_;
};

/// Numbers in row-major order; make(T{}) checks the arguments and returns what draws a T.
template <class Make>
Tensor drawn(const Shape& shape, DType dtype, Make make) {
  if (dtype == DType::int32) {
    fail<DtypeError>("Rng",
                     "the dtype is int32: it must be float32 or float64; integers are below(n)");
  }
  return dispatch_float(dtype, [&]<class T>(T) {
    auto draw = make(T{});
    Tensor result = Tensor::empty(shape, dtype);
    T* const values = detail::write<T>(result);
    for (std::size_t i = 0; i < result.numel(); ++i) values[i] = draw();
    return result;
  });
}

}  // namespace

RandomKey RandomKey::of(std::uint64_t seed, std::uint64_t pass, std::string_view site) {
  const std::uint64_t name = hash(site);
  const auto words =
      philox(seed, {static_cast<std::uint32_t>(pass), static_cast<std::uint32_t>(pass >> 32),
                    static_cast<std::uint32_t>(name), static_cast<std::uint32_t>(name >> 32)});
  return {words[0] | std::uint64_t{words[1]} << 32};
}

std::array<std::uint32_t, 4> random_words(RandomKey key, std::uint32_t t, std::uint32_t row,
                                          std::uint64_t block) {
  return philox(key.bits, {static_cast<std::uint32_t>(block),
                           static_cast<std::uint32_t>(block >> 32), row, t});
}

void Rng::state(Archive& a) {
  a("key", key_.bits);
  a("block", block_);
  a("used", used_, std::size_t{0}, words_.size());
  if (!a.loading()) return;
  if (block_ == 0) used_ = words_.size();
  if (used_ < words_.size()) words_ = random_words(key_, 0, 0, block_ - 1);
}

std::uint32_t Rng::next() {
  if (used_ == 4) {
    words_ = random_words(key_, 0, 0, block_++);
    used_ = 0;
  }
  return words_[used_++];
}

double Rng::uniform() {
  const std::uint64_t high = next() >> 5;  // 27 bits
  const std::uint64_t low = next() >> 6;   // 26 bits
  return static_cast<double>(high << 26 | low) * 0x1p-53;
}

double Rng::uniform(double low, double high) { return Interval<double>(low, high).at(uniform()); }

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::uint64_t Rng::below(std::uint64_t n) {
  if (n == 0) fail<UsageError>("below", "below(0): there is no number below 0");
  const std::uint64_t uneven =
      (0 - n) % n;  // 2^64 mod n draws would make the first values likelier
  while (true) {
    const std::uint64_t bits = std::uint64_t{next()} << 32 | next();
    if (bits >= uneven) return bits % n;
  }
}

Tensor Rng::uniform(const Shape& shape, double low, double high, DType dtype) {
  return drawn(shape, dtype, [&]<class T>(T) {
    return [this, interval = Interval<T>(low, high)] { return interval.at(uniform()); };
  });
}

Tensor Rng::normal(const Shape& shape, double mean, double deviation, DType dtype) {
  return drawn(shape, dtype, [&]<class T>(T) {
    // No normal number is larger: the largest radius is sqrt(-2 log 2^-53).
    constexpr double widest = 8.6;
    const double largest = std::abs(mean) + widest * deviation;
    if (!(deviation >= 0 && largest <= std::numeric_limits<T>::max())) {
      fail<UsageError>("normal",
                       "mean is {} and deviation is {}: both must be finite, deviation not "
                       "negative, and |mean| + 8.6 deviation a number of {}",
                       mean, deviation, dtype);
    }
    return [this, mean, deviation] { return static_cast<T>(mean + deviation * normal()); };
  });
}

}  // namespace tapegrad
