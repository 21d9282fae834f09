#pragma once

#include <string>
#include <string_view>
#include <vector>

#pragma GCC visibility push(hidden)

/// Axes and curves of a picture.
namespace tapegrad {

struct Range {
  double low, high;

  /// Widens the range to hold a number.
  void hold(double value);
  /// The range with a share of its length more at both ends; around a single number as well.
  Range padded(double share) const;
};

/// A rectangle of a picture with numbers along its sides.
struct Chart {
  double left, top, width, height;
  Range across, up;

  double x(double value) const;
  double y(double value) const;
  double bottom() const { return top + height; }

  /// Frame, grid and numbers; those along the bottom are whole.
  std::string frame(std::string_view title, std::string_view across_words) const;
  /// One more entry of the legend above the frame, and where the next begins.
  std::string legend(double& place, std::string_view words, std::string_view stroke) const;
  /// A horizontal line from side to side.
  std::string level(double value, std::string_view stroke) const;
  /// Values over whole numbers `at`, joined where these follow each other; those alone are dots.
  std::string curve(const std::vector<double>& at, const std::vector<double>& values,
                    std::string_view colour, std::string_view stroke) const;
  /// The area between two curves likewise; those alone are bars.
  std::string band(const std::vector<double>& at, const std::vector<double>& low,
                   const std::vector<double>& high, std::string_view colour) const;
  std::string dot(double at, double value, double radius, std::string_view colour) const;
};

}  // namespace tapegrad

#pragma GCC visibility pop
