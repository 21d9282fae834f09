#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "chart-inl.h"
#include "svg.h"

namespace tapegrad {
namespace {

constexpr const char* grid = R"(stroke="#e7e5e4")";

/// Numbers to be written along an axis, `step` apart.
struct Ticks {
  double step;
  std::vector<double> numbers = {};
};

/// Returns round numbers in the range, at most about `count`: 1, 2 or 5 times a power of ten apart.
Ticks round_numbers(Range range, double count, double least_step) {
  const double rough = std::max((range.high - range.low) / count, least_step);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double part = rough / power * (1 - 1e-9);
  Ticks ticks{power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10)};
  // Counted from the first: of numbers far from 0 that are near each other, k + 1 may be k.
  const double first = std::ceil(range.low / ticks.step);
  for (double k = 0; (first + k) * ticks.step <= range.high; ++k)
    ticks.numbers.push_back((first + k) * ticks.step);
  return ticks;
}

/// Returns "−1.5" with a minus sign of its full width, or "1.5e6": of six digits, or as many as
/// tell numbers apart that are `step` from each other.
std::string number(double value, double step) {
  const auto exponent = [](double x) { return static_cast<int>(std::floor(std::log10(x))); };
  const int before = value == 0 ? 0 : exponent(std::abs(value)), told = before - exponent(step) + 1;
  const int precision = told <= 6 ? 6 : std::min(std::max(told, before + 1), 17);
  std::string digits = fmt::format("{:.{}g}", value + 0.0, precision);  // not -0
  if (const std::size_t at = digits.find("e+0"); at != std::string::npos)
    digits.replace(at, 3, "e");
  for (std::size_t at = 0; (at = digits.find('-')) != std::string::npos;)
    digits.replace(at, 1, "−");
  return digits;
}

/// Calls act(first, last) for each run of numbers that follow each other.
void for_runs(const std::vector<double>& at, const auto& act) {
  std::size_t next = 0;
  for (std::size_t first = 0; first < at.size(); first = next) {
    next = first + 1;
    while (next < at.size() && at[next] == at[next - 1] + 1) ++next;
    act(first, next);
  }
}

}  // namespace

void Range::hold(double value) {
  low = std::min(low, value);
  high = std::max(high, value);
}

Range Range::padded(double share) const {
  const double length = high > low ? high - low : std::max(std::abs(high), 1e-6);
  return {low - share * length, high + share * length};
}

double Chart::x(double value) const {
  return left + width * (value - across.low) / (across.high - across.low);
}

double Chart::y(double value) const {
  return top + height * (up.high - value) / (up.high - up.low);
}

std::string Chart::frame(std::string_view title, std::string_view across_words) const {
  std::string content;
  const Ticks rows = round_numbers(up, height / 45, 0),
              columns = round_numbers(across, width / 45, 1);
  for (const double v : rows.numbers) {
    content +=
        svg::line(left, y(v), left + width, y(v), grid) +
        svg::text(left - 7, y(v) + 4, R"(text-anchor="end" fill="#44403c")", number(v, rows.step));
  }
  for (const double v : columns.numbers) {
    content += svg::line(x(v), bottom(), x(v), bottom() + 4, R"(stroke="#57534e")") +
               svg::text(x(v), bottom() + 18, R"(text-anchor="middle" fill="#44403c")",
                         number(v, columns.step));
  }
  content += fmt::format(
      R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="none" stroke="#57534e"/>)"
      "\n",
      left, top, width, height);
  return content + svg::text(left, top - 26, R"(font-weight="bold")", svg::escape_xml(title)) +
         svg::text(left + width / 2, bottom() + 38, R"(text-anchor="middle")",
                   svg::escape_xml(across_words));
}

std::string Chart::legend(double& place, std::string_view words, std::string_view stroke) const {
  const double at = place;
  place += 38 + 6.6 * static_cast<double>(words.size());
  return svg::line(at, top - 11, at + 20, top - 11, std::string(stroke)) +
         svg::text(at + 25, top - 7, R"(font-size="12")", svg::escape_xml(words));
}

std::string Chart::level(double value, std::string_view stroke) const {
  return svg::line(left, y(value), left + width, y(value), std::string(stroke));
}

std::string Chart::curve(const std::vector<double>& at, const std::vector<double>& values,
                         std::string_view colour, std::string_view stroke) const {
  std::string path, dots;
  for_runs(at, [&](std::size_t first, std::size_t last) {
    if (last == first + 1) dots += dot(at[first], values[first], 2.2, colour);
    for (std::size_t k = first; k < last && last > first + 1; ++k)
      path += fmt::format("{}{:.1f},{:.1f}", k == first ? "M" : " ", x(at[k]), y(values[k]));
  });
  if (path.empty()) return dots;
  return fmt::format(R"(<path d="{}" fill="none" stroke-linejoin="round" {}/>)"
                     "\n",
                     path, stroke) +
         dots;
}

std::string Chart::band(const std::vector<double>& at, const std::vector<double>& low,
                        const std::vector<double>& high, std::string_view colour) const {
  std::string content;
  for_runs(at, [&](std::size_t first, std::size_t last) {
    if (last == first + 1) {
      content += svg::line(x(at[first]), y(low[first]), x(at[first]), y(high[first]),
                           fmt::format(R"(stroke="{}" stroke-width="5")", colour));
      return;
    }
    std::string path;
    for (std::size_t k = first; k < last; ++k)
      path += fmt::format("{}{:.1f},{:.1f}", k == first ? "M" : " ", x(at[k]), y(high[k]));
    for (std::size_t k = last; k-- > first;)
      path += fmt::format(" {:.1f},{:.1f}", x(at[k]), y(low[k]));
    content += fmt::format("<path d=\"{}z\" fill=\"{}\"/>\n", path, colour);
  });
  return content;
}

std::string Chart::dot(double at, double value, double radius, std::string_view colour) const {
  return fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"/>)"
                     "\n",
                     x(at), y(value), radius, colour);
}

}  // namespace tapegrad
