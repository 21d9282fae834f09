#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "figures-inl.h"
#include "forecast_report.h"

namespace tapegrad {
namespace {

using figures::Figures;
using Horizons = std::vector<HorizonScores>;
using Holds = std::function<bool(const HorizonScores&)>;

constexpr std::size_t most_rows = 7;  // of a table
constexpr double wide_open = 0.5;     // an interval from 0 to more than this leaves all open

/// The horizons for which something holds.
struct Group {
  std::vector<std::size_t> steps;
  const HorizonScores* first = nullptr;
  std::string words;  // "all horizons", "horizon 3", "horizons 1 to 4, 7"
};

Group group(const Horizons& horizons, const Holds& holds) {
  Group found;
  for (const HorizonScores& h : horizons) {
    if (!holds(h)) continue;
    if (found.first == nullptr) found.first = &h;
    found.steps.push_back(h.steps);
  }
  const std::size_t count = found.steps.size();
  found.words =
      count > 1 && count == horizons.size()
          ? "all horizons"
          : fmt::format("horizon{} {}", count == 1 ? "" : "s", figures::ranges(found.steps));
  return found;
}

std::string percent(double share) { return fmt::format("{:.0f} %", 100 * share); }
/// Returns a share that somebody chose, as 99.5 %.
std::string exact_percent(double share) { return fmt::format("{:.4g} %", 100 * share); }

std::string skill_words(const Skill& skill) {
  if (!std::isfinite(skill.low) && skill.high == 1) return "not determined";
  const auto figure = [](double s) { return s < -99 ? "< -99" : figures::fixed(s, 2); };
  return fmt::format("{} ({} to {})", figure(skill.value), figure(skill.low), figure(skill.high));
}

/// Says in words at which horizons a baseline is as good as the forecast, or better.
std::string without_skill(const Horizons& horizons, std::string_view baseline,
                          const std::function<Skill(const HorizonScores&)>& skill) {
  const auto worse = [&](const HorizonScores& h) { return skill(h).high < 0; };
  const auto open = [&](const HorizonScores& h) {
    return !skill(h).is_shown() && skill(h).high > wide_open;
  };
  const auto equal = [&](const HorizonScores& h) {
    return !skill(h).is_shown() && !worse(h) && !open(h);
  };
  std::string text;
  if (const Group found = group(horizons, equal); found.first != nullptr) {
    text += fmt::format("  No skill: {} is as good at {}.\n", baseline, found.words);
  }
  if (const Group found = group(horizons, open); found.first != nullptr) {
    text += fmt::format("  No skill shown over {} at {}: too few forecasts to tell.\n", baseline,
                        found.words);
  }
  if (const Group found = group(horizons, worse); found.first != nullptr)
    text += fmt::format("  No skill: {} is better at {}.\n", baseline, found.words);
  return text;
}

std::string interval_verdict(const Horizons& horizons, double level) {
  const auto coverage = [](const HorizonScores& h) { return h.interval->coverage; };
  const Group narrow = group(horizons, [&](const auto& h) { return coverage(h).high < level; });
  const Group wide = group(horizons, [&](const auto& h) { return coverage(h).low > level; });
  if (narrow.first == nullptr && wide.first == nullptr) {
    return fmt::format("  Intervals: they hold the {} that they promise.\n", exact_percent(level));
  }
  std::string text;
  for (const auto& [found, words] : {std::pair(&narrow, "narrow"), std::pair(&wide, "wide")}) {
    if (found->first == nullptr) continue;
    text += fmt::format(
        "  Intervals too {} at {}: they hold {}{}, not {}.\n", words, found->words,
        percent(coverage(*found->first).value),
        found->steps.size() > 1 ? fmt::format(" at horizon {}", found->first->steps) : "",
        exact_percent(level));
  }
  return text;
}

std::string verdict(const Horizons& horizons, std::size_t n, double level) {
  std::string text = fmt::format("Verdict, as far as {} forecasts tell (95 % confidence)\n", n);
  const bool seasonal = horizons[0].over_seasonal.has_value();
  const auto skilled = [&](const HorizonScores& h) {
    return h.over_persistence.is_shown() && (!seasonal || h.over_seasonal->is_shown());
  };
  if (const Group found = group(horizons, skilled); found.first != nullptr) {
    text += fmt::format("  Skill: better than persistence{} at {}.\n",
                        seasonal ? " and seasonal-naive" : "", found.words);
  }
  text += without_skill(horizons, "persistence", [](const auto& h) { return h.over_persistence; });
  if (seasonal) {
    text +=
        without_skill(horizons, "seasonal-naive", [](const auto& h) { return *h.over_seasonal; });
  }
  if (const Group late = group(horizons, [](const auto& h) { return h.late; });
      late.first != nullptr) {
    const HorizonScores& h = *late.first;
    text += fmt::format(
        "  Late: your forecast is the input shifted by {}: it follows the series {} late\n"
        "    (horizon {}: correlation {:.3f} at lag {}, {:.3f} at lag 0).\n",
        h.best_lag, h.best_lag == 1 ? "a step" : fmt::format("{} steps", h.best_lag), h.steps,
        h.lag_correlations[h.best_lag], h.best_lag, h.lag_correlations[0]);
    if (late.steps.size() > 1) text += fmt::format("    Likewise at {}.\n", late.words);
  }
  if (const Group constant = group(horizons, [](const auto& h) { return h.constant; });
      constant.first != nullptr) {
    text += fmt::format(
        "  Constant: the forecasts hardly vary at {}: they can know the mean, and no more.\n",
        constant.words);
  }
  if (horizons[0].interval) text += interval_verdict(horizons, level);
  return text;
}

std::string error_table(const Horizons& horizons, const std::vector<std::size_t>& rows,
                        const Figures& figure, std::string_view unit) {
  const bool seasonal = horizons[0].seasonal.has_value();
  const std::string heads = fmt::format("{:>10}{:>13}{}", "forecast", "persistence",
                                        seasonal ? fmt::format("{:>10}", "seasonal") : "");
  std::string text = fmt::format("Errors{}\n", unit);
  text += fmt::format("{:>10}{:<{}}    {}\n", "", "  RMSE", heads.size(), "  MAE");
  text += fmt::format("   horizon{}    {}\n", heads, heads);
  for (const std::size_t row : rows) {
    const HorizonScores& h = horizons[row];
    const auto cells = [&](double ErrorSize::*size) {
      return fmt::format("{:>10}{:>13}{}", figure(h.forecast.*size), figure(h.persistence.*size),
                         seasonal ? fmt::format("{:>10}", figure((*h.seasonal).*size)) : "");
    };
    text +=
        fmt::format("{:>10}{}    {}\n", h.steps, cells(&ErrorSize::rmse), cells(&ErrorSize::mae));
  }
  return text;
}

std::string skill_table(const Horizons& horizons, const std::vector<std::size_t>& rows,
                        const Figures& figure, double level) {
  const bool seasonal = horizons[0].seasonal.has_value(),
             interval = horizons[0].interval.has_value();
  std::string text =
      "Skill: 1 - MSE / MSE of the baseline, and its 95 % interval (1: perfect, 0: no better)\n"
      "Lag: the shift of the series that is most like the forecast (best: 0; harmless where skill "
      "is shown)\n";
  if (interval)
    text +=
        "Score: mean width of the intervals and a penalty for rows outside (Winkler's): small is "
        "good\n";
  text += fmt::format("   horizon  {:<24}{}{:>3}", "over persistence",
                      seasonal ? fmt::format("{:<24}", "over seasonal-naive") : "", "lag");
  if (interval)
    text += fmt::format("  {:<17}{:>9}{:>9}", fmt::format("in {} interval", exact_percent(level)),
                        "width", "score");
  text += '\n';
  for (const std::size_t row : rows) {
    const HorizonScores& h = horizons[row];
    text += fmt::format("{:>10}  {:<24}{}{:>3}", h.steps, skill_words(h.over_persistence),
                        seasonal ? fmt::format("{:<24}", skill_words(*h.over_seasonal)) : "",
                        h.constant ? "-" : fmt::format("{}", h.best_lag));
    if (interval) {
      const Estimate& c = h.interval->coverage;
      text += fmt::format(
          "  {:<17}{:>9}{:>9}",
          fmt::format("{} ({:.0f} to {:.0f})", percent(c.value), 100 * c.low, 100 * c.high),
          figure(h.interval->mean_width), figure(h.interval->winkler));
    }
    text += '\n';
  }
  return text;
}

std::string residual_words(const ResidualScores& r, const Figures& figure) {
  const std::string bias = r.mean.low > 0    ? "the forecasts are too low"
                           : r.mean.high < 0 ? "the forecasts are too high"
                                             : "no bias found";
  const auto most =
      std::ranges::max_element(r.autocorrelation, {}, [](double v) { return std::abs(v); });
  const bool chance = r.p_value > 0.05;
  return fmt::format(
      "Residuals one step ahead (series less forecast)\n"
      "  mean {} (95 % interval {} to {}): {}\n"
      "  standard deviation {}; the largest is {}, at row {}\n"
      "  autocorrelation: the largest of {} lags is {}, at lag {}\n"
      "    {} (Ljung-Box p {})\n",
      figure(r.mean.value), figure(r.mean.low), figure(r.mean.high), bias, figure(r.deviation),
      figure(r.largest), r.largest_row, r.autocorrelation.size(), figures::fixed(*most, 2),
      most - r.autocorrelation.begin() + 1,
      chance ? "no more than chance" : "more than chance: something is left to learn",
      r.p_value < 0.001 ? "< 0.001" : fmt::format("= {:.3f}", r.p_value));
}

}  // namespace

std::string ForecastReport::text() const {
  const std::size_t n = origins_.size(), steps = horizons_.size();
  const Figures figure(std::max(horizons_[0].forecast.rmse, horizons_[0].persistence.rmse));
  const std::vector<std::size_t> rows = figures::spread(steps, most_rows);
  std::string text = fmt::format("Forecast report: {}\n", options_.name);
  text +=
      fmt::format("{} forecasts of {} step{}, of rows {} to {}; the series has {}{}\n", n, steps,
                  steps == 1 ? "" : "s", origins_[0], origins_.back() + steps - 1, series_.numel(),
                  options_.season > 0 ? fmt::format(", a season {}", options_.season) : "");
  text += fmt::format("Persistence repeats the last value known{}.\n",
                      options_.season > 0 ? ", seasonal-naive the last season known" : "");
  for (const std::string& line : options_.leakage) text += fmt::format("WARNING: {}\n", line);
  text += '\n' + verdict(horizons_, n, options_.level);
  text += '\n' + error_table(horizons_, rows, figure,
                             options_.unit.empty() ? "" : fmt::format(" ({})", options_.unit));
  text += '\n' + skill_table(horizons_, rows, figure, options_.level);
  return text + '\n' + residual_words(residuals_, figure);
}

}  // namespace tapegrad
