#include "misuse.h"

#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <string>
#include <typeinfo>

#include "../../optim/clip.h"

namespace tapegrad::testing {
namespace {

/// Returns the text with N in place of the number of a pass.
std::string without_pass(std::string text) {
  const std::string word = "pass ";
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos;) {
    at += word.size();
    const std::size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
    if (end > at) text.replace(at, end - at, "N");
  }
  return text;
}

}  // namespace

std::string bytes(const Tensor& t) {
  if (!t.defined()) return "undefined";
  const auto* first = t.dtype() == DType::float64 ? reinterpret_cast<const char*>(t.data<double>())
                                                  : reinterpret_cast<const char*>(t.data<float>());
  return {first, t.numel() * size_of(t.dtype())};
}

Training::Training() {
  step();
  backward();
}

Tensor Training::ids(const Shape& shape) {
  Tensor t = Tensor::empty(shape, DType::int32);
  for (std::int32_t& id : t.mutable_values<std::int32_t>())
    id = static_cast<std::int32_t>(rng.below(V));
  return t;
}

Var Training::loss(Tape& tape) {
  auto [h, last] = model.lstm(tape, model.embed(tape, x), state);
  next = last;
  return cross_entropy(model.head(tape, h), y);
}

void Training::backward() {
  Tape t = tape();
  adam.zero_grad();
  t.backward(loss(t));
  state = next.detach();
}

void Training::step() {
  backward();
  clip_grad_norm(adam.parameters(), 0.5);
  adam.step();
}

std::string Training::bits() const {
  std::string all = fmt::format("{}", adam.learning_rate());
  for (std::size_t i = 0; i < adam.parameters().size(); ++i) {
    const NamedParameter& p = adam.parameters()[i];
    const Adam::State s = adam.state(i);
    all += p.name + bytes(p.value()) + bytes(p.grad()) + bytes(s.m) + bytes(s.v);
    all += std::to_string(s.steps);
  }
  return all;
}

void Mistake::check(const std::string& type, const std::string& message,
                    const std::function<void()>& act) const {
  const std::string before = training_.bits();
  std::string thrown = "nothing was thrown", said;
  try {
    act();
  } catch (const std::exception& e) {
    thrown = typeid(e).name();
    said = without_pass(e.what());
  }
  CHECK(thrown == type);
  CHECK(said == message);
  CHECK(training_.bits() == before);
}

void after(const std::function<void(Training&, const Mistake&)>& program) {
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
