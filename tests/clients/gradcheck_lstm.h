#pragma once

// What the clients check: an LSTM in plain arrays, given to the checker by its pointers.

#include <tapegrad/gradcheck.hpp>

#include "../oracles/lstm_by_hand.h"

struct Lstm : tapegrad::testing::LstmByHand {
  explicit Lstm(bool is_wrong) : LstmByHand({.T = 5, .B = 1, .I = 2, .H = 3}, is_wrong) {}
};

inline tapegrad::GradcheckReport check(Lstm& net) {
  using namespace tapegrad::testing;
  const auto block = [&](const char* name, Input i, std::vector<std::size_t> shape) {
    Values<double>& values = net.data.in[i];
    return tapegrad::grad_block(name, values.data(), net.gradients[i].data(), values.size(),
                                std::move(shape));
  };
  return tapegrad::gradcheck([&] { return net.loss(); },
                             {block("weight_ih", W_IH, {12, 2}), block("weight_hh", W_HH, {12, 3}),
                              block("bias", B_IH, {})},
                             {.backward = [&] { net.backward(); }});
}
