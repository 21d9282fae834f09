#pragma once

#include <functional>
#include <string>
#include <typeinfo>

#include "../../autograd/ops/loss.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "char_lm.h"

/// Mistakes as they are made in the middle of a training. Each must throw its exception with its
/// whole message and leave every bit of the parameters, gradients and optimizer as it was, and
/// training must go on as if it had not been made.
namespace tapegrad::testing {

constexpr std::size_t V = 7, E = 3, H = 4, T = 5, B = 3;

std::string bytes(const Tensor& t);

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

  Training();
  Tensor ids(const Shape& shape);
  Tape tape() { return Tape::training({.seed = 1, .pass = pass++}); }
  Var loss(Tape& tape);
  void backward();
  void step();

  /// Every bit of values, gradients and moments.
  std::string bits() const;
};

/// Marks the place of a mistake; the twin run leaves it out and must end with the same bits.
class Mistake {
 public:
  Mistake(const Training& training, bool made) : training_(training), made_(made) {}

  template <class Error>
  void is(const std::string& message, const std::function<void()>& act) const {
    if (made_) check(typeid(Error).name(), message, act);
  }

 private:
  void check(const std::string& type, const std::string& message,
             const std::function<void()>& act) const;

  const Training& training_;
  bool made_;
};

/// Runs a program with its mistake and without, then trains on: both must come to the same bits.
void after(const std::function<void(Training&, const Mistake&)>& program);

}  // namespace tapegrad::testing
