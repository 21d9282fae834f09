#include <algorithm>
#include <array>
#include <cmath>
#include <ostream>
#include <tuple>

#include "blocks-inl.h"
#include "gradcheck.h"

namespace tapegrad::detail {
namespace {

constexpr std::size_t shown_entries = 3;
constexpr std::size_t shown_blocks = 4;

std::string brief(double v) { return formatted("%.1e", v); }

/// The word, in green, red or yellow where a terminal shows it.
std::string word(Verdict verdict, bool colour) {
  constexpr std::array<const char*, 4> codes = {"\033[32m", "\033[31m", "\033[33m", "\033[33m"};
  const std::string text = to_string(verdict);
  return colour ? codes[static_cast<std::size_t>(verdict)] + text + "\033[0m" : text;
}

std::size_t total_size(const GradcheckReport& report) {
  std::size_t size = 0;
  for (const GradBlockSummary& b : report.blocks) size += b.size;
  return size;
}
bool sampled(const GradcheckReport& report) { return report.checked < total_size(report); }

/// "41 entries of 3 blocks", "41 of 4096 entries of 3 blocks".
std::string coverage(const GradcheckReport& report) {
  return (sampled(report) ? std::to_string(report.checked) + " of " : std::string()) +
         plural(total_size(report), "entry", "entries") + " of " +
         plural(report.blocks.size(), "block", "blocks");
}

/// Seeds matter where something was drawn or went wrong, noise where something was not decided.
std::string effort(const GradcheckReport& report, bool with_seed) {
  return "; " + std::to_string(report.evaluations) + " evaluations" +
         (with_seed ? ", seed " + std::to_string(report.seed) : std::string()) +
         (report.inconclusive > 0 ? ", noise " + brief(report.noise) : std::string());
}

template <class Counts>
std::string counts(const Counts& c) {
  std::string text =
      std::to_string(c.failed) + " failed, " + std::to_string(c.inconclusive) + " inconclusive";
  if (c.kinks > 0) text += ", " + std::to_string(c.kinks) + " at kinks";
  if (c.unexercised > 0) text += ", " + std::to_string(c.unexercised) + " not exercised";
  return text;
}

/// A line for each of the first few blocks that `words` says something about.
template <class Words>
std::string block_lines(const GradcheckReport& report, Words words) {
  std::string lines;
  std::size_t named = 0;
  for (const GradBlockSummary& b : report.blocks) {
    const std::string said = words(b);
    if (said.empty()) continue;
    if (named++ == shown_blocks) return lines + "\n  ...";
    lines += "\n  " + said;
  }
  return lines;
}

std::string unexercised(const GradBlockSummary& b) {
  if (b.unexercised == 0) return {};
  return b.block.name + ": " + std::to_string(b.unexercised) + " of " +
         plural(b.checked, "entry", "entries") +
         " not exercised, zero both ways (T = 1, a zero state, an unused input?)";
}

std::string power(const GradBlockSummary& b) {
  if (b.checked == b.size) return {};
  return b.block.name + ": " + std::to_string(b.checked) + " of " +
         plural(b.size, "entry", "entries") + " and " +
         plural(b.directions, "direction", "directions") + "; a single entry wrong by " +
         brief(b.scale / 100) + " is missed with p <= " + formatted("%.2g", b.missed);
}

std::string problem(const GradBlockSummary& b) {
  if (b.failed + b.inconclusive + b.kinks + b.unexercised == 0) return {};
  std::string text = b.block.name + " (" + join(b.block.shape) + "): " + counts(b) + " of " +
                     plural(b.checked, "entry", "entries");
  if (b.directions > 0) text += " and " + plural(b.directions, "direction", "directions");
  return text + (b.diagnosis.empty() ? "" : "\n    " + b.diagnosis);
}

std::string entry_lines(const GradcheckReport& report, const GradEntry& e, bool colour) {
  const std::string start = "\n  " + report.entry_name(e) + ' ' + word(e.verdict, colour) + ": ";
  if (!(e.step > 0)) {
    return start +
           "no room for differences in its domain; move the value inside, or widen low and high";
  }
  const auto values = [&](std::size_t from) {
    return formatted("%.17g", e.f[from]) + ", " + formatted("%.17g", e.f[from + 1]) + ", " +
           formatted("%.17g", e.f[from + 2]);
  };
  std::string text = start + "numeric " + formatted("%.12g", e.numeric) + " ± " + brief(e.bound) +
                     ", analytic " + formatted("%.12g", e.analytic) + ", error " + brief(e.error) +
                     ", h " + formatted("%.6g", e.step);
  if (e.left != e.right) {
    text += "\n    kink" + (e.branch.empty() ? "" : " at " + e.branch) + ": slopes " +
            formatted("%.6g", e.left) + " to the left, " + formatted("%.6g", e.right) +
            " to the right";
  }
  return text + "\n    loss at x - 3h, x - 2h, x - h: " + values(0) +
         "\n    loss at x + h, x + 2h, x + 3h: " + values(3);
}

/// ", 2 at kinks (first x[0, 1] at relu#4[0, 1])", or nothing.
std::string kinks(const GradcheckReport& report) {
  if (report.kinks == 0) return {};
  const auto first = std::ranges::min_element(report.entries, {}, [](const GradEntry& e) {
    return std::tuple(e.verdict != Verdict::kink, e.block, e.direction, e.index);
  });
  return ", " + std::to_string(report.kinks) + " at kinks (first " + report.entry_name(*first) +
         (first->branch.empty() ? "" : " at " + first->branch) + ")";
}

std::string pass_text(const GradcheckReport& report, bool colour) {
  const auto worst = std::ranges::find(report.entries, Verdict::pass, &GradEntry::verdict);
  std::string text = "gradcheck: " + word(report.verdict, colour) + ' ' + coverage(report);
  if (worst != report.entries.end()) {
    text += ", worst error " + brief(worst->error) + " (bound " + brief(worst->bound) + ") in " +
            report.entry_name(*worst);
  }
  text += kinks(report);
  if (report.inconclusive > 0) text += ", " + std::to_string(report.inconclusive) + " inconclusive";
  return text + effort(report, sampled(report)) + block_lines(report, power) +
         block_lines(report, unexercised);
}

/// Says how to check the worst entry alone; a direction is none.
std::string again(const GradcheckReport& report) {
  const Verdict worst = report.entries.front().verdict;
  const auto e = std::ranges::find_if(report.entries, [&](const GradEntry& entry) {
    return entry.verdict == worst && !entry.direction;
  });
  if (worst == Verdict::pass || e == report.entries.end()) return {};
  return "\n  reproduce: {.seed = " + std::to_string(report.seed) + ", .only_block = \"" +
         report.blocks[e->block].block.name + "\", .only_entry = " + std::to_string(e->index) + "}";
}

std::string problem_text(const GradcheckReport& report, bool colour) {
  std::string text = "gradcheck: " + word(report.verdict, colour) + ' ';
  if (!report.reason.empty()) text += report.reason;
  if (report.entries.empty()) return text;
  text += (report.reason.empty() ? "" : "\n  ") + coverage(report) + ": " + counts(report) +
          effort(report, true) + block_lines(report, problem);
  for (std::size_t i = 0; i < std::min(shown_entries, report.entries.size()); ++i) {
    if (report.entries[i].verdict == Verdict::pass) break;
    text += entry_lines(report, report.entries[i], colour);
  }
  return text + again(report);
}

// ---- json ---------------------------------------------------------------------------------------

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) {
      result += c;
    } else {
      constexpr const char* digits = "0123456789abcdef";
      result += std::string("\\u00") + digits[c / 16] + digits[c % 16];
    }
  }
  return result + '"';
}

std::string json_number(double v) { return std::isfinite(v) ? formatted("%.17g", v) : "null"; }

class Object {
 public:
  Object& add(const char* name, const std::string& json) {
    text_ += (text_.empty() ? "{" : ",") + quoted(name) + ":" + json;
    return *this;
  }
  Object& add(const char* name, double v) { return add(name, json_number(v)); }
  Object& add(const char* name, std::size_t n) { return add(name, std::to_string(n)); }
  std::string text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

template <class List, class Json>
std::string array(const List& list, Json json) {
  std::string text;
  for (const auto& item : list) text += (text.empty() ? "" : ",") + json(item);
  return "[" + text + "]";
}

template <class Counts>
Object counted(const Counts& c) {
  Object object;
  object.add("checked", c.checked).add("failed", c.failed).add("inconclusive", c.inconclusive);
  return object.add("kinks", c.kinks).add("unexercised", c.unexercised);
}

}  // namespace
}  // namespace tapegrad::detail

namespace tapegrad {

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "PASS";
    case Verdict::fail:
      return "FAIL";
    case Verdict::inconclusive:
      return "INCONCLUSIVE";
    case Verdict::kink:
      return "KINK";
  }
  return "?";
}

void GradCounts::count(const GradEntry& entry) {
  checked += !entry.direction;
  failed += entry.verdict == Verdict::fail;
  inconclusive += entry.verdict == Verdict::inconclusive;
  kinks += entry.verdict == Verdict::kink;
  unexercised += !entry.direction && !entry.exercised();
}

std::string GradcheckReport::entry_name(const GradEntry& entry) const {
  const GradBlock& block = blocks[entry.block].block;
  return entry.direction ? block.name + ", direction " + std::to_string(entry.index)
                         : block.entry_name(entry.index);
}

std::string GradcheckReport::text(bool colour) const {
  return verdict == Verdict::pass ? detail::pass_text(*this, colour)
                                  : detail::problem_text(*this, colour);
}

std::string GradcheckReport::json() const {
  using namespace detail;
  Object report;
  report.add("verdict", quoted(to_string(verdict))).add("reason", quoted(reason));
  report.add("evaluations", evaluations).add("noise", noise).add("seed", std::to_string(seed));
  report.add("counts", counted(*this).text());
  report.add(
      "blocks", array(blocks, [](const GradBlockSummary& b) {
        Object object = counted(b);
        object.add("name", quoted(b.block.name)).add("shape", "[" + join(b.block.shape) + "]");
        object.add("size", b.size).add("scale", b.scale);
        object.add("directions", b.directions).add("missed", b.missed);
        return object.add("diagnosis", quoted(b.diagnosis)).text();
      }));
  report.add(
      "entries", array(entries, [&](const GradEntry& e) {
        Object object;
        object.add("name", quoted(entry_name(e))).add("block", e.block).add("index", e.index);
        object.add("direction", e.direction ? "true" : "false");
        object.add("verdict", quoted(to_string(e.verdict)));
        object.add("analytic", e.analytic).add("numeric", e.numeric).add("bound", e.bound);
        object.add("error", e.error).add("step", e.step);
        object.add("loss", array(e.f, json_number));
        if (e.left != e.right) object.add("left", e.left).add("right", e.right);
        if (!e.branch.empty()) object.add("branch", quoted(e.branch));
        return object.text();
      }));
  return report.text();
}

std::ostream& operator<<(std::ostream& out, const GradcheckReport& report) {
  return out << report.text();
}

}  // namespace tapegrad
