#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../tensor.h"
#include "splits.h"

/// Features of a series brought to one scale.
namespace tapegrad {

class Archive;

/// An affine map of each feature, which StandardScaler or MinMaxScaler finds from training rows:
///
///   y = (x - center) / width + low
///
/// A scaler that was fitted on test rows tells the training of them, so give fit() the rows of the
/// training part; leakage() reports others.
///
///     const std::vector<Rows> parts = split_in_time(series.size(0), {0.7, 0.3});
///     const Scaler scaler = StandardScaler().fit(series, parts[0]);
///     const Tensor x = scaler.transform(series);         // both parts
///     ...
///     const Tensor flow = scaler.inverse(forecast, {2});  // of column 2 alone
///
/// A scaler belongs to its model's file, as text in the metadata or among the parts of a state:
///
///     save_parameters(path, parameters(model), {{"scaler", scaler.to_string()}});
///     const Scaler scaler = Scaler::from_string(load_tensors(path).text("scaler"));
///
///     save_state(path, [&](Archive& a) { a("model", parameters(model)); a("scaler", scaler); });
class Scaler {
 public:
  static constexpr std::size_t max_columns = 65536;

  /// Finds center and width of each column of a series (n, F) or (n), float32 or float64, from
  /// `rows` alone, in double, and returns the scaler. Throws UsageError for rows that do not exist,
  /// for a column that is constant, so narrow or so wide that its width is no normal number, and if
  /// names were given but not F of them; NonFiniteError, with its place, for a value that is not
  /// finite; ShapeError, DtypeError.
  Scaler& fit(const Tensor& series, const Rows& rows);
  /// Uses all rows of `train`, which count from 0: of a slice that begins later give the series and
  /// the rows instead, or leakage() cannot tell which they are.
  Scaler& fit(const Tensor& train);

  /// Returns x (..., F) scaled, in x's dtype; with F = 1 x may have any shape. Throws UsageError
  /// before fit(), NonFiniteError, with its place, for a value that is not finite, or would not be
  /// when it is scaled; ShapeError, DtypeError.
  Tensor transform(const Tensor& x) const;
  /// Returns what was scaled to y. Throws likewise.
  Tensor inverse(const Tensor& y) const;
  /// Returns what was scaled to y (..., columns), which has these columns alone; of one column y may
  /// have any shape. Throws likewise, and UsageError for no columns and for one that is not there.
  Tensor inverse(const Tensor& y, const std::vector<std::size_t>& columns) const;

  /// Returns the rows that fit() used. Throws UsageError before fit().
  const Rows& fitted_on() const;
  /// Returns center and width of each column; none before fit().
  const std::vector<double>& center() const { return center_; }
  const std::vector<double>& width() const { return width_; }

  /// Saves or restores what fit() found. Another kind of scaler, or one of another range, is
  /// refused.
  void state(Archive& a);
  /// Reads what `to_string` wrote. Throws FileError if it is something else.
  static Scaler from_string(std::string_view stored);
  /// Writes the scaler for a model file's metadata: "standard:" or "min_max:", and as shortest
  /// decimals, from which the same bits are read, begin and end of its rows, low, high, and center
  /// and width of each column. Throws UsageError before fit().
  std::string to_string() const;

 protected:
  enum class Kind : std::uint8_t { standard, min_max };
  Scaler(Kind kind, double low, double high, std::vector<std::string> names);

 private:
  const char* name() const;  // of the class, for messages
  std::string column_name(std::size_t column) const;
  std::vector<std::size_t> all_columns() const;
  Tensor mapped(bool inverse, const Tensor& x, const std::vector<std::size_t>& columns) const;

  Kind kind_;
  double low_, high_;               // what min-max scaling maps the least and the largest to
  std::vector<std::string> names_;  // of columns, for messages
  std::vector<double> center_, width_;
  Rows rows_;
};

/// Scaling to mean 0 and standard deviation 1: center is the mean, width the standard deviation
/// (divided by n, not n - 1, as scikit-learn's), low 0.
class StandardScaler : public Scaler {
 public:
  /// Makes a scaler whose messages name the columns so.
  explicit StandardScaler(std::vector<std::string> names = {});
};

/// Scaling of the training rows' least and largest value to `low` and `high`: center is the least,
/// width (largest - least) / (high - low).
class MinMaxScaler : public Scaler {
 public:
  /// Throws UsageError unless low < high and both are finite.
  explicit MinMaxScaler(double low = 0, double high = 1, std::vector<std::string> names = {});
};

}  // namespace tapegrad
