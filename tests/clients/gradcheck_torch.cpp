// Somebody's model in LibTorch: an LSTM and a linear head, in double, whose memory is reached by
// data_ptr. The planted bug: only the gradients of the LSTM are set to zero before a backward pass.
#include <torch/torch.h>

#include <iostream>
#include <tapegrad/gradcheck.hpp>

struct Net : torch::nn::Module {
  torch::nn::LSTM lstm = register_module("lstm", torch::nn::LSTM(torch::nn::LSTMOptions(2, 3)));
  torch::nn::Linear head = register_module("head", torch::nn::Linear(3, 2));
  torch::Tensor x = torch::randn({5, 2, 2}, torch::kFloat64);  // T, B, I

  Net() { to(torch::kFloat64); }
  torch::Tensor loss() { return head(std::get<0>(lstm(x))).square().mean(); }
  void backward(bool wrong) {
    if (wrong) {
      lstm->zero_grad();
    } else {
      zero_grad();
    }
    loss().backward();
  }
};

tapegrad::GradcheckReport check(Net& net) {
  std::vector<tapegrad::GradBlock> blocks;
  for (const auto& p : net.named_parameters()) {
    const torch::Tensor& w = p.value();  // contiguous, and so is its gradient
    blocks.push_back(tapegrad::grad_block(p.key(), w.data_ptr<double>(),
                                          w.grad().data_ptr<double>(), std::size_t(w.numel()),
                                          {w.sizes().begin(), w.sizes().end()}));
  }
  const torch::NoGradGuard no_tape;
  return tapegrad::gradcheck([&] { return net.loss().item<double>(); }, blocks);
}

int main() {
  torch::manual_seed(1);
  Net net;
  for (const bool wrong : {false, true}) {
    net.backward(wrong);
    std::cout << check(net) << '\n';
  }
}
