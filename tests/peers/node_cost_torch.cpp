// The chain of node_cost.cpp in PyTorch's C++ eager mode, for a comparison in the same minute: see
// node_cost.sh, which compiles it against `pip install torch==2.13.0`.

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double, std::nano>(clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  long size = 1, nodes = 3000, passes = 400;
  bool inference = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--size") size = std::stol(argv[i + 1]);
    if (option == "--nodes") nodes = std::stol(argv[i + 1]);
    if (option == "--passes") passes = std::stol(argv[i + 1]);
    if (option == "--mode") inference = std::string_view(argv[i + 1]) == "inference";
  }
  torch::set_num_threads(1);
  const c10::InferenceMode guard(inference);
  const auto options = torch::TensorOptions().requires_grad(!inference);
  torch::Tensor w = torch::ones({size}, options);
  torch::Tensor b = torch::zeros({size}, options);
  const torch::Tensor x0 = torch::full({size}, 0.5);
  std::vector<double> forward, backward, whole;
  for (long pass = 0; pass < passes; ++pass) {
    const double begin = now();
    double recorded = 0, differentiated = 0;
    {
      torch::Tensor x = x0;
      for (long i = 0; i < nodes / 3; ++i) x = torch::tanh(x * w + b);
      const torch::Tensor loss = x.sum();
      recorded = now();
      if (!inference) loss.backward();
      differentiated = now();
    }
    const double per_node = 1 / static_cast<double>(nodes);
    forward.push_back((recorded - begin) * per_node);
    backward.push_back((differentiated - recorded) * per_node);
    whole.push_back((now() - begin) * per_node);
    w.mutable_grad().reset();
    b.mutable_grad().reset();
  }
  std::printf(
      "result {\"program\":\"node_cost_torch\",\"size\":%ld,\"nodes\":%ld,\"forward_ns\":%.1f,"
      "\"backward_ns\":%.1f,\"whole_ns\":%.1f}\n",
      size, nodes, median(forward), median(backward), median(whole));
}
