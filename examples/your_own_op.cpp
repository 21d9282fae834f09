// An operation of one's own: silu(x) = x sigmoid(x) (Elfwing et al. 2018) with its backward rule,
// checked against central differences to first and second order. Then the same operation with a
// mistake in the rule that nearly everybody makes once, a term of the product rule forgotten: the
// checker finds it, and its report says where and by how much.
//
//   command:            build/release/your_own_op
//   expected last line: result {"program":"your_own_op", ..., "right":"PASS","wrong":"FAIL", ...}
//   exit status:        1 if the right rule does not pass, or the wrong one does

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <vector>

#include "program.h"

using namespace tapegrad;

namespace {

/// y = x s with s = sigmoid(x);   dx = dy (s + x s (1 - s))
Var silu(const Var& x) {
  Node n("silu", {x});  // inputs are checked here
  const Var y = n.out(kernels::mul(x.value(), kernels::sigmoid(x.value())));  // pure functions
  n.rule([x](Grads& g) {       // what is captured is kept for backward
    const Var s = sigmoid(x);  // a rule made of ops can be differentiated again
    g.add(0, g.d() * (s + x * s * (1.0 - s)));
  });
  return y;
}

/// The same value, but its rule treats sigmoid(x) as a constant.
Var silu_with_a_mistake(const Var& x) {
  Node n("silu_with_a_mistake", {x});
  const Var y = n.out(kernels::mul(x.value(), kernels::sigmoid(x.value())));
  n.rule([x](Grads& g) { g.add(0, g.d() * sigmoid(x)); });
  return y;
}

struct Options {
  std::size_t rows = 2, columns = 3;
  examples::CommonOptions common;
};

int check(const Options& options) {
  set_threads(options.common.threads);
  Rng rng(options.common.seed);
  const std::vector<GradcheckInput> inputs = {
      {"x", rng.normal({options.rows, options.columns}, 0, 1, DType::float64)}};
  const auto with = [](Var (*op)(const Var&)) {
    return [op](Tape&, std::span<const Var> x) { return Vars{op(x[0])}; };
  };

  const GradcheckReport right = gradcheck(with(silu), inputs);
  examples::print(fmt::format("silu, first order:\n{}\n\n", right.text()));
  const GradcheckReport second = gradgradcheck(with(silu), inputs);
  examples::print(fmt::format("silu, second order:\n{}\n\n", second.text()));
  const GradcheckReport wrong = gradcheck(with(silu_with_a_mistake), inputs);
  examples::print(fmt::format("silu with a mistake in its rule:\n{}\n\n", wrong.text()));

  const bool as_it_should = right && second && wrong.verdict == Verdict::fail;
  examples::print_result({{"program", "your_own_op"},
                          {"entries", right.checked},
                          {"right", to_string(right.verdict)},
                          {"second_order", to_string(second.verdict)},
                          {"wrong", to_string(wrong.verdict)},
                          {"wrong_entries_found", wrong.failed}});
  return as_it_should ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line(
      "Checks an operation written by hand, once right and once with a mistake.", "your_own_op");
  line.footer("Example: your_own_op --rows 4 --seed 7");
  line.option("--rows", options.rows, "Rows of the input", 1, 100);
  line.option("--columns", options.columns, "Columns of the input", 1, 100);
  line.options(options.common);
  return line.run(argc, argv, [&] { return check(options); });
}
