#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tensor.h"

namespace tapegrad {

class Archive;

/// Names a stream of random bits: made from a seed, a pass and the name of a site, so that the bits
/// at a place (t, row, column) are a function of these and of nothing else: not of the order of
/// calls, not of threads.
struct RandomKey {
  std::uint64_t bits = 0;
  static RandomKey of(std::uint64_t seed, std::uint64_t pass, std::string_view site);
};

/// Computes four words of 32 random bits at place (t, row, block): Philox4x32-10 (Salmon et al.
/// 2011, "Parallel random numbers: as easy as 1, 2, 3"). Column j of a mask is word j % 4 of block
/// j / 4.
std::array<std::uint32_t, 4> random_words(RandomKey key, std::uint32_t t, std::uint32_t row,
                                          std::uint64_t block);

/// A sequence of random numbers for initial weights, shuffles and sampling. Our own, because the
/// standard library's distributions differ between vendors: the same bits everywhere, but for
/// normal(), whose logarithm and cosine are the C library's and may differ in the last one.
class Rng {
 public:
  explicit Rng(std::uint64_t seed, std::string_view stream = "")
      : key_(RandomKey::of(seed, 0, stream)) {}

  /// Draws 32 random bits.
  std::uint32_t next();
  /// Draws uniformly from [0, 1), a multiple of 2^-53.
  double uniform();
  /// Draws uniformly from [low, high), or `low` if they are equal. Throws UsageError unless both
  /// are finite and low is not above high.
  double uniform(double low, double high);
  /// Draws from the standard normal distribution (Box and Muller 1958).
  double normal();
  /// Draws uniformly from {0, ..., n - 1}, without bias (by rejection); n = 0 throws UsageError.
  std::uint64_t below(std::uint64_t n);

  /// Tensors of such numbers, drawn in row-major order and rounded to `dtype`, in which uniform
  /// ones stay in [low, high). DtypeError for int32; UsageError for a negative deviation, for what
  /// is not finite, and for an interval that has no number of this dtype.
  Tensor uniform(const Shape& shape, double low, double high, DType dtype = DType::float32);
  Tensor normal(const Shape& shape, double mean, double deviation, DType dtype = DType::float32);

  /// Saves or restores the place in the sequence.
  void state(Archive& a);

 private:
  RandomKey key_;
  std::uint64_t block_ = 0;
  std::array<std::uint32_t, 4> words_{};
  std::size_t used_ = 4;
};

}  // namespace tapegrad
