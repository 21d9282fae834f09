// Covers autograd/gradcheck/functions: the four checks pass right derivatives, find planted bugs
// and name their place; every reason's whole text.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/functions.h"

TEST_SUITE_BEGIN("gradients");

using namespace tapegrad;
using Vector = std::vector<double>;
using View = std::span<const double>;

namespace {

// y = (x0 x1, sin x2, e^(x0 + x2), 1e9 x1^2): outputs of very different scales.
Vector f(View x) { return {x[0] * x[1], std::sin(x[2]), std::exp(x[0] + x[2]), 1e9 * x[1] * x[1]}; }
const Vector at = {0.5, -1.25, 0.75};

Vector jacobian() {
  const double e = std::exp(at[0] + at[2]);
  return {at[1], at[0], 0, 0, 0, std::cos(at[2]), e, 0, e, 0, 2e9 * at[1], 0};
}
Vector vjp(View x, View w) {
  const double e = std::exp(x[0] + x[2]);
  return {x[1] * w[0] + e * w[2], x[0] * w[0] + 2e9 * x[1] * w[3],
          std::cos(x[2]) * w[1] + e * w[2]};
}
Vector jvp(View x, View v) {
  const double e = std::exp(x[0] + x[2]);
  return {x[1] * v[0] + x[0] * v[1], std::cos(x[2]) * v[2], e * (v[0] + v[2]), 2e9 * x[1] * v[1]};
}

// g(x) = sin(x0) x1 + x1^2 x2, its gradient and Hessian.
Vector gradient(View x) {
  return {std::cos(x[0]) * x[1], std::sin(x[0]) + 2 * x[1] * x[2], x[1] * x[1]};
}
Vector hessian() {
  const double c = std::cos(at[0]), s = std::sin(at[0]);
  return {-s * at[1], c, 0, c, 2 * at[2], 2 * at[1], 0, 2 * at[1], 0};
}

/// The only entry that failed.
std::string failing(const GradcheckReport& report) {
  INFO(report);
  CHECK(report.verdict == Verdict::fail);
  CHECK(report.failed == 1);
  REQUIRE(!report.entries.empty());
  return report.entry_name(report.entries[0]);
}

}  // namespace

TEST_CASE("gradcheck of functions: right derivatives pass, for any seed") {
  for (const std::uint64_t seed : {0u, 1u, 2u, 3u}) {
    for (const GradcheckReport& report :
         {gradcheck([](View x) { return Vector{x[0] * x[1] + std::sin(x[2])}; },
                    [](View x, View w) {
                      return Vector{x[1] * w[0], x[0] * w[0], std::cos(x[2]) * w[0]};
                    },
                    at, {.seed = seed}),
          gradcheck_forward(f, jvp, at, {.seed = seed}),
          jacobian_check(f, jacobian(), at, {.seed = seed}),
          hessian_check(gradient, hessian(), at, {.seed = seed})}) {
      CHECK_MESSAGE(report, report.text());
      CHECK(report.inconclusive == 0);
    }
    // 1e9 x1^2 drowns the other outputs in one weighted sum: nothing false is said of them.
    CHECK(gradcheck(f, vjp, at, {.seed = seed}).failed == 0);
  }
  CHECK(gradcheck_forward(f, jvp, at).checked == 4);
  CHECK(jacobian_check(f, jacobian(), at).checked == 12);
  // Four outputs, one call: what 3 inputs cost, not 12.
  CHECK(jacobian_check(f, jacobian(), at).evaluations < 4 * (3 + 7 + 6 * 3));
  // Large and small x.
  const Vector far = {1e10, 1e-10};
  const auto squares = [](View x) { return Vector{x[0] * x[0], x[1] * x[1] + x[1]}; };
  CHECK(jacobian_check(squares, Vector{2e10, 0, 0, 1 + 2e-10}, far));
  CHECK(gradcheck_forward(
      squares,
      [](View x, View v) {
        return Vector{2 * x[0] * v[0], (2 * x[1] + 1) * v[1]};
      },
      far));
}

TEST_CASE("gradcheck of functions: planted bugs, at their place") {
  SUBCASE("vjp") {
    for (std::size_t k = 0; k < 3; ++k) {
      const auto wrong = [&](View x, View w) {
        Vector v = vjp(x, w);
        v[k] *= 1.001;
        return v;
      };
      const auto small = [](View x) {
        Vector y = f(x);
        y[3] *= 1e-9;
        return y;
      };
      const auto wrong_small = [&](View x, View w) {
        Vector scaled(w.begin(), w.end());
        scaled[3] *= 1e-9;
        return wrong(x, scaled);
      };
      CHECK(failing(gradcheck(small, wrong_small, at)) == "x[" + std::to_string(k) + "]");
    }
  }
  SUBCASE("jvp") {
    for (std::size_t k = 0; k < 4; ++k) {
      const auto wrong = [&](View x, View v) {
        Vector y = jvp(x, v);
        y[k] *= 1 + 1e-6;
        return y;
      };
      CHECK(failing(gradcheck_forward(f, wrong, at)) == "y[" + std::to_string(k) + "]");
    }
  }
  SUBCASE("Jacobian") {
    for (std::size_t k = 0; k < 12; ++k) {
      Vector j = jacobian();
      j[k] += 1e-5 * std::max(1.0, std::abs(j[k]));
      if (k == 9 || k == 11) continue;  // beside 1e9, a claim of 1e-5 is below the noise
      const GradcheckReport report = jacobian_check(f, j, at);
      CHECK(failing(report) == "J[" + std::to_string(k / 3) + ", " + std::to_string(k % 3) + "]");
      // The last line of the report leads to that entry alone.
      const GradcheckReport again = jacobian_check(f, j, at, {.only_block = "J", .only_entry = k});
      CHECK(again.checked == 1);
      CHECK(again.failed == 1);
      CHECK(again.entries[0].index == k);
    }
    Vector j = {2, 3, 4, 5}, x = {1, 1};
    const auto linear = [](View v) { return Vector{2 * v[0] + 4 * v[1], 3 * v[0] + 5 * v[1]}; };
    const GradcheckReport report = jacobian_check(linear, j, x);
    CHECK(report.failed == 2);
    CHECK(report.blocks[0].diagnosis.starts_with("transpose"));
  }
  SUBCASE("the value of J[i, k], for the diagnosis, is x[k]") {
    const Vector x = {0.5, -1.25, 0.75};
    const auto products = [](View v) {
      return Vector{v[0] * v[1], std::sin(v[2]) + v[1], v[2] * v[0]};
    };
    const Vector right = {x[1], x[0], 0, 0, 1, std::cos(x[2]), x[2], 0, x[0]};
    Vector decayed = right, wild = right;
    for (std::size_t k = 0; k < 9; ++k) decayed[k] += 0.01 * x[k % 3];
    for (double& e : wild) e = std::sin(100 * e) + 0.1;
    CHECK(jacobian_check(products, right, x));
    CHECK(jacobian_check(products, decayed, x)
              .blocks[0]
              .diagnosis.starts_with("value: analytic = numeric + 0.01 x the value itself"));
    CHECK(jacobian_check(products, wild, x).blocks[0].diagnosis.starts_with("other"));
    const auto wrong = [](View u, View v) {
      Vector y = {v[0] * u[1] + u[0] * v[1], std::cos(u[2]) * v[2] + v[1],
                  v[2] * u[0] + u[2] * v[0]};
      for (double& e : y) e = std::sin(100 * e);
      return y;
    };
    CHECK(gradcheck_forward(products, wrong, x).blocks[0].diagnosis.starts_with("other"));
  }
  SUBCASE("Hessian") {
    Vector h = hessian();
    h[4] *= 1 + 1e-6;
    CHECK(failing(hessian_check(gradient, h, at)) == "H[1, 1]");
    // Not symmetric, and the gradient is wrong in the same way, so differences agree.
    const auto curl = [](View x) { return Vector{-x[1], x[0]}; };
    CHECK(jacobian_check(curl, Vector{0, -1, 1, 0}, {1, 2}));
    const GradcheckReport report = hessian_check(curl, Vector{0, -1, 1, 0}, {1, 2});
    CHECK(report.verdict == Verdict::fail);
    CHECK(report.reason == "H[1, 0] is 1 but H[0, 1] is -1: a Hessian must be symmetric");
  }
}

TEST_CASE("gradcheck of functions: one wrong row of many is sampled and found") {
  Vector x(2000, 0.5), j(3 * 2000);
  const auto rows = [](View v) {
    Vector y(3);
    for (std::size_t k = 0; k < v.size(); ++k) y[k % 3] += v[k] * v[k];
    return y;
  };
  for (std::size_t k = 0; k < 2000; ++k) j[(k % 3) * 2000 + k] = 1;
  CHECK(jacobian_check(rows, j, x, {.budget = 1000}));
  j[2000 + 1000] = 1.1;
  const GradcheckReport report = jacobian_check(rows, j, x, {.budget = 1000});
  CHECK(report.failed > 0);
  CHECK(report.entry_name(report.entries[0]).starts_with("J"));
  CHECK(report.blocks[0].missed < 1e-6);
}

TEST_CASE("gradcheck of functions: reasons, the whole text") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto reason = [](const GradcheckReport& r) {
    CHECK(r.verdict == Verdict::fail);
    CHECK(r.text().starts_with("gradcheck: FAIL " + r.reason));
    return r.reason;
  };
  CHECK(reason(gradcheck(VectorFunction(), vjp, at)) ==
        "no function was given: it must be callable");
  CHECK(reason(gradcheck(f, VectorJacobianProduct(), at)) ==
        "no product was given: it must be callable");
  CHECK(reason(gradcheck(f, vjp, {})) == "x is empty: there is nothing to check");
  CHECK(reason(gradcheck(f, vjp, {0, nan, 1})) == "x[1] is nan: it must be finite");
  CHECK(reason(gradcheck([](View) { return Vector{}; }, vjp, at)) ==
        "f gave no numbers: there is nothing to check");
  CHECK(reason(gradcheck(
            [](View x) {
              return Vector{1, 1 / (x[0] - 0.5)};
            },
            vjp, at)) == "output 1 of f is inf: it must be finite at the given x");
  double calls = 0;
  CHECK(reason(jacobian_check([&](View) { return Vector{++calls}; }, Vector(3), at)) ==
        "f is not deterministic: two calls at the same x differ; dropout? set the seed of all "
        "random draws in `reseed`; or it keeps state between calls");
  CHECK(gradcheck([&](View x) { return Vector{++calls * x[0]}; },
                  [&](View, View w) { return Vector{++calls * w[0]}; }, {2},
                  {.reseed = [&] { calls = 0; }}));
  double most = 0;  // keeps the largest x
  const auto keeps = [&](View x) { return Vector{most = std::max(most, x[0]), x[1], x[2]}; };
  CHECK(reason(jacobian_check(keeps, Vector{1, 0, 0, 0, 1, 0, 0, 0, 1}, at)) ==
        "f at x is not what it was at first: it keeps state between calls");
  CHECK(reason(gradcheck([](View x) { return Vector(x[0] > 0.5 ? 2 : 1, x[0]); },
                         [](View, View w) { return Vector{w[0]}; }, {0.5})) ==
        "f gave 1 number at x but 2 beside it: the size must not depend on the values");
  CHECK(reason(gradcheck(
            f, [](View, View) { return Vector(2); }, at)) ==
        "the product gave 2 numbers: it must give 3");
  CHECK(reason(gradcheck(
            f,
            [&](View, View) {
              return Vector{1, nan, 1};
            },
            at)) == "entry 1 of the product is nan: it must be finite");
  Vector kept(3);
  const auto adds = [&](View x, View w) {
    const Vector v = vjp(x, w);
    for (std::size_t k = 0; k < 3; ++k) kept[k] += v[k];
    return kept;
  };
  CHECK(reason(gradcheck(f, adds, at)) ==
        "a second call of the product with the same arguments gave another result: it is not "
        "repeatable, or adds to what is there");
  CHECK(reason(gradcheck(
            f,
            [](View x, View) {
              return vjp(x, Vector{1, 1, 1, 1});
            },
            at)) ==
        "the product with a vector of zeros is not zero: it must be linear in that vector");
  CHECK(reason(jacobian_check(f, Vector(11), at)) ==
        "J has 11 entries but f goes from 3 to 4 numbers: it must have 12");
  CHECK(reason(jacobian_check(f, Vector(12, nan), at)) == "J[0, 0] is nan: it must be finite");
  CHECK(reason(hessian_check(f, Vector(12), at)) ==
        "the gradient gave 4 numbers but x has 3: they must agree");
  CHECK(reason(jacobian_check(f, jacobian(), at, {.only_block = "J", .only_entry = 12}))
            .ends_with("there is no such entry"));
  CHECK(reason(jacobian_check(f, jacobian(), at, {.step = -1})).starts_with("option step is -1"));
}

TEST_SUITE_END();
