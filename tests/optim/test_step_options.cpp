#include <doctest/doctest.h>

#include <cfloat>
#include <cmath>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/kernel_cases.h"

// step({.clip_norm = ...}) is clip_grad_norm() and step() in one, but for the gradients.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Parameters of both dtypes: one frozen with a gradient that was set, one without gradient, one so
/// large that threads share it.
struct Weights {
  Parameter a, b, frozen, idle, large;

  Weights() {
    Rng rng(3);
    a = Parameter(rng.normal({4, 3}, 0, 1, DType::float64));
    b = Parameter(rng.normal({7}, 0, 1, DType::float32));
    frozen = Parameter(rng.normal({5}, 0, 1, DType::float32));
    idle = Parameter(rng.normal({2}, 0, 1, DType::float64));
    large = Parameter(rng.normal({140001}, 0, 1, DType::float32));
    frozen.set_requires_grad(false);
  }
  Parameters first() const { return {{"a", a}, {"b", b}, {"frozen", frozen}}; }
  Parameters second() const { return {{"idle", idle}, {"large", large}}; }
  Parameters all() const { return first() + second(); }

  void draw_gradients(std::uint64_t step, double scale) const {
    Rng rng(step, "gradients");
    for (const NamedParameter& p : all()) {
      if (p.name == "idle") continue;
      p.set_grad(rng.normal(p.value().shape(), 0, scale, p.value().dtype()));
    }
  }
};

void check_same(const Parameters& x, const Parameters& y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    INFO(x[i].name);
    CHECK(same_bits(x[i].value(), y[i].value()));
    CHECK(x[i].events().clip.count == y[i].events().clip.count);
    CHECK(x[i].events().clip.last == y[i].events().clip.last);
    CHECK(x[i].events().step.last == y[i].events().step.last);
  }
}

/// Several steps, some of which are clipped, by one call and by two.
template <class Optimizer, class Options>
void check_like_plain(const Options& one, const Options& other) {
  for (const std::size_t count : {1U, 3U}) {
    set_threads(count);
    const Weights fused, plain;
    Optimizer by_one({{fused.first(), one}, {fused.second(), other}});
    Optimizer by_two({{plain.first(), one}, {plain.second(), other}});
    std::size_t clipped = 0;
    for (std::uint64_t step = 0; const double max_norm : {1.0, 200.0, 500.0, 0.0, inf, 1e-30}) {
      CAPTURE(max_norm);
      fused.draw_gradients(step, 1);
      plain.draw_gradients(step++, 1);
      const Tensor large = fused.large.grad(), old = large.clone();
      const auto version = large.version();
      const GradNorm norm = by_one.step({.clip_norm = max_norm});
      const GradNorm twin = clip_grad_norm(by_two.parameters(), max_norm);
      by_two.step();
      CHECK(norm.before == twin.before);
      CHECK(norm.after == twin.after);
      clipped += norm.after < norm.before;
      check_same(fused.all(), plain.all());
      CHECK(same_bits(large, old));
      CHECK(large.version() == version);
      CHECK(fused.large.grad().shares_elements_with(large));
      CHECK(!fused.idle.grad().defined());
    }
    CHECK(clipped == 4);
  }
  set_threads(1);
}

/// A value after one step of SGD from 0: the gradient that the update saw.
template <class Step>
Tensor after_step(const Tensor& gradient, Step step) {
  Parameter p(Tensor::zeros(gradient.shape(), gradient.dtype()));
  p.set_grad(gradient);
  SGD sgd({{"p", p}}, {.lr = 1});
  step(sgd);
  return p.value();
}

/// A formula that knows nothing of clipping.
class Plain : public Optimizer {
 public:
  Plain(const Parameters& parameters, double lr)
      : Optimizer("SGD", std::vector{ParameterGroup<SGDOptions>{parameters, {.lr = lr}}}, {}) {}

 private:
  template <class T>
  static void add(double lr, const kernels::Update<T>& u) {
    for (std::size_t i = 0; i < u.n; ++i) u.value[i] -= static_cast<T>(lr) * u.grad[i];
  }
  void update(const Step& s, const kernels::Update<float>& u) const override { add(s.lr, u); }
  void update(const Step& s, const kernels::Update<double>& u) const override { add(s.lr, u); }
};

}  // namespace

TEST_CASE("step options: clip_norm gives the bits of clip_grad_norm and step" *
          doctest::test_suite("threads")) {
  check_like_plain<Adam, AdamOptions>({.lr = 1e-2, .weight_decay = 0.1}, {.epsilon = 1e-4});
  check_like_plain<SGD, SGDOptions>({.lr = 0.1}, {.lr = 0.01, .momentum = 0.9, .nesterov = true});
}

TEST_CASE("step options: gradients that clipping makes tiny or that are huge") {
  const struct {
    Tensor gradient;
    double max_norm;
  } cases[] = {
      {Tensor::of({4}, {DBL_MAX / 2, 1, -DBL_MAX / 4, 0}, DType::float64), 1},
      {Tensor::of({4}, {DBL_MAX / 2, 1, -DBL_MAX / 4, 0}, DType::float64), 1e-300},
      {Tensor::of({4}, {3e-200, 4e-200, 0, -0.0}, DType::float64), 1e-200},
      {Tensor::of({4}, {FLT_MAX, -FLT_MAX, 1, 1e-30}), 1},
      {Tensor::of({4}, {1, 1.5e-38, 3e-38, -1e-40}), 0.5},  // in part subnormal when scaled
  };
  for (const auto& c : cases) {
    CAPTURE(c.gradient);
    const Tensor fused =
        after_step(c.gradient, [&](SGD& sgd) { sgd.step({.clip_norm = c.max_norm}); });
    const Tensor plain = after_step(c.gradient, [&](SGD& sgd) {
      clip_grad_norm(sgd.parameters(), c.max_norm);
      sgd.step();
    });
    CHECK(same_bits(fused, plain));
    CHECK(std::abs(fused.at(0)) > 0);
  }
}

TEST_CASE("step options: an optimizer of one's own moves by clipped gradients, too") {
  Parameter p(Tensor::zeros({2}, DType::float64));
  p.set_grad(Tensor::of({2}, {30, -40}, DType::float64));
  Plain own({{"p", p}}, 0.5);
  const GradNorm norm = own.step({.clip_norm = 5});
  CHECK(norm.before == 50);
  CHECK(norm.after == 5);
  check_values(p.value(), {2}, DType::float64, {-1.5, 2}, 2);
  CHECK(own.step({}).after == 50);
  check_values(p.value(), {2}, DType::float64, {-16.5, 22}, 2);
}

TEST_CASE("step options: several passes over parts of a batch are one pass over the whole batch") {
  for (const double clip_norm : {inf, 0.5}) {
    for (const std::size_t parts : {1U, 3U, 4U}) {
      CAPTURE(clip_norm);
      CAPTURE(parts);
      const Tensor x = random_tensor({24, 5}, DType::float64, 1);
      Parameter a(random_tensor({5, 1}, DType::float64, 2)), b(a.value().clone());
      Adam whole({{"a", a}}, {.lr = 0.1, .weight_decay = 0.1});
      Adam parted({{"b", b}}, {.lr = 0.1, .weight_decay = 0.1});
      const auto backward = [&](Parameter& p, std::size_t begin, std::size_t end) {
        Tape tape;
        tape.backward(mean(square(matmul(x.slice(begin, end), tape.leaf(p)) - 1)));
      };
      for (int step = 0; step < 10; ++step) {
        whole.zero_grad();
        backward(a, 0, 24);
        const GradNorm one = whole.step({.clip_norm = clip_norm});
        parted.zero_grad();
        for (std::size_t k = 0; k < parts; ++k) backward(b, k * 24 / parts, (k + 1) * 24 / parts);
        const GradNorm many = parted.step({.clip_norm = clip_norm, .passes = parts});
        CHECK(std::abs(many.before - one.before) <= 1e-13 * one.before);
        CHECK(std::abs(many.after - one.after) <= 1e-13 * one.after);
        CHECK((one.after < one.before) == (one.before > clip_norm));
        check_values(b.value(), {5, 1}, DType::float64, values_of(a.value()), 400);
      }
    }
  }
}

TEST_CASE("step options: huge and vanishing sums of passes") {
  const auto moved = [](double gradient, const StepOptions& options) {
    return after_step(Tensor::full({1}, gradient, DType::float64),
                      [&](SGD& sgd) { sgd.step(options); })
        .item();
  };
  CHECK(moved(DBL_MAX, {.passes = 4}) == -DBL_MAX / 4);
  CHECK(moved(DBL_MAX, {.clip_norm = DBL_MAX, .passes = 4}) == -DBL_MAX / 4);
  CHECK(moved(DBL_MAX, {.clip_norm = 1, .passes = 4}) == -1);
  CHECK(moved(0, {.passes = 4}) == 0);
  CHECK(moved(4 * DBL_MIN, {.passes = 2}) == -2 * DBL_MIN);
  CHECK(moved(DBL_MIN, {.passes = 2}) == 0);  // subnormal
}

TEST_CASE("step options: bad input, with whole messages and nothing changed") {
  Parameter p(Tensor::zeros({2})), q(Tensor::zeros({1}, DType::float64));
  Adam adam({{"p", p}, {"q", q}}, {.lr = 0.1});
  const auto check_unchanged = [&] {
    CHECK(p.value().at(0) == 0);
    CHECK(adam.state(0).steps == 0);
    CHECK(p.events().clip.count == 0);
  };
  CHECK_THROWS_WITH_AS(adam.step({.clip_norm = 5}),
                       "[Adam] no parameter has a gradient, so nothing would move: call backward() "
                       "first, with a loss of the model that these parameters belong to",
                       UsageError);
  p.set_grad(Tensor::full({2}, 1));
  CHECK_THROWS_WITH_AS(adam.step({.clip_norm = -1}),
                       "[Adam] clip_norm is -1: it must not be negative or NaN", UsageError);
  CHECK_THROWS_WITH_AS(adam.step({.clip_norm = NAN}),
                       "[Adam] clip_norm is nan: it must not be negative or NaN", UsageError);
  CHECK_THROWS_WITH_AS(adam.step({.clip_norm = 1e-39}),
                       "[Adam] clip_norm is 1e-39, which float32 gradients cannot be scaled to: "
                       "give 0 or at least 1.1754944e-38",
                       UsageError);
  CHECK_THROWS_WITH_AS(adam.step({.passes = 0}),
                       "[Adam] passes is 0: give the number of backward passes since zero_grad()",
                       UsageError);
  check_unchanged();
  for (const double bad : {static_cast<double>(NAN), inf}) {
    q.set_grad(Tensor::full({1}, bad, DType::float64));
    const std::string message =
        std::string("[Adam] the gradient of q, shape (1), is ") + (bad == inf ? "inf" : "nan") +
        " at element 0: nothing was changed; a lower learning rate or zero_grad() before each "
        "backward are the usual cures";
    CHECK_THROWS_WITH_AS(adam.step({.clip_norm = 5}), message.c_str(), NonFiniteError);
    CHECK_THROWS_WITH_AS(adam.step({}), message.c_str(), NonFiniteError);
    check_unchanged();
  }
}
