#pragma once

#include "../cxx20.h"

#include <string>
#include <string_view>

/// Pictures as SVG text, for programs that draw what they measured: dark on white whatever the
/// viewer's theme, no script, no external resource, and the same bytes for the same numbers.
namespace tapegrad::svg {

/// Returns words as they may stand between tags or in an attribute: &, <, > and quotes escaped,
/// control characters and others that XML does not have left out, what is not UTF-8 replaced.
std::string escape_xml(std::string_view words);

/// Returns a straight line; `style` is a list of attributes, as in R"(stroke="#57534e")".
std::string line(double x1, double y1, double x2, double y2, const std::string& style);

/// Returns words at a place; they may contain tspan elements, so what a user gave goes through
/// escape_xml() first.
std::string text(double x, double y, const std::string& style, const std::string& words);

/// Returns a tspan that lies a little above the line.
std::string superscript(const std::string& words);

/// Returns "10" with the exponent above it, or "1".
std::string power_of_ten(int exponent);

/// Returns the whole picture, on white.
std::string picture(int width, int height, const std::string& content);

}  // namespace tapegrad::svg
