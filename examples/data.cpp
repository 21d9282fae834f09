#include "data.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "program.h"

namespace examples {

using namespace tapegrad;

std::string read_data(const std::string& path, const std::string& source) {
  if (path.empty()) throw WrongUse("--data is needed: " + source);
  return given_by_user([&] { return read_text_file(path); }, "--data is to be " + source + "; ");
}

FrameLists parse_frame_lists(const std::string& json, const std::string& path) {
  try {
    return nlohmann::json::parse(json).get<FrameLists>();
  } catch (const nlohmann::json::exception& error) {
    throw WrongUse(fmt::format("{}: {}", path, error.what()));
  }
}

Var largest_over_steps(const Var& y, const Tensor& lengths) {
  const Var there = valid_steps(lengths, y.shape());
  return max(y + (2.0 * there - 2.0), 0);  // behind the end y is 0: -2 there, less than any y
}

std::optional<LogLine> parse_log_line(const std::string& line) {
  const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  LogLine parsed;
  for (const auto& [name, value] : object.items()) {
    if (value.is_number()) parsed.numbers[name] = value.get<double>();
    if (value.is_null()) parsed.numbers[name] = std::numeric_limits<double>::quiet_NaN();
    if (value.is_string()) parsed.texts[name] = value.get<std::string>();
  }
  return parsed;
}

}  // namespace examples
