#pragma once

// What the benchmarks share with their peers in tests/peers: sizes, numbers, options, timing,
// output. It needs no library, so that a peer can include it. tests/peers/bench.py is its twin.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// One size of a model that ends in a head; mean squared error if that has one column, else cross
/// entropy. A language model begins with an embedding: `head` ids, `input` features.
struct Cell {
  std::string name;
  std::size_t steps, batch, input, hidden, layers, head;
  bool embedding = false;
};

/// From a toy to a language model.
inline const std::vector<Cell> lstm_cells = {
    {"tiny-b1", 32, 1, 32, 32, 1, 32},   {"tiny-b8", 64, 8, 64, 64, 1, 64},
    {"charrnn", 50, 50, 65, 128, 2, 65}, {"ptb-small", 20, 20, 200, 200, 2, 1},
    {"ptb-med", 35, 20, 650, 650, 2, 1}, {"large", 35, 64, 1024, 1024, 1, 1},
    {"long", 1000, 16, 128, 128, 1, 1},
};
inline const std::vector<Cell> lm_cells = {
    {"char-lm", 50, 50, 64, 128, 2, 65, true},
    {"byte-lm", 64, 32, 32, 64, 1, 256, true},
    {"ptb-lm-100", 35, 20, 100, 100, 1, 10000, true},
    {"ptb-lm-small", 20, 20, 200, 200, 2, 10000, true},
    {"ptb-lm-medium", 35, 20, 650, 650, 2, 10000, true},
};
/// Audio that is processed sample by sample, in blocks of 64.
inline const std::vector<Cell> stream_cells = {
    {"stream-8", 64, 1, 1, 8, 1, 1},     {"stream-16", 64, 1, 1, 16, 1, 1},
    {"stream-24", 64, 1, 1, 24, 1, 1},   {"stream-32", 64, 1, 1, 32, 1, 1},
    {"stream-40", 64, 1, 1, 40, 1, 1},   {"stream-64", 64, 1, 1, 64, 1, 1},
    {"stream-512", 64, 1, 1, 512, 1, 1},
};
/// Sizes T,B,I,H,L that no tile, vector or block divides: `--cell odd`.
inline const std::vector<std::string> odd_shapes = {
    "7,5,17,17,1",      "1,33,96,96,1",      "500,1,300,300,1", "50,128,96,300,1",
    "20,5,300,300,2",   "100,33,17,96,1",    "7,128,300,300,1", "500,5,96,96,1",
    "20,1,1500,1500,1", "10,33,1500,1500,1", "50,1,96,17,2",    "20,128,17,300,1",
};

[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(2);
}

/// `shape`: "T,B,I,H,L", which is its name too. The rest is that of `like`.
inline Cell cell_of_shape(const std::string& shape, Cell like) {
  like.name = shape;
  if (std::sscanf(shape.c_str(), "%zu,%zu,%zu,%zu,%zu", &like.steps, &like.batch, &like.input,
                  &like.hidden, &like.layers) != 5) {
    fail("--shape wants T,B,I,H,L, not " + shape);
  }
  return like;
}

enum class Mode : std::uint8_t {
  train,     // forward, backward, clip, optimizer
  forward,   // the model without loss, for inference
  composed,  // train, with an LSTM that is a loop over cells
};
inline const char* to_string(Mode mode) {
  return mode == Mode::train ? "train" : mode == Mode::forward ? "forward" : "composed";
}

struct Options {
  std::vector<Cell> cells;     // all unless --cell NAME or --cell odd or --shape T,B,I,H,L
  Mode mode = Mode::train;     // --forward, --composed
  std::string layer = "lstm";  // --layer gru|rnn|..., where the benchmark has them
  bool float64 = false;        // --dtype float64
  double scale = 0;  // --scale: of weights that are not trained; 0: trained from scale 1 on
  std::size_t threads = 1;
  std::size_t repeat = 0;  // timed passes; 0: as many as last for `seconds`, at least 3
  double seconds = 1;
  bool json = false;    // one line a cell instead of a table
  bool losses = false;  // print the losses of six passes, that is before and after five steps
};

/// Other sizes than those in the list have the head of its last one; `layers`: those of --layer.
inline Options options(int argc, char** argv, const std::vector<Cell>& all,
                       const std::vector<std::string>& layers = {"lstm"}) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) fail(std::string(option) + " wants a value");
      return argv[i];
    };
    const auto number = [&] { return std::strtod(value().c_str(), nullptr); };
    if (option == "--json") {
      o.json = true;
    } else if (option == "--losses") {
      o.losses = true;
    } else if (option == "--forward") {
      o.mode = Mode::forward;
    } else if (option == "--composed") {
      o.mode = Mode::composed;
    } else if (option == "--scale") {
      o.scale = number();
    } else if (option == "--layer") {
      o.layer = value();
      if (std::ranges::find(layers, o.layer) == layers.end()) fail("no layer " + o.layer);
    } else if (option == "--threads") {
      o.threads = static_cast<std::size_t>(number());
    } else if (option == "--repeat") {
      o.repeat = static_cast<std::size_t>(number());
    } else if (option == "--seconds") {
      o.seconds = number();
    } else if (option == "--dtype") {
      const std::string dtype = value();
      if (dtype != "float32" && dtype != "float64") fail("--dtype wants float32 or float64");
      o.float64 = dtype == "float64";
    } else if (option == "--shape") {
      o.cells.push_back(cell_of_shape(value(), all.back()));
    } else if (option == "--cell") {
      const std::string name = value();
      const auto cell = std::ranges::find(all, name, &Cell::name);
      if (name == "odd") {
        for (const std::string& shape : odd_shapes) {
          o.cells.push_back(cell_of_shape(shape, all.back()));
        }
      } else if (cell != all.end()) {
        o.cells.push_back(*cell);
      } else {
        fail("no cell " + name);
      }
    } else {
      fail("no option " + std::string(option));
    }
  }
  if (o.threads == 0) fail("--threads wants a number of at least 1");
  if (o.cells.empty()) o.cells = all;
  return o;
}

inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// 32 bits that look random, of element `k` of tensor `n`: Murmur3's finaliser, which is short in
/// any language.
inline std::uint32_t bits(std::uint32_t n, std::uint32_t k) {
  std::uint32_t h = k + n * 0x9e3779b9u;
  h = (h ^ (h >> 16)) * 0x85ebca6bu;
  h = (h ^ (h >> 13)) * 0xc2b2ae35u;
  return h ^ (h >> 16);
}
/// Numbers of the tensors; parameters follow, in the order in which their model lists them.
constexpr std::uint32_t input_tensor = 0, target_tensor = 1, first_parameter = 2;

/// Elements of tensor `n`, in [-scale, scale).
inline std::vector<double> numbers(std::uint32_t n, std::size_t count, double scale) {
  std::vector<double> x(count);
  for (std::size_t k = 0; k < count; ++k) {
    x[k] = scale * (bits(n, static_cast<std::uint32_t>(k)) * 0x1p-31 - 1);
  }
  return x;
}
/// Elements of tensor `n`: ids below `classes`.
inline std::vector<std::int32_t> ids(std::uint32_t n, std::size_t count, std::size_t classes) {
  std::vector<std::int32_t> x(count);
  for (std::size_t k = 0; k < count; ++k) {
    x[k] = static_cast<std::int32_t>(bits(n, static_cast<std::uint32_t>(k)) % classes);
  }
  return x;
}

/// Operations of the products of one pass, of the recurrent layers and of the head. Nobody wants a gradient of
/// the first state; of the input only an embedding does.
inline double operations(const Options& o, const Cell& c) {
  const bool backward = o.mode != Mode::forward;
  const bool scanned = o.layer.starts_with("min");  // no product with h
  const std::size_t blocks = o.layer == "rnn"      ? 1
                             : o.layer == "mingru" ? 2
                             : o.layer == "lstm"   ? 4
                                                   : 3;
  const auto d = [](std::size_t n) { return static_cast<double>(n); };
  const double rows = d(c.steps) * d(c.batch), gates = d(blocks * c.hidden);
  double columns = 0;  // of all products with `rows` x `gates`
  for (std::size_t l = 0; l < c.layers; ++l) {
    const double input = d(l == 0 ? c.input : c.hidden);
    const double state = scanned ? 0 : d(c.hidden);
    columns += (input + state) * (backward ? 2 : 1);                 // y, dW
    if (backward && (l > 0 || c.embedding)) columns += input;        // dx
    if (backward) columns += state * (d(c.steps) - 1) / d(c.steps);  // dh
  }
  return 2 * rows * (gates * columns + d(c.hidden) * d(c.head) * (backward ? 3 : 1));
}

/// Multiplications and additions per second that `threads` cores do in registers, in units of 10^9.
double peak_gflops(bool float64, std::size_t threads);
/// The instruction set that this was measured with, and that the kernels of tapegrad take.
const char* simd_target();

/// Times `pass()` and prints a line of the table, or of JSON; or prints the losses that it returns.
template <class Pass>
void measure(const Options& o, const Cell& c, Pass&& pass) {
  if (o.losses) {
    std::printf(R"({"cell":"%s","losses":[)", c.name.c_str());
    for (int step = 0; step < 6; ++step) std::printf("%s%.9g", step == 0 ? "" : ",", pass());
    std::printf("]}\n");
    return;
  }
  const double peak = peak_gflops(o.float64, o.threads);
  using Clock = std::chrono::steady_clock;
  for (int warming = 0; warming < 2; ++warming) pass();
  std::vector<double> ms;
  const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                   std::chrono::duration<double>(o.seconds));
  while (o.repeat > 0 ? ms.size() < o.repeat : ms.size() < 3 || Clock::now() < end) {
    const Clock::time_point begin = Clock::now();
    pass();
    ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  std::ranges::sort(ms);
  const double median = ms[ms.size() / 2], p99 = ms[ms.size() * 99 / 100];
  const double gflops = operations(o, c) / median * 1e-6;
  if (o.json) {
    std::printf(
        R"({"cell":"%s","T":%zu,"B":%zu,"I":%zu,"H":%zu,"L":%zu,"dtype":"%s","threads":%zu,)"
        R"("ms_min":%.5g,"ms_median":%.5g,"gflops":%.4g,"peak":%.4g,"ms_p99":%.5g,)"
        R"("mode":"%s","target":"%s"})"
        "\n",
        c.name.c_str(), c.steps, c.batch, c.input, c.hidden, c.layers,
        o.float64 ? "float64" : "float32", o.threads, ms.front(), median, gflops, peak, p99,
        to_string(o.mode), simd_target());
  } else {
    std::printf("%-18s %5zu %4zu %5zu %5zu %2zu %10.4g %10.4g %10.4g %8.1f %5.0f %%\n",
                c.name.c_str(), c.steps, c.batch, c.input, c.hidden, c.layers, ms.front(), median,
                p99, gflops, 100 * gflops / peak);
  }
  std::fflush(stdout);
}

/// The same with infer() for --forward, whose losses are those of training all the same.
template <class Infer, class Train>
void measure(const Options& o, const Cell& c, Infer&& infer, Train&& train) {
  if (o.mode == Mode::forward && !o.losses) {
    measure(o, c, infer);
  } else {
    measure(o, c, train);
  }
}

/// The head of the table, if there is one; `machine` stands above it.
inline void print_head(const Options& o, const std::string& machine = {}) {
  if (o.json || o.losses) return;
  std::fputs(machine.c_str(), stdout);
  std::printf("%s, %s, threads: %zu, %s, peak %.0f GFLOP/s\n", to_string(o.mode),
              o.float64 ? "float64" : "float32", o.threads, simd_target(),
              peak_gflops(o.float64, o.threads));
  std::printf("%-18s %5s %4s %5s %5s %2s %10s %10s %10s %8s %7s\n", "cell", "T", "B", "I", "H", "L",
              "ms min", "ms median", "ms 99 %", "GFLOP/s", "of peak");
}

}  // namespace bench
