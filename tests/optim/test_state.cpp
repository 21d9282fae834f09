#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/parameters.h"
#include "../../core/data/windows.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../core/io/safetensors.h"
#include "../../layers/dropout.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/temp_folder.h"

// A training that is saved, and goes on from the file in new objects, ends with the same bits.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t V = 7;

struct Model {
  Embedding embed;
  LSTM lstm;
  Linear head;
  Dropout dropout{0.3};
  explicit Model(Rng& rng, std::size_t hidden = 6)
      : embed(V, 4, rng),
        lstm({.input = 4, .hidden = hidden, .layers = 2, .dropout = 0.2}, rng),
        head(hidden, V, rng) {}
  void visit(auto&& v) { v("embed", embed), v("lstm", lstm), v("head", head), v("drop", dropout); }
};

Tensor text() {
  Rng rng(5);
  std::vector<std::int32_t> ids(200);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng.below(V));
  return Tensor::from<std::int32_t>({ids.size()}, ids);
}

/// All that a training loop has, and its step.
struct Training {
  Rng rng;
  Model model;
  StreamWindows windows{text(), 8, 3};
  StreamWindows::Iterator window = windows.begin();
  std::unique_ptr<Optimizer> optimizer;
  std::uint64_t pass = 0;
  double best = 1e300;

  Training(std::uint64_t seed, bool adam) : rng(seed), model(rng) {
    const Parameters all = parameters(model);
    const Parameters rest = parameters(model.lstm) + parameters(model.head);
    if (adam) {
      optimizer = std::make_unique<Adam>(std::vector<Adam::Group>{
          {parameters(model.embed), {.lr = 0.05}}, {rest, {.lr = 0.01, .weight_decay = 1e-3}}});
    } else {
      optimizer = std::make_unique<SGD>(
          std::vector<SGD::Group>{{parameters(model.embed), {.lr = 0.5}},
                                  {rest, {.lr = 0.1, .momentum = 0.9, .dampening = 0.5}}});
    }
    (void)all;
  }
  void step() {
    const Window w = *window;
    Tape tape = Tape::training({.seed = 3, .pass = pass++});
    const Var h = model.lstm(tape, model.dropout(tape, model.embed(tape, w.inputs))).y;
    const Var loss = cross_entropy(model.head(tape, model.dropout(tape, h)), w.targets);
    optimizer->zero_grad();
    tape.backward(loss);
    clip_grad_norm(optimizer->parameters(), 1 + rng.uniform());
    optimizer->step();
    optimizer->set_learning_rate(0.9 * optimizer->learning_rate(1), 1);
    best = std::min(best, loss.item());
    if (++window == windows.end()) window = windows.begin();
  }
  void state(Archive& a) {
    a("model", parameters(model));
    a("optimizer", *optimizer);
    a("rng", rng);
    a("window", window);
    a("pass", pass);
    a("best", best);
  }
  std::string bits() const {
    std::string all;
    for (const NamedParameter& p : parameters(model)) {
      const Tensor value = p.value();
      all.append(reinterpret_cast<const char*>(value.data<float>()), 4 * value.numel());
    }
    return all;
  }
};

void save(const std::filesystem::path& path, Training& t) {
  save_state(path, [&](Archive& a) { t.state(a); });
}
void load(const std::filesystem::path& path, Training& t) {
  load_state(path, [&](Archive& a) { t.state(a); });
}

std::string refusal(const std::filesystem::path& path, const std::function<void(Archive&)>& f) {
  try {
    load_state(path, f);
  } catch (const FileError& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("state: a training continued from a file gives the same bits") {
  TempFolder folder;
  for (const bool adam : {true, false}) {
    for (const int stop : {0, 1, 5, 11}) {
      CAPTURE(adam);
      CAPTURE(stop);
      Training whole(1, adam);
      for (int i = 0; i < stop; ++i) whole.step();
      save(folder / "state", whole);
      for (int i = 0; i < 9; ++i) whole.step();

      Training resumed(2, adam);  // other weights, another stream
      if (stop == 5) resumed.step();
      load(folder / "state", resumed);
      for (int i = 0; i < 9; ++i) resumed.step();
      CHECK(resumed.bits() == whole.bits());
      CHECK(resumed.best == whole.best);
      CHECK(resumed.rng.next() == whole.rng.next());
      CHECK(resumed.optimizer->learning_rate(1) == whole.optimizer->learning_rate(1));
    }
  }
}

TEST_CASE("state: what does not fit is refused by name, before anything changes") {
  TempFolder folder;
  Training saved(1, true);
  for (int i = 0; i < 2; ++i) saved.step();
  save(folder / "state", saved);

  Training sgd(2, false);
  sgd.step();
  const std::string before = sgd.bits();
  const std::uint32_t next = Rng(sgd.rng).next();
  const std::string message = refusal(folder / "state", [&](Archive& a) { sgd.state(a); });
  CHECK(message.starts_with("[load_state] "));
  CHECK(has(message,
            "does not fit, nothing was loaded: optimizer.optimizer is 'Adam' in the file "
            "but 'SGD' here"));
  CHECK(has(message, "missing optimizer.1.bias.velocity, float32 (7)"));
  CHECK(has(message, "unexpected optimizer.0.weight.m, float32 (7, 4)"));
  CHECK(sgd.bits() == before);
  CHECK(Rng(sgd.rng).next() == next);
  CHECK(sgd.pass == 1);

  Rng rng(3);
  Model wider(rng, 8);
  Adam adam(parameters(wider));
  const std::string shapes = refusal(folder / "state", [&](Archive& a) {
    a("model", parameters(wider));
    a("optimizer", adam);
  });
  CHECK(has(shapes, "model.head.weight is float32 (7, 6) in the file but float32 (7, 8) here"));
  CHECK(has(shapes, "unexpected window.steps"));
  CHECK(adam.learning_rate() == 1e-3);

  TensorFile file = load_tensors(folder / "state");
  file.metadata["optimizer.1.lr"] = "1e39";  // beyond float32
  save_tensors(folder / "fast", file);
  CHECK(has(refusal(folder / "fast", [&](Archive& a) { saved.state(a); }),
            "optimizer.1.lr is '1e39' but must be a number in [0, 3.40282"));

  StreamWindows other(text(), 9, 3);
  auto window = other.begin();
  CHECK(has(refusal(folder / "state", [&](Archive& a) { a("window", window); }),
            "window.steps is '8' in the file but '9' here"));
  save_parameters(folder / "model", parameters(saved.model));
  CHECK(has(refusal(folder / "model", [&](Archive& a) { saved.state(a); }),
            "missing tapegrad.state"));
}

TEST_CASE("state: numbers keep their bits, and are refused out of range") {
  TempFolder folder;
  const auto state_of = [](bool& b, int& i, std::uint64_t& u, float& f, double& d, std::string& s) {
    return [&](Archive& a) { a("b", b), a("i", i), a("u", u), a("f", f), a("d", d), a("s", s); };
  };
  bool b = true;
  int i = -2'000'000'000;
  std::uint64_t u = UINT64_MAX;
  float f = 0.1F;
  double d = 5e-324;
  std::string s = "a\n\"b";
  save_state(folder / "numbers", state_of(b, i, u, f, d, s));
  bool b2 = false;
  int i2 = 0;
  std::uint64_t u2 = 0;
  float f2 = 0;
  double d2 = 0;
  std::string s2;
  load_state(folder / "numbers", state_of(b2, i2, u2, f2, d2, s2));
  CHECK((b2 && i2 == i && u2 == u && f2 == f && d2 == d && s2 == s));

  for (const auto& [key, bad] : std::map<std::string, std::string>{{"b", "2"},
                                                                   {"i", "3000000000"},
                                                                   {"u", "-1"},
                                                                   {"f", "1e39"},
                                                                   {"d", "nan"},
                                                                   {"d", "1x"}}) {
    TensorFile file = load_tensors(folder / "numbers");
    file.metadata[key] = bad;
    save_tensors(folder / "bad", file);
    const std::string message = refusal(folder / "bad", state_of(b2, i2, u2, f2, d2, s2));
    CHECK(has(message, key + " is '" + bad + "' but must be a number in ["));
  }
  CHECK_THROWS_WITH_AS(save_state(folder / "x", [&](Archive& a) { a("b", b), a("b", b); }),
                       "[save_state] two parts are called b: give the objects names of their own",
                       UsageError);
}

TEST_CASE("state: metadata are read with their names and limits") {
  TempFolder folder;
  save_tensors(folder / "model", {{}, {{"hidden", "12"}, {"name", "x"}, {"bad", "12 "}}});
  const TensorFile file = load_tensors(folder / "model");
  CHECK(file.number("hidden", 1, 100) == 12);
  CHECK(file.text("name") == "x");
  const std::string path = (folder / "model").string();
  const auto message = [&](auto&& f) -> std::string {
    try {
      f();
    } catch (const FileError& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message([&] { (void)file.text("layers"); }) ==
        "[TensorFile] " + path +
            " has no metadata 'layers': it must be a file that was written for this use");
  CHECK(message([&] { (void)file.number("hidden", 1, 10); }) ==
        "[TensorFile] " + path + " has '12' as metadata 'hidden': it must be a number in [1, 10]");
  CHECK(has(message([&] { (void)file.number("bad", 1, 100); }), "has '12 ' as metadata 'bad'"));
}

// --- options and squares ---

TEST_CASE("optim: an option is judged as the kernel sees it") {
  const Parameter single(Tensor::full({1}, 1)), exact(Tensor::full({1}, 1, DType::float64));
  const auto adam = [&](const Parameter& p, AdamOptions o) { Adam(Parameters{{"p", p}}, o); };
  const auto sgd = [&](const Parameter& p, SGDOptions o) { SGD(Parameters{{"p", p}}, o); };
  CHECK_THROWS_WITH_AS(adam(single, {.epsilon = 1e-46}),
                       "[Adam] epsilon is 1e-46, which is 0 in the arithmetic of float32: it must "
                       "be in [0, inf) there, and 0 only if 0 is meant",
                       UsageError);
  CHECK_THROWS_AS(adam(single, {.epsilon = 1e-39}), UsageError);  // subnormal
  CHECK_THROWS_AS(adam(single, {.beta2 = 1 - 1e-9}), UsageError);
  CHECK_THROWS_AS(adam(single, {.beta1 = 1e-60}), UsageError);
  CHECK_THROWS_AS(adam(single, {.lr = 1e39}), UsageError);
  CHECK_THROWS_AS(adam(single, {.lr = 1e-50}), UsageError);
  CHECK_THROWS_AS(adam(single, {.weight_decay = 1e-50}), UsageError);
  CHECK_THROWS_AS(sgd(single, {.lr = 1, .momentum = 1e-50}), UsageError);
  CHECK_THROWS_AS(sgd(single, {.lr = 1, .momentum = 1 - 1e-10}), UsageError);
  CHECK_THROWS_AS(adam(exact, {.epsilon = 1e-310}), UsageError);
  adam(exact, {.lr = 1e-50, .beta1 = 1e-60, .beta2 = 1 - 1e-9, .epsilon = 1e-46});
  CHECK_THROWS_AS(Adam(Parameters{{"a", exact}, {"b", single}}, {.epsilon = 1e-46}), UsageError);

  Adam schedule(Parameters{{"p", single}});
  schedule.set_learning_rate(1e-50);  // the end of a schedule: 0
  CHECK_THROWS_AS(schedule.set_learning_rate(1e39), UsageError);
  CHECK(schedule.learning_rate() == 1e-50);
  single.data()->set_grad(Tensor::full({1}, 1));
  CHECK_THROWS_AS(clip_grad_norm(schedule.parameters(), 1e-46), UsageError);
  CHECK_THROWS_AS(clip_grad_value(schedule.parameters(), 1e-46), UsageError);
  CHECK(single.grad().item() == 1);
}

TEST_CASE("optim: Adam moves after a gradient whose square overflows") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    for (const double large :
         {dtype == DType::float32 ? 6e20 : 5e155, dtype == DType::float32 ? 3e38 : 1.7e308}) {
      Parameter p(Tensor::zeros({4}, dtype));
      Adam adam({{"p", p}}, {.lr = 0.5, .epsilon = 1e-3});
      p.set_grad(Tensor::of({4}, {large, -large, 0, 1}, dtype));
      adam.step();
      CHECK(p.value().at(0) == doctest::Approx(-0.5).epsilon(1e-6));
      CHECK(p.value().at(1) == doctest::Approx(0.5).epsilon(1e-6));
      CHECK(p.value().at(2) == 0);
      for (int step = 0; step < 20'000; ++step) {
        p.set_grad(Tensor::full({4}, 1, dtype));
        adam.step();
        if (step % 1000 == 0) REQUIRE(std::isfinite(p.value().at(0)));
      }
      const double before = p.value().at(0);
      p.set_grad(Tensor::full({4}, large, dtype));
      adam.step();
      CHECK(p.value().at(0) < before - 0.1);
    }
  }
  Parameter p(Tensor::zeros({1}));
  Adam adam({{"p", p}});
  p.set_grad(Tensor::full({1}, INFINITY));
  adam.step();
  CHECK(std::isnan(p.value().item()));  // not hidden
}
