#include "data.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

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

std::vector<std::vector<std::size_t>> batches(std::size_t count, std::size_t size, Rng* rng) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t k = count; rng != nullptr && k > 1; --k)  // Fisher and Yates
    std::swap(order[k - 1], order[rng->below(k)]);
  std::vector<std::vector<std::size_t>> result;
  for (std::size_t k = 0; k < count; k += size)
    result.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(k),
                        order.begin() + static_cast<std::ptrdiff_t>(std::min(k + size, count)));
  return result;
}

}  // namespace examples
