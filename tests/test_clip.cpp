#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>

#include "../core/error.h"
#include "../optim/clip.h"

using namespace tapegrad;

namespace {

NamedParameter with_grad(const char* name, const Tensor& grad) {
  auto data = std::make_shared<ParameterData>();
  data->value = Tensor::zeros(grad.shape(), grad.dtype());
  data->grad = grad;
  return {name, data};
}

Tensor ramp(std::size_t n, double factor) {
  Tensor t = Tensor::empty({n});
  for (std::size_t i = 0; i < n; ++i)
    t.mutable_data<float>()[i] = static_cast<float>(static_cast<double>(i + 1) * factor);
  return t;
}

double norm(const Parameters& all) {
  double square = 0;
  for (const NamedParameter& p : all) {
    if (!p.grad().defined()) continue;
    for (std::size_t i = 0; i < p.grad().numel(); ++i) square += p.grad().at(i) * p.grad().at(i);
  }
  return std::sqrt(square);
}

}  // namespace

TEST_CASE("clip: the norm over all parameters, before and after") {
  const Parameters all = {with_grad("a", ramp(100, 1)),
                          with_grad("b", ramp(10, 0.1)),
                          {"without gradient", std::make_shared<ParameterData>()}};
  const double before = norm(all);
  const double ratio = all[0].grad().at(7) / all[1].grad().at(3);
  const GradNorm r = clip_grad_norm(all, 2);
  CHECK(r.before == doctest::Approx(before).epsilon(1e-12));
  CHECK(r.after == 2);
  CHECK(norm(all) == doctest::Approx(2).epsilon(1e-6));
  CHECK(all[0].grad().at(7) / all[1].grad().at(3) == doctest::Approx(ratio).epsilon(1e-6));
}

TEST_CASE("clip: small gradients are not touched, no limit only measures, limit 0 gives zeros") {
  const Parameters all = {with_grad("a", ramp(5, 0.01))};
  const std::uint32_t version = all[0].grad().version();
  const GradNorm r = clip_grad_norm(all, 2);
  CHECK(r.before == r.after);
  CHECK(clip_grad_norm(all, INFINITY).before == r.before);
  CHECK(all[0].grad().version() == version);
  CHECK(clip_grad_norm(all, 0).after == 0);
  CHECK(all[0].grad().at(3) == 0);
}

TEST_CASE("clip: finite gradients up to the largest number have the right norm and direction") {
  for (const double size : {1e20, double{FLT_MAX}}) {
    const Parameters all = {with_grad("a", Tensor::full({4}, size)),
                            with_grad("b", Tensor::full({5}, -size))};
    const GradNorm r = clip_grad_norm(all, 3);
    CHECK(r.before == doctest::Approx(3 * size).epsilon(1e-6));
    CHECK(all[0].grad().at(0) == doctest::Approx(1).epsilon(1e-6));
    CHECK(all[1].grad().at(4) == doctest::Approx(-1).epsilon(1e-6));
  }
  const Parameters large = {with_grad("a", Tensor::full({4}, 1e300, DType::float64))};
  CHECK(clip_grad_norm(large, 1).before == doctest::Approx(2e300));
  CHECK(large[0].grad().at(0) == doctest::Approx(0.5));
  const Parameters tiny = {with_grad("a", Tensor::full({4}, 1e-300, DType::float64))};
  CHECK(clip_grad_norm(tiny, 1e-300).before == doctest::Approx(2e-300));
}

TEST_CASE("clip: a norm that is too large for a number is an error, not a zero") {
  const Parameters all = {with_grad("a", Tensor::full({4}, DBL_MAX, DType::float64))};
  CHECK_THROWS_AS(clip_grad_norm(all, 1), NonFiniteError);
  CHECK(all[0].grad().at(0) == DBL_MAX);
}

TEST_CASE("clip: a gradient that is not finite is named and nothing is changed") {
  for (const double bad : {NAN, INFINITY, -INFINITY}) {
    Tensor grad = ramp(6, 100);
    grad.mutable_data<float>()[4] = static_cast<float>(bad);
    const Parameters all = {with_grad("embed.weight", ramp(3, 100)),
                            with_grad("lstm.weight_hh_l0", grad)};
    const std::string message =
        std::string("the gradient of lstm.weight_hh_l0, shape (6), is ") +
        (std::isnan(bad) ? "nan"
         : bad > 0       ? "inf"
                         : "-inf") +
        " at element 4: no gradient was changed; a lower learning rate or zero_grad() before "
        "each backward are the usual cures";
    CHECK_THROWS_WITH_AS(clip_grad_norm(all, 1), ("[clip_grad_norm] " + message).c_str(),
                         NonFiniteError);
    CHECK_THROWS_WITH_AS(clip_grad_value(all, 1), ("[clip_grad_value] " + message).c_str(),
                         NonFiniteError);
    CHECK(all[0].grad().at(2) == 300);
    CHECK(all[1].grad().at(5) == 600);
  }
}

TEST_CASE("clip: limits that make no sense are refused") {
  const Parameters all = {with_grad("a", ramp(3, 1))};
  CHECK_THROWS_WITH_AS(clip_grad_norm(all, -1),
                       "[clip_grad_norm] max_norm is -1: it must not be negative or NaN",
                       UsageError);
  CHECK_THROWS_WITH_AS(clip_grad_norm(all, NAN),
                       "[clip_grad_norm] max_norm is nan: it must not be negative or NaN",
                       UsageError);
  CHECK_THROWS_WITH_AS(clip_grad_value(all, -0.5),
                       "[clip_grad_value] limit is -0.5: it must not be negative or NaN",
                       UsageError);
  CHECK(all[0].grad().at(2) == 3);
}

TEST_CASE("clip: by value") {
  const Parameters all = {with_grad("a", Tensor::of({5}, {-9, -1, 0, 2, 3}))};
  clip_grad_value(all, 2);
  for (const auto& [i, expected] : {std::pair(0, -2.0), {1, -1.0}, {2, 0.0}, {3, 2.0}, {4, 2.0}}) {
    CHECK(all[0].grad().at(static_cast<std::size_t>(i)) == expected);
  }
}
