#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/lstm_cell.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/recurrent/lstm.h"
#include "../support/documents.h"

// docs/bptt.md: its numbers and the answers to its exercises are those of the code, and the code
// that it quotes is there.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t T = 3;
constexpr std::array<const char*, 4> gates{"i", "f", "g", "o"};

/// A row of a table as numbers, an empty cell as NaN.
using Numbers = std::vector<double>;
constexpr double none = NAN;

/// What the worked example starts from, as the document gives it.
struct Given {
  Numbers x, r;           // [t], t = 1 ... T; [0] is empty
  double h0, c0;          // before the first step
  Numbers w_ih, w_hh, b;  // of i, f, g, o

  explicit Given(const Rows& rows) {
    const auto numbers = [&](const char* name) {
      Numbers n;
      for (const std::string& cell : rows.at(name))
        n.push_back(cell.empty() ? none : std::stod(cell));
      return n;
    };
    x = numbers("x"), r = numbers("r");
    h0 = numbers("h")[0], c0 = numbers("c")[0];
    w_ih = numbers("W_ih"), w_hh = numbers("W_hh"), b = numbers("b");
  }
  static bool is(const std::string& row) {
    return std::set<std::string>{"x", "r", "W_ih", "W_hh", "b"}.contains(row);
  }
};

/// Rows of the document that somebody has computed, by name.
class Computed {
 public:
  std::map<std::string, Numbers> rows;

  /// Cell t of a row over time, which has T + 1 of them.
  double& at(const std::string& row, std::size_t t) { return cell(row, T + 1, t); }
  /// Cell k of a row over gates.
  double& of_gate(const std::string& row, std::size_t k) { return cell(row, 4, k); }
  /// Cell t = 1 ... T, or the sum behind them, of a row of contributions to one weight's gradient.
  double& part(const std::string& row, std::size_t gate, std::size_t t) {
    return cell(row + ", " + gates[gate], T + 1, t - 1);
  }

  /// Every number that is here stands in the document, digit by digit; a cell that is NaN was not
  /// computed.
  void check_against(const Rows& document, const std::string& who) const {
    for (const auto& row : rows) {
      const std::string& name = row.first;
      const Numbers& numbers = row.second;
      const auto found = document.find(name);
      REQUIRE_MESSAGE(found != document.end(), "the document has no row ", name);
      REQUIRE_MESSAGE(found->second.size() == numbers.size(), name);
      for (std::size_t k = 0; k < numbers.size(); ++k) {
        if (std::isnan(numbers[k])) continue;
        CHECK_MESSAGE(found->second[k] == fmt::format("{:.6f}", numbers[k]), who, ": ", name,
                      ", column ", k);
      }
    }
  }

 private:
  double& cell(const std::string& row, std::size_t size, std::size_t k) {
    return rows.try_emplace(row, Numbers(size, none)).first->second[k];
  }
};

/// The document as one text, its lines joined, so that a sentence may be wrapped anywhere.
struct Text {
  Lines lines;
  std::string joined;

  explicit Text(const char* name) : lines(read_lines(name)) {
    for (const std::string& line : lines) joined += trimmed(line) + ' ';
  }
  template <class... Values>
  void says(fmt::format_string<Values...> words, Values&&... values) const {
    const std::string wanted = fmt::format(words, std::forward<Values>(values)...);
    CHECK_MESSAGE(joined.find(wanted) != std::string::npos, "the document does not say: ", wanted);
  }
};

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

/// The formulas of the document, (1) to (10), in plain numbers.
Computed by_hand(const Given& in) {
  Computed out;
  std::array<std::array<double, 4>, T + 1> gate{};  // [t]: i, f, g, o
  std::array<double, T + 1> h{in.h0}, c{in.c0}, tanh_c{};
  double loss = 0;
  for (std::size_t t = 1; t <= T; ++t) {
    for (std::size_t k = 0; k < 4; ++k) {
      const double a = in.x[t] * in.w_ih[k] + h[t - 1] * in.w_hh[k] + in.b[k];
      gate[t][k] = k == 2 ? std::tanh(a) : logistic(a);
      out.at(std::string("a_") + gates[k], t) = a;
      out.at(gates[k], t) = gate[t][k];
    }
    const auto [i, f, g, o] = gate[t];
    out.at("c", t) = c[t] = f * c[t - 1] + i * g;
    out.at("tanh c", t) = tanh_c[t] = std::tanh(c[t]);
    out.at("h", t) = h[t] = o * tanh_c[t];
    out.at("L", t) = loss += (h[t] - in.r[t]) * (h[t] - in.r[t]) / 2;
  }

  double dh_carried = 0, dc_carried = 0;  // from step t + 1
  for (std::size_t t = T; t >= 1; --t) {
    const double i = gate[t][0], f = gate[t][1], g = gate[t][2], o = gate[t][3];
    const double dy = out.at("dy", t) = h[t] - in.r[t];
    const auto da_of = [&](double dh, double dc) {
      return std::array{dc * g * i * (1 - i), dc * c[t - 1] * f * (1 - f), dc * i * (1 - g * g),
                        dh * tanh_c[t] * o * (1 - o)};
    };
    const double dh = out.at("dh", t) = dy + dh_carried;
    const double dc = out.at("dc", t) = dc_carried + dh * o * (1 - tanh_c[t] * tanh_c[t]);
    const std::array<double, 4> da = da_of(dh, dc);
    dc_carried = dc * f;
    double dx = dh_carried = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      out.at(std::string("da_") + gates[k], t) = da[k];
      dx += da[k] * in.w_ih[k];
      dh_carried += da[k] * in.w_hh[k];
      out.part("dW_ih", k, t) = da[k] * in.x[t];
      out.part("dW_hh", k, t) = da[k] * h[t - 1];
      out.part("db", k, t) = da[k];
    }
    out.at("dx", t) = dx;
    if (t > 1) continue;
    const double dc_cut = dy * o * (1 - tanh_c[1] * tanh_c[1]);  // nothing comes from step 2
    const std::array<double, 4> da_cut = da_of(dy, dc_cut);
    for (std::size_t k = 0; k < 4; ++k) {
      out.of_gate("da, t = 1, whole", k) = da[k];
      out.of_gate("da, t = 1, cut", k) = da_cut[k];
    }
  }
  out.at("dh", 0) = dh_carried;
  out.at("dc", 0) = dc_carried;
  for (const std::string row : {"dW_ih", "dW_hh", "db"}) {
    for (std::size_t k = 0; k < 4; ++k) {
      double total = 0;
      for (std::size_t t = 1; t <= T; ++t) total += out.part(row, k, t);
      out.part(row, k, T + 1) = total;
    }
  }
  for (std::size_t k = 0; k < 4; ++k) {
    const double whole = out.part("dW_ih", k, T + 1);
    const double change = out.of_gate("da, t = 1, cut", k) - out.of_gate("da, t = 1, whole", k);
    out.of_gate("dW_ih, whole", k) = whole;
    out.of_gate("dW_ih, cut", k) = whole + change * in.x[1];
  }
  return out;
}

Tensor tensor(const Shape& shape, std::span<const double> values) {
  return Tensor::from<double>(shape, values);
}
Tensor one(double value) { return Tensor::full({1, 1}, value, DType::float64); }

Var half_square(const Var& v) { return 0.5 * sum(square(v)); }

/// lstm_cell() on the tape, with weights of its own for every step: their gradients are the
/// contributions that formula (10) sums, and the bias's gradient is da_t. The state is detached
/// after step `cut`, if that is not 0.
Computed by_cell(const Given& in, std::size_t cut) {
  Tape tape;
  LSTMState s{tape.leaf(one(in.h0)), tape.leaf(one(in.c0))};
  Vars leaves, h{s.h}, c{s.c};
  Var loss = Tensor::scalar(0, DType::float64);
  Computed out;
  for (std::size_t t = 1; t <= T; ++t) {
    for (const Tensor& value :
         {one(in.x[t]), tensor({4, 1}, in.w_ih), tensor({4, 1}, in.w_hh), tensor({4}, in.b)}) {
      leaves.push_back(tape.leaf(value));
    }
    const std::size_t n = leaves.size();
    s = lstm_cell(leaves[n - 4], cut != 0 && t == cut + 1 ? s.detach() : s,
                  {leaves[n - 3], leaves[n - 2], leaves[n - 1], {}});
    h.push_back(s.h);
    c.push_back(s.c);
    loss = loss + half_square(s.h - one(in.r[t]));
    if (cut == 0) out.at("L", t) = loss.item();
  }
  const Vars d = tape.gradient(loss, leaves, {.retain = true});
  const Vars dh = tape.gradient(loss, h, {.retain = true});
  const Vars dc = tape.gradient(loss, c);

  const auto element = [&](std::size_t t, std::size_t leaf, std::size_t k) {
    return d[4 * (t - 1) + leaf].value().at(k);
  };
  if (cut != 0) {
    for (std::size_t k = 0; k < 4; ++k) {
      out.of_gate("da, t = 1, cut", k) = element(1, 3, k);
      out.of_gate("dW_ih, cut", k) = element(1, 1, k) + element(2, 1, k) + element(3, 1, k);
    }
    return out;
  }
  for (std::size_t t = 0; t <= T; ++t) {
    out.at("dh", t) = dh[t].item();
    out.at("dc", t) = dc[t].item();
    if (t == 0) continue;
    out.at("h", t) = h[t].item();
    out.at("c", t) = c[t].item();
    out.at("dx", t) = element(t, 0, 0);
    for (std::size_t k = 0; k < 4; ++k) {
      out.at(std::string("da_") + gates[k], t) = element(t, 3, k);
      out.part("dW_ih", k, t) = element(t, 1, k);
      out.part("dW_hh", k, t) = element(t, 2, k);
      out.part("db", k, t) = element(t, 3, k);
    }
  }
  return out;
}

/// The fused op on the tape: the weights are shared, so their gradients are the sums.
Computed by_fused_op(const Given& in) {
  Tape tape;
  const Var w_ih = tape.leaf(tensor({4, 1}, in.w_ih)), w_hh = tape.leaf(tensor({4, 1}, in.w_hh));
  const Var b = tape.leaf(tensor({4}, in.b)), h0 = tape.leaf(one(in.h0)),
            c0 = tape.leaf(one(in.c0));
  const Var x = tape.leaf(tensor({T, 1, 1}, std::span(in.x).subspan(1)));
  const LSTMResult result = lstm(x, {h0, c0}, {w_ih, w_hh, b, {}});
  const Var loss = half_square(result.y - tensor({T, 1, 1}, std::span(in.r).subspan(1)));
  const Vars d = tape.gradient(loss, {w_ih, w_hh, b, x, h0, c0});
  Computed out;
  out.at("L", T) = loss.item();
  for (std::size_t k = 0; k < 4; ++k) {
    out.part("dW_ih", k, T + 1) = d[0].value().at(k);
    out.part("dW_hh", k, T + 1) = d[1].value().at(k);
    out.part("db", k, T + 1) = d[2].value().at(k);
  }
  for (std::size_t t = 1; t <= T; ++t) out.at("dx", t) = d[3].value().at(t - 1);
  out.at("dh", 0) = d[4].item();
  out.at("dc", 0) = d[5].item();
  return out;
}

/// The kernel by itself, which exports what stays inside of the op.
Computed by_kernel(const Given& in) {
  const kernels::lstm::Shape shape{.sequence = {.steps = T, .batch = 1}, .input = 1, .hidden = 1};
  const kernels::lstm::Weights<double> weights{
      .weight_ih = in.w_ih.data(), .weight_hh = in.w_hh.data(), .bias_ih = in.b.data()};
  std::array<double, T> y, cells, dy, dh, dc;
  std::array<double, 4 * T> gate, da;
  std::vector<double> reserve(kernels::lstm::reserve_size(shape));
  kernels::lstm::forward<double>({.shape = shape,
                                  .weights = weights,
                                  .variant = {},
                                  .x = in.x.data() + 1,
                                  .h0 = &in.h0,
                                  .c0 = &in.c0,
                                  .y = y.data(),
                                  .h_last = nullptr,
                                  .c_last = nullptr,
                                  .reserve = reserve.data(),
                                  .gates = gate.data(),
                                  .cells = cells.data()});
  for (std::size_t t = 0; t < T; ++t) dy[t] = y[t] - in.r[t + 1];
  kernels::lstm::backward<double>({.shape = shape,
                                   .weights = weights,
                                   .variant = {},
                                   .x = in.x.data() + 1,
                                   .h0 = &in.h0,
                                   .c0 = &in.c0,
                                   .y = y.data(),
                                   .reserve = reserve.data(),
                                   .may_overwrite_reserve = true,
                                   .dy = dy.data(),
                                   .dgates = da.data(),
                                   .dh = dh.data(),
                                   .dc = dc.data()});
  Computed out;
  for (std::size_t t = 1; t <= T; ++t) {
    out.at("h", t) = y[t - 1];
    out.at("c", t) = cells[t - 1];
    out.at("dy", t) = dy[t - 1];
    out.at("dh", t) = dh[t - 1];
    out.at("dc", t) = dc[t - 1];
    for (std::size_t k = 0; k < 4; ++k) {
      out.at(gates[k], t) = gate[4 * (t - 1) + k];
      out.at(std::string("da_") + gates[k], t) = da[4 * (t - 1) + k];
    }
  }
  return out;
}

}  // namespace

TEST_CASE("bptt.md: every number of the worked example, by four ways") {
  const Rows document = rows_of(read_lines("docs/bptt.md"));
  const Given given(document);
  const Computed hand = by_hand(given);
  hand.check_against(document, "by hand");
  by_cell(given, 0).check_against(document, "lstm_cell()");
  by_cell(given, 1).check_against(document, "lstm_cell(), cut");
  by_fused_op(given).check_against(document, "lstm()");
  by_kernel(given).check_against(document, "the kernel");

  std::size_t numbers = 0;
  for (const auto& row : document) {
    const std::string& name = row.first;
    const std::vector<std::string>& cells = row.second;
    if (Given::is(name)) continue;
    REQUIRE_MESSAGE(hand.rows.contains(name), "nobody computes row ", name);
    for (std::size_t k = 0; k < cells.size(); ++k) {
      const bool given_state = k == 0 && (name == "h" || name == "c");
      if (given_state) continue;
      CHECK_MESSAGE(cells[k].empty() == std::isnan(hand.rows.at(name)[k]), name, ", column ", k);
      numbers += !cells[k].empty();
    }
  }
  MESSAGE("bptt.md: ", numbers, " numbers");
  CHECK(numbers > 100);
}

TEST_CASE("bptt.md: the tanh network before the LSTM") {
  const Text page("docs/bptt.md");
  constexpr std::array<double, 4> x{0, 1, -0.5, 2};
  // Weights of their own for each step: their gradients are the terms of (e).
  Tape tape;
  Vars w, h{tape.leaf(one(0))};
  for (std::size_t t = 1; t <= 3; ++t) {
    w.push_back(tape.leaf(one(0.9)));
    h.push_back(tanh(one(0.5 * x[t]) + w.back() * h.back()));
  }
  const Vars dw = tape.gradient(h[3], w, {.retain = true}), dh = tape.gradient(h[3], h);
  page.says("h is {:.6f}, {:.6f}, {:.6f}; dh_3 = {}, dh_2 = {:.6f}, dh_1 = {:.6f};", h[1].item(),
            h[2].item(), h[3].item(), dh[3].item(), dh[2].item(), dh[1].item());
  page.says("dw = {} + {:.6f} + {:.6f} = {:.6f}.", dw[0].item(), dw[1].item(), dw[2].item(),
            dw[0].item() + dw[1].item() + dw[2].item());
}

TEST_CASE("bptt.md: the answers to its exercises") {
  const Text page("docs/bptt.md");
  const Rows rows = rows_of(page.lines);
  const Given given(rows);
  Computed whole = by_hand(given);
  const std::size_t g = 2;
  const double dW = whole.part("dW_ih", g, T + 1);

  const double from_c = whole.at("dc", 2) * whole.at("f", 2);
  const double from_h =
      whole.at("dh", 1) * whole.at("o", 1) * (1 - whole.at("tanh c", 1) * whole.at("tanh c", 1));
  page.says(
      "1. From c_2: dc_2 f_2 = {:.6f}. From h_1: dh_1 o_1 (1 - tanh^2 c_1) = {:.6f}. "
      "The sum is dc_1, {:.6f}.",
      from_c, from_h, from_c + from_h);
  CHECK(from_c + from_h == doctest::Approx(whole.at("dc", 1)));

  // Exercise 2: da_{t+1} W_hh is left out, so that dh_t = dy_t. Right for the first T steps?
  const auto forgetful = [&](std::size_t last) {
    double sum = 0, dc_next = 0;
    for (std::size_t t = last; t >= 1; --t) {
      const double o = whole.at("o", t), tanh_c = whole.at("tanh c", t), gate = whole.at("g", t);
      const double dc = dc_next + whole.at("dy", t) * o * (1 - tanh_c * tanh_c);
      sum += dc * whole.at("i", t) * (1 - gate * gate) * given.x[t];
      dc_next = dc * whole.at("f", t);
    }
    return sum;
  };
  page.says("dW_ih for g becomes {:.6f} instead of {:.6f}. It is right for T = 1 only",
            forgetful(T), dW);
  const auto right = [&](std::size_t last) {
    Tape tape;
    const Var w = tape.leaf(tensor({4, 1}, given.w_ih));
    const LSTMResult result = lstm(tensor({last, 1, 1}, std::span(given.x).subspan(1, last)),
                                   {one(given.h0), one(given.c0)},
                                   {w, tensor({4, 1}, given.w_hh), tensor({4}, given.b), {}});
    const Var loss =
        half_square(result.y - tensor({last, 1, 1}, std::span(given.r).subspan(1, last)));
    return tape.gradient(loss, {w})[0].value().at(g);
  };
  CHECK(forgetful(1) == doctest::Approx(right(1)).epsilon(1e-12));
  for (const std::size_t last : {2u, 3u}) CHECK(std::fabs(forgetful(last) - right(last)) > 1e-4);

  double with_h_t = 0, without_first = 0, all = 0;
  for (std::size_t t = 1; t <= T; ++t) {
    with_h_t += whole.at("da_g", t) * whole.at("h", t);
    all += whole.part("dW_hh", g, t);
    if (t > 1) without_first += whole.part("dW_hh", g, t);
  }
  page.says("dW_hh for g should be {:.6f}", all);
  page.says("3. {:.6f} divides by T, {:.6f} takes h_t, {:.6f} leaves out step 1.",
            all / static_cast<double>(T), with_h_t, without_first);

  page.says("4. da_3 stays, da_2 and da_1 change, and dW_ih for g is {:.6f}",
            by_cell(given, 2).of_gate("dW_ih, cut", g));
  const double f = std::pow(0.5, 1.0 / 50);
  page.says("5. f^50 > 1/2 needs f > {:.6f}, which is a bias above {:.4f}.", f,
            std::log(f / (1 - f)));

  const auto loss_with = [&](double weight) {
    Given changed = given;
    changed.w_ih[g] = weight;
    return by_hand(changed).at("L", T);
  };
  const double above = loss_with(0.91), below = loss_with(0.89);
  page.says("6. ({:.6f} - {:.6f}) / 0.02 = {:.4f}, from more digits {:.6f}: right to three", above,
            below, (above - below) / 0.02, (above - below) / 0.02);
  CHECK(std::fabs((above - below) / 0.02 / dW - 1) < 1e-3);
  CHECK(std::fabs((above - below) / 0.02 / dW - 1) > 1e-4);
}

TEST_CASE("bptt.md: the code that it quotes stands in the file that it names") {
  std::size_t quotes = 0;
  for (const Block& block : blocks_of(read_lines("docs/bptt.md"))) {
    if (block.language != "cpp" || block.before != "<!-- snippet: none -->") continue;
    ++quotes;
    REQUIRE(!block.lines.empty());
    // The first line says where: "// path, name"; the lines follow there, behind the name, one
    // after the other unless "..." stands between them.
    const std::string& where = block.lines.front();
    const std::size_t comma = where.find(", ");
    REQUIRE_MESSAGE((where.starts_with("// ") && comma != std::string::npos), where);
    const Lines source = read_lines(where.substr(3, comma - 3));
    const std::string name = where.substr(comma + 2);
    auto at = std::ranges::find_if(
        source, [&](const std::string& line) { return line.find(name) != std::string::npos; });
    CHECK_MESSAGE(at != source.end(), where, ": there is no such name");
    bool anywhere = true;
    for (std::size_t n = 1; n < block.lines.size(); ++n) {
      const std::string wanted = trimmed(block.lines[n]);
      if (wanted == "...") anywhere = true;
      if (wanted == "..." || wanted.empty()) continue;
      const auto is_it = [&](const std::string& line) { return trimmed(line) == wanted; };
      while (at != source.end() && trimmed(*at).empty()) ++at;
      if (anywhere) at = std::find_if(at, source.end(), is_it);
      CHECK_MESSAGE((at != source.end() && is_it(*at)), where, ": not there: ", wanted);
      if (at != source.end()) ++at;
      anywhere = false;
    }
  }
  CHECK(quotes >= 7);
}
