#include "scalers.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "../check-inl.h"
#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../io/archive.h"
#include "../words-inl.h"
#include "../write-inl.h"
#include "rows-inl.h"

namespace tapegrad {
namespace {

constexpr const char* prefixes[] = {"standard:", "min_max:"};  // by kind
constexpr double largest = std::numeric_limits<double>::max();
constexpr double smallest = std::numeric_limits<double>::min();  // above 0 that divides well
constexpr std::uint64_t most_rows = std::uint64_t{1} << 53;      // that a double counts

/// Column statistics, in double and relative to the first value: of 1e9 and what is near it no
/// digit is lost.
struct Summary {
  double least, most, mean, deviation;

  template <class T>
  Summary(const T* x, std::size_t n, std::size_t stride) : least(x[0]), most(x[0]) {
    const double first = x[0], count = static_cast<double>(n);
    double sum = 0, squares = 0;
    for (std::size_t r = 0; r < n; ++r) {
      const double v = x[r * stride];
      least = std::min(least, v);
      most = std::max(most, v);
      sum += v - first;
    }
    const double unit = std::exp2(std::ilogb(most - least));  // whose square is a number, and exact
    for (std::size_t r = 0; r < n; ++r) {
      const double d = ((x[r * stride] - first) - sum / count) / unit;
      squares += d * d;
    }
    mean = first + sum / count;
    deviation = unit * std::sqrt(squares / count);
  }
};

std::vector<double> numbers_of(std::string_view text) {
  std::vector<double> numbers;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    double number = 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc{} || stop != word.data() + word.size() || !std::isfinite(number)) {
      fail<FileError>("Scaler", "number {} of what is stored is '{}': it must be finite",
                      numbers.size(), shown(word));
    }
    numbers.push_back(number);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return numbers;
}

}  // namespace

Scaler::Scaler(Kind kind, double low, double high, std::vector<std::string> names)
    : kind_(kind), low_(low), high_(high), names_(std::move(names)) {}

StandardScaler::StandardScaler(std::vector<std::string> names)
    : Scaler(Kind::standard, 0, 1, std::move(names)) {}

MinMaxScaler::MinMaxScaler(double low, double high, std::vector<std::string> names)
    : Scaler(Kind::min_max, low, high, std::move(names)) {
  if (!(low < high && std::isfinite(low) && std::isfinite(high))) {
    fail<UsageError>("MinMaxScaler",
                     "low is {} and high is {}: both must be finite, and low below high", low,
                     high);
  }
}

const char* Scaler::name() const {
  return kind_ == Kind::standard ? "StandardScaler" : "MinMaxScaler";
}

std::string Scaler::column_name(std::size_t column) const {
  if (column < names_.size()) return fmt::format("column {} '{}'", column, shown(names_[column]));
  return fmt::format("column {}", column);
}

std::vector<std::size_t> Scaler::all_columns() const {
  std::vector<std::size_t> columns(center_.size());
  std::iota(columns.begin(), columns.end(), std::size_t{0});
  return columns;
}

Scaler& Scaler::fit(const Tensor& train) {
  check::defined(name(), {{"series", train}});
  return fit(train, {0, train.rank() == 0 ? 0 : train.size(0)});
}

Scaler& Scaler::fit(const Tensor& series, const Rows& rows) {
  check::defined(name(), {{"series", series}});
  const Shape& shape = series.shape();
  const std::size_t F = shape.rank() == 2 ? shape[1] : 1;
  if (shape.rank() == 0 || shape.rank() > 2 || F == 0 || F > max_columns) {
    check::wrong_shape(name(), "series", shape, "(n, F) or (n), with F in [1, 65536]");
  }
  check::real(name(), "series", series.dtype());
  check_rows(name(), rows, shape[0]);
  if (!names_.empty() && names_.size() != F) {
    fail<UsageError>(name(), "{} columns are named but the series has {}: name all or none",
                     names_.size(), F);
  }
  std::vector<double> center(F), width(F);
  dispatch_float(series.dtype(), [&]<class T>(T) {
    const T* const x = series.data<T>() + rows.begin * F;
    for (std::size_t k = 0; k < rows.size() * F; ++k) {
      if (!std::isfinite(x[k])) {
        fail<NonFiniteError>(name(),
                             "row {} of the series is {} in {}: fill in missing values before, or "
                             "leave their rows out",
                             rows.begin + k / F, x[k], column_name(k % F));
      }
    }
    for (std::size_t f = 0; f < F; ++f) {
      const Summary of(x + f, rows.size(), F);
      if (of.least == of.most) {
        fail<UsageError>(name(),
                         "{} is {} throughout {}: what is constant cannot be scaled and says "
                         "nothing; leave the column out",
                         column_name(f), of.least, tapegrad::to_string(rows));
      }
      const bool standard = kind_ == Kind::standard;
      center[f] = standard ? of.mean : of.least;
      width[f] = standard ? of.deviation : (of.most - of.least) / (high_ - low_);
      if (!(width[f] >= smallest && width[f] <= largest)) {
        fail<UsageError>(name(),
                         "{} goes from {} to {}, which makes its width {}: that must be a number "
                         "in [{}, {}]; take another unit",
                         column_name(f), of.least, of.most, width[f], smallest, largest);
      }
    }
  });
  center_ = std::move(center);
  width_ = std::move(width);
  rows_ = rows;
  return *this;
}

const Rows& Scaler::fitted_on() const {
  if (center_.empty()) fail<UsageError>(name(), "nothing was fitted: call fit() first");
  return rows_;
}

Tensor Scaler::mapped(bool inverse, const Tensor& x,
                      const std::vector<std::size_t>& columns) const {
  (void)fitted_on();
  const char* const what = inverse ? "y" : "x";
  check::defined(name(), {{what, x}});
  check::real(name(), what, x.dtype());
  if (columns.empty()) fail<UsageError>(name(), "no columns are given: give those that y has");
  for (const std::size_t column : columns) {
    if (column >= center_.size()) {
      fail<UsageError>(name(), "column {} does not exist: there are {}", column, center_.size());
    }
  }
  const std::size_t F = columns.size();
  if (F > 1 && (x.rank() == 0 || x.size(-1) != F)) {
    check::wrong_shape(name(), what, x.shape(), fmt::format("(..., {})", F));
  }
  Tensor result = Tensor::empty(x.shape(), x.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    const T* const from = x.data<T>();
    T* const to = detail::write<T>(result);
    for (std::size_t k = 0; k < x.numel(); ++k) {
      const std::size_t column = columns[k % F];
      if (!std::isfinite(from[k])) {
        fail<NonFiniteError>(name(), "row {} of {} is {} in {}: fill in missing values before",
                             k / F, what, from[k], column_name(column));
      }
      const double v = from[k], center = center_[column], width = width_[column];
      to[k] = static_cast<T>(inverse ? (v - low_) * width + center : (v - center) / width + low_);
      if (!std::isfinite(to[k])) {
        fail<NonFiniteError>(name(),
                             "row {} of {} is {} in {} and would become {}: {} must hold it; leave "
                             "it out, or take another unit",
                             k / F, what, from[k], column_name(column), to[k], x.dtype());
      }
    }
  });
  return result;
}

Tensor Scaler::transform(const Tensor& x) const { return mapped(false, x, all_columns()); }
Tensor Scaler::inverse(const Tensor& y) const { return mapped(true, y, all_columns()); }
Tensor Scaler::inverse(const Tensor& y, const std::vector<std::size_t>& columns) const {
  return mapped(true, y, columns);
}

void Scaler::state(Archive& a) {
  a.fact("kind", name());
  a.fact("range", fmt::format("{} to {}", low_, high_));
  std::size_t F = a.peek("columns", center_.size());
  a("columns", F, std::size_t{0}, max_columns);
  std::vector<double> center = center_, width = width_;
  center.resize(std::min(F, max_columns));
  width.resize(center.size(), 1);
  for (std::size_t f = 0; f < center.size(); ++f) {
    a(fmt::format("center.{}", f), center[f], -largest, largest);
    a(fmt::format("width.{}", f), width[f], smallest, largest);
  }
  Rows rows = rows_;
  a("begin", rows.begin, std::size_t{0}, std::size_t{most_rows});
  // A fitted scaler has a row.
  const std::size_t first_end = F == 0 ? 0 : a.peek("begin", rows.begin) + 1;
  a("end", rows.end, first_end, std::size_t{most_rows});
  if (!a.loading()) return;
  center_ = std::move(center);
  width_ = std::move(width);
  rows_ = rows;
}

Scaler Scaler::from_string(std::string_view stored) {
  for (const Kind kind : {Kind::standard, Kind::min_max}) {
    const std::string_view prefix = prefixes[static_cast<std::size_t>(kind)];
    if (!stored.starts_with(prefix)) continue;
    const std::vector<double> numbers = numbers_of(stored.substr(prefix.size()));
    if (numbers.size() < 6 || numbers.size() % 2 != 0 || numbers.size() / 2 - 2 > max_columns) {
      fail<FileError>("Scaler",
                      "{} numbers are stored: there must be begin and end of the rows, low and "
                      "high, and center and width of each column",
                      numbers.size());
    }
    const double begin = numbers[0], end = numbers[1];
    if (!(begin >= 0 && begin < end && end <= static_cast<double>(most_rows) &&
          begin == std::floor(begin) && end == std::floor(end))) {
      fail<FileError>("Scaler", "rows [{}, {}) are stored: there must be a row in them", begin,
                      end);
    }
    if (!(numbers[2] < numbers[3])) {
      fail<FileError>("Scaler", "low {} and high {} are stored: low must be below high", numbers[2],
                      numbers[3]);
    }
    if (kind == Kind::standard && (numbers[2] != 0 || numbers[3] != 1)) {
      fail<FileError>("Scaler",
                      "low {} and high {} are stored: of a standard scaler they are 0 and 1",
                      numbers[2], numbers[3]);
    }
    Scaler scaler(kind, numbers[2], numbers[3], {});
    scaler.rows_ = {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
    for (std::size_t k = 4; k < numbers.size(); k += 2) {
      if (numbers[k + 1] < smallest) {
        fail<FileError>("Scaler", "width {} of column {} is stored: it must be above 0",
                        numbers[k + 1], k / 2 - 2);
      }
      scaler.center_.push_back(numbers[k]);
      scaler.width_.push_back(numbers[k + 1]);
    }
    return scaler;
  }
  fail<FileError>("Scaler", "what is stored begins neither with 'standard:' nor with 'min_max:'");
}

std::string Scaler::to_string() const {
  std::string stored = fmt::format("{}{} {} {} {}", prefixes[static_cast<std::size_t>(kind_)],
                                   fitted_on().begin, fitted_on().end, low_, high_);
  for (std::size_t f = 0; f < center_.size(); ++f)
    stored += fmt::format(" {} {}", center_[f], width_[f]);
  return stored;
}

}  // namespace tapegrad
