// What a training step costs: forward, backward, gradients clipped by their global norm, Adam; in
// sizes from a toy to a language model. Or, with --forward, an inference pass of the same model;
// with --composed the step of an LSTM that is a loop over lstm_cell(). Or of a GRU, an RNN, or, with
// one layer, a minGRU or minLSTM of the same sizes. GFLOP/s counts the products. With --scale X no
// optimizer moves the weights, which are X times as large: 1e3 saturates the gates, 1e-39 makes all
// weights of float32 subnormal.
//
//   build/release/lstm_step [--layer gru|rnn|mingru|minlstm] [--cell charrnn|odd] [--shape T,B,I,H,L]
//       [--threads 1] [--dtype float64] [--forward|--composed] [--scale X] [--repeat N|--seconds 1]
//       [--json] [--losses]
//
// tests/peers/compare.py runs it in turn with others.

#include <tapegrad/tapegrad.h>

#include "model.h"

using namespace tapegrad;
using bench::Cell, bench::Mode, bench::Options;

namespace {

template <class Layers>
struct Model {
  Layers layers;
  Linear head;

  void visit(auto&& v) {
    v("layers", layers);
    v("head", head);
  }
};

template <class Layers>
Layers make_layers(const Cell& c, DType dtype, Rng& rng) {
  return Layers({.input = c.input, .hidden = c.hidden, .layers = c.layers, .dtype = dtype}, rng);
}
template <class Layer>
requires ScannedCell<decltype(Layer::cell)> Layer make_layers(const Cell& c, DType dtype,
                                                              Rng& rng) {
  if (c.layers != 1) bench::fail("a minGRU or minLSTM is measured with one layer");
  return Layer({{.input = c.input, .hidden = c.hidden, .dtype = dtype}, rng});
}

template <class Layers>
void measure(const Options& options, const Cell& c) {
  Rng rng(1, "lstm_step");
  const DType dtype = bench::dtype(options);
  Model<Layers> model{make_layers<Layers>(c, dtype, rng),
                      Linear(c.hidden, c.head, rng, {.dtype = dtype})};
  bench::set_parameters(options, c, parameters(model));
  const std::size_t T = c.steps, B = c.batch;
  const Tensor x = bench::numbers(options, bench::input_tensor, {T, B, c.input}, 1);
  const Tensor target = c.head > 1
                            ? Tensor::from({T, B}, bench::ids(bench::target_tensor, T * B, c.head))
                            : bench::numbers(options, bench::target_tensor, {T, B, 1}, 1);
  const auto zero = model.layers.zero_state(c.batch);
  Adam adam(parameters(model), {.lr = 1e-3});

  const auto infer = [&] {
    Tape tape = Tape::inference();
    return model.head(tape, model.layers(tape, x, zero).y).value().at(0);
  };
  std::uint64_t pass = 0;
  const auto train = [&] {
    Tape tape = Tape::training({.seed = 1, .pass = pass++});
    const Var h = options.mode == Mode::composed ? model.layers.composed(tape, x, zero).y
                                                 : model.layers(tape, x, zero).y;
    const Var loss = c.head > 1 ? linear_cross_entropy(tape, model.head, h, target)
                                : mse(model.head(tape, h), target);
    tape.backward(loss);
    if (options.scale == 0) adam.step({.clip_norm = 5});
    adam.zero_grad();
    return loss.value().item();
  };
  bench::measure(options, c, infer, train);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options =
      bench::options(argc, argv, bench::lstm_cells, {"lstm", "gru", "rnn", "mingru", "minlstm"});
  set_threads(options.threads);
  bench::print_head(options, describe_machine());
  const auto run = options.layer == "gru"       ? measure<GRU>
                   : options.layer == "rnn"     ? measure<RNN>
                   : options.layer == "mingru"  ? measure<MinGRU>
                   : options.layer == "minlstm" ? measure<MinLSTM>
                                                : measure<LSTM>;
  for (const Cell& c : options.cells) run(options, c);
}
