// Covers core/data/scalers: as scikit-learn's, of what is large and near it too, of training rows
// alone; there and back; saved in a state and as text; what is refused, with whole messages.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../../core/data/scalers.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../core/io/safetensors.h"
#include "../fixtures/scalers.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Numbers = std::vector<double>;

const Tensor x = Tensor::from({scaler_rows, scaler_columns}, scaler_x);

/// Compares the elements of columns with those of a fixture.
void check_equal(const Tensor& t, const Numbers& expected, double epsilon) {
  REQUIRE(t.numel() == expected.size());
  for (std::size_t k = 0; k < expected.size(); ++k) {
    CAPTURE(k);
    CHECK(std::abs(t.at(k) - expected[k]) <= epsilon * (1 + std::abs(expected[k])));
  }
}

Numbers elements(const Tensor& t) {
  Numbers all;
  for (std::size_t k = 0; k < t.numel(); ++k) all.push_back(t.at(k));
  return all;
}

StandardScaler fitted() {
  StandardScaler scaler;
  scaler.fit(x, {0, scaler_train});
  return scaler;
}

}  // namespace

TEST_CASE("scalers: standard scaling is scikit-learn's, fitted on the first rows alone") {
  const StandardScaler scaler = fitted();
  CHECK(scaler.fitted_on() == Rows{0, scaler_train});
  for (std::size_t f = 0; f < scaler_columns; ++f) {
    CHECK(scaler.center()[f] == doctest::Approx(scaler_mean[f]).epsilon(1e-15));
    CHECK(scaler.width()[f] == doctest::Approx(scaler_scale[f]).epsilon(1e-14));
  }
  check_equal(scaler.transform(x), scaler_standard, 1e-13);
  check_equal(scaler.inverse(scaler.transform(x)), scaler_x, 1e-15);
}

TEST_CASE("scalers: min-max scaling is scikit-learn's, in [0, 1] and in a given range") {
  MinMaxScaler unit, symmetric(-1, 1);
  unit.fit(x, {0, scaler_train});
  symmetric.fit(x, {0, scaler_train});
  for (std::size_t f = 0; f < scaler_columns; ++f) {
    CHECK(unit.center()[f] == scaler_min[f]);
    CHECK(unit.width()[f] == scaler_range[f]);
    CHECK(symmetric.width()[f] == scaler_range[f] / 2);
  }
  // scikit-learn adds -min scale to x scale, which leaves 8 digits of the column at 1e9.
  check_equal(unit.transform(x), scaler_unit, 2e-8);
  check_equal(symmetric.transform(x), scaler_symmetric, 4e-8);
  check_equal(symmetric.inverse(symmetric.transform(x)), scaler_x, 1e-15);
}

TEST_CASE("scalers: of a large number and what is near it no digit is lost") {
  // Mean 1e9 + 2.5, variance 5/4.
  const Tensor series = Tensor::from({4}, {1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4});
  StandardScaler standard;
  standard.fit(series);
  CHECK(standard.center()[0] == 1e9 + 2.5);
  CHECK(standard.width()[0] == std::sqrt(1.25));
  CHECK(elements(standard.transform(series)) ==
        Numbers{-1.5 / std::sqrt(1.25), -0.5 / std::sqrt(1.25), 0.5 / std::sqrt(1.25),
                1.5 / std::sqrt(1.25)});
  MinMaxScaler unit;
  unit.fit(series);
  CHECK(elements(unit.transform(series)) == Numbers{0, 1.0 / 3, 2.0 / 3, 1});
  // 2^50 and 0 to 999 more, whose sum no double holds; the variance is (n^2 - 1) / 12.
  Numbers large;
  for (int k = 0; k < 1000; ++k) large.push_back(0x1p50 + k);
  standard.fit(Tensor::from({1000}, large));
  CHECK(standard.center()[0] == 0x1p50 + 499.5);
  CHECK(standard.width()[0] == std::sqrt(999999.0 / 12));
  // float32 is read, and computed with, in double.
  const Tensor single = Tensor::from({3}, {16777216.0F, 16777218.0F, 16777220.0F});
  standard.fit(single);
  CHECK(standard.center()[0] == 16777218);
  CHECK(standard.transform(single).dtype() == DType::float32);
  CHECK(standard.transform(single).at(1) == 0);
}

TEST_CASE("scalers: rows in the middle, and a slice, are as good as a copy of them") {
  StandardScaler middle, slice;
  middle.fit(x, {3, 9});
  slice.fit(x.slice(3, 9));
  CHECK(middle.center() == slice.center());
  CHECK(middle.width() == slice.width());
  CHECK(middle.fitted_on() == Rows{3, 9});
  CHECK(slice.fitted_on() == Rows{0, 6});
}

TEST_CASE("scalers: forecasts of some columns, or of one in any shape, go back") {
  const StandardScaler scaler = fitted();
  const Tensor y = Tensor::from({2, 1, 2}, {0.0, 1.0, -1.0, 0.5});
  const auto back = [&](std::size_t f, double v) {
    return v * scaler.width()[f] + scaler.center()[f];
  };
  CHECK(elements(scaler.inverse(y, {3, 0})) ==
        Numbers{back(3, 0), back(0, 1), back(3, -1), back(0, 0.5)});
  CHECK(elements(scaler.inverse(y, {2})) ==
        Numbers{back(2, 0), back(2, 1), back(2, -1), back(2, 0.5)});
  CHECK(scaler.inverse(y, {2}).shape() == y.shape());
  CHECK(scaler.inverse(Tensor::scalar(1, DType::float64), {2}).item() == back(2, 1));
}

TEST_CASE("scalers: a state restores every bit, also in a scaler that was not fitted") {
  const TempFolder folder;
  MinMaxScaler before(-1, 1), after(-1, 1), unfitted(-1, 1);
  before.fit(x, {2, 11});
  const auto save = [&](Scaler& scaler) {
    save_state(folder / "s", [&](Archive& a) { a("scaler", scaler); });
  };
  const auto load = [&](Scaler& scaler) {
    load_state(folder / "s", [&](Archive& a) { a("scaler", scaler); });
  };
  save(before);
  load(after);
  CHECK(after.to_string() == before.to_string());
  CHECK(elements(after.transform(x)) == elements(before.transform(x)));
  save(unfitted);
  load(after);
  CHECK(message_of([&] { after.transform(x); }) ==
        "[MinMaxScaler] nothing was fitted: call fit() first");

  save(before);
  MinMaxScaler other;
  const std::string refusal = message_of([&] { load(other); });
  CHECK(
      refusal.ends_with("s does not fit, nothing was loaded: scaler.range is '-1 to 1' in the "
                        "file but '0 to 1' here"));
  StandardScaler standard = fitted();
  const std::string now = standard.to_string();
  CHECK(message_of([&] { load(standard); })
            .find("scaler.kind is 'MinMaxScaler' in the file but "
                  "'StandardScaler' here") != std::string::npos);
  CHECK(standard.to_string() == now);
}

TEST_CASE("scalers: a state with a width of 0, a NaN or too many columns is refused") {
  struct Hostile {
    double center = 0, width = 1;
    std::size_t columns = 1, begin = 0;
    void state(Archive& a) {
      a.fact("kind", "StandardScaler");
      a.fact("range", "0 to 1");
      a("columns", columns);
      a("center.0", center);
      a("width.0", width);
      std::size_t end = 1;
      a("begin", begin);
      a("end", end);
    }
  };
  const TempFolder folder;
  const auto refusal = [&](Hostile hostile) {
    save_state(folder / "s", [&](Archive& a) { a("scaler", hostile); });
    StandardScaler scaler;
    const std::string message =
        message_of([&] { load_state(folder / "s", [&](Archive& a) { a("scaler", scaler); }); });
    CHECK(scaler.center().empty() == (message != "nothing was thrown"));
    return message;
  };
  CHECK(refusal({}) == "nothing was thrown");
  CHECK(refusal({.begin = 1}).find("scaler.end is '1' but must be a number in [2, ") !=
        std::string::npos);
  CHECK(refusal({.width = 0}).find("scaler.width.0 is '0' but must be a number in [") !=
        std::string::npos);
  CHECK(refusal({.center = std::nan("")}).find("scaler.center.0 is 'nan' but must be a number") !=
        std::string::npos);
  CHECK(refusal({.columns = SIZE_MAX})
            .find("scaler.columns is '18446744073709551615' but must be a number in [0, 65536]") !=
        std::string::npos);
}

TEST_CASE("scalers: as text, which says all") {
  StandardScaler standard;
  standard.fit(Tensor::from({4, 2}, {0.0, 10.0, 2.0, 14.0, 100.0, -5.0, 0.1, 0.2}), {0, 2});
  CHECK(standard.to_string() == "standard:0 2 0 1 1 1 12 2");
  const Scaler again = Scaler::from_string(standard.to_string());
  CHECK(again.to_string() == standard.to_string());
  CHECK(again.fitted_on() == Rows{0, 2});

  const TempFolder folder;  // as in a model's file
  save_tensors(folder / "m", {.tensors = {}, .metadata = {{"scaler", again.to_string()}}});
  CHECK(Scaler::from_string(load_tensors(folder / "m").text("scaler")).to_string() ==
        again.to_string());

  MinMaxScaler unit(0.1, 0.9);
  unit.fit(x, {1, 12});
  CHECK(elements(Scaler::from_string(unit.to_string()).inverse(x)) == elements(unit.inverse(x)));

  const auto refused = [](const std::string& stored) {
    return message_of([&] { Scaler::from_string(stored); });
  };
  CHECK(refused("words:a") ==
        "[Scaler] what is stored begins neither with 'standard:' nor with 'min_max:'");
  CHECK(refused("standard:") ==
        "[Scaler] 0 numbers are stored: there must be begin and end of the rows, low and high, and "
        "center and width of each column");
  CHECK(refused("standard:0 2 0 1 1 1 12").starts_with("[Scaler] 7 numbers are stored: "));
  CHECK(refused("standard:0 2 0 1 1 x") ==
        "[Scaler] number 5 of what is stored is 'x': it must be finite");
  CHECK(refused("standard:0 2 0 1 nan 1") ==
        "[Scaler] number 4 of what is stored is 'nan': it must be finite");
  CHECK(refused("standard:0 2 0 1  1") ==
        "[Scaler] number 4 of what is stored is '': it must be finite");
  CHECK(refused("standard:0 2 3 4 1 1") ==
        "[Scaler] low 3 and high 4 are stored: of a standard scaler they are 0 and 1");
  CHECK(refused("standard:0 2 0 4 1 1") ==
        "[Scaler] low 0 and high 4 are stored: of a standard scaler they are 0 and 1");
  CHECK(refused("standard:2 2 0 1 1 1") ==
        "[Scaler] rows [2, 2) are stored: there must be a row in them");
  CHECK(refused("standard:0 1.5 0 1 1 1") ==
        "[Scaler] rows [0, 1.5) are stored: there must be a row in them");
  CHECK(refused("standard:0 1e300 0 1 1 1") ==
        "[Scaler] rows [0, 1e+300) are stored: there must be a row in them");
  CHECK(refused("min_max:0 2 1 1 1 1") ==
        "[Scaler] low 1 and high 1 are stored: low must be below high");
  CHECK(refused("min_max:0 2 0 1 1 1 1 -1") ==
        "[Scaler] width -1 of column 1 is stored: it must be above 0");
}

TEST_CASE("scalers: what fit() refuses leaves the scaler as it was") {
  StandardScaler scaler({"flow", "rain"});
  const Tensor good = Tensor::from({3, 2}, {1.0, 2.0, 3.0, 4.0, 5.0, 7.0});
  scaler.fit(good);
  const std::string before = scaler.to_string();
  const auto refused = [&](const Tensor& series, const Rows& rows = {0, 3}) {
    return message_of([&] { scaler.fit(series, rows); });
  };
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  CHECK(refused(Tensor::from({3, 2}, {1.0, 2.0, 3.0, 2.0, 5.0, 2.0})) ==
        "[StandardScaler] column 1 'rain' is 2 throughout rows 0 to 2: what is constant cannot be "
        "scaled and says nothing; leave the column out");
  CHECK(refused(good, {1, 2}) ==
        "[StandardScaler] column 0 'flow' is 3 throughout row 1: what is constant cannot be scaled "
        "and says nothing; leave the column out");
  CHECK(refused(Tensor::from({3, 2}, {1.0, 2.0, 3.0, 2.0, nan, 2.0}), {1, 3}) ==
        "[StandardScaler] row 2 of the series is nan in column 0 'flow': fill in missing values "
        "before, or leave their rows out");
  CHECK(refused(Tensor::from({3, 2}, {1.0, 2.0, 3.0, inf, nan, 2.0})) ==
        "[StandardScaler] row 1 of the series is inf in column 1 'rain': fill in missing values "
        "before, or leave their rows out");
  CHECK(refused(Tensor::from({3, 2}, {1e308, 2.0, -1e308, 3.0, 1.0, 2.0}))
            .starts_with("[StandardScaler] column 0 'flow' goes from -1e+308 to 1e+308, which "
                         "makes its width "));
  CHECK(refused(Tensor::from({3, 2}, {1e-310, 2.0, 0.0, 3.0, 0.0, 2.0})) ==
        "[StandardScaler] column 0 'flow' goes from 0 to 1e-310, which makes its width "
        "4.7140452079104e-311: that must be a number in [2.2250738585072014e-308, "
        "1.7976931348623157e+308]; take another "
        "unit");
  CHECK(refused(good, {1, 4}) ==
        "[StandardScaler] rows [1, 4) are asked for but the series has 3: begin must be below end, "
        "and end at most 3");
  CHECK(refused(good, {2, 2}) ==
        "[StandardScaler] rows [2, 2) are asked for but the series has 3: begin must be below end, "
        "and end at most 3");
  CHECK(refused(Tensor::zeros({3, 3})) ==
        "[StandardScaler] 2 columns are named but the series has 3: name all or none");
  CHECK(refused(Tensor::zeros({3, 2, 1})) ==
        "[StandardScaler] series has shape (3, 2, 1): it must be (n, F) or (n), with F in [1, "
        "65536]");
  CHECK_THROWS_AS(scaler.fit(Tensor::scalar(1)), ShapeError);
  CHECK_THROWS_AS(scaler.fit(Tensor::zeros({3, 0})), ShapeError);
  CHECK_THROWS_AS(scaler.fit(Tensor::zeros({3, 2}, DType::int32)), DtypeError);
  CHECK(message_of([&] { scaler.fit(Tensor()); }) ==
        "[StandardScaler] series is undefined: give it a value first");
  CHECK(scaler.to_string() == before);
}

TEST_CASE("scalers: columns whose squares no double holds") {
  for (const double unit : {1e-200, 1e200}) {
    const Tensor column = Tensor::from({4}, {-unit, unit, -unit, unit});
    StandardScaler scaler;
    scaler.fit(column);
    CHECK(scaler.width()[0] == doctest::Approx(unit).epsilon(1e-15));
    const Tensor y = scaler.transform(column);
    CHECK(y.at(0) == doctest::Approx(-1).epsilon(1e-15));
    CHECK(scaler.inverse(y).at(1) == doctest::Approx(unit).epsilon(1e-15));
  }
}

TEST_CASE("scalers: what the dtype cannot hold when it is scaled is refused, by its place") {
  StandardScaler scaler;
  scaler.fit(Tensor::of({2}, {0, 2e-30}));
  CHECK(message_of([&] {
          scaler.transform(Tensor::of({2}, {0, 1e30}));
        }) ==
        "[StandardScaler] row 1 of x is 1e+30 in column 0 and would become inf: float32 must hold "
        "it; leave it out, or take another unit");
  CHECK(scaler.transform(Tensor::of({1}, {1e30}, DType::float64)).at(0) == doctest::Approx(1e60));
  scaler.fit(Tensor::of({2}, {-1e30, 1e30}));
  CHECK(message_of([&] { scaler.inverse(Tensor::of({1}, {-1e30})); }) ==
        "[StandardScaler] row 0 of y is -1e+30 in column 0 and would become -inf: float32 must "
        "hold it; leave it out, or take another unit");
}

TEST_CASE("scalers: what transform(), inverse() and constructors refuse") {
  const StandardScaler scaler = fitted();
  CHECK(message_of([&] {
          scaler.transform(Tensor::zeros({2, 3}));
        }) == "[StandardScaler] x has shape (2, 3): it must be (..., 4)");
  CHECK(message_of([&] {
          scaler.inverse(Tensor::zeros({2, 3}), {0, 1});
        }) == "[StandardScaler] y has shape (2, 3): it must be (..., 2)");
  CHECK(message_of([&] {
          scaler.inverse(Tensor::zeros({2, 1}), {4});
        }) == "[StandardScaler] column 4 does not exist: there are 4");
  CHECK(message_of([&] { scaler.inverse(x, std::vector<std::size_t>()); }) ==
        "[StandardScaler] no columns are given: give those that y has");
  CHECK(message_of([&] {
          scaler.transform(Tensor::from({2, 4}, {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, std::nan(""), 0.0}));
        }) == "[StandardScaler] row 1 of x is nan in column 2: fill in missing values before");
  CHECK_THROWS_AS(scaler.transform(Tensor::zeros({2, 4}, DType::int32)), DtypeError);
  CHECK(message_of([] { (void)StandardScaler().fitted_on(); }) ==
        "[StandardScaler] nothing was fitted: call fit() first");
  CHECK(message_of([] { (void)MinMaxScaler().to_string(); }) ==
        "[MinMaxScaler] nothing was fitted: call fit() first");
  CHECK(message_of([] { MinMaxScaler(1, 1); }) ==
        "[MinMaxScaler] low is 1 and high is 1: both must be finite, and low below high");
  CHECK_THROWS_AS(MinMaxScaler(0, std::nan("")), UsageError);
}
