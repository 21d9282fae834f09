#include <doctest/doctest.h>

#include <cmath>
#include <type_traits>
#include <utility>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../layers/model/clone.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/model_cases.h"
#include "../support/temp_folder.h"

// Models with ties, freezing, listing, values by name. (Copies: test_clone.cpp.)

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("models: parameters of a const model, named by paths; settings are passed over") {
  const Model m = model();
  CHECK(names(parameters(m)) ==
        std::vector<std::string>{"embed.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0",
                                 "lstm.bias_ih_l0", "lstm.weight_ih_l1", "lstm.weight_hh_l1",
                                 "lstm.bias_ih_l1", "cells.0.weight_ih", "cells.0.weight_hh",
                                 "cells.1.weight_ih", "cells.1.weight_hh", "heads.0.weight",
                                 "heads.0.bias", "heads.1.weight", "shift"});
}

// --- ties ---

TEST_CASE("models: a tied Parameter is one, listed once, with the gradient of both uses") {
  static_assert(!std::is_copy_constructible_v<Parameter> && !std::is_copy_assignable_v<Parameter>);
  static_assert(!std::is_copy_constructible_v<Tied> && std::is_move_constructible_v<Tied>);
  const Tied m = tied();
  const Parameters all = parameters(m);
  CHECK(names(all) == std::vector<std::string>{"embed.weight", "head.bias"});
  CHECK(all[0].ties == std::vector<std::string>{"head.weight"});

  // The same function of two weights has the two parts of the gradient.
  Tied apart = tied();
  Rng rng(1);
  apart.head.weight = Parameter(m.embed.weight.value().clone());
  for (const Tied* which : {&m, &std::as_const(apart)}) {
    Tape tape;
    tape.backward((*which)(tape, ids));
  }
  const Tensor whole = m.embed.weight.grad();
  for (std::size_t i = 0; i < whole.numel(); ++i) {
    const double parts = apart.embed.weight.grad().at(i) + apart.head.weight.grad().at(i);
    CHECK(std::abs(whole.at(i) - parts) < 1e-14);
  }
  const GradcheckReport report = gradcheck([&](Tape& tape) { return m(tape, ids); }, all);
  CHECK_MESSAGE(report, report.text());
}

TEST_CASE("models: a tied Parameter is clipped, stepped, saved and loaded once") {
  const Tied m = tied();
  {
    Tape tape;
    tape.backward(m(tape, ids));
  }
  const Tensor before = m.embed.weight.value().clone(), gradient = m.embed.weight.grad().clone();
  double squares = 0;
  for (const NamedParameter& p : parameters(m)) {
    for (std::size_t i = 0; i < p.grad().numel(); ++i) squares += p.grad().at(i) * p.grad().at(i);
  }
  CHECK(std::abs(clip_grad_norm(parameters(m), INFINITY).before - std::sqrt(squares)) < 1e-14);
  SGD(parameters(m), {.lr = 0.5}).step();
  for (std::size_t i = 0; i < before.numel(); ++i)
    CHECK(m.head.weight.value().at(i) == before.at(i) - 0.5 * gradient.at(i));

  const TempFolder folder;
  save_parameters(folder / "tied", parameters(m));
  const Tied loaded = tied(7);
  load_parameters(folder / "tied", parameters(loaded));
  CHECK(same_bits(loaded.head.weight.value(), m.embed.weight.value()));
  CHECK(loaded.head.weight.data() == loaded.embed.weight.data());
}

TEST_CASE("models: ties are kept by clone, to and a move, and can be cut") {
  Tied m = tied();
  for (const Tied& copy : {clone(m), to(m, DType::float32)}) {
    CHECK(copy.head.weight.data() == copy.embed.weight.data());
    CHECK(copy.head.weight.data() != m.head.weight.data());
  }
  const Tied moved = std::move(m);
  CHECK(moved.head.weight.data() == moved.embed.weight.data());
  Tied cut = clone(moved);
  cut.head.weight = Parameter(cut.embed.weight.value().clone());
  CHECK(parameters(cut).size() == 3);
}

TEST_CASE("models: a Parameter has its elements for itself") {
  const Tensor shared = Tensor::of({2}, {1, 2}, DType::float64);
  const Parameter a(shared), b(a.value());
  CHECK_FALSE(a.value().shares_elements_with(shared));
  CHECK_FALSE(b.value().shares_elements_with(a.value()));
  Tensor own = Tensor::of({2}, {1, 2}, DType::float64);
  const double* const elements = own.data<double>();
  const Parameter taken(std::move(own));
  CHECK(taken.value().data<double>() == elements);  // no copy
}

TEST_CASE(
    "models: a layer refuses an input of another tape, where its weights would be constants") {
  Rng rng(1);
  const Linear head(3, 2, rng);
  const LSTM lstm({.input = 3, .hidden = 3}, rng);
  const LSTMCell cell({.input = 3, .hidden = 3}, rng);
  Tape training = Tape::training({.seed = 1, .pass = 0}), inference = Tape::inference();
  const Var x = training.leaf(Tensor::zeros({4, 2, 3}));
  const Var row = training.leaf(Tensor::zeros({2, 3}));
  const auto refused = [](const std::string& layer, const std::function<void()>& use,
                          const std::string& name = "x") {
    CHECK_THROWS_WITH_AS(use(),
                         ("[" + layer + "] " + name +
                          " was recorded on another tape than the one given: use one tape for a "
                          "pass, or detach() " +
                          name)
                             .c_str(),
                         UsageError);
  };
  refused("Linear", [&] { (void)head(inference, row); });
  refused("LSTM", [&] { (void)lstm(inference, x); });
  refused(
      "LSTM",
      [&] {
        (void)lstm(inference, x.detach(),
                   {training.leaf(Tensor::zeros({1, 2, 3})), Tensor::zeros({1, 2, 3})});
      },
      "state.h");
  refused("LSTMCell", [&] { (void)cell(inference, row, cell.zero_state(2)); });
  refused("dropout", [&] { (void)dropout(inference, row, 0.5); });
  (void)head(inference, row.detach());  // the cure
  (void)head(training, row);
}

// --- freezing ---

TEST_CASE("models: what is frozen after it was recorded gets no gradient") {
  Rng rng(1);
  Linear layer(3, 2, rng);
  Tape tape;
  const Var loss = sum(layer(tape, Tensor::full({1, 3}, 1)));
  parameters(layer).with_prefix("weight").freeze();
  tape.backward(loss);
  CHECK_FALSE(layer.weight.grad().defined());
  CHECK(layer.bias.grad().defined());
  Adam adam(parameters(layer), {.lr = 1e-2});
  layer.weight.set_grad(Tensor::zeros({2, 3}));
  layer.bias.zero_grad();
  CHECK_THROWS_AS(adam.step(), UsageError);  // the only gradient is of what does not move
}

TEST_CASE("models: what is frozen has no node, no gradient, and does not move") {
  const Model m = model();
  Adam adam(parameters(m), {.lr = 1e-2});
  Tape all = Tape::training({.seed = 1, .pass = 0});
  all.backward(m(all, ids));
  parameters(m.lstm).freeze();
  parameters(m).with_prefix("heads.1.").freeze();
  const Model before = clone(m);
  CHECK_FALSE(m.lstm.layers[0].weight_hh.grad().defined());  // forgotten, not stale
  Tape some = Tape::training({.seed = 1, .pass = 0});
  const Var loss = m(some, ids);
  CHECK(some.size() < all.size());
  adam.zero_grad();
  some.backward(loss);
  adam.step();
  const Parameters now = parameters(m), then = parameters(before);
  for (std::size_t i = 0; i < now.size(); ++i) {
    const bool frozen = now[i].name.starts_with("lstm.") || now[i].name == "heads.1.weight";
    INFO(now[i].name);
    CHECK(now[i].requires_grad() == !frozen);
    CHECK(now[i].grad().defined() == !frozen);
    CHECK(same_bits(now[i].value(), then[i].value()) == frozen);
  }
  parameters(m).unfreeze();
  train(m, adam, 1);
  CHECK_FALSE(
      same_bits(m.lstm.layers[0].weight_hh.value(), before.lstm.layers[0].weight_hh.value()));

  const Tied t = tied();
  parameters(t).with_prefix("head.w").freeze();  // a tie has all its names
  CHECK_FALSE(t.embed.weight.requires_grad());
  CHECK(t.head.bias.requires_grad());
}

TEST_CASE("models: a name or prefix that does not exist lists near ones") {
  const Model m = model();
  const Parameters all = parameters(m);
  CHECK(all.find("heads.0.bias").data() == m.heads[0].bias.data());
  CHECK(parameters(tied()).find("head.weight").name == "embed.weight");
  CHECK(names(all.with_prefix("lstm.bias")) ==
        std::vector<std::string>{"lstm.bias_ih_l0", "lstm.bias_ih_l1"});
  CHECK_THROWS_WITH_AS(all.find("head.0.bias"),
                       "[find] there is no parameter head.0.bias: is it heads.0.bias?", UsageError);
  CHECK_THROWS_WITH_AS(all.with_prefix("embd."),
                       "[with_prefix] no parameter's name begins with embd.: is it "
                       "embed.weight?",
                       UsageError);
  CHECK_THROWS_WITH_AS(Parameters().find("a"),
                       "[find] there is no parameter a: there are no parameters", UsageError);
}

// --- values by name ---

TEST_CASE("models: values are copied by name, all or none") {
  const Model a = model(1), b = model(2);
  const Tensor stays = b.shift.value();
  parameters(b).copy_values(parameters(a));
  CHECK(same_bits(parameters(a), parameters(b)));
  CHECK(b.shift.value().shares_elements_with(stays));  // copied, not shared
  parameters(a).copy_values(parameters(a));
  CHECK(same_bits(parameters(a), parameters(b)));

  Rng rng(3);
  const Tied wider{Embedding(5, 4, rng, DType::float64), Linear(4, 6, rng, {.bias = false})};
  const Tied target = tied();
  const Tied before = clone(target);
  CHECK_THROWS_WITH_AS(
      parameters(target).copy_values(parameters(wider)),
      "[copy_values] the source does not fit this model, nothing was copied: embed.weight is "
      "float64 (5, 4) in the source but float64 (5, 3) in the model; missing head.bias, float64 "
      "(5); unexpected head.weight, float32 (6, 4)",
      UsageError);
  Tied misses_one = clone(target);
  misses_one.head.bias = Parameter(Tensor::zeros({4}, DType::float64));
  misses_one.embed.weight.set_value(
      Tensor::full(misses_one.embed.weight.value().shape(), 7, DType::float64));
  CHECK_THROWS_AS(parameters(target).copy_values(parameters(misses_one)), UsageError);
  CHECK(same_bits(parameters(target), parameters(before)));
}

// --- listing ---

TEST_CASE("models: a description for people") {
  const Tied m = tied();
  parameters(m).with_prefix("head.bias").freeze();
  CHECK(parameters(m).describe() ==
        "name          shape   dtype    elements  bytes\n"
        "embed.weight  (5, 3)  float64        15    120  tied: head.weight\n"
        "head.bias     (5)     float64         5     40  frozen\n"
        "2 parameters, 20 elements (5 frozen), 160 bytes of values, 0 bytes of gradients\n");
  CHECK(parameters(m).count() == 20);
  Tape tape;
  tape.backward(m(tape, ids));
  CHECK(parameters(m).memory().values == 160);
  CHECK(parameters(m).memory().gradients == 120);
  CHECK(parameters(model()).count() ==
        15 + 2 * 4 * 4 * (4 + 1) + 4 * 4 * (3 + 4) + 2 * 4 * 4 * 7 + 25 + 8 + 4);
  CHECK(parameters(Dropout{}).describe() ==
        "name  shape  dtype  elements  bytes\n"
        "0 parameters, 0 elements (0 frozen), 0 bytes of values, 0 bytes of gradients\n");
}
