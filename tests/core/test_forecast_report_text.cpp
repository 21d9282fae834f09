// Covers the text, the picture and the page of core/report/forecast_report, and core/report/svg.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include "../../core/report/figures-inl.h"
#include "../../core/report/forecast_report.h"
#include "../../core/report/svg.h"
#include "../../core/rng.h"

using namespace tapegrad;

namespace {

/// Forecasts of a random walk that are its last value, and more.
ForecastReport long_report(std::size_t steps, std::size_t stride, const std::string& name) {
  const std::size_t rows = 400 + 2 * steps, n = 200 / stride;
  Rng rng(1);
  const Tensor moves = rng.normal({rows}, 0, 100).to(DType::float64);
  std::vector<double> y(rows), forecasts;
  for (std::size_t t = 1; t < rows; ++t) y[t] = y[t - 1] + moves.at(t);
  std::vector<std::size_t> origins;
  for (std::size_t k = 0; k < n; ++k) {
    origins.push_back(200 + stride * k);
    for (std::size_t h = 0; h < steps; ++h) forecasts.push_back(y[origins[k] - 1]);
  }
  const Tensor f = Tensor::from({n, steps}, forecasts);
  Tensor lower = f.clone(), upper = f.clone();
  for (double& v : lower.mutable_values<double>()) v -= 100;
  for (double& v : upper.mutable_values<double>()) v += 100;
  return {Tensor::from({rows}, y),
          origins,
          f,
          {.season = 7, .name = name, .unit = "a & b", .lower = lower, .upper = upper}};
}

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++found;
  return found;
}

}  // namespace

TEST_CASE("forecast report: the whole text") {
  const Tensor series = Tensor::from({16}, {1, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7, 9, 8, 10, 9});
  Tensor forecasts = Tensor::zeros({12, 2}, DType::float64);
  Tensor lower = forecasts.clone(), upper = forecasts.clone();
  for (std::size_t i = 0; i < 24; ++i) {
    const double truth = series.at(3 + i / 2 + i % 2);
    forecasts.mutable_data<double>()[i] = truth + (i % 2 == 1 ? 1.5 : i % 4 == 0 ? 0.25 : -0.5);
    lower.mutable_data<double>()[i] = truth - 1;
    upper.mutable_data<double>()[i] = truth + 1;
  }
  const ForecastReport report(series, 3, forecasts,
                              {.season = 3,
                               .name = "steps",
                               .unit = "m",
                               .lower = lower,
                               .upper = upper,
                               .leakage = {"the scaler saw rows 3 to 15"}});
  CHECK(report.text() == R"(Forecast report: steps
12 forecasts of 2 steps, of rows 3 to 15; the series has 16, a season 3
Persistence repeats the last value known, seasonal-naive the last season known.
WARNING: the scaler saw rows 3 to 15

Verdict, as far as 12 forecasts tell (95 % confidence)
  Skill: better than persistence and seasonal-naive at horizon 1.
  No skill: persistence is better at horizon 2.
  Intervals: they hold the 90 % that they promise.

Errors (m)
            RMSE                                 MAE
   horizon  forecast  persistence  seasonal      forecast  persistence  seasonal
         1      0.40         1.58      2.20          0.38         1.50      1.67
         2      1.50         1.00      2.12          1.50         1.00      1.50

Skill: 1 - MSE / MSE of the baseline, and its 95 % interval (1: perfect, 0: no better)
Lag: the shift of the series that is most like the forecast (best: 0; harmless where skill is shown)
Score: mean width of the intervals and a penalty for rows outside (Winkler's): small is good
   horizon  over persistence        over seasonal-naive     lag  in 90 % interval     width    score
         1  0.94 (0.94 to 0.94)     0.97 (0.95 to 0.98)       0  100 % (76 to 100)     2.00     2.00
         2  -1.25 (-1.25 to -1.25)  0.50 (0.22 to 0.63)       0  100 % (61 to 100)     2.00     2.00

Residuals one step ahead (series less forecast)
  mean 0.12 (95 % interval -0.01 to 0.26): no bias found
  standard deviation 0.38; the largest is 0.50, at row 4
  autocorrelation: the largest of 3 lags is -0.92, at lag 1
    more than chance: something is left to learn (Ljung-Box p < 0.001)
)");
}

TEST_CASE("forecast report: the text is short enough for a screen, whatever the horizon") {
  for (const std::size_t steps : {1U, 2U, 9U, 90U}) {
    std::istringstream text(long_report(steps, 1, "walk").text());
    std::size_t lines = 0;
    for (std::string line; std::getline(text, line); ++lines)
      CHECK_MESSAGE(line.size() <= 100, line);
    CHECK(lines <= 42);
    CHECK(lines >= 25);
  }
}

TEST_CASE("forecast report: the picture and the page are whole, escaped and the same again") {
  for (const std::size_t steps : {1U, 2U, 90U}) {
    for (const std::size_t stride : {1U, 9U}) {
      const ForecastReport report = long_report(steps, stride, "<b>\"A\" & 'B'");
      const std::string svg = report.svg(), html = report.html();
      CHECK(svg == long_report(steps, stride, "<b>\"A\" & 'B'").svg());
      CHECK(svg.starts_with("<svg xmlns="));
      CHECK(svg.ends_with("</svg>\n"));
      CHECK(svg.find("Forecast report: &lt;b&gt;&quot;A&quot; &amp; &#39;B&#39;<") !=
            std::string::npos);
      CHECK(svg.find(", in a &amp; b<") != std::string::npos);
      for (const char* word : {"nan", "inf", "<b>", "-0.0\"", "script"})
        CHECK(svg.find(word) == std::string::npos);
      CHECK(count(svg, "<text") == count(svg, "</text>"));
      CHECK(count(svg, "<") == count(svg, ">"));
      CHECK(html.starts_with("<!doctype html>\n"));
      CHECK(html.find(svg) != std::string::npos);
      CHECK(html.find(svg::escape_xml(report.text())) != std::string::npos);
      CHECK(count(html, "http") == 1);  // the name of SVG's language
    }
  }
}

TEST_CASE(
    "forecast report: all steps are drawn where forecasts do not overlap, dots where rows miss") {
  const auto drawn = [](std::size_t steps, std::size_t stride, const std::string& word) {
    return count(long_report(steps, stride, "").svg(), word);
  };
  CHECK(drawn(2, 1, "<circle") == 4);  // two of the errors by horizon, two best lags
  CHECK(drawn(2, 1, ">2 steps ahead<") == 2);
  CHECK(drawn(2, 9, ">1 to 2 steps ahead<") == 1);
  CHECK(drawn(2, 9, ">2 steps ahead<") == 1);
  CHECK(drawn(2, 9, "<circle") == 4);
  CHECK(drawn(1, 9, "<circle") > 16);
}

TEST_CASE("figures: three digits of the scale, no minus zero") {
  using figures::Figures;
  CHECK(Figures(12.3)(4.567) == "4.6");
  CHECK(Figures(0.00123)(0.0004567) == "0.00046");
  CHECK(Figures(1234)(-0.4) == "0");
  CHECK(Figures(1e-9)(2.5e-9) == "2.50e-09");
  CHECK(Figures(0)(0) == "0");
  CHECK(figures::fixed(-0.004, 2) == "0.00");
  CHECK(figures::fixed(-0.006, 2) == "-0.01");
}

TEST_CASE("figures: ranges and spread") {
  CHECK(figures::ranges({3}) == "3");
  CHECK(figures::ranges({1, 2, 3, 5, 7, 8}) == "1 to 3, 5, 7 to 8");
  CHECK(figures::ranges({1, 3, 5}) == "1, 3, 5");
  CHECK(figures::ranges({1, 3, 5, 7}) == "1, 3, 5, ...");
  CHECK(figures::spread(3, 8) == std::vector<std::size_t>{0, 1, 2});
  CHECK(figures::spread(1, 8) == std::vector<std::size_t>{0});
  CHECK(figures::spread(12, 8) == std::vector<std::size_t>{0, 2, 3, 5, 6, 8, 9, 11});
}

TEST_CASE("forecast report: over a baseline without an error there is no skill") {
  const auto verdict = [](double error) {
    std::vector<double> forecasts(20, 5);
    for (std::size_t k = 0; k < 20; ++k) forecasts[k] += error * static_cast<double>(k % 3);
    const Tensor bounds = Tensor::full({20, 1}, 5, DType::float64);
    const std::string text =
        ForecastReport(Tensor::full({40}, 5), 20, Tensor::from({20, 1}, forecasts),
                       {.lower = bounds, .upper = bounds, .level = 0.995})
            .text();
    return text.substr(0, text.find("\nErrors")).substr(text.find("Verdict"));
  };
  CHECK(verdict(0) ==
        "Verdict, as far as 20 forecasts tell (95 % confidence)\n"
        "  No skill: persistence is as good at horizon 1.\n"
        "  Constant: the forecasts hardly vary at horizon 1: they can know the mean, and no more.\n"
        "  Intervals: they hold the 99.5 % that they promise.\n");
  CHECK(verdict(0.1) ==
        "Verdict, as far as 20 forecasts tell (95 % confidence)\n"
        "  No skill: persistence is better at horizon 1.\n"
        "  Intervals: they hold the 99.5 % that they promise.\n");
}

TEST_CASE("forecast report: numbers along the axes are told apart, far from 0, too") {
  const auto drawn = [](double level, double step) {
    std::vector<double> y(40);
    for (std::size_t t = 0; t < 40; ++t) y[t] = level + step * static_cast<double>(t % 5);
    const Tensor series = Tensor::from({40}, y);
    return ForecastReport(series, 20, Tensor::full({20, 1}, level, DType::float64)).svg();
  };
  for (const char* number : {">10000000<", ">10000001<", ">10000002<"})
    CHECK(count(drawn(1e7, 1), number) == 1);
  CHECK(count(drawn(1e6, 10), ">1.00002e6<") == 1);
  CHECK(count(drawn(1e7, 10), ">10000020<") == 1);
  CHECK(count(drawn(0, 2e-9), ">2e−09<") >= 1);
  CHECK(drawn(1.7e18, 256).size() > 1000);  // of which every 256th is a double
}

TEST_CASE("svg: what is no character of XML is left out or replaced") {
  CHECK(svg::escape_xml("T\xe9mp\xef\xbf\xbf \xed\xa0\x80 \xf0\x9f\x98\x80") ==
        "T\xef\xbf\xbdmp \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xf0\x9f\x98\x80");
}

TEST_CASE("svg: words of users are escaped") {
  CHECK(svg::escape_xml("a<b>&\"'\x01\n\tü") == "a&lt;b&gt;&amp;&quot;&#39;\n\tü");
}
