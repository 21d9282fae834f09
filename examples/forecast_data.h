#pragma once

#include <tapegrad/tapegrad.h>

#include <string>

#include "forecast_model.h"
#include "program.h"

/// What forecast and tune ask of their user.
namespace examples {

/// A series in a CSV file.
struct SeriesFile {
  std::string path, target, inputs;
  double valid = 0.2;  // of the rows before the test
};

/// Reads the target, the first column (n, F) of the result, and the inputs. Sets the target to the
/// last column of numbers if none is named. WrongUse for a file that is no table of these.
tapegrad::Tensor read_series(SeriesFile& data);

void add_options(CommandLine& line, SeriesFile& data);
/// All but hidden, lr and dropout, which tune varies.
void add_options(CommandLine& line, ForecastSettings& settings);

}  // namespace examples
