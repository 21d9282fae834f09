#include "../../autograd/ops/elementwise.h"

#include <cmath>
#include <limits>

#include "program.h"

// Functions of single elements, with what they are in long double.

namespace tapegrad::search {
namespace {

using Long = long double;
using Unary = Var (*)(const Var&);
using Binary = Var (*)(const Var&, const Var&);
using Three = std::array<Long, 3>;
constexpr Long NaN = std::numeric_limits<Long>::quiet_NaN();

Op unary(std::string name, Unary f, Nature nature, Three (*pointwise)(Long)) {
  return {std::move(name), nature, [=](Chooser& choose) {
            return Call{.inputs = {choose.any()},
                        .run = [f](const Arguments& a) { return Vars{f(a.x[0])}; },
                        .pointwise = [pointwise](Long x, Long, Rounding) { return pointwise(x); }};
          }};
}

/// A function of x and a number.
Op with_number(std::string name, Var (*f)(const Var&, double),
               Three (*pointwise)(Long, Long, Rounding)) {
  return {std::move(name), Nature::rounds, [=](Chooser& choose) {
            const double number = choose.number();
            return Call{.inputs = {choose.any()},
                        .run = [=](const Arguments& a) { return Vars{f(a.x[0], number)}; },
                        .pointwise = [=](Long x, Long,
                                         Rounding round) { return pointwise(x, number, round); }};
          }};
}

/// A value of the same shape, or of its last axes.
std::size_t broadcastable(Chooser& choose, std::size_t a) {
  const Shape shape = choose.shape_of(a);
  if (shape.rank() == 0 || choose.chance(2)) return choose.like(shape);
  return choose.like(Shape(std::span(shape.dims()).subspan(choose.below(shape.rank()))));
}

Op binary(std::string name, Binary f, Nature nature, Three (*pointwise)(Long, Long, Rounding)) {
  return {std::move(name), nature, [=](Chooser& choose) {
            const std::size_t a = choose.any(), b = broadcastable(choose, a);
            return Call{.inputs = choose.chance(2) ? std::vector{a, b} : std::vector{b, a},
                        .run = [f](const Arguments& args) { return Vars{f(args.x[0], args.x[1])}; },
                        .pointwise = pointwise};
          }};
}

Long sigmoid_of(Long x) { return x > 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

/// 1, 1/2 or 0: how much of the larger one (or NaN) a is.
Long share(Long a, Long b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? (std::isnan(b) ? 0.5L : 1.0L) : 0.0L;
  return a > b ? 1 : a == b ? 0.5L : 0;
}

Three power(Long a, Long b, Rounding round) {
  const Long y = std::pow(a, b);
  const Long da = b == 0 ? 0 : b * round(std::pow(a, round(b - 1)));
  const Long db = y == 0 && (a == 0 || a == INFINITY) ? 0 : round(y) * std::log(a);
  return {y, da, db};
}

Three quotient(Long a, Long b, Rounding round) {
  return {a / b, 1 / b, -round(1 / b) * round(a / b)};
}

}  // namespace

std::vector<Op> elementwise_ops() {
  using enum Nature;
  return {
      unary(
          "neg", [](const Var& x) { return -x; }, exact,
          [](Long x) {
            return Three{-x, -1, 0};
          }),
      unary("exp", exp, rounds,
            [](Long x) {
              return Three{std::exp(x), std::exp(x), 0};
            }),
      unary("expm1", expm1, rounds,
            [](Long x) {
              return Three{std::expm1(x), std::exp(x), 0};
            }),
      unary("log", log, rounds,
            [](Long x) {
              return Three{std::log(x), 1 / x, 0};
            }),
      unary("log1p", log1p, rounds,
            [](Long x) {
              return Three{std::log1p(x), 1 / (1 + x), 0};
            }),
      unary("sqrt", sqrt, rounds,
            [](Long x) {
              return Three{std::sqrt(x), 0.5L / std::sqrt(x), 0};
            }),
      unary("square", square, rounds,
            [](Long x) {
              return Three{x * x, 2 * x, 0};
            }),
      unary(
          "abs", abs, exact,
          [](Long x) {
            return Three{std::abs(x), std::isnan(x) ? NaN : x == 0 ? 0 : std::copysign(1.0L, x), 0};
          }),
      unary("sigmoid", sigmoid, rounds,
            [](Long x) {
              return Three{sigmoid_of(x), sigmoid_of(x) * sigmoid_of(-x), 0};
            }),
      unary("softplus", softplus, rounds,
            [](Long x) {
              return Three{
                  std::fmax(x, 0.0L) + (std::isnan(x) ? x : std::log1p(std::exp(-std::abs(x)))),
                  sigmoid_of(x), 0};
            }),
      unary("tanh", tanh, rounds,
            [](Long x) {
              return Three{std::tanh(x), 4 * sigmoid_of(2 * x) * sigmoid_of(-2 * x), 0};
            }),
      unary("relu", relu, exact,
            [](Long x) {
              return Three{x <= 0 ? 0 : x, x <= 0 ? 0.0L : 1.0L, 0};
            }),
      with_number("scale", scale,
                  [](Long x, Long s, Rounding) {
                    return Three{s * x, s, 0};
                  }),
      with_number("add_scalar", add_scalar,
                  [](Long x, Long s, Rounding) {
                    return Three{s + x, 1, 0};
                  }),
      with_number(
          "add a number", [](const Var& x, double s) { return s + x; },
          [](Long x, Long s, Rounding) {
            return Three{s + x, 1, 0};
          }),
      with_number(
          "subtract from a number", [](const Var& x, double s) { return s - x; },
          [](Long x, Long s, Rounding) {
            return Three{s - x, -1, 0};
          }),
      with_number(
          "subtract a number in place",
          [](const Var& x, double s) {
            Var y = x;
            return y -= s;
          },
          [](Long x, Long s, Rounding) {
            return Three{x - s, 1, 0};
          }),
      with_number(
          "divide by a number", [](const Var& x, double s) { return x / s; },
          [](Long x, Long s, Rounding) {
            return Three{x / s, 1 / s, 0};
          }),
      with_number(
          "divide a number", [](const Var& x, double s) { return s / x; },
          [](Long x, Long s, Rounding round) {
            const Three q = quotient(s, x, round);
            return Three{q[0], q[2], 0};
          }),
      with_number(
          "pow of a number", [](const Var& x, double p) { return pow(x, p); }, power),
      {"clamp", exact,
       [](Chooser& choose) {
         double low = choose.number(), high = choose.number();
         if (low > high && !choose.chance(20)) std::swap(low, high);
         return Call{.inputs = {choose.any()},
                     .run = [=](const Arguments& a) { return Vars{clamp(a.x[0], low, high)}; },
                     .pointwise =
                         [=](Long x, Long, Rounding) {
                           const Long y = x < low ? low : x > high ? high : x;
                           return Three{y, x < low || x > high ? 0.0L : 1.0L, 0};
                         }};
       }},
      {"cast", rounds,
       [](Chooser& choose) {
         const std::array dtypes = {DType::float32, DType::float64, DType::int32};
         const DType dtype = dtypes[choose.below(choose.chance(20) ? 3 : 2)];
         return Call{.inputs = {choose.any()},
                     .run = [=](const Arguments& a) { return Vars{cast(a.x[0], dtype)}; },
                     .twin = [](const Arguments& a) { return Vars{scale(a.x[0], 1)}; }};
       }},
      binary("add", operator+, rounds,
             [](Long a, Long b, Rounding) {
               return Three{a + b, 1, 1};
             }),
      binary("sub", operator-, rounds,
             [](Long a, Long b, Rounding) {
               return Three{a - b, 1, -1};
             }),
      binary("mul", operator*, rounds,
             [](Long a, Long b, Rounding) {
               return Three{a * b, b, a};
             }),
      binary("div", operator/, rounds, quotient),
      binary("pow", pow, rounds, power),
      binary("maximum", maximum, exact,
             [](Long a, Long b, Rounding) {
               const Long s = share(a, b);
               return Three{s > 0 ? a : b, s, 1 - s};
             }),
      binary("minimum", minimum, exact,
             [](Long a, Long b, Rounding) {
               const Long s = share(-a, -b);
               return Three{s > 0 ? a : b, s, 1 - s};
             }),
      binary(
          "divide in place",
          [](const Var& a, const Var& b) {
            Var y = a;
            return y /= b;
          },
          rounds, quotient),
      {"where", exact,
       [](Chooser& choose) {
         const std::size_t a = choose.any(), b = broadcastable(choose, a);
         const Tensor condition = choose.mask(choose.shape_of(choose.chance(2) ? a : b));
         return Call{.inputs = {a, b}, .run = [=](const Arguments& args) {
                       return Vars{where(condition, args.x[0], args.x[1])};
                     }};
       }},
  };
}

}  // namespace tapegrad::search
