// What a training step costs: forward, backward, gradients clipped by their global norm, Adam; float32, in seven sizes from
// a toy to a language model. One line a size: result {json}, milliseconds. To compare two builds or a peer
// (tests/peers/train_step_torch.cpp has the same sizes), run them alternately and compare medians.
//
//   build/release/train_step [--cell charrnn] [--seconds 3] [--threads 1]

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <vector>

using namespace tapegrad;

namespace {

struct Cell {
  std::string_view name;
  std::size_t steps, batch, input, hidden, layers,
      head;  // a head of 1: mean squared error, else cross entropy
};
constexpr Cell cells[] = {
    {"tiny-b1", 32, 1, 32, 32, 1, 32},   {"tiny-b8", 64, 8, 64, 64, 1, 64},
    {"charrnn", 50, 50, 65, 128, 2, 65}, {"ptb-small", 20, 20, 200, 200, 2, 1},
    {"ptb-med", 35, 20, 650, 650, 2, 1}, {"large", 35, 64, 1024, 1024, 1, 1},
    {"long", 1000, 16, 128, 128, 1, 1},
};

struct Model {
  LSTM lstm;
  Linear head;

  void visit(auto&& v) {
    v("lstm", lstm);
    v("head", head);
  }
};

void measure(const Cell& cell, double seconds) {
  Rng rng(1, "train_step");
  Model model{LSTM({.input = cell.input, .hidden = cell.hidden, .layers = cell.layers}, rng),
              Linear(cell.hidden, cell.head, rng)};
  Adam adam(parameters(model), {.lr = 1e-3});
  const Tensor x = rng.normal({cell.steps, cell.batch, cell.input}, 0, 1, DType::float32);
  Tensor target = rng.normal({cell.steps, cell.batch, 1}, 0, 1, DType::float32);
  if (cell.head > 1) {
    target = Tensor::empty({cell.steps, cell.batch}, DType::int32);
    for (std::int32_t& id : target.mutable_values<std::int32_t>()) {
      id = static_cast<std::int32_t>(rng.below(cell.head));
    }
  }
  std::vector<double> times;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (std::uint64_t pass = 0;
       times.size() < 5 || Clock::now() - start < std::chrono::duration<double>(seconds); ++pass) {
    const Clock::time_point begin = Clock::now();
    Tape tape = Tape::training({.seed = 1, .pass = pass});
    const Var y = model.head(tape, model.lstm(tape, x, model.lstm.zero_state(cell.batch)).y);
    tape.backward(cell.head > 1 ? cross_entropy(y, target) : mse(y, target));
    clip_grad_norm(adam.parameters(), 5);
    adam.step();
    adam.zero_grad();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  std::ranges::sort(times);
  fmt::print(R"(result {{"cell":"{}","median_ms":{:.4f},"best_ms":{:.4f},"passes":{}}})"
             "\n",
             cell.name, times[times.size() / 2], times.front(), times.size());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view only;
  double seconds = 3;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--cell") only = argv[i + 1];
    if (option == "--seconds") seconds = std::strtod(argv[i + 1], nullptr);
    if (option == "--threads") set_threads(std::strtoul(argv[i + 1], nullptr, 10));
  }
  for (const Cell& cell : cells) {
    if (only.empty() || only == cell.name) measure(cell, seconds);
  }
}
