#include "planted_bugs.h"

#include <algorithm>
#include <cstdint>
#include <random>

namespace tapegrad::testing::planted {

Vector noise(std::size_t size, std::uint32_t seed, double amplitude) {
  std::mt19937 random(seed);
  Vector v(size);
  for (double& x : v) x = amplitude * (static_cast<double>(random()) * 0x1p-31 - 1);
  return v;
}

void Model::backward(std::string_view bug) {
  bug_ = bug;
  for (Array& a : arrays) a.gradient.assign(a.value.size(), 0);
  differentiate();
}

Vector Model::values() const {
  Vector all;
  for (const Array& a : arrays) all.insert(all.end(), a.value.begin(), a.value.end());
  return all;
}

void Model::set_values(std::span<const double> x) {
  for (Array& a : arrays) {
    std::ranges::copy(x.first(a.value.size()), a.value.begin());
    x = x.subspan(a.value.size());
  }
}

Vector Model::gradient() const {
  Vector all;
  for (const Array& a : arrays) all.insert(all.end(), a.gradient.begin(), a.gradient.end());
  return all;
}

Array& Model::array(const char* name, std::vector<std::size_t> shape, std::uint32_t seed,
                    double amplitude, std::vector<std::string> gates) {
  std::size_t size = 1;
  for (const std::size_t n : shape) size *= n;
  return arrays.emplace_back(
      Array{name, std::move(shape), std::move(gates), noise(size, seed, amplitude), Vector(size)});
}

const std::vector<ModelCase>& models() {
  static const std::vector<ModelCase> all = {
      {"lstm", make_lstm},
      {"gru", make_gru},
      {"bidirectional", make_bidirectional},
      {"softmax classifier", make_softmax_classifier},
      {"layer norm", make_layer_norm},
      {"embedding", make_embedding},
      {"attention", make_attention},
      {"mean over time", make_mean_over_time},
  };
  return all;
}

namespace {

using Wrong = std::vector<std::pair<std::string, std::string>>;

/// All blocks of an LSTM, with their classes.
Wrong lstm(const char* weights, const char* x, const char* h0, const char* c0) {
  return {{"weight_ih", weights},
          {"weight_hh", weights},
          {"bias", weights},
          {"x", x},
          {"h0", h0},
          {"c0", c0}};
}
Wrong gru(const char* x) {
  return {{"weight_ih", "other"},
          {"weight_hh", "other"},
          {"bias_ih", "other"},
          {"bias_hh", "other"},
          {"x", x},
          {"h0", "other"}};
}
Wrong all(const char* c) { return lstm(c, c, c, c); }

std::vector<Bug> lstm_bugs() {
  const char* m = "lstm";
  return {
      // the loop over time
      {m, "no carry of h (mlpack 3859)", lstm("other", "time", "zero", "other")},
      {m, "no carry of c", lstm("other", "time", "other", "zero")},
      {m, "carry of c without f", lstm("other", "time", "other", "other")},
      {m, "carry of h twice", lstm("other", "time", "other", "other")},
      {m, "W_hh not transposed in dh", lstm("other", "time", "other", "other")},
      {m, "gate o not in the carry", lstm("other", "time", "other", "other")},
      {m, "stops two steps early", lstm("other", "time", "other", "other")},
      {m, "truncated every two steps", lstm("other", "time", "other", "other")},
      {m, "loss of the last step only", lstm("other", "time", "other", "other")},
      {m, "carry not set to zero before (mxnet 17086)", all("other")},
      // the cell
      {m, "1 - tanh^2 dropped", all("other")},
      {m, "c_t for c_t-1", all("other")},
      {m, "g as a sigmoid", all("other")},
      {m, "o as a tanh", all("other")},
      {m, "c for tanh c in gate o", all("other")},
      {m, "i without its own slope", all("other")},
      {m, "sign of the loss", all("sign")},
      {m, "everything / T", all("factor")},
      {m, "everything / B", all("factor")},
      {m, "everything / (T B)", all("factor")},
      // weights
      {m, "h_t for h_t-1", {{"weight_hh", "other"}}},
      {m, "last step missing in dW_hh", {{"weight_hh", "time"}}},
      {m, "dW_hh overwritten at each step", {{"weight_hh", "time"}}},
      {m, "dW_hh transposed", {{"weight_hh", "transpose"}}},
      {m, "gate f of dW_hh transposed", {{"weight_hh", "transpose"}}},
      {m, "dW_ih column by column", {{"weight_ih", "transpose"}}},
      {m, "x before dropout in dW_ih", {{"weight_ih", "other"}}},
      {m, "gate f of dW_ih x 1.001", {{"weight_ih", "part"}}},
      {m, "gate f of dW_ih x 1.01", {{"weight_ih", "part"}}},
      {m, "sign of gate g in dW_hh", {{"weight_hh", "part"}}},
      {m, "column of dW_ih zeroed", {{"weight_ih", "part"}}},
      {m, "dW_ih twice", {{"weight_ih", "doubled"}}},
      {m, "half of dW_hh", {{"weight_hh", "factor"}}},
      {m, "gates g and o exchanged", {{"weight_ih", "gates"}}},
      {m,
       "gates i and f exchanged",
       {{"weight_ih", "gates"}, {"weight_hh", "gates"}, {"bias", "gates"}}},
      {m, "weight decay", {{"weight_ih", "value"}, {"weight_hh", "value"}}},
      {m, "dW_hh clipped", {{"weight_hh", "clip"}}},
      {m, "|dW_hh|", {{"weight_hh", "sign"}}},
      {m, "dW_hh rounded", {{"weight_hh", "rounding"}}},
      {m, "noise of 1e-3 in dW_hh", {{"weight_hh", "other"}}},
      // bias and states
      {m, "gate f of the bias zeroed", {{"bias", "part"}}},
      {m, "one bias entry zeroed", {{"bias", "part"}}},
      {m, "bias not summed over the batch", {{"bias", "other"}}},
      {m, "bias overwritten at each step", {{"bias", "other"}}},
      {m, "dh0 forgotten", {{"h0", "zero"}}},
      {m, "dc0 is dh0", {{"c0", "other"}}},
      // dx
      {m, "dropout ignored in dx", {{"x", "mask"}}},
      {m, "another mask in dx", {{"x", "mask"}}},
      {m, "dropout scale forgotten in dx", {{"x", "factor"}}},
      {m, "dx reversed in time", {{"x", "time"}}},
      {m, "dx one step late", {{"x", "time"}}},
      {m, "dx one step early", {{"x", "time"}}},
      {m, "dx summed over later steps", {{"x", "time"}}},
      {m, "dx batch first", {{"x", "transpose"}}},
      {m, "batch rows of dx exchanged", {{"x", "order"}}},
  };
}

std::vector<Bug> recurrent_bugs() {
  return {
      {"gru", "no direct carry z dh", gru("time")},
      {"gru", "1 - z for z in the carry", gru("time")},
      {"gru", "no carry through the gates", gru("time")},
      {"gru", "carry without the reset gate", gru("time")},
      {"gru", "z for 1 - z at the candidate", gru("other")},
      {"gru", "nothing through the reset gate", gru("other")},
      {"gru", "sign of the update gate", gru("other")},
      {"gru", "reset gate not in dU_n", {{"weight_hh", "part"}}},
      {"gru", "reset gate not in db_hh", {{"bias_hh", "part"}}},
      {"gru", "dW_ih overwritten", {{"weight_ih", "time"}}},
      {"gru", "reset and update gates exchanged", {{"weight_hh", "gates"}}},
      {"bidirectional",
       "reverse gradients not added (mlpack 1742)",
       {{"weight_ih_reverse", "zero"}, {"weight_hh_reverse", "zero"}}},
      {"bidirectional",
       "reverse weights get the forward gradient",
       {{"weight_ih_reverse", "other"}, {"weight_hh_reverse", "other"}}},
      {"bidirectional",
       "no carry in the reverse direction",
       {{"weight_ih_reverse", "other"}, {"weight_hh_reverse", "other"}, {"x", "time"}}},
      {"bidirectional", "reverse dx not added", {{"x", "other"}}},
      {"bidirectional", "reverse dx not turned round", {{"x", "other"}}},
  };
}

std::vector<Bug> layer_bugs() {
  const auto classifier = [](const char* c) { return Wrong{{"h", c}, {"weight", c}, {"bias", c}}; };
  const char *softmax = "softmax classifier", *norm = "layer norm", *mean = "mean over time";
  return {
      {softmax, "sum for mean", classifier("factor")},
      {softmax, "ignored row counted", classifier("factor")},
      {softmax, "sign", classifier("sign")},
      {softmax, "target not subtracted", classifier("other")},
      {softmax, "target off by one", {{"h", "other"}, {"weight", "other"}, {"bias", "other|part"}}},
      {softmax, "slope of a sigmoid besides", classifier("other")},
      {softmax,
       "ignored row has a gradient",
       {{"h", "mask"}, {"weight", "other"}, {"bias", "other"}}},
      {softmax, "bias of the target only", {{"bias", "other"}}},
      {softmax, "W transposed in dh", {{"h", "other"}}},
      {norm, "mean term missing", {{"x", "term"}}},
      {norm, "variance term missing", {{"x", "term"}}},
      {norm, "variance over D - 1", {{"x", "term"}}},
      {norm, "1 / sigma missing", {{"x", "factor"}}},
      {norm, "variance for sigma", {{"x", "factor"}}},
      {norm, "gamma missing in dx", {{"x", "other"}}},
      {norm, "gamma of the last row only", {{"gamma", "other"}}},
      {norm, "x for xhat in dgamma", {{"gamma", "other"}}},
      {norm, "beta of the first row only", {{"beta", "other"}}},
      {norm, "beta has gamma's gradient", {{"beta", "other"}}},
      {"embedding", "duplicates overwritten", {{"table", "part"}}},
      {"embedding", "divided by the number of uses", {{"table", "part"}}},
      {"embedding", "row 0 taken for padding", {{"table", "part"}}},
      {"embedding", "row off by one", {{"table", "order"}}},
      {"embedding", "ids read batch first", {{"table", "other"}}},
      {"embedding", "weight decay of all rows", {{"table", "value"}}},
      {"embedding", "unused rows not zero", {{"table", "mask"}}},
      {"attention", "scale missing", {{"Q", "factor"}, {"K", "factor"}}},
      {"attention", "scale twice", {{"Q", "factor"}, {"K", "factor"}}},
      {"attention", "sum missing in the softmax", {{"Q", "other"}, {"K", "other"}}},
      {"attention", "mask ignored", {{"Q", "time|part"}, {"K", "time|part"}}},
      {"attention", "dQ and dK exchanged", {{"Q", "other"}, {"K", "other"}}},
      {"attention", "K detached", {{"K", "zero"}}},
      {"attention", "P not transposed in dV", {{"V", "other"}}},
      {mean, "divided by T", {{"x", "part|factor"}}},
      {mean, "sum for mean in dx", {{"x", "factor"}}},
      {mean, "padding not masked", {{"x", "mask"}}},
      {mean, "last step only", {{"x", "mask|time|part"}}},
      {mean, "last x for the mean", {{"weight", "other"}}},
  };
}

}  // namespace

const std::vector<Bug>& bugs() {
  static const std::vector<Bug> all = [] {
    std::vector<Bug> list;
    for (const auto& part : {lstm_bugs(), recurrent_bugs(), layer_bugs()}) {
      list.insert(list.end(), part.begin(), part.end());
    }
    return list;
  }();
  return all;
}

}  // namespace tapegrad::testing::planted
