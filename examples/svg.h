#pragma once

#include <string>

/// Pictures as SVG text, for programs that draw what they measured.
namespace examples::svg {

/// A straight line; `style` is a list of attributes, as in R"(stroke="#57534e")".
std::string line(double x1, double y1, double x2, double y2, const std::string& style);

/// Words at a place; they may contain tspan elements.
std::string text(double x, double y, const std::string& style, const std::string& words);

std::string superscript(const std::string& words);

/// "10" with the exponent above it, or "1".
std::string power_of_ten(int exponent);

/// The whole picture, on white.
std::string picture(int width, int height, const std::string& content);

}  // namespace examples::svg
