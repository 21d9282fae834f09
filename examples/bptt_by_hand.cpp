// Backpropagation through time followed number by number: an LSTM with one input, one hidden unit
// and a batch of one, by the formulas (1) to (10) of docs/bptt.md, whose tables this prints. `--cut`
// shows what truncation changes. The same gradients from the tape stand behind: they must agree.
//
//   command:            build/release/bptt_by_hand --x 1,-0.5,2 --cut 1
//   expected last line: result {"program":"bptt_by_hand", ..., "max_difference":2.7e-17, ...}
//   exit status:        1 if tape and hand differ by more than 1e-12 of the largest gradient

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "program.h"

using namespace tapegrad;

namespace {

constexpr double bound = 1e-12;
constexpr std::array<const char*, 4> gate_names{"i", "f", "g", "o"};

struct Options {
  std::string x = "1,-0.5,2", r = "0.5,0,-0.5";
  std::string w_ih = "0.5,-0.4,0.9,0.3", w_hh = "-0.6,0.8,0.7,0.2", b = "0.1,1,-0.2,0";
  double h0 = 0.2, c0 = -0.3;
  std::size_t cut = 0;
  bool csv = false;
  examples::CommonOptions common;
};

using Gates = std::array<double, 4>;  // i, f, g, o
using Numbers = std::vector<double>;

struct Given {
  Numbers x, r;  // [t - 1], t = 1 ... T
  Gates w_ih, w_hh, b;
  double h0, c0;
};

/// One step: forward, then what backward adds. Step 0 is the initial state.
struct Step {
  Gates a{}, gate{};
  double c = 0, tanh_c = 0, h = 0, loss = 0;
  double dy = 0, dh = 0, dc = 0, dx = 0;
  Gates da{};
};
using Steps = std::vector<Step>;

struct Gradients {
  Gates w_ih{}, w_hh{}, b{};
  Numbers dx;
  double dh0 = 0, dc0 = 0;

  Numbers all() const {
    Numbers all = dx;
    for (const Gates* part : {&w_ih, &w_hh, &b}) all.insert(all.end(), part->begin(), part->end());
    all.insert(all.end(), {dh0, dc0});
    return all;
  }
};

// ---- by hand ------------------------------------------------------------------------------------

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

/// (1) to (4), and the loss L = sum_t 1/2 (h_t - r_t)^2 as far as each step.
Steps forward(const Given& in) {
  Steps steps(1);
  steps[0].h = in.h0, steps[0].c = in.c0;
  for (std::size_t t = 1; t <= in.x.size(); ++t) {
    const Step& before = steps.back();
    Step s;
    for (std::size_t k = 0; k < 4; ++k) {
      s.a[k] = in.x[t - 1] * in.w_ih[k] + before.h * in.w_hh[k] + in.b[k];
      s.gate[k] = k == 2 ? std::tanh(s.a[k]) : logistic(s.a[k]);
    }
    const auto [i, f, g, o] = s.gate;
    s.c = f * before.c + i * g;
    s.tanh_c = std::tanh(s.c);
    s.h = o * s.tanh_c;
    s.dy = s.h - in.r[t - 1];
    s.loss = before.loss + s.dy * s.dy / 2;
    steps.push_back(s);
  }
  return steps;
}

/// (5) to (10). Nothing is carried from step cut + 1 back to step `cut`, unless that is 0.
Gradients backward(const Given& in, Steps& steps, std::size_t cut) {
  Gradients sum;
  sum.dx.resize(in.x.size());
  double dh_next = 0, dc_next = 0;  // da_{t+1} W_hh and dc_{t+1} * f_{t+1}
  for (std::size_t t = in.x.size(); t >= 1; --t) {
    if (t == cut) dh_next = dc_next = 0;
    Step& s = steps[t];
    const Step& before = steps[t - 1];
    const auto [i, f, g, o] = s.gate;
    s.dh = s.dy + dh_next;
    s.dc = dc_next + s.dh * o * (1 - s.tanh_c * s.tanh_c);
    s.da = {s.dc * g * i * (1 - i), s.dc * before.c * f * (1 - f), s.dc * i * (1 - g * g),
            s.dh * s.tanh_c * o * (1 - o)};
    s.dx = dh_next = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      s.dx += s.da[k] * in.w_ih[k];
      dh_next += s.da[k] * in.w_hh[k];
      sum.w_ih[k] += s.da[k] * in.x[t - 1];
      sum.w_hh[k] += s.da[k] * before.h;
      sum.b[k] += s.da[k];
    }
    dc_next = s.dc * f;
    sum.dx[t - 1] = s.dx;
  }
  sum.dh0 = steps[0].dh = dh_next;
  sum.dc0 = steps[0].dc = dc_next;
  return sum;
}

// ---- by the tape --------------------------------------------------------------------------------

Gradients by_tape(const Given& in, std::size_t cut) {
  Tape tape;
  const auto leaf = [&](const Shape& shape, std::span<const double> values) {
    return tape.leaf(Tensor::from<double>(shape, values));
  };
  const std::size_t steps = in.x.size();
  const Var w_ih = leaf({4, 1}, in.w_ih), w_hh = leaf({4, 1}, in.w_hh), b = leaf({4}, in.b);
  const Var x = leaf({steps, 1, 1}, in.x), r = leaf({steps, 1, 1}, in.r);
  const LSTMState initial{leaf({1, 1}, {&in.h0, 1}), leaf({1, 1}, {&in.c0, 1})};
  const LSTMWeights weights{w_ih, w_hh, b, {}};
  Vars y;
  if (cut == 0) {
    y = {lstm(x, initial, weights).y};
  } else {
    const LSTMResult first = lstm(slice(x, 0, 0, cut), initial, weights);
    y = {first.y, lstm(slice(x, 0, cut, steps), first.last.detach(), weights).y};
  }
  const Var loss = 0.5 * sum(square(concat(y, 0) - r));
  const Vars d = tape.gradient(loss, {w_ih, w_hh, b, x, initial.h, initial.c});
  Gradients sum;
  for (std::size_t k = 0; k < 4; ++k) {
    sum.w_ih[k] = d[0].value().at(k);
    sum.w_hh[k] = d[1].value().at(k);
    sum.b[k] = d[2].value().at(k);
  }
  for (std::size_t t = 0; t < steps; ++t) sum.dx.push_back(d[3].value().at(t));
  sum.dh0 = d[4].item();
  sum.dc0 = d[5].item();
  return sum;
}

/// The largest difference, in units of the largest gradient, or of 1 if that is more.
double max_difference(const Gradients& a, const Gradients& b) {
  const Numbers left = a.all(), right = b.all();
  double most = 0, scale = 1;
  for (std::size_t k = 0; k < left.size(); ++k) {
    const double difference = std::fabs(left[k] - right[k]);
    if (std::isnan(difference)) return difference;
    most = std::max(most, difference);
    scale = std::max(scale, std::fabs(right[k]));
  }
  return most / scale;
}

// ---- the tables ---------------------------------------------------------------------------------

/// A number as it was given or as it was computed, or an empty cell.
struct Cell {
  std::optional<double> number;
  bool given = false;
};
Cell given(double number) { return {number, true}; }

/// Prints tables as in the document, or as lines of CSV: table,row,column,value.
class Printer {
 public:
  explicit Printer(bool csv) : csv_(csv) {
    if (csv) examples::print("table,row,column,value\n");
  }

  /// Begins a table; the names of its rows are padded to `width`.
  void table(const std::string& name, std::vector<std::string> columns, std::size_t width = 8) {
    table_ = name;
    width_ = width;
    columns_ = std::move(columns);
    if (csv_) return;
    examples::print(fmt::format("{}| |", first_ ? "" : "\n"));
    first_ = false;
    for (const std::string& column : columns_) examples::print(fmt::format(" {} |", column));
    examples::print("\n|---|");
    for (std::size_t k = 0; k < columns_.size(); ++k) examples::print("--:|");
    examples::print("\n");
  }

  void row(const std::string& name, const std::vector<Cell>& cells) {
    if (!csv_) examples::print(fmt::format("| {:<{}} |", name, width_));
    for (std::size_t k = 0; k < cells.size(); ++k) {
      const auto [number, given] = cells[k];
      if (csv_) {
        if (number)
          examples::print(fmt::format("{},\"{}\",{},{}\n", table_, name, columns_[k], *number));
      } else {
        const std::string text = !number ? std::string()
                                 : given ? fmt::format("{}", *number)
                                         : fmt::format("{:.6f}", *number);
        examples::print(fmt::format(" {:>9} |", text));
      }
    }
    if (!csv_) examples::print("\n");
  }

 private:
  bool csv_, first_ = true;
  std::string table_;
  std::size_t width_ = 0;
  std::vector<std::string> columns_;
};

std::vector<Cell> cells(const Gates& numbers, bool given = false) {
  std::vector<Cell> all;
  for (const double number : numbers) all.push_back({number, given});
  return all;
}

void print_tables(const Given& in, const Steps& steps, const Gradients& whole,
                  const Steps& cut_steps, const Gradients& truncated, const Options& o) {
  const std::size_t T = in.x.size();
  std::vector<std::string> times, parts;
  for (std::size_t t = 0; t <= T; ++t) times.push_back(fmt::format("t = {}", t));
  parts.assign(times.begin() + 1, times.end());
  parts.emplace_back("sum");
  // Cells of the steps from `first` on, empty ones before.
  const auto over = [&](std::size_t first, auto cell) {
    std::vector<Cell> all(first);
    for (std::size_t t = first; t <= T; ++t) all.push_back(cell(t));
    return all;
  };
  const auto of = [&](auto member) {
    return [&, member](std::size_t t) { return Cell{steps[t].*member}; };
  };
  const auto of_gate = [&](auto member, std::size_t k) {
    return [&, member, k](std::size_t t) { return Cell{(steps[t].*member)[k]}; };
  };

  Printer print(o.csv);
  print.table("weights", {gate_names.begin(), gate_names.end()});
  print.row("W_ih", cells(in.w_ih, true));
  print.row("W_hh", cells(in.w_hh, true));
  print.row("b", cells(in.b, true));

  print.table("forward", times);
  print.row("x", over(1, [&](std::size_t t) { return given(in.x[t - 1]); }));
  for (std::size_t k = 0; k < 4; ++k)
    print.row(std::string("a_") + gate_names[k], over(1, of_gate(&Step::a, k)));
  for (std::size_t k = 0; k < 4; ++k) print.row(gate_names[k], over(1, of_gate(&Step::gate, k)));
  const auto with_initial = [&](double initial, double Step::*member) {
    return over(0, [&](std::size_t t) { return t == 0 ? given(initial) : Cell{steps[t].*member}; });
  };
  print.row("c", with_initial(in.c0, &Step::c));
  print.row("tanh c", over(1, of(&Step::tanh_c)));
  print.row("h", with_initial(in.h0, &Step::h));
  print.row("r", over(1, [&](std::size_t t) { return given(in.r[t - 1]); }));
  print.row("L", over(1, of(&Step::loss)));

  print.table("backward", times);
  print.row("dy", over(1, of(&Step::dy)));
  print.row("dh", over(0, of(&Step::dh)));
  print.row("dc", over(0, of(&Step::dc)));
  for (std::size_t k = 0; k < 4; ++k)
    print.row(std::string("da_") + gate_names[k], over(1, of_gate(&Step::da, k)));
  print.row("dx", over(1, of(&Step::dx)));

  print.table("weights' gradients", parts);
  const auto contributions = [&](const char* name, const Gates& sum, auto factor) {
    for (std::size_t k = 0; k < 4; ++k) {
      std::vector<Cell> row;
      for (std::size_t t = 1; t <= T; ++t) row.push_back({steps[t].da[k] * factor(t)});
      row.push_back({sum[k]});
      print.row(fmt::format("{}, {}", name, gate_names[k]), row);
    }
  };
  contributions("dW_ih", whole.w_ih, [&](std::size_t t) { return in.x[t - 1]; });
  contributions("dW_hh", whole.w_hh, [&](std::size_t t) { return steps[t - 1].h; });
  contributions("db", whole.b, [](std::size_t) { return 1.0; });

  if (o.cut == 0) return;
  print.table("truncation", {gate_names.begin(), gate_names.end()}, 16);
  for (std::size_t t = 1; t <= o.cut; ++t) {
    print.row(fmt::format("da, t = {}, whole", t), cells(steps[t].da));
    print.row(fmt::format("da, t = {}, cut", t), cells(cut_steps[t].da));
  }
  print.row("dW_ih, whole", cells(whole.w_ih));
  print.row("dW_ih, cut", cells(truncated.w_ih));
}

// ---- the command line ---------------------------------------------------------------------------

/// "1,-0.5,2" as numbers in [-100, 100].
Numbers numbers(const std::string& option, const std::string& text) {
  Numbers list;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    double number = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, number);
    if (error != std::errc{} || stop != text.data() + end || !(std::fabs(number) <= 100))
      throw examples::WrongUse(fmt::format(
          "{} '{}': '{}' is not a number in [-100, 100]; write numbers with commas between them",
          option, text, text.substr(begin, end - begin)));
    list.push_back(number);
    begin = end + 1;
  }
  return list;
}

Numbers numbers(const std::string& option, const std::string& text, std::size_t count,
                const std::string& of) {
  Numbers list = numbers(option, text);
  if (list.size() != count)
    throw examples::WrongUse(
        fmt::format("{} '{}': {} numbers, but {} {}", option, text, list.size(), of, count));
  return list;
}

Gates gates(const std::string& option, const std::string& text) {
  const Numbers list = numbers(option, text, 4, "the gates i, f, g, o need");
  return {list[0], list[1], list[2], list[3]};
}

int show(const Options& o) {
  Given in{.x = numbers("--x", o.x),
           .r = {},
           .w_ih = gates("--w-ih", o.w_ih),
           .w_hh = gates("--w-hh", o.w_hh),
           .b = gates("--b", o.b),
           .h0 = o.h0,
           .c0 = o.c0};
  in.r = numbers("--r", o.r, in.x.size(), "--x has");
  if (o.cut >= in.x.size())
    throw examples::WrongUse(
        fmt::format("--cut {}: --x has {} steps; cut after an earlier one", o.cut, in.x.size()));
  Steps steps = forward(in), cut_steps = steps;
  const Gradients whole = backward(in, steps, 0), truncated = backward(in, cut_steps, o.cut);
  print_tables(in, steps, whole, cut_steps, truncated, o);

  const double difference = std::max(max_difference(whole, by_tape(in, 0)),
                                     max_difference(truncated, by_tape(in, o.cut)));
  examples::print_result({{"program", "bptt_by_hand"},
                          {"steps", in.x.size()},
                          {"loss", steps.back().loss},
                          {"cut", o.cut},
                          {"dw_ih", Numbers(whole.w_ih.begin(), whole.w_ih.end())},
                          {"dw_ih_cut", Numbers(truncated.w_ih.begin(), truncated.w_ih.end())},
                          {"max_difference", difference},
                          {"bound", bound}});
  return difference <= bound ? 0 : 1;  // 1 for NaN too
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line(
      "Prints backpropagation through time in an LSTM of one unit, number by number.",
      "bptt_by_hand");
  line.footer("Example: bptt_by_hand --x 1,-0.5,2 --cut 1 --csv");
  const examples::Check sensible = examples::between(-100, 100);
  line.option("--x", options.x, "The inputs x_1,...,x_T");
  line.option("--r", options.r, "The targets r_1,...,r_T of the loss sum_t 1/2 (h_t - r_t)^2");
  line.option("--w-ih", options.w_ih, "W_ih of the gates i,f,g,o");
  line.option("--w-hh", options.w_hh, "W_hh of the gates i,f,g,o");
  line.option("--b", options.b, "The biases of the gates i,f,g,o");
  line.option("--h0", options.h0, "The hidden state before the first step", sensible);
  line.option("--c0", options.c0, "The cell state before the first step", sensible);
  line.option("--cut", options.cut, "Detach the state after this step; 0: nowhere");
  line.flag("--csv", options.csv, "Print the tables as CSV, table,row,column,value");
  line.options(options.common);
  return line.run(argc, argv, [&] { return show(options); });
}
