#include <fmt/format.h>

#include "../../autograd/ops/dropout.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/lstm_cell.h"
#include "../../layers/dropout.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/recurrent/lstm.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "program.h"

// LSTMs, dropout, and the layers, which own their Parameters.

namespace tapegrad::search {
namespace {

Vars values_of(const LSTMResult& r) { return {r.y, r.last.h, r.last.c}; }

/// The Parameter that argument i is the leaf of; undefined if it is none.
Parameter parameter(const Arguments& a, std::size_t i) {
  return a.parameters[i] == nullptr ? Parameter() : a.parameters[i]->share();
}

LSTMState state(const Arguments& a, std::size_t i) { return {a.x[i], a.x[i + 1]}; }
LSTMWeights weights(const Arguments& a, std::size_t i) {
  return {a.x[i], a.x[i + 1], a.x[i + 2], a.x[i + 3]};
}

/// h, c, and one layer's weights; `make`: of a shape.
template <class Make>
std::vector<std::size_t> layer(Chooser& choose, std::size_t I, std::size_t H, Make make) {
  const std::size_t biases = choose.below(3);
  return {make(Shape{4 * H, I}), make(Shape{4 * H, H}), biases > 0 ? make(Shape{4 * H}) : absent,
          biases > 1 ? make(Shape{4 * H}) : absent};
}

std::size_t hidden(Chooser& choose) {
  return choose.chance(8) ? choose.size() : 1 + choose.below(5);
}

std::vector<std::size_t> operator+(std::vector<std::size_t> a, const std::vector<std::size_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Op sequence(std::string name, decltype(lstm)* f) {
  return {std::move(name), Nature::flushes, [f](Chooser& choose) {
            const std::size_t x = choose.any(3, 3), H = hidden(choose);
            const Shape shape = choose.shape_of(x);
            const auto like = [&](const Shape& s) { return choose.like(s); };
            const auto call = [](auto* function) {
              return [=](const Arguments& a) {
                return values_of(function(a.x[0], state(a, 1), weights(a, 3), {}, {}));
              };
            };
            const std::size_t h = like({shape[1], H}), c = like({shape[1], H});
            return Call{.inputs = std::vector{x, h, c} + layer(choose, shape[2], H, like),
                        .run = call(f),
                        .twin = call(lstm_composed)};
          }};
}

Call embedding_sequence(Chooser& choose) {
  const std::size_t table = choose.any(2, 2), H = hidden(choose);
  const Shape shape = choose.shape_of(table);
  const std::size_t T = choose.size(), B = choose.size();
  const Tensor ids = choose.ids({T, B}, shape[0]);
  const auto like = [&](const Shape& s) { return choose.like(s); };
  const std::size_t h = like({B, H}), c = like({B, H});
  return {.inputs = std::vector{table, h, c} + layer(choose, shape[1], H, like),
          .run =
              [=](const Arguments& a) {
                return values_of(embedding_lstm(a.x[0], ids, state(a, 1), weights(a, 3)));
              },
          .twin =
              [=](const Arguments& a) {
                return values_of(lstm_composed(embedding(a.x[0], ids), state(a, 1), weights(a, 3)));
              }};
}

Call one_step(Chooser& choose, bool of_layer) {
  const std::size_t x = choose.any(2, 2), H = hidden(choose);
  const Shape shape = choose.shape_of(x);
  const auto make = [&](const Shape& s) { return of_layer ? choose.parameter(s) : choose.like(s); };
  const std::size_t h = choose.like({shape[0], H}), c = choose.like({shape[0], H});
  return {.inputs = std::vector{x, h, c} + layer(choose, shape[1], H, make),
          .run = [=](const Arguments& a) {
            if (!of_layer) {
              const LSTMState next = lstm_cell(a.x[0], state(a, 1), weights(a, 3));
              return Vars{next.h, next.c};
            }
            LSTMCell cell;
            cell.weights.weight_ih = parameter(a, 3);
            cell.weights.weight_hh = parameter(a, 4);
            cell.weights.bias_ih = parameter(a, 5);
            cell.weights.bias_hh = parameter(a, 6);
            const LSTMState next = cell(a.tape, a.x[0], state(a, 1));
            return Vars{next.h, next.c};
          }};
}

/// A stack of LSTM layers on x or on an embedding.
Call stack(Chooser& choose, bool of_ids) {
  const std::size_t L = 1 + choose.below(2), H = hidden(choose);
  const double dropout = L > 1 && choose.chance(2) ? 0.5 : 0;
  std::size_t x, T, B, I;
  Tensor ids;
  if (of_ids) {
    const std::size_t V = 1 + choose.below(4);
    T = choose.size(), B = choose.size(), I = 1 + choose.below(4);
    x = choose.parameter({V, I});
    ids = choose.ids({T, B}, V);
  } else {
    x = choose.any(3, 3);
    B = choose.shape_of(x)[1], I = choose.shape_of(x)[2];
  }
  std::vector<std::size_t> inputs = {x, choose.like({L, B, H}), choose.like({L, B, H})};
  const auto make = [&](const Shape& s) { return choose.parameter(s); };
  for (std::size_t l = 0; l < L; ++l) inputs = inputs + layer(choose, l == 0 ? I : H, H, make);
  const auto model = [=](const Arguments& a) {
    Rng rng(1);
    LSTM lstm({.input = 1, .hidden = 1, .layers = L, .dropout = dropout}, rng);
    for (std::size_t l = 0; l < L; ++l) {
      lstm.layers[l].weight_ih = parameter(a, 3 + 4 * l);
      lstm.layers[l].weight_hh = parameter(a, 4 + 4 * l);
      lstm.layers[l].bias_ih = parameter(a, 5 + 4 * l);
      lstm.layers[l].bias_hh = parameter(a, 6 + 4 * l);
    }
    return lstm;
  };
  const auto embed = [](const Arguments& a) {
    Embedding embedding;
    embedding.weight = parameter(a, 0);
    return embedding;
  };
  return {.inputs = inputs,
          .run =
              [=](const Arguments& a) {
                const LSTM lstm = model(a);
                if (of_ids) return values_of(lstm(a.tape, embed(a), ids, state(a, 1)));
                return values_of(lstm(a.tape, a.x[0], state(a, 1)));
              },
          .twin =
              [=](const Arguments& a) {
                const Var y = of_ids ? embedding(a.x[0], ids) : a.x[0];
                return values_of(model(a).composed(a.tape, y, state(a, 1)));
              },
          .sites = dropout > 0 ? L - 1 : 0};
}

}  // namespace

std::vector<Op> recurrent_ops() {
  using enum Nature;
  return {
      {"dropout", rounds,
       [](Chooser& choose) {
         const double p = choose.number(0, 0.9);
         const std::string site = fmt::format("site {}", choose.below(1000));
         return Call{.inputs = {choose.any()}, .run = [=](const Arguments& a) {
                       return Vars{dropout(a.tape, a.x[0], p, site)};
                     }};
       }},
      sequence("lstm", lstm),
      sequence("lstm_composed", lstm_composed),
      {"embedding_lstm", flushes, embedding_sequence},
      {"lstm_cell", flushes, [](Chooser& choose) { return one_step(choose, false); }},
      {"LSTMCell", flushes, [](Chooser& choose) { return one_step(choose, true); }},
      {"LSTM", flushes, [](Chooser& choose) { return stack(choose, false); }},
      {"LSTM of an embedding", flushes, [](Chooser& choose) { return stack(choose, true); }},
      {"Dropout", rounds,
       [](Chooser& choose) {
         const double p = choose.chance(4) ? 0 : 0.5;
         return Call{.inputs = {choose.any()},
                     .run = [=](const Arguments& a) { return Vars{Dropout{p}(a.tape, a.x[0])}; },
                     .sites = p > 0 ? 1U : 0U};
       }},
      {"Embedding", exact,
       [](Chooser& choose) {
         const std::size_t V = choose.size();
         const std::size_t table = choose.parameter({V, choose.size()});
         const Tensor ids = choose.ids(choose.shape(0, 3), V);
         return Call{.inputs = {table}, .run = [=](const Arguments& a) {
                       Embedding layer;
                       layer.weight = parameter(a, 0);
                       return Vars{layer(a.tape, ids)};
                     }};
       }},
      {"Linear", flushes,
       [](Chooser& choose) {
         const std::size_t x = choose.any(1), n = choose.size();
         const std::size_t weight = choose.parameter({n, choose.shape_of(x)[-1]});
         const bool fused = choose.chance(3) && n > 0;
         const Tensor ids = choose.ids(choose.shape_of(x).without(-1), n);
         return Call{.inputs = {x, weight, choose.chance(3) ? absent : choose.parameter({n})},
                     .run = [=](const Arguments& a) {
                       Linear layer;
                       layer.weight = parameter(a, 1);
                       layer.bias = parameter(a, 2);
                       return Vars{fused ? linear_cross_entropy(a.tape, layer, a.x[0], ids)
                                         : layer(a.tape, a.x[0])};
                     }};
       }},
  };
}

}  // namespace tapegrad::search
