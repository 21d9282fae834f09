// What a Stream costs that processes audio sample by sample, an LSTM or GRU from one number to H and
// a Linear back to one. A pass is a block of 64 samples, in one call; with --samples in 64 calls.
// Divide milliseconds by 64, then "ms 99 %" is what a block must have time for.
//
//   build/release/stream_step [--samples] [--cell stream-40] [--shape T,B,I,H,L] [--dtype float64]
//       [--repeat N|--seconds 1] [--json] [--losses] [--layer gru|rnn]
//
// tests/peers/compare.py runs it in turn with RTNeural.

#include <tapegrad/tapegrad.h>

#include <span>
#include <string_view>

#include "model.h"

using namespace tapegrad;
using bench::Cell, bench::Options;

namespace {

template <class R>
struct Model {
  R recurrent;
  Linear head;

  void visit(auto&& v) {
    v("recurrent", recurrent);
    v("head", head);
  }
};

template <class T, class R>
void measure(const Options& options, const Cell& c, bool samples) {
  Rng rng(1, "stream_step");
  const DType dtype = bench::dtype(options);
  Model<R> model{R({.input = c.input, .hidden = c.hidden, .layers = c.layers, .dtype = dtype}, rng),
                 Linear(c.hidden, c.head, rng, {.dtype = dtype})};
  bench::set_parameters(options, c, parameters(model));
  const std::size_t calls = samples ? c.steps : 1;
  Stream stream(model.recurrent, model.head, {.sessions = c.batch, .block = c.steps / calls});

  constexpr std::size_t blocks = 64;
  const Tensor numbers = bench::numbers(options, bench::input_tensor,
                                        {blocks, calls, c.steps / calls * c.batch * c.input}, 1);
  std::vector<T> y(c.steps * c.batch * c.head);
  std::size_t block = 0;
  bench::measure(options, c, [&] {
    const std::size_t in = numbers.size(2), out = y.size() / calls;
    const std::span<const T> x = numbers.values<T>().subspan(block++ % blocks * calls * in);
    for (std::size_t k = 0; k < calls; ++k) {
      stream.step(x.subspan(k * in, in), std::span(y).subspan(k * out, out));
    }
    T squares = 0;
    for (const T v : y) squares += v * v;
    return static_cast<double>(squares) / static_cast<double>(y.size());
  });
}

template <class T>
void measure(const Options& options, const Cell& c, bool samples) {
  if (options.layer == "gru") return measure<T, GRU>(options, c, samples);
  if (options.layer == "rnn") return measure<T, RNN>(options, c, samples);
  measure<T, LSTM>(options, c, samples);
}

}  // namespace

int main(int argc, char** argv) {
  const auto end = std::remove(argv, argv + argc, std::string_view("--samples"));
  const bool samples = end != argv + argc;
  Options options = bench::options(static_cast<int>(end - argv), argv, bench::stream_cells,
                                   {"lstm", "gru", "rnn"});
  options.mode = bench::Mode::forward;
  bench::print_head(options);
  for (const Cell& c : options.cells) {
    options.float64 ? measure<double>(options, c, samples) : measure<float>(options, c, samples);
  }
}
