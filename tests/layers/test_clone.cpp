#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../core/error.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/rnn_cell.h"
#include "../../optim/adam.h"
#include "../support/model_cases.h"

// Deep copies of models, also in another dtype, and what they demand of a model's visit.

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("clone: a clone gives the same bits and has nothing in common with the original") {
  const Model original = model();
  parameters(original.heads[0]).freeze();
  {
    Tape tape = Tape::training({.seed = 1, .pass = 0});
    tape.backward(original(tape, ids));
  }
  const Model copy = clone(original);
  CHECK(same_bits(parameters(copy), parameters(original)));
  CHECK(loss_of(copy) == loss_of(original));
  CHECK(copy.dropout.p == 0.25);
  CHECK(copy.readout == Readout::mean);
  CHECK(copy.name == "first");
  CHECK(copy.scales == std::vector<double>{0.5, 2});
  CHECK_FALSE(copy.heads[1].bias.defined());
  const Parameters a = parameters(original), b = parameters(copy);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].data() != b[i].data());
    CHECK_FALSE(a[i].value().shares_elements_with(b[i].value()));
    CHECK(b[i].requires_grad() == !b[i].name.starts_with("heads.0."));
    CHECK_FALSE(b[i].grad().defined());  // gradients are not copied
  }
}

TEST_CASE("clone: training the original leaves the clone, and the optimizer survives a move") {
  Model original = model();
  Model twin = model();
  const Model copy = clone(original);
  Adam adam(parameters(original), {.lr = 1e-2}), other(parameters(twin), {.lr = 1e-2});
  train(original, adam, 3);
  const Model moved = std::move(original);
  train(moved, adam, 3);
  train(twin, other, 3);
  train(twin, other, 3);
  CHECK(same_bits(parameters(moved), parameters(twin)));
  CHECK_FALSE(same_bits(parameters(moved), parameters(copy)));
  CHECK(same_bits(parameters(copy), parameters(model())));
  Adam third(parameters(copy), {.lr = 1e-2});  // and the clone learns as the original did
  train(copy, third, 3);
  train(copy, third, 3);
  CHECK(same_bits(parameters(moved), parameters(copy)));
}

TEST_CASE("clone: the float64 twin of a float32 model passes the gradient check") {
  const Model original = model();
  const Model twin = to(original, DType::float64);
  const Parameters a = parameters(original), b = parameters(twin);
  CHECK(names(a) == names(b));
  for (std::size_t i = 0; i < a.size(); ++i)
    CHECK(same_bits(a[i].value().to(DType::float64), b[i].value()));
  CHECK(std::abs(loss_of(twin) - loss_of(original)) < 1e-5 * std::abs(loss_of(twin)));
  const GradcheckReport report = gradcheck([&](Tape& tape) { return twin(tape, ids); }, b);
  CHECK_MESSAGE(report, report.text());
  const Model same = to(original, DType::float32);  // a copy all the same
  CHECK(same_bits(parameters(same), a));
  CHECK_FALSE(parameters(same)[0].value().shares_elements_with(a[0].value()));
  CHECK_THROWS_WITH_AS(to(original, DType::int32),
                       "[to] the dtype is int32: it must be float32 or float64", DtypeError);
}

TEST_CASE("clone: every module of the library can be cloned, alone and converted") {
  Rng rng(2);
  const auto check = [](const auto& m, std::size_t count) {
    CHECK(parameters(m).size() == count);
    CHECK(same_bits(parameters(clone(m)), parameters(m)));
    CHECK(names(parameters(to(m, DType::float64))) == names(parameters(m)));
  };
  check(Linear(3, 2, rng), 2);
  check(Linear(3, 2, rng, {.bias = false}), 1);
  check(Embedding(3, 2, rng), 1);
  check(LSTMCell({.input = 2, .hidden = 3}, rng), 4);
  check(LSTM({.input = 2, .hidden = 3, .layers = 3, .dropout = 0.1}, rng), 12);
  check(LSTM({.input = 2, .hidden = 3, .bias = LSTMBias::none}, rng), 2);
  check(GRU({.input = 2, .hidden = 3, .layers = 2, .dropout = 0.1}, rng), 8);
  check(GRUCell({.input = 2, .hidden = 3, .reset = GRUReset::before}, rng), 4);
  check(RNN({.input = 2, .hidden = 3, .bias = false}, rng), 2);
  check(RNNCell({.input = 2, .hidden = 3}, rng), 4);
  check(Dropout{0.5}, 0);
  CHECK(clone(Dropout{0.5}).p == 0.5);
}

namespace {

/// Its visit forgets a member.
struct Forgetful {
  Linear a;
  double rate = 0.5;
  Linear b;
  int forgotten = 0;
  void visit(auto&& v) {
    if (forgotten != 1) v("a", a);
    if (forgotten != 2) v("rate", rate);
    if (forgotten != 3) v("b", b);
    if (forgotten != 4) v("forgotten", forgotten);
  }
};

struct Outer {
  Linear first;
  Forgetful inner;
  void visit(auto&& v) {
    v("first", first);
    v("inner", inner);
  }
};

/// Members of one size but different alignments: what lies between them is padding.
struct Padded {
  bool a = false;
  Linear one;
  char b = 'x';
  float c = 1;
  bool d = false;
  Linear two;
  bool e = true;
  void visit(auto&& v) {
    v("a", a);
    v("one", one);
    v("b", b);
    v("c", c);
    v("d", d);
    v("two", two);
    v("e", e);
  }
};

/// Its visit depends on a setting that it names before.
struct Dependent {
  bool wide = false;
  Linear a, b;
  void visit(auto&& v) {
    v("wide", wide);
    v("a", a);
    v(wide ? "b" : "c", b);
  }
};

/// Its visit depends on what a default-constructed model does not have.
struct Conditional {
  Linear a, b, c;
  void visit(auto&& v) {
    v("a", a);
    if (b.weight.defined()) v("b", b);
    if (c.weight.defined()) v("c", c);
  }
};

/// Gives one name to members of two types, and has more in a new model.
struct Kinds {
  Linear a;
  double x = 0;
  int y = 0, mode = 0;
  void visit(auto&& v) {
    v("a", a);
    if (mode != 1) v("x", x);
    if (mode == 1) v("x", y);
    if (mode == 0) v("more", mode);
    if (mode == 2) v("y", y);
    if (mode == 1) v("y", x);
  }
};

struct Twice {
  Parameter a{Tensor::zeros({1})}, b{Tensor::zeros({1})};
  void visit(auto&& v) {
    v("a", a);
    v("a", b);
  }
};

}  // namespace

TEST_CASE("clone: a setting shares nothing with its copy") {
  using detail::is_shared, detail::is_walked;
  static_assert(is_shared<Tensor>() && is_shared<Linear*>() && is_shared<std::shared_ptr<int>>() &&
                is_shared<Parameters>() && is_shared<std::vector<Tensor>>());
  static_assert(!is_shared<double>() && !is_shared<std::string>() && !is_shared<Var (*)(Var)>());
  static_assert(is_walked<std::vector<std::vector<Linear>>>() && is_walked<Parameter>());
  static_assert(!is_walked<std::string>() && !is_walked<std::filesystem::path>());
}

TEST_CASE("clone: clone refuses a visit that forgets a member, and says where") {
  Rng rng(1);
  Outer m{Linear(1, 1, rng), {Linear(1, 1, rng), 0.5, Linear(1, 1, rng)}};
  CHECK_NOTHROW(clone(m));
  const auto message = [](std::size_t bytes, const char* where) {
    return fmt::format(
        "[clone] visit names no member for {} bytes of {}: name all members, or the copy would "
        "lose them",
        bytes, where);
  };
  m.inner.forgotten = 1;
  CHECK_THROWS_WITH_AS(clone(m), message(sizeof(Linear), "inner at its beginning").c_str(),
                       UsageError);
  m.inner.forgotten = 2;
  CHECK_THROWS_WITH_AS(clone(m), message(sizeof(double), "inner after inner.a").c_str(),
                       UsageError);
  m.inner.forgotten = 3;
  CHECK_THROWS_WITH_AS(clone(m), message(sizeof(Linear), "inner after inner.rate").c_str(),
                       UsageError);
  m.inner.forgotten = 4;  // an int and its padding, as big as the alignment
  CHECK_THROWS_WITH_AS(clone(m.inner), message(8, "the model after b").c_str(), UsageError);
  Padded padded{.one = Linear(1, 1, rng), .b = 'y', .two = Linear(1, 1, rng)};
  CHECK(clone(padded).b == 'y');
}

TEST_CASE("clone: clone refuses a visit that names other members in a new model") {
  Rng rng(1);
  const Dependent dependent{true, Linear(1, 1, rng), Linear(1, 1, rng)};
  CHECK(same_bits(parameters(clone(dependent)), parameters(dependent)));
  const Conditional conditional{Linear(1, 1, rng), Linear(1, 1, rng), Linear(1, 1, rng)};
  const char* same =
      ": it must name the same members in the same order, a setting before the members that depend "
      "on it";
  CHECK_THROWS_WITH_AS(clone(conditional),
                       ("[clone] visit names b.weight in the model but nothing more in a "
                        "default-constructed one" +
                        std::string(same))
                           .c_str(),
                       UsageError);
  Kinds kinds{Linear(1, 1, rng), 0.5, 2, 1};
  CHECK_THROWS_WITH_AS(clone(kinds),
                       ("[clone] visit names x in the model but x of another type in a "
                        "default-constructed one" +
                        std::string(same))
                           .c_str(),
                       UsageError);
  CHECK_THROWS_WITH_AS(parameters(Twice{}),
                       "[parameters] visit names a twice: each member must have a name of its own",
                       UsageError);
}

TEST_CASE("clone: nothing is cloned from a model that was moved from or never constructed") {
  const char* empty =
      "[clone] the model has no parameters: construct it first, and do not use it after a move";
  CHECK_THROWS_WITH_AS(clone(Model()), empty, UsageError);
  CHECK_THROWS_WITH_AS(clone(LSTM()), empty, UsageError);
  CHECK_THROWS_WITH_AS(clone(Linear()), empty, UsageError);
  Model m = model();
  const Model taken = std::move(m);
  CHECK_THROWS_WITH_AS(clone(m), empty, UsageError);  // NOLINT(bugprone-use-after-move): the point
  CHECK_THROWS_WITH_AS(to(m, DType::float64),
                       "[to] the model has no parameters: construct it first, and do not use it "
                       "after a move",
                       UsageError);
  CHECK(parameters(m).empty());
  const char* undefined =
      "[Parameter] the parameter is undefined: construct the layer with its sizes and an Rng "
      "first, and do not use it after a move";
  CHECK_THROWS_WITH_AS(m.shift.value(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(m.shift.grad(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(m.shift.share(), undefined, UsageError);
  CHECK_THROWS_WITH_AS(m.shift.set_requires_grad(false), undefined, UsageError);
  CHECK_THROWS_WITH_AS(LSTMCell().zero_state(1), undefined, UsageError);
}
