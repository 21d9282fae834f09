// docs/gradient_testing.md: its code is run here, its reports and diagnoses are made again and
// compared, and its table of verdicts holds.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <regex>
#include <span>
#include <utility>

#include "../../autograd/gradcheck/functions.h"
#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/gradcheck/tape_twin_check.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../layers/clone.h"
#include "../../layers/lstm.h"
#include "../support/documents.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Vector = std::vector<double>;

// ---- the page's code ----------------------------------------------------------------------------

double loss(const std::vector<double>& theta);
std::vector<double> backward(const std::vector<double>& theta);

GradcheckReport check_by_hand() {
  std::vector<double> theta = {0.7, -0.4}, gradient = backward(theta);
  const GradcheckReport report =
      gradcheck([&] { return loss(theta); }, {grad_block("theta", theta, gradient)});
  if (!report) std::cerr << report << '\n';
  return report;
}

const Vector inputs = {0.5, -1.0, 0.8, 0.3};

double loss(const Vector& theta) {
  double h = 0, sum = 0;
  for (const double x : inputs) {
    h = std::tanh(theta[0] * x + theta[1] * h);
    sum += h * h;
  }
  return sum / 4;
}

Vector backward(const Vector& theta) {
  Vector h = {0}, gradient = {0, 0};
  for (const double x : inputs) h.push_back(std::tanh(theta[0] * x + theta[1] * h.back()));
  double dh = 0;
  for (std::size_t t = inputs.size(); t-- > 0;) {
    const double da = (dh + h[t + 1] / 2) * (1 - h[t + 1] * h[t + 1]);
    gradient[0] += da * inputs[t];
    gradient[1] += da * h[t];
    dh = da * theta[1];
  }
  return gradient;
}

GradcheckReport check_function() {
  const auto f = [](std::span<const double> x) { return std::vector{x[0] * x[1], std::sin(x[0])}; };
  const auto product = [](std::span<const double> x, std::span<const double> w) {
    return std::vector{w[0] * x[1] + w[1] * std::cos(x[0]), w[0] * x[0]};
  };
  const GradcheckReport report = gradcheck(f, product, {0.3, -1.2});
  return report;
}

GradcheckReport check_model() {
  Rng rng(1);
  const LSTM lstm({.input = 3, .hidden = 4, .layers = 2, .dropout = 0.2, .dtype = DType::float64},
                  rng);
  const Tensor x = rng.normal({6, 2, 3}, 0, 1, DType::float64);  // (T, B, I)
  const GradcheckReport report =
      gradcheck([&](Tape& tape) { return mean(square(lstm(tape, x).y)); }, parameters(lstm));
  return report;
}

GradcheckReport check_inputs() {
  Rng rng(1);
  const LSTM lstm({.input = 3, .hidden = 4, .dtype = DType::float64}, rng);
  const Tensor x = rng.normal({6, 2, 3}, 0, 1, DType::float64);
  const auto f = [&](Tape& tape, std::span<const Var> in) { return Vars{lstm(tape, in[0]).y}; };
  const GradcheckReport first = gradcheck(f, {{"x", x}}, parameters(lstm));
  const GradcheckReport second = gradgradcheck(f, {{"x", x}});
  CHECK_MESSAGE(second, second.text());
  return first;
}

GradcheckReport check_large() {
  Rng rng(1);
  const LSTM lstm({.input = 32, .hidden = 64, .dtype = DType::float64}, rng);
  const Tensor x = rng.normal({10, 2, 32}, 0, 1, DType::float64);
  return gradcheck([&](Tape& tape) { return mean(square(lstm(tape, x).y)); }, parameters(lstm));
}

GradcheckReport check_twin() {
  Rng rng(1);
  const LSTM model({.input = 3, .hidden = 4}, rng);  // float32, as it is trained
  const Tensor x = rng.normal({6, 2, 3}, 0, 1);
  const LSTM twin = to(model, DType::float64);
  const Tensor twin_x = x.to(DType::float64);
  const GradcheckReport report =
      gradcheck([&](Tape& tape) { return mean(square(twin(tape, twin_x).y)); }, parameters(twin));
  return report;
}

TwinReport check_float32() {
  Rng rng(1);
  const LSTM model({.input = 3, .hidden = 4}, rng), twin = to(model, DType::float64);
  const Tensor x = rng.normal({6, 2, 3}, 0, 1), twin_x = x.to(DType::float64);
  const TwinReport report =
      twin_check([&](Tape& tape) { return mean(square(model(tape, x).y)); }, parameters(model),
                 [&](Tape& tape) { return mean(square(twin(tape, twin_x).y)); }, parameters(twin));
  return report;
}

GradcheckReport check_truncated() {
  const std::vector<double> x = {0.5, -1.0, 0.8, 0.3, 0.9, -0.4};
  std::vector<double> theta = {0.7, -0.4}, gradient = {0, 0}, starts = {0};
  const auto window = [&](std::size_t k, double h0) {
    const double h1 = std::tanh(theta[0] * x[2 * k] + theta[1] * h0);
    const double h2 = std::tanh(theta[0] * x[2 * k + 1] + theta[1] * h1);
    return std::array{h1 * h1 + h2 * h2, h2, h1};
  };
  for (std::size_t k = 0; k < 3; ++k) {
    const auto [error, h2, h1] = window(k, starts[k]);
    const double da2 = 2 * h2 * (1 - h2 * h2);
    const double da1 = (2 * h1 + da2 * theta[1]) * (1 - h1 * h1);
    gradient[0] += da2 * x[2 * k + 1] + da1 * x[2 * k];
    gradient[1] += da2 * h1 + da1 * starts[k];
    starts.push_back(h2);
  }
  const auto truncated = [&] {
    return window(0, starts[0])[0] + window(1, starts[1])[0] + window(2, starts[2])[0];
  };
  const auto whole = [&] {
    const auto first = window(0, 0), second = window(1, first[1]);
    return first[0] + second[0] + window(2, second[1])[0];
  };
  const GradcheckReport right = gradcheck(truncated, {grad_block("theta", theta, gradient)});
  const GradcheckReport wrong = gradcheck(whole, {grad_block("theta", theta, gradient)});
  CHECK(wrong.failed == 2);
  return right;
}

GradcheckReport check_dropout() {
  std::vector<double> w = {0.3, -0.8, 1.1}, dw(3);
  std::mt19937 random;
  const auto reseed = [&] { random.seed(5); };
  const auto mask = [&] { return random() % 2 == 0 ? 0.0 : 2.0; };
  const auto loss = [&] {
    return mask() * w[0] * w[0] + mask() * w[1] * w[1] + mask() * w[2] * w[2];
  };
  const auto backward = [&] {
    reseed();
    for (std::size_t i = 0; i < 3; ++i) dw[i] = mask() * 2 * w[i];
  };
  backward();
  const GradcheckReport report =
      gradcheck(loss, {grad_block("w", w, dw)}, {.reseed = reseed, .backward = backward});
  CHECK(gradcheck(loss, {grad_block("w", w, dw)}).reason.starts_with("the loss is not determin"));
  return report;
}

GradcheckReport check_domain() {
  std::vector<double> variance = {0.02, 0.5}, gradient = {1 / 0.02, 1 / 0.5};
  GradBlock block = grad_block("variance", variance, gradient);
  block.low = 0;  // log needs more than 0
  const GradcheckReport report =
      gradcheck([&] { return std::log(variance[0]) + std::log(variance[1]); }, {block});
  return report;
}

GradcheckReport check_ramp(double slope) {
  Vector w = {0.0, 1.5}, dw = {slope, 1};
  return gradcheck([&] { return std::max(w[0], 0.0) + w[1]; }, {grad_block("w", w, dw)});
}

GradcheckReport check_kink() { return check_ramp(0.5); }

GradcheckReport check_offset() {
  Vector w = {0.25}, dw = {1e-6 * std::cos(0.25)};
  return gradcheck([&] { return 1e6 + 1e-6 * std::sin(w[0]); }, {grad_block("w", w, dw)});
}

// ---- bugs planted in the gradient of an LSTM's weights ------------------------------------------

constexpr std::size_t H = 4, T = 20;

Vector elements(const Var& v) {
  const auto values = v.value().values<double>();
  return {values.begin(), values.end()};
}

/// Mean of h^2 over all steps of an LSTM, with the right gradients.
struct Example {
  Rng rng{1};
  LSTM lstm{{.input = 3, .hidden = H, .dtype = DType::float64}, rng};
  Tensor x = rng.normal({T, 1, 3}, 0, 1, DType::float64);
  Tensor hh = lstm.layers[0].weight_hh.value();
  Vector dhh, dx, last;  // last: what the last step adds to dhh

  Example() {
    const auto gradients = [&](const Tensor& from, const LSTMState& state, double scale) {
      Tape tape;
      const Var in = tape.leaf(from);
      const Var y = lstm(tape, in, state).y;
      return tape.gradient(scale * sum(square(y)), {tape.leaf(lstm.layers[0].weight_hh), in});
    };
    constexpr double scale = 1.0 / (T * H);
    const Vars all = gradients(x, lstm.zero_state(1), scale);
    dhh = elements(all[0]);
    dx = elements(all[1]);
    Tape tape = Tape::inference();
    const LSTMState before = lstm(tape, x.slice(0, T - 1)).last;
    last = elements(gradients(x.slice(T - 1, T), before.detach(), scale)[0]);
  }

  /// The checker's opinion of these gradients.
  GradcheckReport check(const Vector& claimed_dhh, const Vector& claimed_dx) {
    GradBlock block = grad_block("weight_hh_l0", hh.mutable_data<double>(), claimed_dhh.data(),
                                 claimed_dhh.size(), {4 * H, H});
    block.gates = {"i", "f", "g", "o"};
    const auto loss = [&] {
      (void)hh.mutable_data<double>();  // written to by pointer: the version must say so
      Tape tape = Tape::inference();
      return mean(square(lstm(tape, x).y)).item();
    };
    return gradcheck(loss,
                     {block, grad_block("x", x.mutable_data<double>(), claimed_dx.data(),
                                        claimed_dx.size(), {T, 1, 3})},
                     {.sizes = {{"T", T}, {"B", 1}}});
  }
};

GradcheckReport check_averaged() {
  Example example;
  Vector wrong = example.dhh;
  for (double& e : wrong) e /= T;
  return example.check(wrong, example.dx);
}

using Plant = std::function<void(const Example&, Vector& dhh, Vector& dx)>;

template <class Of>
Plant each(Of of) {
  return [of](const Example& e, Vector& dhh, Vector&) {
    for (std::size_t i = 0; i < dhh.size(); ++i) dhh[i] = of(e, i);
  };
}

const std::vector<std::pair<const char*, Plant>> plants = {
    {"`zero`", each([](const Example&, std::size_t) { return 0.0; })},
    {"`sign`", each([](const Example& e, std::size_t i) { return -e.dhh[i]; })},
    {"`doubled`", each([](const Example& e, std::size_t i) { return 2 * e.dhh[i]; })},
    {"`factor`", each([](const Example& e, std::size_t i) { return e.dhh[i] / T; })},
    {"`transpose`", each([](const Example& e, std::size_t i) {
       const std::size_t gate = i / (H * H), row = i / H % H, column = i % H;
       return e.dhh[gate * H * H + column * H + row];
     })},
    {"`gates`", each([](const Example& e, std::size_t i) {
       return e.dhh[i < 2 * H * H ? (i + H * H) % (2 * H * H) : i];  // i and f change places
     })},
    {"`time`, one step", each([](const Example& e, std::size_t i) { return e.last[i]; })},
    {"`time`, one missing",
     each([](const Example& e, std::size_t i) { return e.dhh[i] - e.last[i]; })},
    {"`time`, shifted",
     [](const Example&, Vector&, Vector& dx) {
       std::rotate(dx.begin(), dx.begin() + 3, dx.end());
       std::fill(dx.end() - 3, dx.end(), 0.0);
     }},
    {"`time`, cut",
     [](const Example&, Vector&, Vector& dx) { std::fill(dx.begin(), dx.begin() + 3 * 5, 0.0); }},
    {"`value`", each([](const Example& e, std::size_t i) { return e.dhh[i] + 0.01 * e.hh.at(i); })},
    {"`part`", each([](const Example& e, std::size_t i) {
       return i / (H * H) == 1 ? 1.01 * e.dhh[i] : e.dhh[i];
     })},
    {"`order`", each([](const Example& e, std::size_t i) {
       return e.dhh[i / H * H + (H - 1 - i % H)];  // hidden units counted from the other end
     })},
    {"`sum`", each([](const Example& e, std::size_t i) {
       double sum = 0;
       for (std::size_t row = 0; row < 4 * H; ++row) sum += e.dhh[row * H + i % H];
       return sum;
     })},
    {"`clip`",
     each([](const Example& e, std::size_t i) { return std::clamp(e.dhh[i], -0.003, 0.003); })},
    {"`rounding`",
     each([](const Example& e, std::size_t i) { return std::round(e.dhh[i] * 1e7) / 1e7; })},
    {"`other`", each([](const Example& e, std::size_t i) { return std::sin(100 * e.dhh[i]); })},
};

// ---- the page -----------------------------------------------------------------------------------

const Lines& page() {
  static const Lines lines = read_lines("docs/gradient_testing.md");
  return lines;
}

/// Without spaces, comments and includes.
std::string squeezed(const Lines& lines) {
  std::string all;
  for (const std::string& line : lines) {
    if (!line.starts_with('#')) all += line.substr(0, line.find("//"));
  }
  std::erase(all, ' ');
  return all;
}

/// What differs between machines (rounding, and the steps and places chosen by it) is a #.
std::string masked(std::string text) {
  for (const char* what :
       {R"([-+]?[0-9]+\.[0-9]+(e[-+][0-9]+)?|[0-9]e-[0-9]+)", R"([0-9]+(?= evaluations))",
        R"(in \S+\[[^\]]*\])", R"(\[[^\]]*\])", R"(only_entry = [0-9]+)", R"(h [0-9]+(?=\n))",
        R"(\S+(?=: float32 differs))", R"(entry [0-9]+)"}) {
    text = std::regex_replace(text, std::regex(what), "#");
  }
  return text;
}

}  // namespace

TEST_CASE("docs/gradient_testing.md: the page's code is run by this test") {
  const std::string here = squeezed(read_lines("tests/documents/test_gradient_testing_doc.cpp"));
  std::size_t count = 0;
  for (const Block& block : blocks_of(page())) {
    if (block.language != "cpp" || block.before.find("snippet: none") != std::string::npos)
      continue;
    INFO(block.lines.front());
    CHECK(here.find(squeezed(block.lines)) != std::string::npos);
    ++count;
  }
  CHECK(count == 9);
  for (const auto check : {check_by_hand, check_function, check_model, check_inputs, check_twin,
                           check_truncated, check_dropout, check_domain}) {
    const GradcheckReport report = check();
    CHECK_MESSAGE(report, report.text());
  }
  const TwinReport twin = check_float32();
  CHECK_MESSAGE(twin, twin.text());
}

TEST_CASE("docs/gradient_testing.md: the reports are those that the checker makes") {
  const std::map<std::string, std::string> reports = {
      {"<!-- report: by hand -->", check_by_hand().text()},
      {"<!-- report: averaged -->", check_averaged().text()},
      {"<!-- report: large -->", check_large().text()},
      {"<!-- report: kink -->", check_kink().text()},
      {"<!-- report: twin -->", check_float32().text()},
      {"<!-- report: offset -->", check_offset().text()}};
  std::size_t count = 0;
  for (const Block& block : blocks_of(page())) {
    if (!reports.contains(block.before)) continue;
    std::string quoted;
    for (const std::string& line : block.lines) quoted += (quoted.empty() ? "" : "\n") + line;
    const std::string& made = reports.at(block.before);
    INFO(made);
    CHECK(masked(quoted) == masked(made));
    ++count;
  }
  CHECK(count == reports.size());
}

TEST_CASE("docs/gradient_testing.md: each class of diagnosis has its example") {
  const Rows rows = rows_of(page());
  for (const auto& [name, plant] : plants) {
    Example example;
    Vector dhh = example.dhh, dx = example.dx;
    plant(example, dhh, dx);
    std::string said;
    const GradcheckReport report = example.check(dhh, dx);
    for (const GradBlockSummary& b : report.blocks) said += b.diagnosis;
    REQUIRE(rows.contains(name));
    CHECK(rows.at(name).front() == said);
  }
  Vector w = {0.3, -0.8, 1.1, 0.5, -0.2, 0.9, 0.4, -0.6}, unmasked;
  for (const double v : w) unmasked.push_back(2 * v);
  const auto every_third = [&] { return w[0] * w[0] + w[3] * w[3] + w[6] * w[6]; };
  CHECK(rows.at("`mask`").front() ==
        gradcheck(every_third, {grad_block("w", w, unmasked)}).blocks[0].diagnosis);
}

TEST_CASE("docs/gradient_testing.md: the table of verdicts") {
  CHECK(check_by_hand().verdict == Verdict::pass);
  CHECK(check_averaged().verdict == Verdict::fail);
  CHECK(check_offset().verdict == Verdict::inconclusive);
  const GradcheckReport kink = check_kink();
  CHECK(kink.verdict == Verdict::pass);
  CHECK(kink.kinks == 1);
  CHECK(check_ramp(1.1).verdict == Verdict::fail);  // outside of the two slopes
  const Rows rows = rows_of(page());
  for (const Verdict v : {Verdict::pass, Verdict::fail, Verdict::inconclusive, Verdict::kink})
    CHECK(rows.contains(to_string(v)));
}

TEST_CASE("docs/gradient_testing.md: one step from a zero state does not exercise W_hh") {
  Rng rng(1);
  const LSTM lstm({.input = 3, .hidden = 4, .dtype = DType::float64}, rng);
  const Tensor x = rng.normal({1, 2, 3}, 0, 1, DType::float64);
  const auto loss = [&](Tape& tape) { return mean(square(lstm(tape, x).y)); };
  const std::string said =
      "64 of 64 entries not exercised, zero both ways (T = 1, a zero state, an unused input?)";
  CHECK(gradcheck(loss, parameters(lstm)).text().find("weight_hh_l0: " + said) !=
        std::string::npos);
  CHECK(std::ranges::any_of(
      page(), [&](const std::string& line) { return line.find(said) != std::string::npos; }));
  CHECK(gradcheck(loss, parameters(lstm), {.strict = true}).verdict == Verdict::fail);
}
