#include "blocks-inl.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>

#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "compile the gradient checker without -ffast-math: it must see NaN and infinity"
#endif

namespace tapegrad::detail {

std::string formatted(const char* format, double v) {
  std::array<char, 40> buffer = {};
  if (std::isnan(v)) return "nan";  // not "-nan"
  std::snprintf(buffer.data(), buffer.size(), format, v);
  std::ranges::replace(buffer, ',', '.');  // the program's locale is not asked
  return buffer.data();
}

std::string plural(std::size_t n, const char* one, const char* many) {
  return std::to_string(n) + ' ' + (n == 1 ? one : many);
}

std::string join(std::span<const std::size_t> numbers) {
  std::string text;
  for (const std::size_t n : numbers) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return text;
}

// ---- places -------------------------------------------------------------------------------------

std::vector<std::size_t> position(const GradBlock& block, std::size_t index) {
  std::vector<std::size_t> result(block.shape.size());
  for (std::size_t k = 0; k < result.size(); ++k) {
    const std::size_t axis = block.column_major ? k : result.size() - 1 - k;
    result[axis] = index % block.shape[axis];
    index /= block.shape[axis];
  }
  return result;
}

std::size_t flat_index(const GradBlock& block, std::span<const std::size_t> position) {
  std::size_t index = 0;
  for (std::size_t k = position.size(); k-- > 0;) {
    const std::size_t axis = block.column_major ? k : position.size() - 1 - k;
    index = index * block.shape[axis] + position[axis];
  }
  return index;
}

namespace {
/// The product of the axes; nothing if it overflows.
std::optional<std::size_t> entries_of(std::span<const std::size_t> shape) {
  std::size_t entries = 1;
  for (const std::size_t n : shape) {
    if (n != 0 && entries > SIZE_MAX / n) return {};
    entries *= n;
  }
  return entries;
}
}  // namespace

GradBlock make_block(std::string name, std::size_t values, std::size_t gradients,
                     std::vector<std::size_t> shape, std::span<const std::byte> memory) {
  GradBlock block;
  block.name = std::move(name);
  block.shape = shape.empty() ? std::vector{values} : std::move(shape);
  block.memory = memory;
  const auto conflict = [&](const std::string& with) {
    block.problem = "block " + block.name + " has " + plural(values, "value", "values") + " but " +
                    with + ": they must agree";
  };
  if (gradients != values) conflict(plural(gradients, "gradient entry", "gradient entries"));
  const std::optional<std::size_t> entries = entries_of(block.shape);
  if (entries != values) {
    conflict("shape (" + join(block.shape) + ")" +
             (entries ? " = " + plural(*entries, "entry", "entries") : std::string()));
  }
  return block;
}

std::size_t read_stride(std::size_t size) { return size <= most_read ? 1 : size / most_read + 1; }

// ---- what can be wrong --------------------------------------------------------------------------

namespace {

std::string check_block(const GradBlock& b) {
  if (!b.problem.empty()) return b.problem;
  if (!b.get || !b.set || !b.gradient) {
    return "block " + b.name + " lacks get, set or gradient: make it with grad_block()";
  }
  const std::optional<std::size_t> entries = entries_of(b.shape);
  if (!entries) {
    return "block " + b.name + " has shape (" + join(b.shape) +
           ") but its product overflows: it must be a number of entries";
  }
  for (std::size_t i = 0; i < *entries; i += read_stride(*entries)) {
    const double x = b.get(i), g = b.gradient(i);
    if (!std::isfinite(x)) {
      return "the value of " + b.entry_name(i) + " is " + formatted("%.17g", x) +
             ": it must be finite";
    }
    if (!std::isfinite(g)) {
      return "the analytic gradient of " + b.entry_name(i) + " is " + formatted("%.17g", g) +
             ": it must be finite";
    }
    if (!(x >= b.low && x <= b.high)) {
      return "the value of " + b.entry_name(i) + " is " + formatted("%.17g", x) +
             ": it must be in its domain, [" + formatted("%g", b.low) + ", " +
             formatted("%g", b.high) + "]";
    }
  }
  return {};
}

std::string check_overlap(std::span<const GradBlock> blocks) {
  std::vector<const GradBlock*> used;
  bool entries = false;
  for (const GradBlock& b : blocks) {
    entries = entries || b.size() > 0;
    if (!b.memory.empty()) used.push_back(&b);
  }
  if (!entries) return "every block is empty: there is nothing to check";
  const auto begin = [](const GradBlock* b) { return b->memory.data(); };
  std::ranges::stable_sort(used, std::less<>{}, begin);
  for (std::size_t i = 1; i < used.size(); ++i) {
    const GradBlock &a = *used[i - 1], &b = *used[i];
    if (std::less<>{}(b.memory.data(), a.memory.data() + a.memory.size())) {
      return "blocks " + a.name + " and " + b.name +
             " overlap in memory: a value must belong to one block only; give a shared weight "
             "once, with its summed gradient";
    }
  }
  return {};
}

std::vector<double> gradients(std::span<const GradBlock> blocks) {
  std::vector<double> all;
  for (const GradBlock& b : blocks) {
    const std::size_t size = b.size(), stride = read_stride(size);
    for (std::size_t i = 0; i < size; i += stride) all.push_back(b.gradient(i));
  }
  return all;
}

}  // namespace

std::string check_blocks(std::span<const GradBlock> blocks) {
  if (blocks.empty()) return "no blocks were given: name at least one block to check";
  for (const GradBlock& b : blocks) {
    if (std::string problem = check_block(b); !problem.empty()) return problem;
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (blocks[i].name != blocks[k].name) continue;
      return "two blocks are called " + blocks[i].name + ": each needs a name of its own";
    }
  }
  return check_overlap(blocks);
}

std::string check_backward(std::span<const GradBlock> blocks,
                           const std::function<void()>& backward) {
  const std::vector<double> once = gradients(blocks);
  backward();
  const std::vector<double> twice = gradients(blocks);
  if (once == twice) return {};
  bool doubled = true;
  std::size_t first = 0;
  while (once[first] == twice[first]) ++first;
  for (std::size_t i = 0; i < once.size(); ++i) doubled = doubled && twice[i] == 2 * once[i];
  std::size_t b = 0, index = first;
  const auto looked_at = [&] {
    const std::size_t size = blocks[b].size(), stride = read_stride(size);
    return (size + stride - 1) / stride;
  };
  for (; index >= looked_at(); ++b) index -= looked_at();
  index *= read_stride(blocks[b].size());
  return "a second `backward` gave " + formatted("%.17g", twice[first]) + " for the gradient of " +
         blocks[b].entry_name(index) + ", the first one " + formatted("%.17g", once[first]) +
         (doubled ? ": exactly twice, so it adds to what is there; set the gradients to zero first"
                  : ": it is not repeatable, or adds to what is there");
}

namespace {
bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}
}  // namespace

std::string check_options(const GradcheckOptions& o) {
  const auto refuse = [](const std::string& name, double v) {
    return "option " + name + " is " + formatted("%.17g", v) +
           ": it must be finite and not negative";
  };
  if (!std::isfinite(o.step) || o.step < 0) return refuse("step", o.step);
  if (!std::isfinite(o.rtol) || o.rtol < 0) return refuse("rtol", o.rtol);
  if (!std::isfinite(o.atol) || o.atol < 0) return refuse("atol", o.atol);
  if (!(o.inconclusive_at >= 0)) return refuse("inconclusive_at", o.inconclusive_at);
  if (o.entries == 0) return "option entries is 0: it must be at least 1";
  return {};
}

std::string check_loss(double first, double second) {
  if (!std::isfinite(first)) {
    return "the loss is " + formatted("%.17g", first) + ": it must be finite at the given values";
  }
  if (!same_bits(first, second)) {
    return "the loss is not deterministic: two calls at the same values gave " +
           formatted("%.17g", first) + " and " + formatted("%.17g", second) +
           "; dropout? set the seed of all random draws in `reseed`; or it keeps state between "
           "calls";
  }
  return {};
}

std::string check_unchanged(double first, double last) {
  if (same_bits(first, last)) return {};
  return "the loss changed from " + formatted("%.17g", first) + " to " + formatted("%.17g", last) +
         " although every value was restored: it keeps state between calls; reset that state "
         "inside the loss";
}

}  // namespace tapegrad::detail

namespace tapegrad {

std::size_t GradBlock::size() const {
  std::size_t size = 1;
  for (const std::size_t n : shape) size *= n;
  return size;
}

std::string GradBlock::entry_name(std::size_t index) const {
  if (shape.empty()) return name;
  const std::vector<std::size_t> at = detail::position(*this, index);
  if (gates.empty() || shape[0] % gates.size() != 0) return name + '[' + detail::join(at) + ']';
  const std::size_t rows = shape[0] / gates.size();
  std::string text =
      name + "[gate " + gates[at[0] / rows] + ", row " + std::to_string(at[0] % rows);
  for (std::size_t axis = 1; axis < at.size(); ++axis) {
    text += (axis == 1 ? ", col " : ", ") + std::to_string(at[axis]);
  }
  return text + ']';
}

}  // namespace tapegrad
