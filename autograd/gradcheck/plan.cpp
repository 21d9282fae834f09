#include "plan-inl.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "blocks-inl.h"

namespace tapegrad::detail {

Plan plan_for(const GradBlock& block, bool in_full, const GradcheckOptions& options,
              Random& random) {
  const std::size_t size = block.size();
  Plan plan;
  if (size == 0) return plan;
  if (size <= most_read) plan.gradient.reserve(size);
  std::size_t largest = 0, smallest = 0;
  double most = -1, least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < size; i += read_stride(size)) {
    const double g = block.gradient(i), magnitude = std::abs(g);
    if (size <= most_read) plan.gradient.push_back(g);
    if (magnitude > most) most = magnitude, largest = i;
    if (magnitude < least) least = magnitude, smallest = i;
  }
  plan.scale = most;
  if (!options.only_block.empty()) {
    if (block.name == options.only_block && options.only_entry < size) {
      plan.entries = {options.only_entry};
    }
  } else if (in_full || size <= options.entries) {
    plan.entries.resize(size);
    std::iota(plan.entries.begin(), plan.entries.end(), std::size_t{0});
  } else {
    std::set<std::size_t> chosen;
    for (const std::size_t index : {largest, std::size_t{0}, size - 1, smallest}) {
      if (chosen.size() < options.entries) chosen.insert(index);
    }
    while (chosen.size() < options.entries) chosen.insert(random.next() % size);
    plan.entries.assign(chosen.begin(), chosen.end());
    if (size <= most_read) plan.directions = options.directions;
  }
  for (const std::size_t index : plan.entries) plan.analytic.push_back(block.gradient(index));
  return plan;
}

}  // namespace tapegrad::detail
