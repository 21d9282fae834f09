// Three operations on a tape, y = tanh(w x + b), printed as they flow: forward, value by value, as
// they are recorded; then backward, gradient by gradient, from y down to w, x and b. The same
// gradients by hand, with the chain rule, stand beside them. `--dot` writes the tape as a graph for
// Graphviz.
//
//   command:            build/release/tape_by_hand
//   expected last line: result {"program":"tape_by_hand", ..., "max_difference":0.0, ...}
//   exit status:        1 if tape and hand differ by more than 1e-15

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "program.h"

using namespace tapegrad;

namespace {

constexpr double bound = 1e-15;

struct Options {
  double w = 0.5, x = 2, b = -0.3;
  std::string dot;
  examples::CommonOptions common;
};

int show(const Options& options) {
  Tape tape;
  Trace trace(tape, [](std::string_view line) { examples::print(fmt::format("  {}\n", line)); });

  examples::print("forward: each operation is recorded while it is computed\n");
  const auto number = [&](const char* name, double value) {
    return trace.name(name, tape.leaf(Tensor::scalar(value, DType::float64)));
  };
  const Var w = number("w", options.w);
  const Var x = number("x", options.x);
  const Var b = number("b", options.b);
  const Var y = trace.name("y", tanh(trace.name("wx", w * x) + b));

  examples::print("\nbackward: the record is read from its end; d stands for dy/d...\n");
  const Vars d = tape.gradient(y, {w, x, b});

  // dy/ds = 1 - y^2 for s = w x + b; ds/dw = x, ds/dx = w, ds/db = 1.
  const double slope = 1 - y.item() * y.item();
  const double by_hand[] = {slope * options.x, slope * options.w, slope};
  double difference = 0;
  examples::print(fmt::format("\nby hand: dy/ds = 1 - y^2 = {:.6g} for s = w x + b, so\n", slope));
  for (std::size_t i = 0; i < 3; ++i) {
    constexpr const char* rules[] = {"dw = dy/ds x", "dx = dy/ds w", "db = dy/ds"};
    examples::print(
        fmt::format("  {:<12} = {:.6g}, on the tape {:.6g}\n", rules[i], by_hand[i], d[i].item()));
    difference = std::max(difference, std::fabs(by_hand[i] - d[i].item()));
  }
  if (!options.dot.empty()) write_file_atomically(options.dot, to_dot(tape));
  examples::print_result({{"program", "tape_by_hand"},
                          {"y", y.item()},
                          {"dw", d[0].item()},
                          {"dx", d[1].item()},
                          {"db", d[2].item()},
                          {"nodes", tape.size()},
                          {"max_difference", difference},
                          {"bound", bound}});
  return difference <= bound ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line("Prints y = tanh(w x + b) and its gradients as they flow over a tape.",
                             "tape_by_hand");
  line.footer(
      "Example: tape_by_hand --w 1.5 --x -1 --dot tape.dot && dot -Tsvg tape.dot > tape.svg");
  const examples::Check sensible = examples::between(-100, 100);
  line.option("--w", options.w, "The weight", sensible);
  line.option("--x", options.x, "The input", sensible);
  line.option("--b", options.b, "The bias", sensible);
  line.output("--dot", options.dot, "File for the tape as a graph (Graphviz DOT)");
  line.options(options.common);
  return line.run(argc, argv, [&] { return show(options); });
}
