#include "layer_rows.h"

#include <array>
#include <memory>
#include <utility>

#include "../../autograd/ops/elementwise.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../layers/recurrent/lstm_variant_cell.h"
#include "../../layers/recurrent/min_cells.h"
#include "../../layers/recurrent/rnn_cell.h"

namespace tapegrad::testing {
namespace {

constexpr std::size_t H = stack_hidden;
constexpr DType dtype = DType::float64;

struct Option {
  std::string name;
  StackVariant variant = {};
  double dropout = 0;         // between layers, and of the output
  double output_dropout = 0;  // variational, of the output
  bool peepholes = false;
  bool bias = true;
};

/// Options of all fused stacks; what only the LSTM has is left out of the others.
std::vector<Option> options(bool lstm) {
  std::vector<Option> all = {{.name = "plain"},
                             {.name = "no bias", .bias = false},
                             {.name = "dropout", .dropout = 0.3},
                             {.name = "input dropout", .variant = {.input_dropout = 0.3}},
                             {.name = "output dropout", .output_dropout = 0.3},
                             {.name = "recurrent dropout", .variant = {.recurrent_dropout = 0.3}},
                             {.name = "weight dropout", .variant = {.weight_dropout = 0.3}},
                             {.name = "zoneout", .variant = {.zoneout_h = 0.3, .zoneout_c = 0.2}},
                             {.name = "gradient clip", .variant = {.gradient_clip = 0.05}},
                             {.name = "all",
                              .variant = all_variants,
                              .dropout = 0.2,
                              .output_dropout = 0.2,
                              .peepholes = true}};
  if (lstm) {
    all.push_back({.name = "cell clip", .variant = {.cell_clip = 0.2}});
    all.push_back({.name = "peepholes", .peepholes = true});
  }
  return all;
}

/// The stack with dropout of its output.
Stack with_dropout(Stack stack, double element, double variational) {
  stack.run = [run = std::move(stack.run), element, variational](
                  bool fused, Tape& tape, const Var& x, const Vars& state, const Tensor& lengths) {
    Vars outputs = run(fused, tape, x, state, lengths);
    outputs[0] = variational_dropout(tape, dropout(tape, outputs[0], element), variational);
    return outputs;
  };
  return stack;
}

StackCase fused_case(const Option& o, const LayerSetting& s) {
  StackCase c{.name = o.name, .layers = s.layers, .bidirectional = s.way > 0};
  if (s.way > 0) c.merge = static_cast<Merge>(s.way - 1);
  c.dropout = s.layers > 1 ? o.dropout : 0;  // with one layer it is refused
  c.variant = o.variant, c.trained_state = s.trained_state, c.peepholes = o.peepholes,
  c.bias = o.bias;
  return c;
}

const std::vector<std::string> fused_ways = {"one", "concat", "sum", "multiply", "average"};

std::vector<LayerRow> fused_rows(const std::string& kind) {
  std::vector<LayerRow> rows;
  for (const Option& o : options(kind == "lstm")) {
    // Without a bias the sums of a layer above relu are often 0, where relu has no derivative.
    const bool at_kinks = kind == "rnn relu" && !o.bias;
    rows.push_back({kind, o.name, fused_ways, true, true, o.variant.gradient_clip == 0 && !at_kinks,
                    [=](const LayerSetting& s) {
                      return with_dropout(make_stack(kind, fused_case(o, s)), o.dropout,
                                          o.output_dropout);
                    }});
  }
  return rows;
}

/// An LSTM that is given a table's rows by their ids: fused in one op with them, where the table is
/// small (from 2 steps on).
std::vector<LayerRow> embedding_rows() {
  constexpr std::size_t vocabulary = 5;
  Tensor ids = Tensor::empty({row_steps, row_batch}, DType::int32);
  for (std::int32_t i = 0; std::int32_t & id : ids.mutable_values<std::int32_t>()) {
    id = i++ * 7 % static_cast<std::int32_t>(vocabulary);
  }
  std::vector<LayerRow> rows;
  for (Option o : options(true)) {
    if (o.name != "plain" && o.name != "all") continue;
    o.variant.input_dropout = 0;  // of features, which there are none of
    rows.push_back(
        {"lstm of ids", o.name, fused_ways, true, true, true,
         [=](const LayerSetting& s) {
           Rng rng(12, "table");
           const auto embedding = std::make_shared<Embedding>(vocabulary, stack_input, rng, dtype);
           const auto lstm = make_fused<LSTM, LSTMOptions>(fused_case(o, s), dtype);
           Stack stack = stack_of(o.name, lstm);
           stack.parameters = parameters(*embedding) + stack.parameters;
           stack.run = [=](bool fused, Tape& tape, const Var& x, const Vars& parts,
                           const Tensor& lengths) {
             const LSTMState state{parts[0], parts[1]};
             const Tensor& all = x.value();
             if (fused) return outputs_of((*lstm)(tape, *embedding, all, state, lengths));
             return outputs_of(lstm->composed(tape, (*embedding)(tape, all), state, lengths));
           };
           return with_dropout(stack, o.dropout, o.output_dropout);
         },
         ids});
  }
  return rows;
}

/// A cell as a user writes one: a state of parts, an output of its own, a first state that may be
/// trained.
struct UserCell {
  struct State {
    Var h;
    std::array<Var, 1> sums;
    void parts(auto&& v) {
      v("h", h);
      v("sums", sums);
    }
  };
  Linear candidate;
  Parameter rate, start;  // (H)

  State zero_state(std::size_t batch) const {
    return {Tensor::zeros({batch, H}, dtype), {Tensor::zeros({batch, H}, dtype)}};
  }
  State first_state(Tape& tape, std::size_t batch) const {
    State s = zero_state(batch);
    if (start.defined()) s.h = s.h + tape.leaf(start);
    return s;
  }
  State operator()(Tape& tape, const Var& x, const State& s) const {
    const Var h = s.h + sigmoid(tape.leaf(rate)) * (tanh(candidate(tape, x) + s.sums[0]) - s.h);
    return {h, {0.5 * s.sums[0] + h * s.h}};
  }
  Var output(const Var&, const State& s) const { return s.h * sigmoid(s.sums[0]); }
  void visit(auto&& v) {
    v("candidate", candidate);
    v("rate", rate);
    v("start", start);
  }
};

/// The rows of any cell, plain and with dropout; `make(rng, input, setting)` makes one.
template <class Make>
void add_cells(std::vector<LayerRow>& rows, const std::string& layer, const std::string& name,
               bool can_train_state, std::size_t output, Make make) {
  using Cell = decltype(make(std::declval<Rng&>(), std::size_t{1}, LayerSetting()));
  for (const bool with : {false, true}) {
    rows.push_back({layer,
                    name + (with ? ", dropout" : ""),
                    {"forward", "reverse", "both"},
                    can_train_state,
                    ScannedCell<Cell>,
                    true,
                    [=](const LayerSetting& s) {
                      const auto rng = std::make_shared<Rng>(13, "cells");
                      const double p = with ? 0.3 : 0;
                      const CellsCase c{.input = stack_input,
                                        .layers = s.layers,
                                        .way = static_cast<Way>(s.way),
                                        .dropout = p,
                                        .input_dropout = p};
                      Stack stack = stack_of_cells(
                          name, c, output, [&](std::size_t input) { return make(*rng, input, s); });
                      return with_dropout(std::move(stack), p, p);
                    }});
  }
}

std::vector<LayerRow> variant_rows() {
  std::vector<LayerRow> rows;
  const auto add = [&](const std::string& name, LSTMVariantOptions o) {
    // 3 units are now and then almost equal, and their normalisation then has no digits.
    o.hidden = o.layer_norm ? 8 : H, o.dtype = dtype;
    add_cells(rows, "lstm variants", name, false, o.projection > 0 ? o.projection : o.hidden,
              [o](Rng& rng, std::size_t input, const LayerSetting&) {
                LSTMVariantOptions with = o;
                with.input = input;
                LSTMVariantCell cell(with, rng);
                for (Parameter* p : {&cell.gamma_ih, &cell.gamma_hh, &cell.gamma_c, &cell.beta_c}) {
                  if (o.layer_norm) p->set_value(rng.uniform(p->value().shape(), 0.2, 0.6, dtype));
                }
                return cell;
              });
  };
  add("projection", {.projection = 2});
  add("coupled", {.coupled = true});
  add("layer norm", {.layer_norm = true});
  add("all three", {.projection = 2, .coupled = true, .layer_norm = true});
  return rows;
}

std::vector<LayerRow> min_rows() {
  std::vector<LayerRow> rows;
  for (const MinCandidate candidate : {MinCandidate::linear, MinCandidate::positive}) {
    const std::string suffix = candidate == MinCandidate::linear ? "" : ", positive";
    const auto options_of = [=](std::size_t input) {
      return MinCellOptions{.input = input, .hidden = H, .candidate = candidate, .dtype = dtype};
    };
    add_cells(rows, "min cells", "minGRU" + suffix, false, H,
              [=](Rng& rng, std::size_t input, const LayerSetting&) {
                return MinGRUCell(options_of(input), rng);
              });
    add_cells(rows, "min cells", "minLSTM" + suffix, false, H,
              [=](Rng& rng, std::size_t input, const LayerSetting&) {
                return MinLSTMCell(options_of(input), rng);
              });
  }
  return rows;
}

std::vector<LayerRow> cell_rows() {
  std::vector<LayerRow> rows;
  const auto lstm = [](Rng& rng, std::size_t input) {
    return LSTMCell({.input = input, .hidden = H, .dtype = dtype}, rng);
  };
  const auto gru = [](Rng& rng, std::size_t input, GRUReset reset) {
    return GRUCell({.input = input, .hidden = H, .reset = reset, .dtype = dtype}, rng);
  };
  add_cells(rows, "cells", "LSTMCell", false, H,
            [=](Rng& rng, std::size_t input, const LayerSetting&) { return lstm(rng, input); });
  for (const GRUReset reset : {GRUReset::after, GRUReset::before}) {
    add_cells(
        rows, "cells", reset == GRUReset::after ? "GRUCell" : "GRUCell, reset before", false, H,
        [=](Rng& rng, std::size_t input, const LayerSetting&) { return gru(rng, input, reset); });
  }
  for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
    add_cells(rows, "cells", phi == RNNNonlinearity::tanh ? "RNNCell, tanh" : "RNNCell, relu",
              false, H, [=](Rng& rng, std::size_t input, const LayerSetting&) {
                return RNNCell({.input = input, .hidden = H, .nonlinearity = phi, .dtype = dtype},
                               rng);
              });
  }
  add_cells(rows, "cells", "user's cell", true, H,
            [](Rng& rng, std::size_t input, const LayerSetting& s) {
              UserCell cell{Linear(input, H, rng, {.dtype = dtype}),
                            Parameter(rng.uniform({H}, -1, 1, dtype)), Parameter()};
              if (s.trained_state) cell.start = Parameter(rng.uniform({H}, -1, 1, dtype));
              return cell;
            });
  add_cells(rows, "cells", "StackedCells, Residual", false, H,
            [=](Rng& rng, std::size_t input, const LayerSetting&) {
              LSTMCell below = lstm(rng, input);
              return StackedCells(std::move(below), Residual(gru(rng, H, GRUReset::after)));
            });
  return rows;
}

}  // namespace

std::vector<LayerRow> layer_rows(const std::string& layer) {
  if (layer == "lstm of ids") return embedding_rows();
  if (layer == "lstm variants") return variant_rows();
  if (layer == "min cells") return min_rows();
  if (layer == "cells") return cell_rows();
  return fused_rows(layer);
}

}  // namespace tapegrad::testing
