#pragma once

#include <cstddef>
#include <string>
#include <vector>

#pragma GCC visibility push(hidden)

/// Numbers as a reader wants them.
namespace tapegrad::figures {

/// A number with some decimals, never "-0.0".
std::string fixed(double value, int decimals);

/// Writes numbers of about one size with the decimals that show three digits of `scale`.
class Figures {
 public:
  explicit Figures(double scale);
  std::string operator()(double value) const;

 private:
  int decimals_;  // -1: scientific, with three digits
};

/// "1 to 4, 7": numbers that increase, as ranges; after three of these "...".
std::string ranges(const std::vector<std::size_t>& numbers);

/// All of 0 ... count - 1, or `most` of them at equal distances, the first and the last among them.
std::vector<std::size_t> spread(std::size_t count, std::size_t most);

}  // namespace tapegrad::figures

#pragma GCC visibility pop
