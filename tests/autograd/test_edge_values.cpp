#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../support/kernel_cases.h"

// What every op gives, value and gradient, where numbers end: at zeros of both signs, at the
// smallest denormal, the largest finite number, infinities and NaN. The rules behind the tables:
// * values are IEEE 754's; NaN comes out where NaN goes in, except x^0 = 1;
// * gradients are the formula's, with the arithmetic's own overflow; log has its 1/x below 0 too;
// * an op that chooses sends the gradient to what its result is, a NaN included, and exactly 0 to
//   the rest; at a tie each of two operands gets half, the first of several elements all.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr double NaN = std::numeric_limits<double>::quiet_NaN();

double largest(DType dtype) {
  return dtype == DType::float32 ? double{std::numeric_limits<float>::max()}
                                 : std::numeric_limits<double>::max();
}
double denormal(DType dtype) {
  return dtype == DType::float32 ? double{std::numeric_limits<float>::denorm_min()}
                                 : std::numeric_limits<double>::denorm_min();
}

/// Special values exactly, others to 8 roundings; the sign of zero counts for values only.
bool agree(double got, double expected, DType dtype, bool sign_of_zero) {
  expected = Tensor::scalar(expected, dtype).item();
  if (std::isnan(expected)) return std::isnan(got);
  if (std::isinf(expected)) return got == expected;
  if (expected == 0 && sign_of_zero && std::signbit(got) != std::signbit(expected)) return false;
  return std::abs(got - expected) <= 8 * epsilon_of(dtype) * std::abs(expected);
}

void check_all(const std::string& what, const Tensor& got, const std::vector<double>& expected,
               bool sign_of_zero) {
  REQUIRE(got.numel() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(what, " at ", i, " is ", got.at(i), ", not ", expected[i]);
    CHECK(agree(got.at(i), expected[i], got.dtype(), sign_of_zero));
  }
}

Tensor tensor_of(const std::vector<double>& values, DType dtype) {
  return Tensor::from<double>({values.size()}, values).to(dtype);
}

using Function = std::function<Var(const Var&)>;

/// Value, and gradients of all elements' sum both ways: by the fast path and by the rule of ops.
void check_function(const std::string& name, const Function& f, const std::vector<double>& x,
                    const std::vector<double>& y, const std::vector<double>& dx, DType dtype) {
  for (const bool graph : {false, true}) {
    INFO(name, ", ", std::string(to_string(dtype)), graph ? ", gradient recorded" : "");
    Tape tape;
    const Var leaf = tape.leaf(tensor_of(x, dtype));
    const Var result = f(leaf);
    check_all("value", result.value(), y, true);
    const Var dy = Tensor::full(result.shape(), 1, dtype);
    check_all("gradient", tape.gradient(result, {leaf}, {.create_graph = graph}, dy)[0].value(), dx,
              false);
  }
}

struct Row {
  const char* name;
  Function f;
  std::vector<double> y, dx;
};

// clang-format off
/// M: the largest finite number, t: the smallest denormal.
std::vector<Row> unary_table(double M, double t) {
  const double rt = std::sqrt(t), rM = std::sqrt(M), ln2 = std::log(2.0);
  return {
    //                                                x: -inf    -M     -t     -0      0      t      M    inf    NaN
    {"-x",        [](const Var& x) { return -x; },        {inf,     M,     t,     0,  -0.0,    -t,    -M,  -inf,   NaN},
                                                          { -1,    -1,    -1,    -1,    -1,    -1,    -1,    -1,    -1}},
    {"1 + x",     [](const Var& x) { return 1.0 + x; },   {-inf,   -M,     1,     1,     1,     1,     M,   inf,   NaN},
                                                          {  1,     1,     1,     1,     1,     1,     1,     1,     1}},
    {"2 x",       [](const Var& x) { return 2.0 * x; },   {-inf, -inf,  -2*t,  -0.0,     0,   2*t,   inf,   inf,   NaN},
                                                          {  2,     2,     2,     2,     2,     2,     2,     2,     2}},
    {"x / t",     [t](const Var& x) { return x / t; },    {-inf, -inf,    -1,  -0.0,     0,     1,   inf,   inf,   NaN},
                                                          {inf,   inf,   inf,   inf,   inf,   inf,   inf,   inf,   inf}},
    {"2 / x",     [](const Var& x) { return 2.0 / x; },   {-0.0, -2/M,  -inf,  -inf,   inf,   inf,   2/M,     0,   NaN},
                                                          {  0,     0,  -inf,  -inf,  -inf,  -inf,     0,     0,   NaN}},
    {"x^2",       [](const Var& x) { return square(x); }, {inf,   inf,     0,     0,     0,     0,   inf,   inf,   NaN},
                                                          {-inf, -inf,  -2*t,     0,     0,   2*t,   inf,   inf,   NaN}},
    {"x^3",       [](const Var& x) { return pow(x, 3); }, {-inf, -inf,  -0.0,  -0.0,     0,     0,   inf,   inf,   NaN},
                                                          {inf,   inf,     0,     0,     0,     0,   inf,   inf,   NaN}},
    {"x^1",       [](const Var& x) { return pow(x, 1); }, {-inf,   -M,    -t,  -0.0,     0,     t,     M,   inf,   NaN},
                                                          {  1,     1,     1,     1,     1,     1,     1,     1,     1}},
    {"x^0",       [](const Var& x) { return pow(x, 0); }, {  1,     1,     1,     1,     1,     1,     1,     1,     1},
                                                          {  0,     0,     0,     0,     0,     0,     0,     0,     0}},
    {"x^-1",      [](const Var& x) { return pow(x, -1); },{-0.0, -1/M,  -inf,  -inf,   inf,   inf,   1/M,     0,   NaN},
                                                          {  0,     0,  -inf,  -inf,  -inf,  -inf,     0,     0,   NaN}},
    {"x^0.5",     [](const Var& x) { return pow(x, .5); },{inf,   NaN,   NaN,     0,     0,    rt,    rM,   inf,   NaN},
                                                          {  0,   NaN,   NaN,   inf,   inf, .5/rt, .5/rM,     0,   NaN}},
    {"sqrt",      [](const Var& x) { return sqrt(x); },   {NaN,   NaN,   NaN,  -0.0,     0,    rt,    rM,   inf,   NaN},
                                                          {NaN,   NaN,   NaN,  -inf,   inf, .5/rt, .5/rM,     0,   NaN}},
    {"exp",       [](const Var& x) { return exp(x); },    {  0,     0,     1,     1,     1,     1,   inf,   inf,   NaN},
                                                          {  0,     0,     1,     1,     1,     1,   inf,   inf,   NaN}},
    {"expm1",     [](const Var& x) { return expm1(x); },  { -1,    -1,    -t,  -0.0,     0,     t,   inf,   inf,   NaN},
                                                          {  0,     0,     1,     1,     1,     1,   inf,   inf,   NaN}},
    {"log",       [](const Var& x) { return log(x); },    {NaN,   NaN,   NaN,  -inf,  -inf, std::log(t), std::log(M), inf, NaN},
                                                          {  0,  -1/M,  -inf,  -inf,   inf,   inf,   1/M,     0,   NaN}},
    {"log1p",     [](const Var& x) { return log1p(x); },  {NaN,   NaN,    -t,  -0.0,     0,     t, std::log(M), inf, NaN},
                                                          {  0,  -1/M,     1,     1,     1,     1,   1/M,     0,   NaN}},
    {"abs",       [](const Var& x) { return abs(x); },    {inf,     M,     t,     0,     0,     t,     M,   inf,   NaN},
                                                          { -1,    -1,    -1,     0,     0,     1,     1,     1,   NaN}},
    {"clamp",     [](const Var& x) { return clamp(x, -1, 1); },{-1, -1,   -t,  -0.0,     0,     t,     1,     1,   NaN},
                                                          {  0,     0,     1,     1,     1,     1,     0,     0,     1}},
    {"relu",      [](const Var& x) { return relu(x); },   {  0,     0,     0,     0,     0,     t,     M,   inf,   NaN},
                                                          {  0,     0,     0,     0,     0,     1,     1,     1,     1}},
    {"softplus",  [](const Var& x) { return softplus(x); },{ 0,     0,   ln2,   ln2,   ln2,   ln2,     M,   inf,   NaN},
                                                          {  0,     0,   0.5,   0.5,   0.5,   0.5,     1,     1,   NaN}},
    {"sigmoid",   [](const Var& x) { return sigmoid(x); },{  0,     0,   0.5,   0.5,   0.5,   0.5,     1,     1,   NaN},
                                                          {  0,     0,  0.25,  0.25,  0.25,  0.25,     0,     0,   NaN}},
    {"tanh",      [](const Var& x) { return tanh(x); },   { -1,    -1,    -t,  -0.0,     0,     t,     1,     1,   NaN},
                                                          {  0,     0,     1,     1,     1,     1,     0,     0,   NaN}},
  };
}

struct Point {
  const char* name;
  Function f;
  double x, y, dx;
};

/// Saturation, cancellation, kinks and negative bases, at ordinary numbers.
std::vector<Point> point_table() {
  return {
    {"exp",      [](const Var& x) { return exp(x); },           -1000,     0,                  0},
    {"exp",      [](const Var& x) { return exp(x); },            1000,   inf,                inf},
    {"expm1",    [](const Var& x) { return expm1(x); },           -50,    -1,      std::exp(-50)},  // y + 1 would be 0
    {"expm1",    [](const Var& x) { return expm1(x); },         1e-30, 1e-30,                  1},
    {"log1p",    [](const Var& x) { return log1p(x); },         1e-30, 1e-30,                  1},
    {"log1p",    [](const Var& x) { return log1p(x); },            -1,  -inf,                inf},
    {"sigmoid",  [](const Var& x) { return sigmoid(x); },       -1000,     0,                  0},
    {"sigmoid",  [](const Var& x) { return sigmoid(x); },         -80, std::exp(-80), std::exp(-80)},
    {"sigmoid",  [](const Var& x) { return sigmoid(x); },        1000,     1,                  0},
    {"sigmoid",  [](const Var& x) { return sigmoid(x); },          80,     1,      std::exp(-80)},
    {"tanh",     [](const Var& x) { return tanh(x); },          -1000,    -1,                  0},
    {"tanh",     [](const Var& x) { return tanh(x); },            -40,    -1,  4 * std::exp(-80)},
    {"tanh",     [](const Var& x) { return tanh(x); },             40,     1,  4 * std::exp(-80)},
    {"softplus", [](const Var& x) { return softplus(x); },      -1000,     0,                  0},
    {"softplus", [](const Var& x) { return softplus(x); },        -80, std::exp(-80), std::exp(-80)},
    {"softplus", [](const Var& x) { return softplus(x); },       1000,  1000,                  1},
    {"clamp",    [](const Var& x) { return clamp(x, -1, 1); },     -1,    -1,                  1},
    {"clamp",    [](const Var& x) { return clamp(x, -1, 1); },      1,     1,                  1},
    {"clamp",    [](const Var& x) { return clamp(x, -1, inf); }, 1000,  1000,                  1},
    {"x^3",      [](const Var& x) { return pow(x, 3); },           -2,    -8,                 12},
    {"x^-1",     [](const Var& x) { return pow(x, -1); },          -2,  -0.5,              -0.25},
    {"x^0.5",    [](const Var& x) { return pow(x, 0.5); },         -2,   NaN,                NaN},
    {"x^1e-10",  [](const Var& x) { return pow(x, 1e-10); },       -2,   NaN,                NaN},  // likewise
    {"x^-0.25",  [](const Var& x) { return pow(x, -0.25); },     1e30, std::pow(1e30, -0.25), -0.25 * std::pow(1e30, -1.25)},
    {"x / 3",    [](const Var& x) { return x / 3; },                3,     1,              1.0/3},
    {"1 / x",    [](const Var& x) { return 1.0 / x; },             -2,  -0.5,              -0.25},
  };
}

struct Pair {
  const char* name;
  Var (*f)(const Var&, const Var&);
  double a, b, y, da, db;
};

Var first_of(const Var& a, const Var& b) { return where(Tensor::of({}, {1}, DType::int32), a, b); }
Var second_of(const Var& a, const Var& b) { return where(Tensor::of({}, {0}, DType::int32), a, b); }

std::vector<Pair> binary_table(double M, double t) {
  const auto add = [](const Var& a, const Var& b) { return a + b; };
  const auto sub = [](const Var& a, const Var& b) { return a - b; };
  const auto mul = [](const Var& a, const Var& b) { return a * b; };
  const auto div = [](const Var& a, const Var& b) { return a / b; };
  return {
    //             a     b        y    da    db
    {"a + b", add,    inf, -inf,     NaN,    1,    1},
    {"a + b", add,      M,    M,     inf,    1,    1},
    {"a - b", sub,    inf,  inf,     NaN,    1,   -1},
    {"a - b", sub,      t,    t,       0,    1,   -1},
    {"a b", mul,        0,  inf,     NaN,  inf,    0},
    {"a b", mul,        M,    M,     inf,    M,    M},
    {"a b", mul,        t,    t,       0,    t,    t},
    {"a / b", div,      0,    0,     NaN,  inf,  NaN},
    {"a / b", div,      1,    0,     inf,  inf, -inf},
    {"a / b", div,      1, -0.0,    -inf, -inf, -inf},
    {"a / b", div,    inf,  inf,     NaN,    0,  NaN},
    {"a / b", div,      1,  inf,       0,    0,    0},
    {"a / b", div,      t,    t,       1,  inf, -inf},
    {"a / b", div,      M,    M,       1,  1/M, -1/M},  // a / b^2 would be inf / inf
    {"a^b", pow,        0,    0,       1,    0,    0},
    {"a^b", pow,        0,  0.5,       0,  inf,    0},
    {"a^b", pow,        0,    1,       0,    1,    0},
    {"a^b", pow,        0,    2,       0,    0,    0},
    {"a^b", pow,        0,   -1,     inf, -inf, -inf},
    {"a^b", pow,        2,    0,       1,    0, std::log(2.0)},
    {"a^b", pow,        t,    0,       1,    0, std::log(t)},
    {"a^b", pow,      inf,    0,       1,    0,  inf},
    {"a^b", pow,      NaN,    0,       1,    0,  NaN},
    {"a^b", pow,      inf,   -1,       0,    0,    0},
    {"a^b", pow,       10, 4000,     inf,  inf,  inf},
    {"a^b", pow,       -2,    3,      -8,   12,  NaN},  // b only at integers
    {"a^b", pow,       -2,  0.5,     NaN,  NaN,  NaN},
    {"a^b", pow,       -2, 1e-10,    NaN,  NaN,  NaN},  // in float32 b - 1 is -1
    {"maximum", maximum,    1,    2,       2,    0,    1},
    {"maximum", maximum,    2,    2,       2,  0.5,  0.5},
    {"maximum", maximum,  inf,  inf,     inf,  0.5,  0.5},
    {"maximum", maximum, -inf,    1,       1,    0,    1},
    {"maximum", maximum,  NaN,  inf,     NaN,    1,    0},
    {"maximum", maximum,  inf,  NaN,     NaN,    0,    1},
    {"maximum", maximum,  NaN,  NaN,     NaN,  0.5,  0.5},
    {"minimum", minimum,    1,    2,       1,    1,    0},
    {"minimum", minimum,   -t,    t,      -t,    1,    0},
    {"minimum", minimum,    2,    2,       2,  0.5,  0.5},
    {"minimum", minimum, -inf, -inf,    -inf,  0.5,  0.5},
    {"minimum", minimum,  NaN, -inf,     NaN,    1,    0},
    {"minimum", minimum, -inf,  NaN,     NaN,    0,    1},
    {"a of a, b", first_of,  1,  NaN,       1,    1,    0},
    {"a of a, b", first_of,  t,  inf,       t,    1,    0},
    {"b of a, b", second_of, inf,   2,       2,    0,    1},
    {"b of a, b", second_of, NaN, NaN,     NaN,    0,    1},
  };
}

struct Reduction {
  const char* name;
  Function f;
  std::vector<double> x, y, dx;
};

std::vector<Reduction> reduction_table(double M) {
  const Function sums = [](const Var& x) { return sum(x); };
  const Function means = [](const Var& x) { return mean(x); };
  const Function greatest = [](const Var& x) { return max(x); };
  const Function least = [](const Var& x) { return min(x); };
  const Function running = [](const Var& x) { return cumsum(x, 0); };
  const Function from_end = [](const Var& x) { return cumsum(x, 0, true); };
  return {
    {"sum",    sums,     {1, NaN, 2},       {NaN},               {1, 1, 1}},
    {"sum",    sums,     {1, inf, 2},       {inf},               {1, 1, 1}},
    {"sum",    sums,     {inf, 1, -inf},    {NaN},               {1, 1, 1}},
    {"sum",    sums,     {M, M},            {inf},               {1, 1}},
    {"sum",    sums,     {},                {0},                 {}},
    {"mean",   means,    {1, NaN},          {NaN},               {0.5, 0.5}},
    {"mean",   means,    {1, -inf},         {-inf},              {0.5, 0.5}},
    {"mean",   means,    {M, M},            {inf},               {0.5, 0.5}},  // the sum of them / 2
    {"max",    greatest, {1, 3, 3},         {3},                 {0, 1, 0}},
    {"max",    greatest, {inf, 1, inf},     {inf},               {1, 0, 0}},
    {"max",    greatest, {-inf, -inf},      {-inf},              {1, 0}},
    {"max",    greatest, {inf, NaN, NaN},   {NaN},               {0, 1, 0}},
    {"max",    greatest, {NaN, inf},        {NaN},               {1, 0}},
    {"max",    greatest, {-0.0, 0.0},       {-0.0},              {1, 0}},      // zeros are equal
    {"min",    least,    {3, 1, 1},         {1},                 {0, 1, 0}},
    {"min",    least,    {inf, inf},        {inf},               {1, 0}},
    {"min",    least,    {-inf, NaN, NaN},  {NaN},               {0, 1, 0}},
    {"min",    least,    {NaN, -inf},       {NaN},               {1, 0}},
    {"cumsum", running,  {1, NaN, 2},       {1, NaN, NaN},       {3, 2, 1}},
    {"cumsum", running,  {1, inf, -inf, 2}, {1, inf, NaN, NaN},  {4, 3, 2, 1}},
    {"cumsum", from_end, {1, NaN, 2},       {NaN, NaN, 2},       {1, 2, 3}},
  };
}
// clang-format on

}  // namespace

TEST_CASE("edge values: every function of one element") {
  for (const DType dtype : float_types) {
    const double M = largest(dtype), t = denormal(dtype);
    for (const Row& row : unary_table(M, t)) {
      check_function(row.name, row.f, {-inf, -M, -t, -0.0, 0, t, M, inf, NaN}, row.y, row.dx,
                     dtype);
    }
    for (const Point& p : point_table()) {
      INFO("x = ", p.x);
      check_function(p.name, p.f, {p.x}, {p.y}, {p.dx}, dtype);
    }
  }
}

TEST_CASE("edge values: functions of two elements") {
  for (const DType dtype : float_types) {
    for (const Pair& p : binary_table(largest(dtype), denormal(dtype))) {
      INFO("a = ", p.a, ", b = ", p.b);
      const Var a = tensor_of({p.a}, dtype), b = tensor_of({p.b}, dtype);
      check_function(
          p.name, [&](const Var& x) { return p.f(x, b); }, {p.a}, {p.y}, {p.da}, dtype);
      check_function(
          p.name, [&](const Var& x) { return p.f(a, x); }, {p.b}, {p.y}, {p.db}, dtype);
    }
  }
}

TEST_CASE("edge values: reductions with NaN and infinities inside") {
  for (const DType dtype : float_types) {
    for (const Reduction& r : reduction_table(largest(dtype))) {
      check_function(r.name, r.f, r.x, r.y, r.dx, dtype);
    }
  }
}

TEST_CASE("edge values: an infinite or NaN gradient stops at what was not chosen") {
  struct Choice {
    std::string name;
    Function f;
  };
  using Whole = Var (*)(const Var&);
  const auto of = [](std::initializer_list<double> v) {
    return Tensor::of({3}, v, DType::float64);
  };
  const auto only_second = [](const Tensor& d) {
    return d.at(0) == 0 && !std::isfinite(d.at(1)) && d.at(2) == 0;
  };
  const Tensor condition = Tensor::of({3}, {0, 1, 0}, DType::int32);
  const Tensor opposite = Tensor::of({3}, {1, 0, 1}, DType::int32);
  const Var other = of({9, -9, 9}), seven = Tensor::scalar(7, DType::float64);
  const std::vector<Choice> choices{
      {"relu", [](const Var& x) { return relu(x); }},
      {"clamp", [](const Var& x) { return clamp(x, 0.5, 5); }},
      {"maximum", [&](const Var& x) { return maximum(x, other); }},
      {"maximum", [&](const Var& x) { return maximum(other, x); }},
      {"minimum", [&](const Var& x) { return minimum(x, neg(other)); }},
      {"where", [&](const Var& x) { return where(condition, x, seven); }},
      {"where", [&](const Var& x) { return where(opposite, other, x); }},
  };
  for (const double bad : {inf, -inf, NaN}) {
    const Var dy = Tensor::full({3}, bad, DType::float64);
    for (const Choice& choice : choices) {
      CAPTURE(choice.name);
      Tape tape;
      const Var x = tape.leaf(of({-1, 1, 0}));
      const Var d = tape.leaf(dy.value());
      const Var y = choice.f(x);
      const Var dx = tape.gradient(y, {x}, {.create_graph = true}, d)[0];
      CHECK(only_second(dx.value()));
      CHECK(only_second(tape.gradient(dx, {d}, {}, dy)[0].value()));
      CHECK(only_second(tape.gradient(y, {x}, {}, dy)[0].value()));
    }
    for (const Whole f : {Whole(max), Whole(min)}) {
      Tape tape;
      const Var x = tape.leaf(of({1, f == Whole(max) ? 2.0 : -2.0, 0}));
      const Var d = Tensor::scalar(bad, DType::float64);
      CHECK(only_second(tape.gradient(f(x), {x}, {}, d)[0].value()));
    }
  }
}
