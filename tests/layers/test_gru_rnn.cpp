#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/inspect/observer.h"
#include "../../autograd/ops/shape.h"
#include "../../core/pool.h"
#include "../../core/threads.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/gru.h"
#include "../../layers/recurrent/gru_cell.h"
#include "../../layers/recurrent/rnn.h"
#include "../../layers/recurrent/rnn_cell.h"
#include "../support/lstm_cases.h"
#include "../support/op_check.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

using Layer = Unrolled<Var> (*)(const Var& x, const Var& h, const RecurrentWeights& weights);

/// A fused op with its twin.
struct Form {
  const char* name;
  std::size_t gates;
  Layer fused, composed;
};

template <RNNNonlinearity phi>
constexpr Form rnn_form{
    "rnn", 1,
    [](const Var& x, const Var& h, const RecurrentWeights& w) { return rnn(x, h, w, phi); },
    [](const Var& x, const Var& h, const RecurrentWeights& w) {
      return rnn_composed(x, h, w, phi);
    }};
constexpr Form forms[] = {
    {"gru", 3, [](const Var& x, const Var& h, const RecurrentWeights& w) { return gru(x, h, w); },
     [](const Var& x, const Var& h, const RecurrentWeights& w) { return gru_composed(x, h, w); }},
    rnn_form<RNNNonlinearity::tanh>,
    rnn_form<RNNNonlinearity::relu>};

constexpr std::size_t inputs = 6;
const char* const input_names[inputs] = {"dx",        "h0",      "weight_ih",
                                         "weight_hh", "bias_ih", "bias_hh"};

/// Outputs that the loss sees.
enum Seen { of_y, of_last, of_both };

/// One layer: its inputs, and weights of the loss.
struct Problem {
  std::vector<Tensor> in;
  Tensor wy, wh;

  Problem(const Form& form, std::size_t steps, std::size_t batch, std::size_t hidden, DType dtype) {
    Rng rng(3, "gru and rnn");
    const std::size_t input = 2, G = form.gates * hidden;
    const double bound = 1 / std::sqrt(static_cast<double>(hidden));
    in = {rng.normal({steps, batch, input}, 0, 1, dtype),
          rng.normal({batch, hidden}, 0, 0.5, dtype),
          rng.uniform({G, input}, -bound, bound, dtype),
          rng.uniform({G, hidden}, -bound, bound, dtype),
          rng.uniform({G}, -bound, bound, dtype),
          rng.uniform({G}, -bound, bound, dtype)};
    wy = rng.normal({steps, batch, hidden}, 0, 1, dtype);
    wh = rng.normal({batch, hidden}, 0, 1, dtype);
  }

  Problem in_float64() const {
    Problem p = *this;
    for (Tensor& t : p.in) t = t.to(DType::float64);
    p.wy = wy.to(DType::float64), p.wh = wh.to(DType::float64);
    return p;
  }

  Unrolled<Var> outputs(Layer layer, const Vars& v) const {
    return layer(v[0], v[1], {v[2], v[3], v[4], v[5]});
  }

  /// y, the last h and the gradients of all inputs.
  std::vector<NamedValue> solve(Layer layer, Seen loss) const {
    Tape tape;
    Vars v;
    for (const Tensor& t : in) v.push_back(tape.leaf(t));
    const Unrolled<Var> r = outputs(layer, v);
    std::vector<NamedValue> result = {{"y", r.y.value()}, {"h_T", r.last.value()}};
    const Var y = sum(r.y * Var(wy)), h = sum(r.last * Var(wh));
    const Vars gradients = tape.gradient(loss == of_y ? y : loss == of_last ? h : y + h, v);
    for (std::size_t i = 0; i < inputs; ++i) {
      result.push_back({input_names[i], gradients[i].value()});
    }
    return result;
  }
};

bool same(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    if (a.at(i) != b.at(i)) return false;
  }
  return true;
}

/// Worst deviation of the fused form from the composed one; of float32, from the composed form in
/// float64, beyond four times what the composed form in float32 deviates: a step whose gradient is
/// what sums of larger numbers leave has few digits in either form.
double fused_against_composed(DType dtype, std::initializer_list<std::size_t> widths) {
  double worst = 0;
  std::string where;
  pool::poison(true);
  for (const Form& form : forms) {
    for (const std::size_t steps : {1U, 2U, 3U, 7U, 50U}) {
      for (const std::size_t batch : {1U, 3U}) {
        for (const std::size_t hidden : widths) {
          const Problem p(form, steps, batch, hidden, dtype);
          const Problem exact = p.in_float64();
          for (const Seen loss : {of_y, of_last, of_both}) {
            const std::vector<NamedValue> truth = exact.solve(form.composed, loss);
            Deviation d, composed;
            d.compare(p.solve(form.fused, loss), truth);
            if (dtype == DType::float32) {
              composed.compare(p.solve(form.composed, loss), truth);
              d.worst -= 4 * composed.worst;
            }
            if (!is_worse(d.worst, worst)) continue;
            worst = d.worst;
            where = std::string(form.name) + ", " + std::to_string(steps) +
                    " steps, H = " + std::to_string(hidden) + ", " + d.where;
          }
        }
      }
    }
  }
  pool::poison(false);
  MESSAGE("fused against composed, ", std::string(to_string(dtype)), ": worst ", worst, " (", where,
          ")");
  return worst;
}

}  // namespace

TEST_CASE("gru and rnn: fused equals composed, values and all gradients") {
  CHECK(fused_against_composed(DType::float64, {1, 3, 8, 17, 33}) <= 1e-13);
  CHECK(fused_against_composed(DType::float32, {3, 8, 17, 33}) <= 1e-6);
  // With one unit a whole gradient can be the difference of two numbers that are almost equal.
  CHECK(fused_against_composed(DType::float32, {1}) <= 2e-4);
}

TEST_CASE("gru and rnn: the bits do not depend on the number of threads" *
          doctest::test_suite("threads")) {
  for (const Form& form : forms) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Problem p(form, 5, 70, 64, dtype);
      set_threads(1);
      const std::vector<NamedValue> one = p.solve(form.fused, of_both);
      set_threads(2);
      const std::vector<NamedValue> two = p.solve(form.fused, of_both);
      set_threads(1);
      for (std::size_t i = 0; i < one.size(); ++i) CHECK(same(one[i].value, two[i].value));
    }
  }
}

TEST_CASE("gru and rnn: a retained pass differentiates twice alike, inference has the same bits") {
  for (const Form& form : forms) {
    const Problem p(form, 4, 3, 5, DType::float64);
    Tape tape, inference = Tape::inference();
    Vars v;
    for (const Tensor& t : p.in) v.push_back(tape.leaf(t));
    const Var loss = sum(p.outputs(form.fused, v).y * Var(p.wy));
    const Var first = tape.gradient(loss, {v[1]}, {.retain = true})[0];
    CHECK(same(first.value(), tape.gradient(loss, {v[1]})[0].value()));
    Vars constants;
    for (const Tensor& t : p.in) constants.push_back(inference.leaf(t));
    CHECK(same(p.outputs(form.fused, constants).y.value(), p.solve(form.fused, of_y)[0].value));
  }
}

TEST_CASE("gru: reset before the product is as published, and differs from after") {
  Rng rng(4);
  const GRUCell after({.input = 2, .hidden = 3, .dtype = DType::float64}, rng);
  const std::size_t H = 3;
  const Tensor x = rng.normal({1, 2}, 0, 1, DType::float64);
  const Tensor h = rng.normal({1, 3}, 0, 1, DType::float64);
  Tape tape = Tape::inference();
  const RecurrentWeights w = after.weights.on(tape);
  const auto at = [](const Var& v, std::size_t i) { return v.value().at(i); };
  const auto sigmoid = [](double a) { return 1 / (1 + std::exp(-a)); };
  const auto of_x = [&](std::size_t row) {
    return at(w.ih, row * 2) * x.at(0) + at(w.ih, row * 2 + 1) * x.at(1) + at(w.bias_ih, row);
  };
  const auto of_state = [&](std::size_t row, const std::vector<double>& state) {
    double sum = at(w.bias_hh, row);
    for (std::size_t j = 0; j < H; ++j) sum += at(w.hh, row * H + j) * state[j];
    return sum;
  };
  const std::vector<double> state = {h.at(0), h.at(1), h.at(2)};
  std::vector<double> r(H), reset(H);
  for (std::size_t j = 0; j < H; ++j) {
    r[j] = sigmoid(of_x(j) + of_state(j, state)), reset[j] = r[j] * state[j];
  }
  const Var ours_after = gru_cell(x, h, w), ours_before = gru_cell(x, h, w, GRUReset::before);
  for (std::size_t j = 0; j < H; ++j) {
    const double z = sigmoid(of_x(H + j) + of_state(H + j, state)), u = of_x(2 * H + j);
    const double n = std::tanh(u + r[j] * of_state(2 * H + j, state));
    const double n_before = std::tanh(u + of_state(2 * H + j, reset));
    CHECK(at(ours_after, j) == doctest::Approx((1 - z) * n + z * state[j]).epsilon(1e-14));
    CHECK(at(ours_before, j) == doctest::Approx((1 - z) * n_before + z * state[j]).epsilon(1e-14));
    CHECK(std::abs(at(ours_after, j) - at(ours_before, j)) > 1e-4);
  }
}

namespace {

/// All that a stack can do, for both types.
template <class Stack>
void check_stack(const Stack& model, std::size_t parameter_count) {
  constexpr std::size_t T = 5, B = 3, I = 2;
  const std::size_t L = model.layers.size(), H = model.hidden();
  Rng rng(6);
  const Tensor x = rng.normal({T, B, I}, 0, 1, DType::float64);
  const Tensor h = rng.normal({L, B, H}, 0, 1, DType::float64);
  // Halves with a carried state; the zero state.
  Tape tape = Tape::inference();
  const auto whole = model(tape, x, h), first = model(tape, x.slice(0, 2), h);
  const auto second = model(tape, x.slice(2, T), first.last);
  Deviation halves;
  halves.compare("y", second.y.value(), whole.y.value().slice(2, T));
  halves.compare("h_T", second.last.value(), whole.last.value());
  CHECK(halves.worst <= 1e-14);
  CHECK(same(model(tape, x).y.value(), model(tape, x, model.zero_state(B)).y.value()));

  // Modules: names, clone, file.
  const Parameters all = parameters(model);
  CHECK(all.size() == parameter_count);
  CHECK(all[0].name == "weight_ih_l0");
  CHECK(all.find("weight_hh_l" + std::to_string(L - 1)).value().size(1) == H);
  const Stack copy = clone(model);
  CHECK(same(copy(tape, x, h).y.value(), whole.y.value()));
  const TempFolder folder;
  const auto file = folder / "model.safetensors";
  save_parameters(file, all);
  for (const NamedParameter& p : all)
    p.set_value(Tensor::zeros(p.value().shape(), p.value().dtype()));
  CHECK_FALSE(same(model(tape, x, h).y.value(), whole.y.value()));
  load_parameters(file, all);
  CHECK(same(model(tape, x, h).y.value(), whole.y.value()));
}

/// A layer's own cell over the steps of a sequence is its composed form.
template <class Stack, class Cell>
void check_cell(const Stack& model, const Cell& cell) {
  const Parameters from = parameters(model), to = parameters(cell);
  for (std::size_t i = 0; i < from.size(); ++i) to[i].set_value(from[i].value());
  Rng rng(7);
  const Tensor x = rng.normal({4, 3, 2}, 0, 1, DType::float64);
  Tape tape = Tape::inference();
  const auto composed = model.composed(tape, x, model.zero_state(3));
  Var h = cell.zero_state(3);
  const Vars y = unbind(composed.y);
  for (std::size_t t = 0; const Var& step : unbind(x)) {
    h = cell(tape, step, h);
    CHECK(same(h.value(), y[t++].value()));
  }
  const Cell copy = clone(cell);
  CHECK(same(copy(tape, x.row(0), cell.zero_state(3)).value(),
             cell(tape, x.row(0), cell.zero_state(3)).value()));
}

}  // namespace

TEST_CASE("gru and rnn: stacks of layers, with dropout and without biases") {
  Rng rng(5);
  constexpr DType dtype = DType::float64;
  check_stack(GRU({.input = 2, .hidden = 4, .layers = 3, .dropout = 0.3, .dtype = dtype}, rng), 12);
  check_stack(GRU({.input = 2, .hidden = 4, .bias = false, .dtype = dtype}, rng), 2);
  for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
    check_stack(RNN({.input = 2,
                     .hidden = 4,
                     .layers = 3,
                     .dropout = 0.3,
                     .nonlinearity = phi,
                     .dtype = dtype},
                    rng),
                12);
    check_stack(
        RNN({.input = 2, .hidden = 4, .bias = false, .nonlinearity = phi, .dtype = dtype}, rng), 2);
  }
}

TEST_CASE("gru and rnn: a cell over the steps is the composed form of its layer") {
  Rng rng(8);
  constexpr DType dtype = DType::float64;
  check_cell(GRU({.input = 2, .hidden = 4, .dtype = dtype}, rng),
             GRUCell({.input = 2, .hidden = 4, .dtype = dtype}, rng));
  for (const RNNNonlinearity phi : {RNNNonlinearity::tanh, RNNNonlinearity::relu}) {
    check_cell(RNN({.input = 2, .hidden = 4, .nonlinearity = phi, .dtype = dtype}, rng),
               RNNCell({.input = 2, .hidden = 4, .nonlinearity = phi, .dtype = dtype}, rng));
  }
  const GRUCell before({.input = 2, .hidden = 4, .reset = GRUReset::before}, rng);
  CHECK(clone(before).reset == GRUReset::before);
  CHECK(parameters(GRUCell({.input = 2, .hidden = 4, .bias = false}, rng)).size() == 2);
}

TEST_CASE("gru and rnn: initial values are uniform in +-1/sqrt(H), as torch's") {
  Rng rng(9);
  const GRU model({.input = 30, .hidden = 25}, rng);
  for (const NamedParameter& p : parameters(model)) {
    CHECK(largest(p.value()) < 0.2);
    CHECK(largest(p.value()) > 0.18);
  }
}

TEST_CASE("gru and rnn: an observer sees gates and gradients inside") {
  struct Inside : Observer {
    Inside() : Observer(Interest::internals | Interest::branches) {}
    void on_internal(const NodeView&, const Internal& internal) override {
      values.push_back({std::string(internal.name), internal.value.clone()});
    }
    void on_branch(std::size_t, const char*, const Tensor& choice) override {
      branches.push_back(choice);
    }
    std::vector<NamedValue> values;
    std::vector<Tensor> branches;
  };
  for (const Form& form : forms) {
    const Problem p(form, 4, 2, 3, DType::float64);
    Inside inside;
    Tape tape;
    observe(tape, inside);
    Vars v;
    for (const Tensor& t : p.in) v.push_back(tape.leaf(t));
    const Unrolled<Var> r = form.fused(v[0], v[1], {v[2], v[3], v[4], v[5]});
    const Vars gradients = tape.gradient(sum(r.y * Var(p.wy)) + sum(r.last * Var(p.wh)), v);
    REQUIRE(inside.values.size() == 3);
    const Tensor gates = inside.values[0].value, dgates = inside.values[1].value;
    CHECK(inside.values[0].name == "gates");
    CHECK(inside.values[1].name == "dgates");
    CHECK(inside.values[2].name == "dh");
    CHECK(gates.shape() == Shape{4, 2, form.gates * 3});
    if (form.gates == 1) CHECK(same(gates, r.y.value()));
    // db_ih = sum of dgates, and dh of the last step is what the loss gives it.
    Deviation d;
    d.compare("bias", sum_to(dgates, {form.gates * 3}).value(), gradients[4].value());
    d.compare("dh", inside.values[2].value.row(3), (Var(p.wy.row(3)) + Var(p.wh)).value());
    CHECK(d.worst <= 1e-14);
    const bool relu = form.fused == rnn_form<RNNNonlinearity::relu>.fused;
    REQUIRE(inside.branches.size() == (relu ? 1 : 0));
    for (std::size_t i = 0; relu && i < r.y.shape().numel(); ++i) {
      CHECK((inside.branches[0].at(i) == 1) == (r.y.value().at(i) > 0));
    }
  }
}
