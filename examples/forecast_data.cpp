#include "forecast_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

namespace examples {

using namespace tapegrad;

Tensor read_series(SeriesFile& data) {
  return given_by_user([&] {
    const Table table = read_csv(data.path);
    if (data.target.empty()) data.target = table.names().back();
    std::vector<std::string> names{data.target};
    std::istringstream inputs(data.inputs);
    for (std::string name; std::getline(inputs, name, ',');) names.push_back(name);
    Tensor series = table.columns(names);
    const auto values = series.values<double>();
    const auto bad = std::ranges::find_if(values, [](double x) { return !std::isfinite(x); });
    if (bad == values.end()) return series;
    const auto place = static_cast<std::size_t>(bad - values.begin());
    throw WrongUse(fmt::format("{}: row {} of column '{}' is {}: every number must be finite",
                               data.path, place / names.size() + 1, names[place % names.size()],
                               *bad));
  });
}

void add_options(CommandLine& line, SeriesFile& data) {
  line.input("FILE", data.path, "The series: a CSV file, a row for each time");
  line.option("--target", data.target, "Column to forecast; by default the last one");
  line.option("--inputs", data.inputs, "Further columns that are read, with commas between them");
  line.option("--valid", data.valid, "Share of the rows before the test that validates",
              between(0.05, 0.5));
}

void add_options(CommandLine& line, ForecastSettings& settings) {
  constexpr std::size_t most = 100'000;
  line.option("--look-back", settings.look_back, "Rows that are read", 1, most);
  line.option("--horizon", settings.horizon, "Rows to forecast", 1, most);
  line.option("--batch", settings.batch, "Windows side by side", 1, most);
  line.option("--epochs", settings.epochs, "Most passes over the rows to learn from", 1, 1'000'000);
  line.option("--patience", settings.patience, "Passes without improvement that are borne", 1,
              1'000'000);
  line.option("--clip", settings.clip, "Largest norm of the gradient", positive());
}

}  // namespace examples
