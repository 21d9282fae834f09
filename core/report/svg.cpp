#include "svg.h"

#include <fmt/format.h>

#include "../words-inl.h"

namespace tapegrad::svg {

std::string escape_xml(std::string_view words) {
  std::string characters = as_utf8(words);
  for (const std::string_view none : {"\xef\xbf\xbe", "\xef\xbf\xbf"}) {  // U+FFFE and U+FFFF
    for (std::size_t at = 0; (at = characters.find(none, at)) != std::string::npos;)
      characters.erase(at, none.size());
  }
  std::string safe;
  for (const char c : characters) {
    if (c == '&') {
      safe += "&amp;";
    } else if (c == '<') {
      safe += "&lt;";
    } else if (c == '>') {
      safe += "&gt;";
    } else if (c == '"') {
      safe += "&quot;";
    } else if (c == '\'') {
      safe += "&#39;";
    } else if (static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\t') {
      safe += c;
    }
  }
  return safe;
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return fmt::format(R"(<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" {}/>)"
                     "\n",
                     x1, y1, x2, y2, style);
}

std::string text(double x, double y, const std::string& style, const std::string& words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style, words);
}

std::string superscript(const std::string& words) {
  return R"(<tspan dy="-5" font-size="10">)" + words + "</tspan>";
}

std::string power_of_ten(int exponent) {
  if (exponent == 0) return "1";
  return "10" +
         superscript(exponent < 0 ? fmt::format("−{}", -exponent) : fmt::format("{}", exponent));
}

std::string picture(int width, int height, const std::string& content) {
  return fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" )"
      R"(font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#1c1917">)"
      "\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n{2}</svg>\n",
      width, height, content);
}

}  // namespace tapegrad::svg
