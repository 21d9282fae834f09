#pragma once

#include <array>
#include <string>
#include <vector>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/parameters.h"
#include "../../layers/dropout.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../optim/optimizer.h"
#include "kernel_cases.h"

/// Models for tests of what can be done with whole models.
namespace tapegrad::testing {

enum class Readout { last, mean };

/// Every kind of member that a model can have.
struct Model {
  Embedding embed;
  LSTM lstm;
  std::vector<LSTMCell> cells;
  std::array<Linear, 2> heads;
  Dropout dropout;
  Readout readout = Readout::last;
  std::string name;
  std::vector<double> scales;
  Parameter shift;

  void visit(auto&& v) {
    v("embed", embed);
    v("lstm", lstm);
    v("cells", cells);
    v("heads", heads);
    v("dropout", dropout);
    v("readout", readout);
    v("name", name);
    v("scales", scales);
    v("shift", shift);
  }

  /// ids (T, B) -> a loss that every Parameter and setting has a part in.
  Var operator()(Tape& tape, const Tensor& ids) const {
    const Var y = lstm(tape, dropout(tape, embed(tape, ids))).y;
    Var total = sum(square(y + tape.leaf(shift)));
    for (const LSTMCell& cell : cells) {
      const Var x = Tensor::full({2, 3}, scales.at(0), shift.value().dtype());
      total = total + sum(square(cell(tape, x, cell(tape, x, cell.zero_state(2))).h));
    }
    for (const Linear& head : heads) total = total + sum(tanh(head(tape, y)));
    return readout == Readout::last ? total : total * 0.5;
  }
};

inline Model model(std::uint64_t seed = 1, DType dtype = DType::float32) {
  Rng rng(seed);
  Model m;
  m.embed = Embedding(5, 3, rng, dtype);
  m.lstm = LSTM(
      {.input = 3, .hidden = 4, .layers = 2, .dropout = 0.5, .bias = LSTMBias::one, .dtype = dtype},
      rng);
  for (int i = 0; i < 2; ++i)
    m.cells.emplace_back(LSTMCellOptions{3, 4, LSTMBias::none, LSTMInit::torch, dtype}, rng);
  m.heads[0] = Linear(4, 5, rng, {.dtype = dtype});
  m.heads[1] = Linear(4, 2, rng, {.bias = false, .dtype = dtype});
  m.dropout = {0.25};
  m.readout = Readout::mean;
  m.name = "first";
  m.scales = {0.5, 2};
  m.shift = Parameter(rng.normal({4}, 0, 1, dtype));
  return m;
}

inline const Tensor ids = Tensor::of({3, 2}, {0, 1, 4, 2, 2, 3}, DType::int32);

inline double loss_of(const Model& m, std::uint64_t pass = 0) {
  Tape tape = Tape::training({.seed = 9, .pass = pass});
  return m(tape, ids).item();
}

inline void train(const Model& m, Optimizer& optimizer, std::uint64_t steps) {
  for (std::uint64_t pass = 0; pass < steps; ++pass) {
    Tape tape = Tape::training({.seed = 1, .pass = pass});
    const Var loss = m(tape, ids);
    optimizer.zero_grad();
    tape.backward(loss);
    optimizer.step();
  }
}

inline std::vector<std::string> names(const Parameters& parameters) {
  std::vector<std::string> result;
  for (const NamedParameter& p : parameters) result.push_back(p.name);
  return result;
}

inline bool same_bits(const Parameters& a, const Parameters& b) {
  bool same = names(a) == names(b);
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i].value(), b[i].value());
  return same;
}

/// An embedding whose matrix is also that of the output layer.
struct Tied {
  Embedding embed;
  Linear head;
  void visit(auto&& v) {
    v("embed", embed);
    v("head", head);
  }
  Var operator()(Tape& tape, const Tensor& x) const {
    return cross_entropy(head(tape, tanh(embed(tape, x))), x);
  }
};

inline Tied tied(std::uint64_t seed = 1) {
  Rng rng(seed);
  Tied m{Embedding(5, 3, rng, DType::float64), Linear(3, 5, rng, {.dtype = DType::float64})};
  m.head.weight = m.embed.weight.share();
  return m;
}

}  // namespace tapegrad::testing
