// A program of somebody else: includes <tapegrad/tapegrad.h> and links tapegrad as pkg-config,
// CMake or Meson tells it. tests/clients/run.sh builds it in each of these ways and looks for its
// last line.
#include <tapegrad/tapegrad.h>

#include <cstdio>
#include <string>

using namespace tapegrad;

namespace {

struct Model {
  LSTM lstm;
  Linear head;
  void visit(auto&& v) {
    v("lstm", lstm);
    v("head", head);
  }
};

/// An op of the program's own: y = x^3;  dx = dy 3 x^2
Var cube(const Var& x) {
  Node n("cube", {x});
  Var y = n.out(kernels::mul(kernels::square(x.value()), x.value()));
  n.rule([x](Grads& g) { g.add(0, g.d() * (3.0 * square(x))); });
  return y;
}

int failed(const char* what, const std::string& more) {
  std::printf("client: FAILED: %s: %s\n", what, more.c_str());
  return 1;
}

}  // namespace

int main() {
  set_threads(2);
  // To be learned: what came in one step before.
  Rng rng(1);
  const std::size_t steps = 6, batch = 3;
  const Tensor x = rng.uniform({steps, batch, 1}, -1, 1, DType::float64);
  Tensor before = Tensor::zeros(x.shape(), DType::float64);
  for (std::size_t i = batch; i < x.numel(); ++i) {
    before.mutable_data<double>()[i] = x.data<double>()[i - batch];
  }
  Model model{{{.input = 1, .hidden = 6, .dtype = DType::float64}, rng},
              {6, 1, rng, {.dtype = DType::float64}}};
  const auto loss_of = [&](Tape& tape) {
    return mse(model.head(tape, model.lstm(tape, x).y), before);
  };

  Adam adam(parameters(model), {.lr = 0.05});
  double first = 0, last = 0;
  for (std::uint64_t step = 0; step < 60; ++step) {
    Tape tape = Tape::training({.seed = 1, .pass = step});
    const Var loss = loss_of(tape);
    adam.zero_grad();
    tape.backward(loss);
    clip_grad_norm(adam.parameters(), 1.0);
    adam.step();
    (step == 0 ? first : last) = loss.item();
  }
  if (!(last < first / 4)) return failed("the loss", std::to_string(last));

  const GradcheckReport weights = gradcheck(loss_of, parameters(model));
  if (!weights) return failed("gradients of the LSTM", weights.text());
  const GradcheckReport op =
      gradcheck([](Tape&, std::span<const Var> in) { return Vars{cube(in[0])}; }, {{"x", before}});
  if (!op) return failed("gradients of an op of ours", op.text());

  // Thrown inside the library, caught by type outside.
  bool caught = false;
  try {
    Tape tape;
    model.lstm(tape, Tensor::zeros({steps, batch, 2}, DType::float64));
  } catch (const UsageError&) {
    return failed("a wrong shape", "UsageError");
  } catch (const ShapeError& error) {
    caught = std::string(error.what()).starts_with("[lstm]");
  }
  if (!caught) return failed("a wrong shape", "no ShapeError");

  static_assert(TAPEGRAD_VERSION_MAJOR >= 0 && TAPEGRAD_VERSION_MINOR >= 0 &&
                TAPEGRAD_VERSION_PATCH >= 0);
  std::printf("client: loss %.4f -> %.4f, %zu weights and an op checked, tapegrad %s\n", first,
              last, weights.checked, TAPEGRAD_VERSION);
}
