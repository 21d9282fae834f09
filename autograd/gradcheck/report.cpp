#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <ostream>
#include <stdexcept>
#include <utility>

#include "gradcheck.h"

namespace tapegrad {
namespace {

constexpr std::size_t shown_entries = 3;
constexpr std::size_t shown_blocks = 4;

std::size_t product(const std::vector<std::size_t>& shape) {
  std::size_t size = 1;
  for (const std::size_t n : shape) size *= n;
  return size;
}

std::string join(const std::vector<std::size_t>& numbers) {
  std::string text;
  for (const std::size_t n : numbers) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return text;
}

std::string number(const char* format, double v) {
  std::array<char, 40> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, v);
  return buffer.data();
}

// Logical name of an entry of a block: `weight_hh_l0[2, 1]`.
std::string name_of(const std::string& block, const std::vector<std::size_t>& shape,
                    std::size_t index) {
  if (shape.empty()) return block;
  std::vector<std::size_t> position(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0; index /= shape[axis]) {
    position[axis] = index % shape[axis];
  }
  return block + '[' + join(position) + ']';
}

std::string short_number(double v) { return number("%.1e", v); }
std::string long_number(double v) { return number("%.12g", v); }
std::string exact_number(double v) { return number("%.17g", v); }

std::string plural(std::size_t n, const char* one, const char* many) {
  return std::to_string(n) + ' ' + (n == 1 ? one : many);
}

std::size_t total_size(const GradcheckReport& report) {
  std::size_t size = 0;
  for (const GradBlockSummary& b : report.blocks) size += b.size;
  return size;
}

// "41 entries of 3 blocks", "41 of 4096 entries of 3 blocks".
std::string coverage(const GradcheckReport& report) {
  const std::size_t size = total_size(report);
  const std::string sampled =
      report.checked < size ? std::to_string(report.checked) + " of " : std::string();
  return sampled + plural(size, "entry", "entries") + " of " +
         plural(report.blocks.size(), "block", "blocks");
}

// Seeds matter where something was drawn or went wrong.
std::string effort(const GradcheckReport& report, bool with_seed) {
  return "; " + std::to_string(report.evaluations) + " evaluations" +
         (with_seed ? ", seed " + std::to_string(report.seed) : std::string());
}

template <class Counts>
std::string counts(const Counts& c) {
  return std::to_string(c.failed) + " failed, " + std::to_string(c.inconclusive) +
         " inconclusive, " + std::to_string(c.unexercised) + " not exercised";
}

// "\n  w: 64 of 64 entries not exercised; b: 1 of 4 entries not exercised", or nothing.
std::string unexercised_line(const GradcheckReport& report) {
  std::string line;
  std::size_t named = 0;
  for (const GradBlockSummary& b : report.blocks) {
    if (b.unexercised == 0) continue;
    if (named++ == shown_blocks) return line + "; ...";
    line += (line.empty() ? "\n  " : "; ") + b.name + ": " + std::to_string(b.unexercised) +
            " of " + plural(b.checked, "entry", "entries") + " not exercised";
  }
  return line;
}

std::string block_lines(const GradcheckReport& report) {
  std::string lines;
  std::size_t named = 0;
  for (const GradBlockSummary& b : report.blocks) {
    if (b.failed + b.inconclusive + b.unexercised == 0) continue;
    if (named++ == shown_blocks) return lines + "\n  ...";
    lines += "\n  " + b.name + " (" + join(b.shape) + "): " + counts(b) + " of " +
             plural(b.checked, "entry", "entries");
  }
  return lines;
}

std::string entry_lines(const GradcheckReport& report, const GradEntry& e) {
  const auto values = [&](std::size_t from) {
    return exact_number(e.f[from]) + ", " + exact_number(e.f[from + 1]) + ", " +
           exact_number(e.f[from + 2]);
  };
  return "\n  " + report.blocks[e.block].entry_name(e.index) + ' ' + to_string(e.verdict) +
         ": numeric " + long_number(e.numeric) + " ± " + short_number(e.bound) + ", analytic " +
         long_number(e.analytic) + ", error " + short_number(e.error) + ", h " +
         number("%.6g", e.step) +                               //
         "\n    loss at x - 3h, x - 2h, x - h: " + values(0) +  //
         "\n    loss at x + h, x + 2h, x + 3h: " + values(3);
}

std::string pass_text(const GradcheckReport& report) {
  const GradEntry& worst = report.entries.front();
  return "gradcheck: PASS " + coverage(report) + ", worst error " + short_number(worst.error) +
         " (bound " + short_number(worst.bound) + ") in " +
         report.blocks[worst.block].entry_name(worst.index) +
         effort(report, report.checked < total_size(report)) + unexercised_line(report);
}

std::string problem_text(const GradcheckReport& report) {
  std::string text = std::string("gradcheck: ") + to_string(report.verdict) + ' ';
  if (!report.reason.empty()) text += report.reason;
  if (report.entries.empty()) return text;
  text += (report.reason.empty() ? "" : "\n  ") + coverage(report) + ": " + counts(report) +
          effort(report, true) + block_lines(report);
  for (std::size_t i = 0; i < std::min(shown_entries, report.entries.size()); ++i) {
    if (report.entries[i].verdict == Verdict::pass) break;
    text += entry_lines(report, report.entries[i]);
  }
  return text;
}

// ---- blocks -------------------------------------------------------------------------------------

std::string check_block(const GradBlock& b) {
  const std::size_t size = b.size();
  if (size > 0 && (!b.values || !b.gradient)) {
    return "block " + b.name + " has " + plural(size, "entry", "entries") + " but its " +
           (b.values ? "gradient" : "values") + " pointer is null: it must point at the entries";
  }
  for (std::size_t i = 0; i < size; ++i) {
    const bool bad_value = !std::isfinite(b.values[i]);
    if (!bad_value && std::isfinite(b.gradient[i])) continue;
    return (bad_value ? "the value of " : "the analytic gradient of ") +
           name_of(b.name, b.shape, i) + " is " +
           exact_number(bad_value ? b.values[i] : b.gradient[i]) + ": it must be finite";
  }
  return {};
}

std::string check_overlap(std::span<const GradBlock> blocks) {
  std::vector<const GradBlock*> used;
  for (const GradBlock& b : blocks) {
    if (b.size() > 0) used.push_back(&b);
  }
  if (used.empty()) return "every block is empty: there is nothing to check";
  std::ranges::stable_sort(used, std::less<>{}, &GradBlock::values);
  for (std::size_t i = 1; i < used.size(); ++i) {
    const GradBlock &a = *used[i - 1], &b = *used[i];
    if (std::less<>{}(b.values, a.values + a.size())) {
      return "blocks " + a.name + " and " + b.name +
             " overlap in memory: a value must belong to one block only; give a shared weight "
             "once, with its summed gradient";
    }
  }
  return {};
}

}  // namespace

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "PASS";
    case Verdict::fail:
      return "FAIL";
    case Verdict::inconclusive:
      return "INCONCLUSIVE";
  }
  return "?";
}

std::size_t GradBlock::size() const { return product(shape); }

GradBlock grad_block(std::string name, std::span<double> values, std::span<const double> gradient,
                     std::vector<std::size_t> shape) {
  const auto refuse = [&](const std::string& conflict) {
    throw std::invalid_argument("[grad_block] " + name + " has " + std::to_string(values.size()) +
                                " values but " + conflict + ": they must agree");
  };
  if (gradient.size() != values.size()) {
    refuse(std::to_string(gradient.size()) + " gradient entries");
  }
  if (shape.empty()) shape = {values.size()};
  if (product(shape) != values.size()) {
    refuse("shape (" + join(shape) + ") = " + plural(product(shape), "entry", "entries"));
  }
  return {std::move(name), values.data(), gradient.data(), std::move(shape)};
}

std::string check_blocks(std::span<const GradBlock> blocks) {
  if (blocks.empty()) return "no blocks were given: name at least one block to check";
  for (const GradBlock& b : blocks) {
    const std::string reason = check_block(b);
    if (!reason.empty()) return reason;
  }
  return check_overlap(blocks);
}

std::string GradBlockSummary::entry_name(std::size_t index) const {
  return name_of(name, shape, index);
}

void GradCounts::count(const GradEntry& entry) {
  checked += 1;
  failed += entry.verdict == Verdict::fail;
  inconclusive += entry.verdict == Verdict::inconclusive;
  unexercised += !entry.exercised();
}

std::string GradcheckReport::text() const {
  return verdict == Verdict::pass ? pass_text(*this) : problem_text(*this);
}

std::ostream& operator<<(std::ostream& out, const GradcheckReport& report) {
  return out << report.text();
}

}  // namespace tapegrad
