#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <span>

#include <tapegrad/tapegrad.h>

#include "../support/char_lm.h"

// Trains a small LSTM of two layers with dropout, after a product that OpenBLAS makes, and prints a
// hash of all weights. bits.sh and little_memory.sh run it in many environments.
// usage: training_probe STEPS THREADS      Exit: 0; 1 if the product is wrong; 3 if memory was not enough.

namespace {

using namespace tapegrad;
using namespace tapegrad::testing;

/// Makes a product of 2e9 operations.
bool is_large_product_right() {
  constexpr std::size_t n = 1000;
  const Tensor ones = Tensor::full({n, n}, 1);
  const Tensor product = kernels::matmul(ones, ones);
  for (const float v : product.values<float>()) {
    if (v != static_cast<float>(n)) return false;
  }
  return true;
}

/// Returns the 64-bit FNV-1a hash of all weights after `steps` steps.
std::uint64_t hash_of_training(std::size_t steps) {
  constexpr std::size_t vocabulary = 30, batch = 48, length = 12;
  Rng rng(1);
  CharLM model{{vocabulary, 32, rng},
               {{.input = 32, .hidden = 64, .layers = 2, .dropout = 0.3}, rng},
               {64, vocabulary, rng}};
  Tensor ids = Tensor::empty({batch * length * 8 + 1}, DType::int32);
  std::size_t n = 0;
  for (std::int32_t& id : ids.mutable_values<std::int32_t>()) {
    id = static_cast<std::int32_t>((n += 7) % vocabulary);
  }
  Adam adam(parameters(model), {.lr = 2e-3});
  LSTMState state = model.lstm.zero_state(batch);
  for (std::size_t step = 0; step < steps;) {
    for (const auto& [x, y, first] : StreamWindows(ids, length, batch)) {
      Tape tape = Tape::training({.seed = 1, .pass = step});
      const auto [h, next] = model.lstm(tape, model.embed(tape, x), state);
      const Var loss = cross_entropy(model.head(tape, h), y);
      adam.zero_grad();
      tape.backward(loss);
      adam.step({.clip_norm = 1});
      state = next.detach();
      if (++step == steps) break;
    }
  }
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const NamedParameter& p : parameters(model)) {
    for (const std::byte b : std::as_bytes(p.value().values<float>())) {
      hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001b3;
    }
  }
  return hash;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: training_probe STEPS THREADS\n", stderr);
    return 2;
  }
  set_threads(std::strtoul(argv[2], nullptr, 10));
  int status = 0;
  const auto attempt = [&](const char* what, auto&& f) {
    try {
      f();
    } catch (const std::bad_alloc&) {
      std::fprintf(stderr, "%s: out of memory\n", what);
      status = 3;
    }
  };
  attempt("large product", [&] {
    if (!is_large_product_right()) status = 1;
  });
  attempt("training", [&] {
    const std::uint64_t hash = hash_of_training(std::strtoul(argv[1], nullptr, 10));
    std::printf("%016llx\n", static_cast<unsigned long long>(hash));
  });
  return status;
}
