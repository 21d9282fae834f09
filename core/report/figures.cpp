#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "figures-inl.h"

namespace tapegrad::figures {

std::string fixed(double value, int decimals) {
  const std::string digits = fmt::format("{:.{}f}", value, decimals);
  return digits.find_first_not_of("-0.") == std::string::npos
             ? fmt::format("{:.{}f}", 0.0, decimals)
             : digits;
}

Figures::Figures(double scale)
    : decimals_(scale == 0 ? 0
                : scale < 1e-4 || scale > 1e7
                    ? -1
                    : std::max(2 - static_cast<int>(std::floor(std::log10(scale))), 0)) {}

std::string Figures::operator()(double value) const {
  return decimals_ < 0 ? fmt::format("{:.2e}", value) : fixed(value, decimals_);
}

std::string ranges(const std::vector<std::size_t>& numbers) {
  std::string list;
  std::size_t count = 0, next = 0;
  for (std::size_t first = 0; first < numbers.size(); first = next) {
    if (count++ == 3) return list + ", ...";
    next = first + 1;
    while (next < numbers.size() && numbers[next] == numbers[next - 1] + 1) ++next;
    list += fmt::format("{}{}", first == 0 ? "" : ", ", numbers[first]);
    if (next > first + 1) list += fmt::format(" to {}", numbers[next - 1]);
  }
  return list;
}

std::vector<std::size_t> spread(std::size_t count, std::size_t most) {
  std::vector<std::size_t> chosen(std::min(count, most));
  for (std::size_t i = 0; i < chosen.size(); ++i)
    chosen[i] =
        chosen.size() == 1 ? 0 : (i * (count - 1) + (chosen.size() - 1) / 2) / (chosen.size() - 1);
  return chosen;
}

}  // namespace tapegrad::figures
