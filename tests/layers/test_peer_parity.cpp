#include <doctest/doctest.h>

#include <map>
#include <string>

#include "../../layers/recurrent/gru_cell.h"
#include "../fixtures/keras.h"
#include "../fixtures/peepholes.h"
#include "../support/parity.h"

TEST_SUITE_BEGIN("goldens");

// Against Keras and the reference implementation of ONNX in float64: fixtures/make_keras.py and
// make_peepholes.py say how their numbers were made, and how their weights become ours.

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("keras parity: both forms of GRU, masks, all ways to merge directions, all gradients") {
  const std::map<std::string, Merge> merges = {{"concat", Merge::concat},
                                               {"sum", Merge::sum},
                                               {"mul", Merge::multiply},
                                               {"ave", Merge::average}};
  check_parity(keras_recurrent, [&](const LayerValues& keras) {
    const StackCase c{.bidirectional = keras.bidirectional, .merge = merges.at(keras.merge)};
    if (keras.kind != "gru, reset before") {
      return make_stack(keras.kind == "lstm" ? "lstm" : "gru", c);
    }
    const CellsCase cells{.input = stack_input,
                          .way = keras.bidirectional ? Way::both : Way::forward};
    return stack_of_cells(keras.kind, cells, stack_hidden, [](std::size_t input) {
      Rng rng(1);
      return GRUCell({.input = input,
                      .hidden = stack_hidden,
                      .reset = GRUReset::before,
                      .dtype = DType::float64},
                     rng);
    });
  });
}

TEST_CASE("onnx parity: LSTMs with peepholes, in both directions, all gradients") {
  check_parity(onnx_peepholes, [](const LayerValues& onnx) {
    return make_stack("lstm", {.bidirectional = onnx.bidirectional, .peepholes = true});
  });
}

TEST_SUITE_END();
