#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/inspect/hooks.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/parameters.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../core/rng.h"
#include "../../layers/linear.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

Parameter ones(const Shape& shape) { return Parameter(Tensor::full(shape, 1, DType::float64)); }

/// A pass whose gradient is 2 w, left by an op that adds a Tensor.
void backward_of_square(const Parameter& w) {
  Tape tape;
  tape.backward(sum(square(tape.leaf(w))));
}

/// A pass whose gradient is x^T, left by an op that writes into the memory it is given.
void backward_of_product(const Parameter& w, double x) {
  Tape tape;
  tape.backward(
      sum(matmul(Var(Tensor::full({1, w.value().size(0)}, x, DType::float64)), tape.leaf(w))));
}

}  // namespace

// --- the gradient ---

TEST_CASE("parameter: no gradient is an undefined Tensor, or zeros for whoever wants a sum") {
  Parameter w = ones({2});
  CHECK_FALSE(w.grad().defined());
  CHECK(w.grad_or_zeros().at(1) == 0);
  CHECK(w.grad_or_zeros().dtype() == DType::float64);
  backward_of_square(w);
  CHECK(w.grad_or_zeros().shares_elements_with(w.grad()));
  const NamedParameter named("w", w);
  CHECK(named.grad().shares_elements_with(w.grad()));
  w.zero_grad();
  CHECK_FALSE(w.grad().defined());
  CHECK_FALSE(named.grad().defined());
}

TEST_CASE("parameter: the gradient's memory is kept for life") {
  Parameter w = ones({3, 2});
  backward_of_product(w, 2);
  const double* const memory = w.grad().data<double>();
  for (int pass = 1; pass < 4; ++pass) {
    w.zero_grad();
    if (pass % 2 == 0) {
      backward_of_square(w);
    } else {
      backward_of_product(w, pass);
    }
    CHECK(w.grad().at(5) == (pass % 2 == 0 ? 2 : pass));
    backward_of_square(w);  // adds
    CHECK(w.grad().at(5) == (pass % 2 == 0 ? 4 : pass + 2));
    w.set_grad(Tensor::full({3, 2}, 5, DType::float64));
    CHECK(w.grad().data<double>() == memory);
  }
  w.set_requires_grad(false);
  w.set_requires_grad(true);
  backward_of_square(w);
  CHECK(w.grad().data<double>() == memory);
}

TEST_CASE("parameter: a gradient that somebody holds a copy of does not change under him") {
  Parameter w = ones({2, 2});
  const Parameters all{{"w", w}};
  for (const bool product : {false, true}) {
    const auto backward = [&] { product ? backward_of_product(w, 7) : backward_of_square(w); };
    w.zero_grad();
    backward();
    const Tensor first = w.grad(), expected = first.clone();
    const auto same = [&] {
      return first.at(0) == expected.at(0) && first.at(3) == expected.at(3);
    };
    backward();
    CHECK(same());
    CHECK(w.grad().at(3) == 2 * expected.at(3));
    const Tensor second = w.grad();
    const double sum = second.at(0);
    w.zero_grad();
    backward();
    CHECK(second.at(0) == sum);
    const Tensor third = w.grad();
    clip_grad_norm(all, 1e-3);
    CHECK(third.at(0) == expected.at(0));
    const Tensor fourth = w.grad();
    const double clipped = fourth.at(0);
    w.mutable_grad().fill(9);
    CHECK(fourth.at(0) == clipped);
    const Tensor fifth = w.grad();
    w.set_grad(Tensor::zeros({2, 2}, DType::float64));
    CHECK(fifth.at(0) == 9);
    CHECK(same());
  }
}

TEST_CASE("parameter: memory that a failed pass was given holds no gradient") {
  Parameter w = ones({2, 2});
  backward_of_product(w, 3);
  w.zero_grad();
  {
    Tape tape;
    const Var x = tape.leaf(w);
    const Var y = matmul(Var(Tensor::full({1, 2}, 1, DType::float64)), exp(x));
    hook(x, [](const Var&) -> Var { throw std::runtime_error("stop"); });
    CHECK_THROWS_AS(tape.backward(sum(y)), std::runtime_error);
  }
  CHECK_FALSE(w.grad().defined());
  CHECK(w.events().backward.count == 1);
  backward_of_product(w, 4);
  CHECK(w.grad().at(3) == 4);
}

// --- events ---

TEST_CASE("parameter: events are counted, and their order is known") {
  Parameter w = ones({2});
  const Parameters all{{"w", w}};
  CHECK(w.events().all == 0);
  SGD sgd(all, {.lr = 0.1});
  backward_of_square(w);
  backward_of_square(w);
  clip_grad_norm(all, 1);
  sgd.step();
  CHECK(w.events().optimizer.count == 1);
  CHECK(w.events().backward.count == 2);
  CHECK(w.events().clip.count == 1);
  CHECK(w.events().step.count == 1);
  CHECK(w.events().backward.last < w.events().clip.last);
  CHECK(w.events().clip.last < w.events().step.last);
  CHECK(w.events().zero_grad.last == 0);
  sgd.zero_grad();
  w.set_value(Tensor::zeros({2}, DType::float64));
  w.set_grad(Tensor::zeros({2}, DType::float64));
  clip_grad_value(all, 1);
  CHECK(w.events().zero_grad.last == 6);
  CHECK(w.events().set_value.last == 7);
  CHECK(w.events().set_grad.last == 8);
  CHECK(w.events().clip.last == 9);
  CHECK(w.events().all == 9);
  Tape tape;
  (void)tape.gradient(sum(tape.leaf(w)), {tape.leaf(w)});
  CHECK(w.events().all == 9);  // gradient() touches no Parameter
}

// --- lists ---

TEST_CASE("parameters: one that a list names twice counts once, everywhere") {
  Rng rng(1);
  Linear a(2, 3, rng, {.bias = false, .dtype = DType::float64});
  Linear b(2, 3, rng, {.bias = false, .dtype = DType::float64});
  b.weight = a.weight.share();
  Parameters joined{{"a.weight", a.weight}};
  joined += Parameters{{"b.weight", b.weight}};
  joined += joined;
  CHECK(joined.size() == 4);
  CHECK(joined.count() == 6);
  a.weight.set_grad(Tensor::full({3, 2}, 2, DType::float64));
  CHECK(joined.memory().values == 48);
  CHECK(joined.memory().gradients == 48);
  CHECK(joined.describe() == (Parameters{{"a.weight", a.weight}}).describe());
  CHECK(joined.find("b.weight").data() == a.weight.data());
  CHECK(joined.with_prefix("b.").size() == 2);

  const GradNorm norm = clip_grad_norm(joined, 1);
  CHECK(norm.before == doctest::Approx(std::sqrt(24.0)).epsilon(1e-15));
  CHECK(a.weight.grad().at(0) == doctest::Approx(1 / std::sqrt(6.0)).epsilon(1e-15));
  CHECK(a.weight.events().clip.count == 1);
  clip_grad_value(joined, 0.1);
  CHECK(a.weight.events().clip.count == 2);
  joined.zero_grad();
  CHECK(a.weight.events().zero_grad.count == 1);

  const Tensor before = a.weight.value().clone();
  TempFolder folder;
  save_parameters(folder / "joined", joined);
  a.weight.set_value(Tensor::zeros({3, 2}, DType::float64));
  load_parameters(folder / "joined", joined);
  CHECK(a.weight.value().at(5) == before.at(5));
  load_parameters(folder / "joined", {{"a.weight", a.weight}});
  joined.copy_values(joined);
  CHECK(a.weight.value().at(5) == before.at(5));
  joined.freeze();
  CHECK_FALSE(b.weight.requires_grad());
  joined.unfreeze();
  CHECK(b.weight.requires_grad());
  CHECK_THROWS_WITH_AS(
      SGD(joined, {.lr = 1}),
      "[SGD] a.weight and b.weight are the same parameter: it would move twice a step; name it "
      "once",
      UsageError);
  const auto loss = [&](Tape& tape) {
    return sum(square(a(tape, Tensor::full({1, 2}, 1, DType::float64))));
  };
  CHECK(gradcheck(loss, joined));
}

TEST_CASE("parameters: a list is built, joined and read like a vector") {
  const Parameter a = ones({1}), b = ones({2});
  Parameters list = Parameters{{"a", a}} + Parameters{{"b", b, {"c"}}};
  CHECK(list.size() == 2);
  CHECK_FALSE(list.empty());
  CHECK(list[1].ties == std::vector<std::string>{"c"});
  list.add("d", a);
  CHECK(list.size() == 2);
  CHECK(list.find("d").name == "a");
  list.add("e", ones({4}));
  CHECK(list.count() == 7);
  std::string names;
  for (const NamedParameter& p : list) names += p.name;
  CHECK(names == "abe");
}

// --- what is derived from a value ---

namespace {

struct Sum {
  double sum = 0;
};

Sum sum_of(const Tensor& value) {
  Sum s;
  for (std::size_t i = 0; i < value.numel(); ++i) s.sum += value.at(i);
  return s;
}

/// Whether `p` keeps what is derived from its value, and it is right.
bool keeps(const ParameterHandle& p) {
  const auto first = p.derived<Sum>(sum_of), again = p.derived<Sum>(sum_of);
  CHECK(first->sum == sum_of(p.value()).sum);
  CHECK(again->sum == first->sum);
  return first == again;
}

}  // namespace

TEST_CASE("derived: made once per version and type, and anew after every kind of write") {
  Rng rng(3);
  LSTM lstm({.input = 2, .hidden = 3, .dtype = DType::float64}, rng);
  LSTM other({.input = 2, .hidden = 3, .dtype = DType::float64}, rng);
  const Parameters all = parameters(lstm);
  Adam adam(all, {.lr = 0.1});
  const auto fresh_after = [&](const char* what, auto&& write) {
    CAPTURE(what);
    std::vector<std::shared_ptr<const Sum>> before;
    for (const NamedParameter& p : all) before.push_back(p.derived<Sum>(sum_of));
    write();
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(keeps(all[i]));
      CHECK(all[i].derived<Sum>(sum_of) != before[i]);
    }
  };
  for (const NamedParameter& p : all) CHECK(keeps(p));
  fresh_after("step", [&] {
    for (const NamedParameter& p : all) p.set_grad(p.value());
    adam.step();
  });
  fresh_after("set_value", [&] {
    for (const auto& p : all) p.set_value(p.value());
  });
  fresh_after("copy_values", [&] { all.copy_values(parameters(other)); });
  TempFolder folder;
  save_parameters(folder / "lstm", parameters(other));
  fresh_after("load", [&] { load_parameters(folder / "lstm", all); });
  fresh_after("fill of a copy", [&] {
    for (const NamedParameter& p : all) Tensor(p.value()).fill(2);
  });
  fresh_after("copy into a slice", [&] {
    for (const NamedParameter& p : all) p.value().slice(0, 1).fill(3);
  });
  fresh_after("gradcheck", [&] {
    const Tensor x = rng.normal({2, 1, 2}, 0, 1, DType::float64);
    CHECK(gradcheck(
        [&](Tape& tape) {
          for (const NamedParameter& p : all) CHECK(keeps(p));
          return sum(square(lstm(tape, x).y));
        },
        all));
  });

  const Parameter& w = lstm.layers[0].weight_hh;
  const auto number = w.derived<int>([](const Tensor&) { return 7; });
  CHECK(*number == 7);
  CHECK(keeps(w));
  CHECK(w.derived<int>([](const Tensor&) { return 8; }) == number);
  w.data()->set_value(w.value());
  CHECK_THROWS_AS(w.derived<int>([](const Tensor&) -> int { throw std::runtime_error("no"); }),
                  std::runtime_error);
  CHECK(*w.derived<int>([](const Tensor&) { return 9; }) == 9);
  CHECK(*number == 7);  // whoever holds it keeps it
}

TEST_CASE("derived: right after a write through a pointer that was kept") {
  Rng rng(4);
  const LSTM lstm({.input = 2, .hidden = 3}, rng);
  for (const NamedParameter& p : parameters(lstm)) {
    CHECK(keeps(p));
    Tensor value = p.value();
    float* const kept = value.mutable_data<float>();
    (void)p.derived<Sum>(sum_of);
    const auto version = p.value().version();
    kept[0] += 1;  // no version tells
    CHECK(p.value().version() == version);
    CHECK(p.derived<Sum>(sum_of)->sum == sum_of(p.value()).sum);
    CHECK_FALSE(keeps(p));
  }
  for (const NamedParameter& p : parameters(clone(lstm))) CHECK(keeps(p));
}

TEST_CASE("derived: right while gradcheck writes into an LSTM's memory") {
  Rng rng(5);
  const LSTM lstm({.input = 2, .hidden = 3, .dtype = DType::float64}, rng);
  const Parameter& w = lstm.layers[0].weight_hh;
  const Tensor x = rng.normal({3, 2, 2}, 0, 1, DType::float64);
  /// The loss, with a recurrent weight that was derived from the Parameter's.
  const auto loss = [&](Tape& tape, bool through_cache) {
    LSTM copy = clone(lstm);
    if (through_cache) {
      const auto packed = w.derived<Tensor>([](const Tensor& value) { return value.clone(); });
      copy.layers[0].weight_hh.set_value(*packed);
    }
    return sum(square(copy(tape, x).y));
  };
  Tape tape;
  tape.backward(sum(square(lstm(tape, x).y)));
  Tensor value = w.value();
  const GradcheckReport report = gradcheck(
      [&] {
        Tape inference = Tape::inference();
        return loss(inference, true).item();
      },
      {grad_block("W", value.mutable_values<double>(), w.grad().values<double>())});
  CHECK_MESSAGE(report, report.text());
}

TEST_CASE("derived: threads that ask together share one, made once") {
  const Parameter w = ones({64});
  std::atomic<int> made = 0;
  for (int version = 1; version < 20; ++version) {
    std::vector<std::shared_ptr<const Sum>> got(8);
    std::vector<std::thread> threads;
    for (auto& result : got) {
      threads.emplace_back([&] {
        result = w.derived<Sum>([&](const Tensor& value) {
          ++made;
          return sum_of(value);
        });
      });
    }
    for (std::thread& t : threads) t.join();
    CHECK(made == version);
    for (const auto& result : got) CHECK(result == got[0]);
    w.data()->set_value(w.value());
  }
}
