#include "rng.h"

#include <Random123/philox.h>

#include <cmath>
#include <numbers>

#include "dispatch-inl.h"
#include "error.h"
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

/// `value` rounded to T may be `high`, which the interval excludes: then the number before it.
template <class T>
T round_below(double value, double low, double high) {
  const T rounded = static_cast<T>(value);
  return rounded >= high ? std::nextafter(rounded, static_cast<T>(low)) : rounded;
}

/// Numbers of `draw` in row-major order.
template <class Draw>
Tensor drawn(const Shape& shape, DType dtype, Draw draw) {
  if (dtype == DType::int32) {
    throw DtypeError(
        "[rng] the dtype is int32: it must be float32 or float64; integers are below(n)");
  }
  Tensor result = Tensor::empty(shape, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    T* const values = detail::write<T>(result);
    for (std::size_t i = 0; i < result.numel(); ++i) values[i] = draw(T{});
  });
  return result;
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

double Rng::uniform(double low, double high) {
  return round_below<double>(low + (high - low) * uniform(), low, high);
}

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::uint64_t Rng::below(std::uint64_t n) {
  if (n == 0) throw UsageError("[rng] below(0): there is no number below 0");
  const std::uint64_t uneven =
      (0 - n) % n;  // 2^64 mod n draws would make the first values likelier
  while (true) {
    const std::uint64_t bits = std::uint64_t{next()} << 32 | next();
    if (bits >= uneven) return bits % n;
  }
}

Tensor Rng::uniform(const Shape& shape, double low, double high, DType dtype) {
  return drawn(shape, dtype,
               [&]<class T>(T) { return round_below<T>(uniform(low, high), low, high); });
}

Tensor Rng::normal(const Shape& shape, double mean, double deviation, DType dtype) {
  return drawn(shape, dtype,
               [&]<class T>(T) { return static_cast<T>(mean + deviation * normal()); });
}

}  // namespace tapegrad
