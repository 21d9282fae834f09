#pragma once

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <functional>
#include <regex>
#include <string>
#include <typeinfo>

#include "../../autograd/ops/loss.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "char_lm.h"

/// Mistakes as they are made in the middle of a training. Each must throw its exception with its
/// whole message and leave every bit of the parameters, gradients and optimizer as it was, and
/// training must go on as if it had not been made.
namespace tapegrad::testing {

constexpr std::size_t V = 7, E = 3, H = 4, T = 5, B = 3;

inline std::string bytes(const Tensor& t) {
  if (!t.defined()) return "undefined";
  const auto* first = t.dtype() == DType::float64 ? reinterpret_cast<const char*>(t.data<double>())
                                                  : reinterpret_cast<const char*>(t.data<float>());
  return {first, t.numel() * size_of(t.dtype())};
}

/// A small language model after its first step, with the gradients of a second one.
struct Training {
  Rng rng{1};
  CharLM model{
      {V, E, rng}, {{.input = E, .hidden = H, .layers = 2, .dropout = 0.25}, rng}, {H, V, rng}};
  Adam adam{parameters(model), {.lr = 1e-2}};
  LSTMState state = model.lstm.zero_state(B);
  LSTMState next;  // of the last loss, recorded
  Tensor x = ids({T, B}), y = ids({T, B});
  std::uint64_t pass = 0;

  Training() {
    step();
    backward();
  }
  Tensor ids(const Shape& shape) {
    Tensor t = Tensor::empty(shape, DType::int32);
    for (std::int32_t& id : t.mutable_values<std::int32_t>())
      id = static_cast<std::int32_t>(rng.below(V));
    return t;
  }
  Tape tape() { return Tape::training({.seed = 1, .pass = pass++}); }
  Var loss(Tape& tape) {
    auto [h, last] = model.lstm(tape, model.embed(tape, x), state);
    next = last;
    return cross_entropy(model.head(tape, h), y);
  }
  void backward() {
    Tape t = tape();
    adam.zero_grad();
    t.backward(loss(t));
    state = next.detach();
  }
  void step() {
    backward();
    clip_grad_norm(adam.parameters(), 0.5);
    adam.step();
  }

  /// Every bit of values, gradients and moments.
  std::string bits() const {
    std::string all = fmt::format("{}", adam.learning_rate());
    for (std::size_t i = 0; i < adam.parameters().size(); ++i) {
      const NamedParameter& p = adam.parameters()[i];
      const Adam::State s = adam.state(i);
      all += p.name + bytes(p.value()) + bytes(p.grad()) + bytes(s.m) + bytes(s.v);
      all += std::to_string(s.steps);
    }
    return all;
  }
};

/// Where a program makes its mistake; in the twin, who is to be no different, it is left out.
class Mistake {
 public:
  Mistake(const Training& training, bool made) : training_(training), made_(made) {}

  template <class Error>
  void is(const std::string& message, const std::function<void()>& act) const {
    if (!made_) return;
    const std::string before = training_.bits();
    std::string type = "nothing was thrown", said;
    try {
      act();
    } catch (const std::exception& e) {
      type = typeid(e).name();
      said = std::regex_replace(e.what(), std::regex("pass [0-9]+"), "pass N");
    }
    CHECK(type == typeid(Error).name());
    CHECK(said == message);
    CHECK(training_.bits() == before);
  }

 private:
  const Training& training_;
  bool made_;
};

/// Runs a program with its mistake and without, then trains on: both must come to the same bits.
inline void after(const std::function<void(Training&, const Mistake&)>& program) {
  std::string results[2];
  for (const bool made : {false, true}) {
    Training training;
    program(training, {training, made});
    for (int i = 0; i < 2; ++i) training.step();
    results[made] = training.bits();
  }
  CHECK(results[0] == results[1]);
}

}  // namespace tapegrad::testing
