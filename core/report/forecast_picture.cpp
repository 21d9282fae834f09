#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "chart-inl.h"
#include "forecast_report.h"
#include "svg.h"

namespace tapegrad {
namespace {

using Numbers = std::vector<double>;

constexpr std::size_t most_rows =
    160;  // of the series that are drawn, unless two forecasts are longer
constexpr std::size_t most_dots = 40;  // of a curve, more would hide it
constexpr const char* nearest_colour = "#1d4ed8";
constexpr const char* farthest_colour = "#c2410c";
constexpr const char* band_colour = "#bfdbfe";
constexpr const char* series_stroke = R"(stroke="#1c1917" stroke-width="1.2")";
constexpr const char* nearest_stroke = R"(stroke="#1d4ed8" stroke-width="1.8")";
constexpr const char* farthest_stroke =
    R"(stroke="#c2410c" stroke-width="1.6" stroke-dasharray="6 3")";
constexpr const char* band_stroke = R"(stroke="#bfdbfe" stroke-width="9")";
constexpr const char* persistence_stroke =
    R"(stroke="#78716c" stroke-width="1.6" stroke-dasharray="6 3")";
constexpr const char* seasonal_stroke =
    R"(stroke="#047857" stroke-width="1.8" stroke-dasharray="2 3")";
constexpr const char* chance_stroke = R"(stroke="#78716c" stroke-dasharray="5 4")";

std::string ahead(std::size_t steps) {
  return fmt::format("{} step{} ahead", steps, steps == 1 ? "" : "s");
}

/// Returns 0, 1, ..., count - 1, all plus `first`.
Numbers counted(std::size_t count, double first) {
  Numbers numbers(count);
  for (std::size_t k = 0; k < count; ++k) numbers[k] = first + static_cast<double>(k);
  return numbers;
}

/// Columns [begin, end) of a table (n, H) at their rows of the series, from row `from` on.
struct Track {
  Numbers at, values;

  Track(const std::vector<std::size_t>& origins, const Tensor& table, std::size_t begin,
        std::size_t end, std::size_t from) {
    for (std::size_t k = 0; k < origins.size(); ++k) {
      for (std::size_t h = begin; h < end; ++h) {
        if (origins[k] + h < from) continue;
        at.push_back(static_cast<double>(origins[k] + h));
        values.push_back(table.at(k * table.size(1) + h));
      }
    }
  }
};

/// Tests whether no two forecasts share a row: then all their steps can be drawn.
bool are_apart(const std::vector<std::size_t>& origins, std::size_t steps) {
  return std::ranges::adjacent_find(
             origins, [&](std::size_t a, std::size_t b) { return b - a < steps; }) == origins.end();
}

Range range_of(std::initializer_list<const Numbers*> lists) {
  Range range{(*lists.begin())->front(), (*lists.begin())->front()};
  for (const Numbers* list : lists) {
    for (const double v : *list) range.hold(v);
  }
  return range;
}

std::string errors_by_horizon(const std::vector<HorizonScores>& horizons) {
  Numbers forecast, persistence, seasonal;
  for (const HorizonScores& h : horizons) {
    forecast.push_back(h.forecast.rmse);
    persistence.push_back(h.persistence.rmse);
    if (h.seasonal) seasonal.push_back(h.seasonal->rmse);
  }
  Range up = range_of({&forecast, &persistence, &seasonal});
  up = {0, up.high > 0 ? 1.08 * up.high : 1};
  const auto last = static_cast<double>(horizons.size());
  const Chart chart{76, 462, 255, 230, {0.5, last + 0.5}, up};
  const Numbers steps = counted(horizons.size(), 1);
  double place = chart.left;
  std::string content = chart.frame("Error by horizon (RMSE)", "steps ahead");
  content += chart.legend(place, "forecast", nearest_stroke);
  content += chart.legend(place, "persistence", persistence_stroke);
  if (!seasonal.empty()) content += chart.legend(place, "seasonal", seasonal_stroke);
  content += chart.curve(steps, persistence, "#78716c", persistence_stroke);
  if (!seasonal.empty()) content += chart.curve(steps, seasonal, "#047857", seasonal_stroke);
  content += chart.curve(steps, forecast, nearest_colour, nearest_stroke);
  for (std::size_t k = 0; k < steps.size() && steps.size() <= most_dots; ++k)
    content += chart.dot(steps[k], forecast[k], 2.6, nearest_colour);
  return content;
}

std::string autocorrelation_bars(const Numbers& r, std::size_t n) {
  const double chance = 1.96 / std::sqrt(static_cast<double>(n));
  double most = chance;
  for (const double v : r) most = std::max(most, std::abs(v));
  const auto lags = static_cast<double>(r.size());
  const Chart chart{422, 462, 255, 230, {0.3, lags + 0.7}, {-1.15 * most, 1.15 * most}};
  double place = chart.left;
  std::string content =
      chart.frame("Residuals, 1 step ahead: autocorrelation", "lag, in forecasts");
  content += chart.legend(place, "within: by chance (95 %)", chance_stroke);
  for (std::size_t k = 0; k < r.size(); ++k) {
    const double x = chart.x(static_cast<double>(k + 1));
    content += svg::line(x, chart.y(0), x, chart.y(r[k]),
                         fmt::format(R"(stroke="{}" stroke-width="{:.1f}")", nearest_colour,
                                     std::min(14.0, 0.6 * chart.width / (lags + 0.4))));
  }
  return content + chart.level(0, R"(stroke="#57534e")") + chart.level(chance, chance_stroke) +
         chart.level(-chance, chance_stroke);
}

std::string correlations_by_lag(const std::vector<HorizonScores>& horizons) {
  constexpr const char* title = "Correlation with the series";
  constexpr const char* lag_words = "rows before the rows forecast (dot: best)";
  const HorizonScores &nearest = horizons.front(), &farthest = horizons.back();
  const bool both = horizons.size() > 1 && !farthest.lag_correlations.empty();
  const std::size_t count =
      std::max(nearest.lag_correlations.size(), farthest.lag_correlations.size());
  Range up{count == 0 ? 0.0 : 1.0, 1};
  for (const HorizonScores* h : {&nearest, &farthest}) {
    for (const double v : h->lag_correlations) up.hold(v);
  }
  const Chart chart{771,
                    462,
                    255,
                    230,
                    {-0.4, static_cast<double>(std::max(count, std::size_t{2})) - 0.6},
                    up.padded(0.08)};
  std::string content = chart.frame(title, lag_words);
  if (count == 0) {
    return content + svg::text(chart.left + chart.width / 2, chart.top + chart.height / 2,
                               R"(text-anchor="middle")", "the forecasts are constant");
  }
  double place = chart.left;
  const auto add = [&](const HorizonScores& h, const char* colour, const char* stroke) {
    const Numbers& r = h.lag_correlations;
    if (r.empty()) return;
    content += chart.legend(place, ahead(h.steps), stroke);
    content += chart.curve(counted(r.size(), 0), r, colour, stroke);
    content += chart.dot(static_cast<double>(h.best_lag), r[h.best_lag], 4.5, colour);
  };
  if (both) add(farthest, farthest_colour, farthest_stroke);
  add(nearest, nearest_colour, nearest_stroke);
  return content;
}

}  // namespace

std::string ForecastReport::svg() const {
  const std::size_t steps = horizons_.size(), last = origins_.back() + steps - 1;
  const std::size_t shown = std::max(most_rows, 2 * steps);
  const std::size_t from = last + 1 > shown ? last + 1 - shown : 0;
  Numbers rows = counted(last + 1 - from, static_cast<double>(from)), series;
  for (std::size_t row = from; row <= last; ++row) series.push_back(series_.at(row));
  const bool interval = options_.lower.defined(), apart = are_apart(origins_, steps);
  const auto track = [&](const Tensor& table) {
    return Track(origins_, table, 0, apart ? steps : 1, from);
  };
  const Track nearest = track(forecasts_), lower = track(interval ? options_.lower : forecasts_),
              upper = track(interval ? options_.upper : forecasts_),
              farthest(origins_, forecasts_, steps - 1, steps, from);
  const std::string nearest_words = apart && steps > 1 ? "1 to " + ahead(steps) : ahead(1);
  const Chart chart{
      76,
      88,
      950,
      270,
      {rows.front(), rows.back()},
      range_of({&series, &nearest.values, &farthest.values, &lower.values, &upper.values})
          .padded(0.05)};

  std::string content = svg::text(76, 32, R"(font-size="17" font-weight="bold")",
                                  svg::escape_xml("Forecast report: " + options_.name));
  content += chart.frame(fmt::format("The last {} rows{}", rows.size(),
                                     options_.unit.empty() ? "" : ", in " + options_.unit),
                         "row of the series");
  double place = chart.left;
  if (interval) {
    content += chart.legend(
        place, fmt::format("{:.4g} % interval, {}", 100 * options_.level, nearest_words),
        band_stroke);
    content += chart.band(lower.at, lower.values, upper.values, band_colour);
  }
  content += chart.legend(place, "series", series_stroke) +
             chart.curve(rows, series, "#1c1917", series_stroke);
  if (!apart) {
    content += chart.legend(place, ahead(steps), farthest_stroke);
    content += chart.curve(farthest.at, farthest.values, farthest_colour, farthest_stroke);
  }
  content += chart.legend(place, nearest_words, nearest_stroke);
  content += chart.curve(nearest.at, nearest.values, nearest_colour, nearest_stroke);
  return svg::picture(1050, 752,
                      content + errors_by_horizon(horizons_) +
                          autocorrelation_bars(residuals_.autocorrelation, origins_.size()) +
                          correlations_by_lag(horizons_));
}

std::string ForecastReport::html() const {
  return fmt::format(
      "<!doctype html>\n"
      "<html lang=\"en\">\n"
      "<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width\">\n"
      "<title>Forecast report: {}</title>\n"
      "<style>\n"
      ":root {{ color-scheme: light dark }}\n"
      "body {{ max-width: 1050px; margin: 2rem auto; padding: 0 1rem }}\n"
      "pre {{ overflow-x: auto; font-size: 0.9rem; line-height: 1.4 }}\n"
      "svg {{ max-width: 100%; height: auto }}\n"
      "</style>\n"
      "<pre>{}</pre>\n"
      "{}</html>\n",
      svg::escape_xml(options_.name), svg::escape_xml(text()), svg());
}

}  // namespace tapegrad
