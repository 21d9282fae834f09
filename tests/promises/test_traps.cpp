#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cfenv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "../../autograd/ops/cross_entropy.h"
#include "../../autograd/ops/ctc.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/ops/softmax.h"
#include "../../autograd/tape.h"
#include "../../core/dispatch-inl.h"
#include "../../core/threads.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/stream.h"
#include "../../optim/adam.h"
#include "../../optim/sgd.h"
#include "../support/for_targets.h"
#include "../support/model_cases.h"

// A program that has its processor signal invalid operations, divisions by zero and overflows, to
// find the first NaN, must not be stopped by arithmetic on numbers whose result is a number: not by
// lanes of a vector that nobody reads, nor by a branch that is computed and not taken.
//
// One exception: clang computes both branches of a scalar float -> int conversion, so what it compiles
// may be stopped where there are no vectors at all (EMU128, of x86 before SSSE3).

#if defined(__GLIBC__) && defined(__x86_64__)

TEST_SUITE_BEGIN("numerics");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Whether f() ends without a signal, in a child in which these exceptions are signals.
template <class F>
bool is_quiet(const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGFPE, SIG_DFL);
    alarm(60);
    std::feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
    f();
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// for_targets() of those that keep the promise.
template <class F>
void for_quiet_targets(const F& f) {
  for_targets([&](const std::string& target) {
#ifdef __clang__
    if (target == "EMU128") return;
#endif
    f(target);
  });
}

/// The value of f and its gradient.
void differentiate(const std::function<Var(const Var&)>& f, const Tensor& x) {
  Tape tape;
  const Var leaf = tape.leaf(x);
  tape.gradient(sum(f(leaf)), {leaf});
}

struct Case {
  std::string name;
  std::function<Var(const Var&)> f;
  std::vector<double> values;
};

const std::vector<double> any = {-3, -1.5, -1e-20, 0, 1e-20, 0.25, 1, 2.75};
const std::vector<double> positive = {1e-6, 0.25, 1, 1.5, 2.75, 40};
const std::vector<double> wide = {-1e30, -1000, -100, -60, -18,  -0.5, 0,
                                  0.5,   18,    60,   100, 1000, 1e30};
const std::vector<double> down = {-1e30, -1000, -200, -100, -60, -0.5, 0, 0.5, 18, 60};

std::vector<Case> cases() {
  const auto like = [](const Var& x, double value) {
    return Var(Tensor::full(x.value().shape(), value, x.value().dtype()));
  };
  const auto ids = [](const Var& x) { return Tensor::zeros({x.value().size(0)}, DType::int32); };
  return {
      {"add", [](const Var& x) { return x + x; }, any},
      {"sub", [](const Var& x) { return x - 2.0 * x; }, any},
      {"mul", [](const Var& x) { return x * x; }, any},
      {"div", [](const Var& x) { return x / x; }, positive},
      {"div by a number", [](const Var& x) { return x / 3.0; }, any},
      {"number by x", [](const Var& x) { return 3.0 / x; }, positive},
      {"exp", [](const Var& x) { return exp(x); }, down},
      {"expm1", [](const Var& x) { return expm1(x); }, down},
      {"log", [](const Var& x) { return log(x); }, positive},
      {"log1p", [](const Var& x) { return log1p(x); }, positive},
      {"sqrt", [](const Var& x) { return sqrt(x); }, positive},
      {"square", [](const Var& x) { return square(x); }, any},
      {"abs", [](const Var& x) { return abs(x); }, any},
      {"pow 3", [](const Var& x) { return pow(x, 3); }, any},
      {"pow 0.5", [](const Var& x) { return pow(x, 0.5); }, positive},
      {"pow of two", [](const Var& x) { return pow(x, x); }, {0.25, 1, 1.5, 2.75, 10}},
      {"clamp", [](const Var& x) { return clamp(x, -1, 1); }, wide},
      {"relu", [](const Var& x) { return relu(x); }, wide},
      {"sigmoid", [](const Var& x) { return sigmoid(x); }, wide},
      {"softplus", [](const Var& x) { return softplus(x); }, wide},
      {"tanh", [](const Var& x) { return tanh(x); }, wide},
      {"maximum", [](const Var& x) { return maximum(x, neg(x)); }, wide},
      {"minimum", [](const Var& x) { return minimum(x, neg(x)); }, wide},
      {"where",
       [](const Var& x) {
         return where(Tensor::full(x.value().shape(), 1, DType::int32), x, 1.0 / x);
       },
       positive},
      {"cast", [](const Var& x) { return cast(cast(x, DType::float64), DType::float32); }, wide},
      {"softmax", [](const Var& x) { return softmax(x); }, wide},
      {"log_softmax", [](const Var& x) { return log_softmax(x); }, wide},
      {"logsumexp", [](const Var& x) { return logsumexp(x); }, wide},
      {"max", [](const Var& x) { return max(x, -1); }, wide},
      {"mean", [](const Var& x) { return mean(x, -1); }, any},
      {"norm", [](const Var& x) { return norm(x, -1); }, wide},
      {"cumsum", [](const Var& x) { return cumsum(x, -1); }, any},
      {"layer_norm", [](const Var& x) { return layer_norm(x); }, any},
      {"matmul", [](const Var& x) { return matmul(x, transpose(x)); }, any},
      {"dropout", [](const Var& x) { return dropout(x, 0.5, RandomKey{}); }, any},
      {"cross_entropy", [=](const Var& x) { return cross_entropy(x, ids(x)); }, wide},
      {"ctc_loss",
       [](const Var& x) {
         const std::size_t T = x.value().numel() / 3;
         std::vector<std::int32_t> targets(T / 2 + 1);
         for (std::size_t s = 0; s < targets.size(); ++s) targets[s] = s % 2 == 0 ? 1 : 2;
         return ctc_loss(reshape(x, {T, 1, 3}),
                         Tensor::from<std::int32_t>({targets.size(), 1}, targets), {}, {});
       },
       wide},
      {"nll", [=](const Var& x) { return nll(log_softmax(x), ids(x)); }, any},
      {"l1", [=](const Var& x) { return l1(x, like(x, 1)); }, any},
      {"mse", [=](const Var& x) { return mse(x, like(x, 1)); }, any},
      {"huber", [=](const Var& x) { return huber(x, like(x, 1), 0.5); }, any},
      {"bce_with_logits", [=](const Var& x) { return bce_with_logits(x, like(x, 0.25)); }, wide},
      {"gaussian_nll", [=](const Var& x) { return gaussian_nll(x, like(x, 2), like(x, 1)); }, any},
  };
}

/// (rows, columns), the values again and again.
Tensor filled_with(const std::vector<double>& values, std::size_t rows, std::size_t columns,
                   DType dtype) {
  std::vector<double> all(rows * columns);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = values[i % values.size()];
  return Tensor::from<double>({rows, columns}, all).to(dtype);
}

}  // namespace

TEST_CASE("traps: a division by zero is a signal, in every thread") {
  volatile double zero = 0;
  CHECK_FALSE(is_quiet([&] { zero = 1 / zero; }));
  CHECK_FALSE(is_quiet([&] { parallel_tasks(2, [&](std::size_t) { zero = 1 / zero; }); }));
  CHECK(is_quiet([&] { zero = zero + 1; }));
}

TEST_CASE("traps: no op of finite numbers with a finite result is stopped") {
  for_quiet_targets([](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : {DType::float32, DType::float64}) {
      CAPTURE(dtype);
      for (const Case& c : cases()) {
        CAPTURE(c.name);
        CHECK(is_quiet([&] {
          for (const std::size_t columns : {1U, 5U, 8U, 19U, 67U}) {
            differentiate(c.f, filled_with(c.values, 3, columns, dtype));
          }
        }));
      }
    }
  });
}

namespace {

/// Runs batches through two layers with weights in +-scale, and backward.
template <class Layers, class Options>
void run_layers(const Options& options, double scale) {
  Rng rng(1);
  const Layers layers(options, rng);
  for (const NamedParameter& p : parameters(layers)) {
    p.set_value(rng.uniform(p.value().shape(), -scale, scale, options.dtype));
  }
  for (const std::size_t batch : {1U, 3U, 18U}) {
    Tape tape = Tape::training({.seed = 1, .pass = 0});
    const Var x = tape.leaf(rng.normal({7, batch, 3}, 0, 1, options.dtype));
    // Of dL/dx only the sum may overflow where weights are 1e30.
    tape.backward(sum(layers(tape, scale > 100 ? Var(x.value()) : x).y));
    Stream stream(layers, {.sessions = batch, .block = 7});
    dispatch_float(options.dtype, [&]<class T>(T) {
      std::vector<T> y(7 * batch * options.hidden);
      stream.step(x.value().values<T>(), std::span(y));
    });
  }
}

}  // namespace

TEST_CASE("traps: no LSTM, GRU or RNN is stopped, with saturated gates or without") {
  for_quiet_targets([](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : {DType::float32, DType::float64}) {
      CAPTURE(dtype);
      for (const std::size_t hidden : {1U, 3U, 16U, 21U}) {
        CAPTURE(hidden);
        for (const double scale : {1.0, 100.0, 1e30}) {
          CAPTURE(scale);
          CHECK(is_quiet([&] {
            run_layers<LSTM>(
                LSTMOptions{
                    .input = 3, .hidden = hidden, .layers = 2, .dropout = 0.3, .dtype = dtype},
                scale);
          }));
          CHECK(is_quiet([&] {
            run_layers<GRU>(
                GRUOptions{
                    .input = 3, .hidden = hidden, .layers = 2, .dropout = 0.3, .dtype = dtype},
                scale);
          }));
          for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
            if (phi == RNNNonlinearity::relu && scale > 1) continue;  // its states do overflow
            CHECK(is_quiet([&] {
              run_layers<RNN>(RNNOptions{.input = 3,
                                         .hidden = hidden,
                                         .layers = 2,
                                         .dropout = 0.3,
                                         .nonlinearity = phi,
                                         .dtype = dtype},
                              scale);
            }));
          }
        }
      }
    }
  });
}

TEST_CASE("traps: no training is stopped") {
  for_quiet_targets([](const std::string& target) {
    CAPTURE(target);
    for (const DType dtype : {DType::float32, DType::float64}) {
      CAPTURE(dtype);
      CHECK(is_quiet([&] {
        const Model m = model(1, dtype);
        Adam adam(parameters(m), {.lr = 1e-2, .weight_decay = 0.1});
        train(m, adam, 10);
      }));
      CHECK(is_quiet([&] {
        const Model m = model(1, dtype);
        SGD sgd(parameters(m), {.lr = 1e-3, .momentum = 0.9});
        train(m, sgd, 10);
      }));
    }
  });
}

TEST_SUITE_END();

#endif
