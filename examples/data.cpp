#include "data.h"

#include <fmt/format.h>

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

}  // namespace examples
