// lstm_step.cpp in PyTorch's C++ API: the same cells, numbers, options and output. compare.py
// compiles it against `pip install torch==2.13.0`; with -DADAM=FusedAdam for its peer torch-fused.

#include <torch/torch.h>

#include <cmath>
#include <optional>
#include <utility>

#include "../bench/bench.h"

using bench::Cell, bench::Mode, bench::Options;

namespace {

struct LSTMAndHead : torch::nn::Module {
  LSTMAndHead(const Cell& c, bool composed) {
    const auto input = std::int64_t(c.input), hidden = std::int64_t(c.hidden);
    if (composed) {
      for (std::size_t l = 0; l < c.layers; ++l) {
        cells.push_back(register_module("cell" + std::to_string(l),
                                        torch::nn::LSTMCell(l == 0 ? input : hidden, hidden)));
      }
    } else {
      lstm = register_module(
          "lstm", torch::nn::LSTM(
                      torch::nn::LSTMOptions(input, hidden).num_layers(std::int64_t(c.layers))));
    }
    head = register_module("head", torch::nn::Linear(hidden, std::int64_t(c.head)));
  }

  torch::Tensor forward(torch::Tensor x) {
    if (lstm) return head(std::get<0>(lstm(x)));
    for (torch::nn::LSTMCell& cell : cells) {
      std::optional<std::tuple<torch::Tensor, torch::Tensor>> state;
      std::vector<torch::Tensor> h;
      for (const torch::Tensor& step : x.unbind()) {
        state = cell(step, state);
        h.push_back(std::get<0>(*state));
      }
      x = torch::stack(h);
    }
    return head(x);
  }

  torch::nn::LSTM lstm{nullptr};
  std::vector<torch::nn::LSTMCell> cells;
  torch::nn::Linear head{nullptr};
};

/// Adam by the op behind Python's Adam(fused=True), faster than torch::optim::Adam. It has no
/// public name in C++.
class FusedAdam {
 public:
  FusedAdam(std::vector<torch::Tensor> parameters, const torch::optim::AdamOptions& options)
      : parameters_(std::move(parameters)), options_(options) {
    for (const torch::Tensor& p : parameters_) {
      m_.push_back(torch::zeros_like(p));
      v_.push_back(torch::zeros_like(p));
      steps_.push_back(torch::zeros({}, torch::kFloat32));
    }
  }

  void step() {
    const torch::NoGradGuard guard;
    std::vector<torch::Tensor> gradients;
    for (const torch::Tensor& p : parameters_) gradients.push_back(p.grad());
    for (torch::Tensor& step : steps_) step += 1;
    const auto [beta1, beta2] = options_.betas();
    at::_fused_adam_(parameters_, gradients, m_, v_, {}, steps_, options_.lr(), beta1, beta2,
                     options_.weight_decay(), options_.eps(), false, false);
  }
  void zero_grad() {
    for (torch::Tensor& p : parameters_) p.mutable_grad().reset();
  }

 private:
  std::vector<torch::Tensor> parameters_, m_, v_, steps_;
  torch::optim::AdamOptions options_;
};
#ifndef ADAM
#define ADAM torch::optim::Adam
#endif

void measure(const Options& options, const Cell& c) {
  namespace F = torch::nn::functional;
  const auto dtype = options.float64 ? torch::kFloat64 : torch::kFloat32;
  const auto numbers = [&](std::uint32_t n, torch::IntArrayRef shape, double scale) {
    std::vector<double> x = bench::numbers(n, std::size_t(c10::multiply_integers(shape)), scale);
    return torch::from_blob(x.data(), shape, torch::kFloat64).to(dtype, false, true);
  };
  LSTMAndHead model(c, options.mode == Mode::composed);
  model.to(dtype);
  {
    const torch::NoGradGuard guard;
    std::uint32_t n = bench::first_parameter;
    for (torch::Tensor& p : model.parameters()) {
      p.copy_(numbers(n++, p.sizes(), 1 / std::sqrt(double(c.hidden))));
    }
  }
  const auto T = std::int64_t(c.steps), B = std::int64_t(c.batch), classes = std::int64_t(c.head);
  const torch::Tensor x = numbers(bench::input_tensor, {T, B, std::int64_t(c.input)}, 1);
  torch::Tensor target = numbers(bench::target_tensor, {T, B, 1}, 1);
  if (classes > 1) {
    std::vector<std::int32_t> ids = bench::ids(bench::target_tensor, c.steps * c.batch, c.head);
    target = torch::from_blob(ids.data(), {T * B}, torch::kInt32).to(torch::kInt64);
  }
  ADAM adam(model.parameters(), torch::optim::AdamOptions(1e-3));

  const auto infer = [&] {
    const c10::InferenceMode guard;
    return double(model.forward(x).data_ptr() != nullptr);
  };
  const auto train = [&] {
    const torch::Tensor y = model.forward(x);
    const torch::Tensor loss =
        classes > 1 ? F::cross_entropy(y.view({T * B, classes}), target) : F::mse_loss(y, target);
    loss.backward();
    torch::nn::utils::clip_grad_norm_(model.parameters(), 5);
    adam.step();
    adam.zero_grad();
    return loss.item().toDouble();
  };
  bench::measure(options, c, infer, train);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = bench::options(argc, argv, bench::lstm_cells);
  torch::set_num_threads(int(options.threads));
  at::globalContext().setFlushDenormal(true);
  bench::print_head(options);
  for (const Cell& c : options.cells) measure(options, c);
}
