#include "summary-inl.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tapegrad::detail {

double magnitude(const GradEntry& e) { return std::max(std::abs(e.analytic), std::abs(e.numeric)); }

void summarize(GradcheckReport& report, const GradcheckOptions& options) {
  for (const GradEntry& e : report.entries) {
    report.count(e);
    report.blocks[e.block].count(e);
    report.blocks[e.block].directions += e.direction;
  }
  const auto severity = [&](const GradEntry& e) {
    constexpr std::array<int, 4> rank = {0, 3, 2, 1};  // pass, fail, inconclusive, kink
    const double ratio =
        e.error == 0 ? 0 : e.error / (e.bound + options.rtol * magnitude(e) + options.atol);
    return std::pair(rank[static_cast<std::size_t>(e.verdict)],
                     std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio);
  };
  std::ranges::stable_sort(report.entries, std::greater<>{}, severity);
  if (report.reason.empty() && options.strict && report.unexercised > 0) {
    report.reason = "entries were not exercised, and `strict` is set";
  }
  if (report.failed > 0 || !report.reason.empty()) {
    report.verdict = Verdict::fail;
  } else if (report.inconclusive > 0 && !options.accept_inconclusive) {
    report.verdict = Verdict::inconclusive;
  } else {
    report.verdict = Verdict::pass;
  }
}

double missed(const GradcheckReport& report, std::size_t b, const GradcheckOptions& options) {
  const GradBlockSummary& block = report.blocks[b];
  if (block.checked == block.size) return 0;
  const auto n = static_cast<double>(block.size);
  double p = 1 - static_cast<double>(block.checked) / n;
  for (const GradEntry& e : report.entries) {
    const bool decided = e.verdict == Verdict::pass || e.verdict == Verdict::fail;
    if (e.block != b || !e.direction || !decided) continue;
    // A unit vector's component is about normal with deviation 1 / sqrt(n).
    const double tolerance = e.bound + options.rtol * magnitude(e) + options.atol;
    p *= std::erf(tolerance * std::sqrt(n / 2) / (block.scale / 100));
  }
  return p;
}

}  // namespace tapegrad::detail
