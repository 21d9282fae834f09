// What a training step of a language model costs: embedding, LSTM or another layer, head and cross entropy, forward
// and backward, gradients clipped by their global norm; Adam for characters, else SGD. Or, with
// --forward, an inference pass. GFLOP/s counts all products, also those with x that ids spare.
//
//   build/release/lm_step [--layer gru|rnn] [--cell ptb-lm-small|odd] [--shape T,B,I,H,L] [--threads 1]
//       [--dtype float64] [--forward|--composed] [--repeat N|--seconds 1] [--json] [--losses]
//
// tests/peers/compare.py lm_step runs it in turn with tests/peers/lm_step_torch.py.

#include <tapegrad/tapegrad.h>

#include <concepts>
#include <memory>

#include "model.h"

using namespace tapegrad;
using bench::Cell, bench::Mode, bench::Options;

namespace {

template <class Layers>
struct Model {
  Embedding embed;
  Layers layers;
  Linear head;

  void visit(auto&& v) {
    v("embed", embed);
    v("layers", layers);
    v("head", head);
  }
};

template <class Layers>
void measure(const Options& options, const Cell& c) {
  Rng rng(1, "lm_step");
  const DType dtype = bench::dtype(options);
  Model<Layers> model{
      Embedding(c.head, c.input, rng, dtype),
      Layers({.input = c.input, .hidden = c.hidden, .layers = c.layers, .dtype = dtype}, rng),
      Linear(c.hidden, c.head, rng, {.dtype = dtype})};
  bench::set_parameters(options, c, parameters(model));
  const std::size_t T = c.steps, B = c.batch;
  const Tensor x = Tensor::from({T, B}, bench::ids(bench::input_tensor, T * B, c.head));
  const Tensor target = Tensor::from({T, B}, bench::ids(bench::target_tensor, T * B, c.head));
  const auto zero = model.layers.zero_state(B);
  std::unique_ptr<Optimizer> optimizer;
  if (c.head < 1000) {
    optimizer = std::make_unique<Adam>(parameters(model), AdamOptions{.lr = 1e-3});
  } else {
    optimizer = std::make_unique<SGD>(parameters(model), SGDOptions{.lr = 1});
  }

  const auto run = [&](Tape& tape) {
    if constexpr (std::same_as<Layers, LSTM>) {
      if (options.mode != Mode::composed) return model.layers(tape, model.embed, x, zero).y;
    }
    const Var rows = model.embed(tape, x);
    return options.mode == Mode::composed ? model.layers.composed(tape, rows, zero).y
                                          : model.layers(tape, rows, zero).y;
  };
  const auto infer = [&] {
    Tape tape = Tape::inference();
    return model.head(tape, run(tape)).value().at(0);
  };
  std::uint64_t pass = 0;
  const auto train = [&] {
    Tape tape = Tape::training({.seed = 1, .pass = pass++});
    const Var loss = linear_cross_entropy(tape, model.head, run(tape), target);
    tape.backward(loss);
    if (options.scale == 0) optimizer->step({.clip_norm = 5});
    optimizer->zero_grad();
    return loss.value().item();
  };
  bench::measure(options, c, infer, train);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = bench::options(argc, argv, bench::lm_cells, {"lstm", "gru", "rnn"});
  set_threads(options.threads);
  bench::print_head(options, describe_machine());
  const auto run = options.layer == "gru"   ? measure<GRU>
                   : options.layer == "rnn" ? measure<RNN>
                                            : measure<LSTM>;
  for (const Cell& c : options.cells) run(options, c);
}
