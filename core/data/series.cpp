#include "series.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "../check-inl.h"
#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../write-inl.h"
#include "rows-inl.h"

namespace tapegrad {
namespace {

void check_places(const char* where, std::span<const std::size_t> places, std::size_t size) {
  if (places.empty()) fail<UsageError>(where, "no windows are asked for: there must be one");
  for (const std::size_t k : places) {
    if (k >= size) fail<UsageError>(where, "window {} does not exist: there are {}", k, size);
  }
}

/// Throws UsageError unless n rows have a window.
void check_length(const char* where, const char* what, std::size_t n,
                  const SeriesWindowOptions& o) {
  if (n >= o.look_back && n - o.look_back >= o.horizon) return;
  // As a double, because the sum of any two numbers may overflow.
  const double needed = static_cast<double>(o.look_back) + static_cast<double>(o.horizon);
  fail<UsageError>(where,
                   "{} has {} rows but look_back is {} and horizon is {}: a window needs {:.0f}",
                   what, n, o.look_back, o.horizon, needed);
}

}  // namespace

SeriesWindows::SeriesWindows(Tensor series, SeriesWindowOptions options)
    : series_(std::move(series)), options_(std::move(options)) {
  constexpr const char* name = "SeriesWindows";
  check::defined(name, {{"series", series_}});
  if (series_.rank() != 1 && series_.rank() != 2)
    check::wrong_shape(name, "series", series_.shape(), "(n, F) or (n)");
  check::real(name, "series", series_.dtype());
  const SeriesWindowOptions& o = options_;
  if (o.look_back == 0 || o.horizon == 0 || o.stride == 0) {
    fail<UsageError>(name,
                     "look_back is {}, horizon is {} and stride is {}: all must be at least 1",
                     o.look_back, o.horizon, o.stride);
  }
  series_ = series_.reshape({series_.size(0), series_.rank() == 2 ? series_.size(1) : 1});
  const std::size_t F = series_.size(1);
  for (const std::size_t column : o.target) {
    if (column >= F)
      fail<UsageError>(name, "target column {} does not exist: the series has {}", column, F);
  }
  if (options_.target.empty()) {
    options_.target.resize(F);
    std::iota(options_.target.begin(), options_.target.end(), std::size_t{0});
  }
  check_length(name, "the series", series_.size(0), options_);
  *this = inside({0, series_.size(0)});
}

SeriesWindows SeriesWindows::spaced(std::size_t first, std::size_t end) const {
  SeriesWindows made = *this;
  made.begins_.clear();
  // The last window begins in row `last`; written so that no sum overflows, whatever the stride.
  const std::size_t last = end - options_.look_back - options_.horizon;
  for (std::size_t row = first;; row += options_.stride) {
    made.begins_.push_back(row);
    if (last - row < options_.stride) return made;
  }
}

SeriesWindows SeriesWindows::inside(const Rows& part) const {
  check_rows("inside", part, series_.size(0));
  check_length("inside", "the part", part.size(), options_);
  return spaced(part.begin, part.end);
}

SeriesWindows SeriesWindows::targets_in(const Rows& part) const {
  check_rows("targets_in", part, series_.size(0));
  const std::size_t L = options_.look_back, first = std::max(part.begin, L);
  if (part.end < first || part.end - first < options_.horizon) {
    fail<UsageError>("targets_in",
                     "the part is {}, look_back is {} and horizon is {}: it must have {} rows from "
                     "row {} on",
                     to_string(part), L, options_.horizon, options_.horizon, first);
  }
  return spaced(first - L, part.end);
}

SeriesWindows SeriesWindows::subset(std::span<const std::size_t> places) const {
  check_places("subset", places, size());
  SeriesWindows made = *this;
  made.begins_.clear();
  for (const std::size_t k : places) made.begins_.push_back(begins_[k]);
  return made;
}

Rows SeriesWindows::inputs(std::size_t k) const {
  if (k >= size()) fail<UsageError>("inputs", "window {} does not exist: there are {}", k, size());
  return {begins_[k], begins_[k] + options_.look_back};
}

Rows SeriesWindows::targets(std::size_t k) const {
  if (k >= size()) fail<UsageError>("targets", "window {} does not exist: there are {}", k, size());
  const std::size_t begin = begins_[k] + options_.look_back;
  return {begin, begin + options_.horizon};
}

SeriesBatch SeriesWindows::batch(std::span<const std::size_t> places) const {
  check_places("batch", places, size());
  const std::size_t L = options_.look_back, H = options_.horizon;
  const std::vector<std::size_t>& target = options_.target;
  const std::size_t B = places.size(), F = series_.size(1);
  SeriesBatch made{Tensor::empty({L, B, F}, series_.dtype()),
                   Tensor::empty({H, B, target.size()}, series_.dtype())};
  dispatch_float(series_.dtype(), [&]<class T>(T) {
    const T* const rows = series_.data<T>();
    T* x = detail::write<T>(made.x);
    T* y = detail::write<T>(made.y);
    for (std::size_t t = 0; t < L; ++t) {
      for (const std::size_t k : places) x = std::copy_n(rows + (begins_[k] + t) * F, F, x);
    }
    for (std::size_t t = L; t < L + H; ++t) {
      for (const std::size_t k : places) {
        for (const std::size_t column : target) *y++ = rows[(begins_[k] + t) * F + column];
      }
    }
  });
  return made;
}

SeriesBatch SeriesWindows::all() const {
  std::vector<std::size_t> places(size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  return batch(places);
}

}  // namespace tapegrad
