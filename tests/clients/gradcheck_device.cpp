// Weights that no pointer reaches, as those of a GPU: float, copied in and out one by one. A tanh
// layer, y = tanh(W x), loss = sum of y. The planted bug: 1 - y instead of 1 - y^2.
#include <cmath>
#include <iostream>
#include <tapegrad/gradcheck.hpp>
#include <vector>

class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) : values_(size) {}
  float download(std::size_t i) const { return values_[i]; }
  void upload(std::size_t i, float v) { values_[i] = v; }

 private:
  std::vector<float> values_;
};

constexpr std::size_t M = 3, N = 4;
const float x[N] = {0.5f, -1, 0.25f, 2};

float output(const DeviceArray& W, std::size_t row) {
  float z = 0;
  for (std::size_t k = 0; k < N; ++k) z += W.download(row * N + k) * x[k];
  return std::tanh(z);
}

double loss(const DeviceArray& W) {
  double sum = 0;  // a loss of type double costs nothing and keeps digits
  for (std::size_t row = 0; row < M; ++row) sum += output(W, row);
  return sum;
}

void backward(const DeviceArray& W, DeviceArray& dW, bool wrong) {
  for (std::size_t k = 0; k < M * N; ++k) {
    const float y = output(W, k / N);
    dW.upload(k, (1 - (wrong ? y : y * y)) * x[k % N]);
  }
}

tapegrad::GradcheckReport check(DeviceArray& W, const DeviceArray& dW) {
  const tapegrad::GradBlock block = {
      .name = "W",
      .shape = {M, N},
      .get = [&](std::size_t i) { return double(W.download(i)); },
      .set = [&](std::size_t i, double v) { W.upload(i, float(v)); },
      .gradient = [&](std::size_t i) { return double(dW.download(i)); },
  };
  return tapegrad::gradcheck([&] { return loss(W); }, {block});
}

int main() {
  DeviceArray W(M * N), dW(M * N);
  for (std::size_t k = 0; k < M * N; ++k) W.upload(k, std::sin(float(k + 1)) / 2);
  for (const bool wrong : {false, true}) {
    backward(W, dW, wrong);
    std::cout << check(W, dW) << '\n';
  }
}
