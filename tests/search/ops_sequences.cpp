#include "../../autograd/ops/ctc.h"
#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/gru.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/rnn.h"
#include "../../autograd/ops/scan.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/lstm_variant_cell.h"
#include "../../layers/recurrent/min_cells.h"
#include "../../layers/recurrent/recurrent.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/rnn_cell.h"
#include "../../layers/recurrent/truncated_bptt.h"
#include "program.h"

#include <algorithm>

// Sequences of different lengths in both directions, variants, GRU and RNN, cells of all kinds.

namespace tapegrad::search {
namespace {

using Places = std::vector<std::size_t>;

Vars values_of(const LSTMResult& r) { return {r.y, r.last.h, r.last.c}; }
Vars values_of(const Unrolled<Var>& r) { return {r.y, r.last}; }

RecurrentWeights weights(const Arguments& a, std::size_t i) {
  return {a.x[i], a.x[i + 1], a.x[i + 2], a.x[i + 3]};
}
Parameter parameter(const Arguments& a, std::size_t i) {
  return a.parameters[i] == nullptr ? Parameter() : a.parameters[i]->share();
}

/// Returns the places of one layer's weights; `make`: of a shape.
template <class Make>
Places layer(Chooser& choose, std::size_t G, std::size_t I, std::size_t H, Make make) {
  const bool bias = !choose.chance(3);
  return {make(Shape{G, I}), make(Shape{G, H}), bias ? make(Shape{G}) : absent,
          bias ? make(Shape{G}) : absent};
}

Places operator+(Places a, const Places& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::size_t hidden(Chooser& choose) {
  return choose.chance(8) ? choose.size() : 1 + choose.below(5);
}

Steps steps(Chooser& choose, const Shape& x) {
  Steps s{.reverse = choose.chance(2)};
  if (choose.chance(3)) return s;
  s.lengths = choose.ids({x[1]}, x[0] + 1);
  // Where no sequence has a step, the twin's y is a constant, of which there is nothing to judge.
  std::size_t steps = 0;
  for (std::size_t b = 0; s.lengths.defined() && b < s.lengths.numel(); ++b)
    steps += s.lengths.at(b) != 0 ? 1U : 0U;
  if (steps == 0) s.lengths = {};
  return s;
}

/// A mask of 0 and 1 on h, and rates of zoneout inside (0, 1): at its ends the fused form leaves out a
/// NaN that the twin's own ops multiply by 0. `has_c`: of an LSTM.
RecurrentVariant variant(Chooser& choose, const Shape& x, std::size_t H, bool has_c) {
  RecurrentVariant v;
  const auto mask = [&](const Shape& shape, double low) {
    Tensor m = Tensor::empty(shape, choose.dtype());
    for (std::size_t i = 0; i < m.numel(); ++i) {
      const double value = choose.chance(3) ? low : 1 - low;
      choose.dtype() == DType::float32 ? m.mutable_data<float>()[i] = static_cast<float>(value)
                                       : m.mutable_data<double>()[i] = value;
    }
    return m;
  };
  if (choose.chance(3)) v.recurrent_mask = mask({x[1], H}, 0);
  if (choose.chance(3)) v.zoneout_h = mask({x[0], x[1], H}, 0.25);
  if (has_c && choose.chance(3)) v.zoneout_c = mask({x[0], x[1], H}, 0.25);
  return v;
}

/// The dtype of a call in float64 is another one than that of its masks.
RecurrentVariant in_dtype(RecurrentVariant v, DType dtype) {
  for (Tensor* mask : {&v.recurrent_mask, &v.zoneout_h, &v.zoneout_c}) {
    if (mask->defined()) *mask = mask->to(dtype);
  }
  return v;
}

Call lstm_sequence(Chooser& choose) {
  const std::size_t x = choose.any(3, 3), H = hidden(choose);
  const Shape shape = choose.shape_of(x);
  const Steps s = steps(choose, shape);
  const RecurrentVariant v = variant(choose, shape, H, true);
  const auto like = [&](const Shape& of) { return choose.like(of); };
  const auto call = [=](decltype(lstm)* f) {
    return [=](const Arguments& a) {
      return values_of(f(a.x[0], {a.x[1], a.x[2]}, weights(a, 3), s, in_dtype(v, a.x[0].dtype())));
    };
  };
  const std::size_t h = like({shape[1], H}), c = like({shape[1], H});
  return {.inputs = Places{x, h, c} + layer(choose, 4 * H, shape[2], H, like),
          .run = call(lstm),
          .twin = call(lstm_composed)};
}

/// `f` and its twin: gru or rnn with all that they take.
template <class F, class Twin>
Call hidden_sequence(Chooser& choose, std::size_t gates, F f, Twin twin) {
  const std::size_t x = choose.any(3, 3), H = hidden(choose);
  const Shape shape = choose.shape_of(x);
  const Steps s = steps(choose, shape);
  const RecurrentVariant v = variant(choose, shape, H, false);
  const auto like = [&](const Shape& of) { return choose.like(of); };
  const auto call = [=](auto function) {
    return [=](const Arguments& a) {
      return values_of(function(a.x[0], a.x[1], weights(a, 2), s, in_dtype(v, a.x[0].dtype())));
    };
  };
  const std::size_t h = like({shape[1], H});
  return {.inputs = Places{x, h} + layer(choose, gates * H, shape[2], H, like),
          .run = call(f),
          .twin = call(twin)};
}

/// A step x (B, I), h (B, H), of weights that are values or Parameters.
template <class F>
Call one_step(Chooser& choose, std::size_t gates, bool of_layer, F f) {
  const std::size_t x = choose.any(2, 2), H = hidden(choose);
  const Shape shape = choose.shape_of(x);
  const auto make = [&](const Shape& s) { return of_layer ? choose.parameter(s) : choose.like(s); };
  return {
      .inputs = Places{x, choose.like({shape[0], H})} + layer(choose, gates * H, shape[1], H, make),
      .run = [=](const Arguments& a) { return Vars{f(a)}; }};
}

template <class Parameters>
void give(Parameters& to, const Arguments& a, std::size_t i) {
  to.weight_ih = parameter(a, i);
  to.weight_hh = parameter(a, i + 1);
  to.bias_ih = parameter(a, i + 2);
  to.bias_hh = parameter(a, i + 3);
}

/// A layer in both directions.
template <class Layer>
Call stack(Chooser& choose, std::size_t gates) {
  const std::size_t x = choose.any(3, 3), H = hidden(choose);
  const Shape shape = choose.shape_of(x);
  const Merge merge = static_cast<Merge>(choose.below(4));
  const Tensor lengths = steps(choose, shape).lengths;
  const auto make = [&](const Shape& s) { return choose.parameter(s); };
  Places inputs = {x, choose.like({2, shape[1], H})};
  for (int direction = 0; direction < 2; ++direction) {
    inputs = inputs + layer(choose, gates * H, shape[2], H, make);
  }
  const auto call = [=](bool fused) {
    return [=](const Arguments& a) {
      Rng rng(1);
      Layer model({.input = 1, .hidden = 1, .bidirectional = true, .merge = merge}, rng);
      for (std::size_t n = 0; n < 2; ++n) give(model.layers[n], a, 2 + 4 * n);
      return values_of(fused ? model(a.tape, a.x[0], a.x[1], lengths)
                             : model.composed(a.tape, a.x[0], a.x[1], lengths));
    };
  };
  return {.inputs = inputs, .run = call(true), .twin = call(false)};
}

/// `Cell` of a Linear over a sequence, all steps at once and one by one.
template <class Cell>
Call scanned(Chooser& choose, std::size_t blocks) {
  const std::size_t x = choose.any(3, 3), H = 1 + choose.below(4);
  const Shape shape = choose.shape_of(x);
  const Steps s = steps(choose, shape);
  const auto call = [=](bool at_once) {
    return [=](const Arguments& a) {
      Recurrent<Cell> model;
      model.cell.linear.weight = parameter(a, 2);
      model.cell.linear.bias = parameter(a, 3);
      return values_of(at_once ? model(a.tape, a.x[0], a.x[1], s)
                               : model.composed(a.tape, a.x[0], a.x[1], s));
    };
  };
  return {.inputs = {x, choose.like({shape[1], H}), choose.parameter({blocks * H, shape[2]}),
                     choose.parameter({blocks * H})},
          .run = call(true),
          .twin = call(false)};
}

Call scan_sequence(Chooser& choose) {
  const std::size_t a_place = choose.any(3, 3);
  const Shape shape = choose.shape_of(a_place);
  const Steps s = steps(choose, shape);
  const auto call = [=](decltype(scan)* f) {
    return [=](const Arguments& a) { return values_of(f(a.x[0], a.x[1], a.x[2], s)); };
  };
  return {.inputs = {a_place, choose.like(shape), choose.like({shape[1], shape[2]})},
          .run = call(scan),
          .twin = call(scan_composed)};
}

/// A GRU's step in a stack of cells, its input added to its output.
Call stacked_step(Chooser& choose) {
  const std::size_t x = choose.any(2, 2);
  const Shape shape = choose.shape_of(x);
  const std::size_t H = shape[1];
  const auto make = [&](const Shape& s) { return choose.parameter(s); };
  return {.inputs = Places{x, choose.like({shape[0], H})} + layer(choose, 3 * H, H, H, make),
          .run = [](const Arguments& a) {
            GRUCell cell;
            give(cell.weights, a, 2);
            const StackedCells cells{Residual(std::move(cell))};
            const std::tuple<Var> next = cells(a.tape, a.x[0], std::tuple(a.x[1]));
            return Vars{cells.output(a.x[0], next), std::get<0>(next)};
          }};
}

Call variant_step(Chooser& choose) {
  const std::size_t x = choose.any(2, 2), H = 2 + choose.below(3);
  const Shape shape = choose.shape_of(x);
  return {.inputs = {x, choose.like({shape[0], 1}), choose.like({shape[0], H}),
                     choose.parameter({4 * H, shape[1]}), choose.parameter({4 * H, 1}),
                     choose.parameter({1, H})},
          .run = [](const Arguments& a) {
            LSTMVariantCell cell;
            cell.weight_ih = parameter(a, 3);
            cell.weight_hh = parameter(a, 4);
            cell.weight_hr = parameter(a, 5);
            const LSTMState next = cell(a.tape, a.x[0], {a.x[1], a.x[2]});
            return Vars{next.h, next.c};
          }};
}

/// A stream's first window, whose first state is not yet a constant, run in two parts.
Call first_window(Chooser& choose) {
  const Shape shape{1 + choose.below(4), 1 + choose.below(3), 1 + choose.below(3)};
  const std::size_t H = 1 + choose.below(4);
  const Tensor x = draw(choose.rng, shape, choose.dtype(), false);
  const auto make = [&](const Shape& s) { return choose.parameter(s); };
  const auto call = [=](bool window) {
    return [=](const Arguments& a) {
      const auto model = [&](Tape&, const Tensor& part, const Var& h) {
        return rnn(part, h, weights(a, 1));
      };
      const Tensor data = x.to(a.x[0].dtype());
      if (!window) return Vars{model(a.tape, data, a.x[0]).y};
      TruncatedBPTT bptt(a.x[0], {.k1 = shape[0], .k2 = shape[0] + 1});
      return Vars{bptt(a.tape, model, data)};
    };
  };
  return {.inputs = Places{choose.like({shape[1], H})} + layer(choose, H, shape[2], H, make),
          .run = call(true),
          .twin = call(false)};
}

Call labelled_sequence(Chooser& choose) {
  const std::size_t x = choose.any(3, 3);
  const Shape shape = choose.shape_of(x);
  const Shape of_targets{choose.below(4), shape[1]};
  Tensor ids = Tensor::zeros(of_targets, DType::int32);  // 0 is the blank, and mostly refused
  for (std::int32_t& id : ids.mutable_values<std::int32_t>()) {
    if (!choose.chance(100))
      id = static_cast<std::int32_t>(1 + choose.below(std::max<std::size_t>(shape[2], 2) - 1));
  }
  const auto lengths = [&](std::size_t most) {
    return choose.chance(3) ? Tensor() : choose.ids({shape[1]}, most + 1);
  };
  const Tensor input_lengths = lengths(shape[0]), target_lengths = lengths(of_targets[0]);
  // A loss that only float32 makes infinite is not 0 in float64.
  const bool zero_infinity = choose.dtype() == DType::float64 && choose.chance(2);
  const CTCOptions options{.reduction = static_cast<CTCReduction>(choose.below(3)),
                           .zero_infinity = zero_infinity};
  const auto call = [=](auto* function) {
    return [=](const Arguments& a) {
      return Vars{function(a.x[0], ids, input_lengths, target_lengths, options)};
    };
  };
  return {.inputs = {x}, .run = call(ctc_loss), .twin = call(ctc_loss_composed)};
}

}  // namespace

std::vector<Op> sequence_ops() {
  using enum Nature;
  return {
      {"lstm of lengths", flushes, lstm_sequence},
      {"gru", flushes,
       [](Chooser& choose) {
         return hidden_sequence(
             choose, 3, gru, [](const auto& x, const auto& h, const auto& w, const auto&... rest) {
               return gru_composed(x, h, w, GRUReset::after, rest...);
             });
       }},
      {"rnn", flushes,
       [](Chooser& choose) {
         // Not relu: what float32 rounds to 0 is on the other side of its kink in float64.
         constexpr auto phi = RNNNonlinearity::tanh;
         return hidden_sequence(
             choose, 1,
             [=](const auto& x, const auto& h, const auto& w, const auto&... rest) {
               return rnn(x, h, w, phi, rest...);
             },
             [=](const auto& x, const auto& h, const auto& w, const auto&... rest) {
               return rnn_composed(x, h, w, phi, rest...);
             });
       }},
      {"gru_cell", flushes,
       [](Chooser& choose) {
         const auto reset = choose.chance(2) ? GRUReset::before : GRUReset::after;
         return one_step(choose, 3, false, [=](const Arguments& a) {
           return gru_cell(a.x[0], a.x[1], weights(a, 2), reset);
         });
       }},
      {"rnn_cell", flushes,
       [](Chooser& choose) {
         return one_step(choose, 1, false, [](const Arguments& a) {
           return rnn_cell(a.x[0], a.x[1], weights(a, 2));
         });
       }},
      {"GRUCell", flushes,
       [](Chooser& choose) {
         return one_step(choose, 3, true, [](const Arguments& a) {
           GRUCell cell;
           give(cell.weights, a, 2);
           return cell(a.tape, a.x[0], a.x[1]);
         });
       }},
      {"RNNCell", flushes,
       [](Chooser& choose) {
         return one_step(choose, 1, true, [](const Arguments& a) {
           RNNCell cell;
           give(cell.weights, a, 2);
           return cell(a.tape, a.x[0], a.x[1]);
         });
       }},
      {"GRU", flushes, [](Chooser& choose) { return stack<GRU>(choose, 3); }},
      {"RNN", flushes, [](Chooser& choose) { return stack<RNN>(choose, 1); }},
      {"scan", flushes, scan_sequence},
      {"ctc_loss", rounds, labelled_sequence},
      {"Recurrent<MinGRUCell>", flushes,
       [](Chooser& choose) { return scanned<MinGRUCell>(choose, 2); }},
      {"Recurrent<MinLSTMCell>", flushes,
       [](Chooser& choose) { return scanned<MinLSTMCell>(choose, 3); }},
      {"StackedCells", flushes, stacked_step},
      {"LSTMVariantCell", flushes, variant_step},
      {"TruncatedBPTT", flushes, first_window},
      {"masked", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any();
         const Tensor mask = choose.mask(choose.shape_of(x)).to(choose.dtype());
         return Call{.inputs = {x}, .run = [=](const Arguments& a) {
                       return Vars{masked(a.x[0], mask.to(a.x[0].dtype()))};
                     }};
       }},
      {"clip_gradient", exact,
       [](Chooser& choose) {
         const double limit = choose.number(0.5, 3);
         return Call{.inputs = {choose.any()},
                     .run = [=](const Arguments& a) { return Vars{clip_gradient(a.x[0], limit)}; }};
       }},
      {"row_dropout", rounds,
       [](Chooser& choose) {
         return Call{.inputs = {choose.any(2, 2)}, .run = [](const Arguments& a) {
                       return Vars{row_dropout(a.tape, a.x[0], 0.5, "r")};
                     }};
       }},
      {"variational_dropout", rounds,
       [](Chooser& choose) {
         return Call{.inputs = {choose.any(3, 3)}, .run = [](const Arguments& a) {
                       return Vars{variational_dropout(a.tape, a.x[0], 0.5, "v")};
                     }};
       }},
  };
}

}  // namespace tapegrad::search
