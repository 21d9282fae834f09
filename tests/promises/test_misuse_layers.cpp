#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../layers/dropout.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "../support/misuse.h"
#include "../support/temp_folder.h"

TEST_SUITE_BEGIN("misuse");

// Mistakes with layers, data and optimizers.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

const char* const undefined_parameter =
    "[Parameter] the parameter is undefined: construct the layer with its sizes and an Rng "
    "first, and do not use it after a move";
const char* const undefined_leaf =
    "[leaf] the parameter is undefined: construct the layer with its sizes and an Rng "
    "first, and do not use it after a move";
const char* const no_layers =
    "[LSTM] this LSTM has no layers: construct it with LSTMOptions and an Rng first";

}  // namespace

// --- dtypes and shapes ---

TEST_CASE("misuse: float64 where the model is float32, int32 as a leaf, ids that are none") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const auto run = [&](const Var& x, const LSTMState& s) { (void)t.model.lstm(tape, x, s); };
    const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape, DType::float64); };
    const Var h = t.model.embed(tape, t.x);
    Rng rng(2);
    mistake.is<DtypeError>(
        "[lstm] input 0 is float64 but input 1 is float32: convert one with to() (in lstm.0)", [&] {
          run(zeros({T, B, E}), t.state);
        });
    mistake.is<DtypeError>("[LSTM] x is int32: it must be float32 or float64; convert it with to()",
                           [&] {
                             run(Tensor::zeros({T, B, E}, DType::int32), t.state);
                           });
    mistake.is<DtypeError>("[LSTM] c is int32: it must be float32 or float64; convert it with to()",
                           [&] {
                             run(h, {t.state.h, Tensor::zeros({2, B, H}, DType::int32)});
                           });
    mistake.is<DtypeError>(
        "[lstm] input 0 is float32 but input 1 is float64: convert one with to() (in lstm.0)", [&] {
          run(h, {zeros({2, B, H}), t.state.c});
        });
    mistake.is<DtypeError>(
        "[lstm] input 0 is float32 but input 2 is float64: convert one with to() (in lstm.0)", [&] {
          run(h, {t.state.h, zeros({2, B, H})});
        });
    mistake.is<DtypeError>(
        "[linear] input 0 is float32 but input 1 is float64: convert one with to()",
        [&] { (void)Linear(E, 2, rng, {.dtype = DType::float64})(tape, h); });
    mistake.is<DtypeError>("[leaf] the value is int32: only float32 and float64 have gradients",
                           [&] { (void)tape.leaf(t.x); });
    mistake.is<DtypeError>("[embedding] ids are float32: they must be int32", [&] {
      (void)t.model.embed(tape, Tensor::zeros({T, B}));
    });
    mistake.is<DtypeError>(
        "[copy_from] source is float64 but this tensor is float32: convert it with to()", [&] {
          t.model.head.weight.set_value(zeros({V, H}));
        });
  });
}

TEST_CASE("misuse: an id out of range, a negative one, targets with an axis too many") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Var logits = t.model.head(tape, Tensor::zeros({T, B, H}));
    const auto lookup = [&](std::size_t place, std::int32_t id) {
      Tensor ids = t.x.clone();
      ids.mutable_data<std::int32_t>()[place] = id;
      (void)t.model.embed(tape, ids);
      (void)cross_entropy(logits, ids);
    };
    mistake.is<UsageError>(
        "[embedding] id 7 at position 14 of shape (5, 3) is out of range: ids must be in [0, 7)",
        [&] { lookup(14, 7); });
    mistake.is<UsageError>(
        "[embedding] id -1 at position 0 of shape (5, 3) is out of range: ids must be in [0, 7)",
        [&] { lookup(0, -1); });
    mistake.is<UsageError>(
        "[cross_entropy] id 7 at position 0 of shape (5, 3) is out of range: ids must be in [0, 7)",
        [&] {
          (void)cross_entropy(logits, Tensor::full({T, B}, 7, DType::int32));
        });
    mistake.is<ShapeError>(
        "[cross_entropy] logits has shape (..., V) = (5, 3, 7) but ids has shape (...) = (5, 3, "
        "1): the leading axes must match",
        [&] {
          (void)cross_entropy(logits, t.y.reshape({T, B, 1}));
        });
    mistake.is<ShapeError>(
        "[mse] prediction has shape (5, 3, 7) but target has shape (3, 7): the shapes must be "
        "equal, a loss never broadcasts",
        [&] {
          (void)mse(logits, Tensor::zeros({B, V}));
        });
    mistake.is<UsageError>("[Tensor] the value 3000000000 does not fit in an int32",
                           [&] { t.x.fill(3e9); });
    mistake.is<UsageError>("[Tensor] the value nan does not fit in an int32",
                           [&] { (void)Tensor::of({1}, {NAN}).to(DType::int32); });
  });
}

TEST_CASE("misuse: sequences, steps and states that do not fit the layer") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const LSTM& lstm = t.model.lstm;
    const auto zeros = [](const Shape& shape) { return Tensor::zeros(shape); };
    const auto state = [&](std::size_t L, std::size_t rows) {
      return LSTMState{zeros({L, rows, H}), zeros({L, rows, H})};
    };
    const Var h = t.model.embed(tape, t.x);
    mistake.is<ShapeError>(
        "[LSTM] x has shape (3, 3): it must be a sequence, (T, B, I); one step (B, I) is for "
        "LSTMCell",
        [&] {
          (void)lstm(tape, zeros({B, E}), t.state);
        });
    mistake.is<ShapeError>(
        "[LSTM] x has shape (T, B, I) = (5, 3, 3) but h has shape (L, B, H) = (2, 4, 4): B must "
        "match; make the state with zero_state(3)",
        [&] { (void)lstm(tape, h, state(2, B + 1)); });
    mistake.is<ShapeError>(
        "[LSTM] the stack has 2 layers but h has shape (1, 3, 4): states are (L, B, H); make the "
        "state with zero_state(3)",
        [&] { (void)lstm(tape, h, state(1, B)); });
    mistake.is<ShapeError>(
        "[LSTM] c has shape (2, 3, 5): it must be (L, B, H) with H = 4; make the state with "
        "zero_state(3)",
        [&] {
          (void)lstm(tape, h, {t.state.h, zeros({2, B, H + 1})});
        });
    mistake.is<UsageError>("[LSTM] state.h is undefined: give it a value first",
                           [&] { (void)lstm(tape, h, LSTMState{}); });
    mistake.is<ShapeError>(
        "[lstm] x has shape (0, 3, 3): it must be (T, B, I) with T >= 1 (in lstm.0)", [&] {
          (void)lstm(tape, zeros({0, B, E}), t.state);
        });
    mistake.is<ShapeError>(
        "[lstm] x has shape (5, 0, 3): it must be (T, B, I) with B >= 1 (in lstm.0)", [&] {
          (void)lstm(tape, zeros({T, 0, E}), state(2, 0));
        });
    mistake.is<ShapeError>(
        "[LSTM] the state (L, B, H) has shape (2, 0, 4): it must be of at least one row", [&] {
          (void)lstm(tape, zeros({T, 0, E}));
        });
  });
  after([](Training& t, const Mistake& mistake) {
    Rng rng(2);
    const LSTMCell cell({.input = E, .hidden = H}, rng);
    Tape tape = t.tape();
    const Var h = t.model.embed(tape, t.x);
    mistake.is<ShapeError>(
        "[lstm_cell] x has shape (5, 3, 3): it must be one step, (B, I); a sequence (T, B, I) is "
        "for LSTM, or step over unbind(x)",
        [&] { (void)cell(tape, h, cell.zero_state(B)); });
    mistake.is<ShapeError>("[lstm_cell] x has shape (0, 3): it must be (B, I) with B >= 1", [&] {
      (void)cell(tape, Tensor::zeros({0, E}), {Tensor::zeros({0, H}), Tensor::zeros({0, H})});
    });
  });
}

// (B, T, ...) where (T, B, ...) is meant, wherever something else tells the two apart.
TEST_CASE("misuse: the batch where time should be") {
  after([](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    const Tensor ids = transpose(Var(t.x), 0, 1).value();
    mistake.is<ShapeError>(
        "[LSTM] x has shape (T, B, I) = (3, 5, 3) but h has shape (L, B, H) = (2, 3, 4): B must "
        "match; x looks like (B, T, I), and transpose(x, 0, 1) makes it (T, B, I)",
        [&] { (void)t.model.lstm(tape, t.model.embed(tape, ids), t.state); });
    const LSTMCell cell({.input = E, .hidden = H}, t.rng);
    mistake.is<ShapeError>(
        "[lstm_cell] x has shape (B, I) = (5, 3) but h has shape (B, H) = (3, 4): B must match; "
        "make the state with zero_state(5), or, if x is a step of unbind(), look whether the "
        "sequence is (T, B, I)",
        [&] { (void)cell(tape, unbind(t.model.embed(tape, ids))[0], cell.zero_state(B)); });
    const char* const swapped =
        "; the first two axes of one look swapped: sequences are (T, B, ...), and transpose(x, 0, "
        "1) makes them so";
    const Var logits = t.model.head(tape, Tensor::zeros({T, B, H}));
    mistake.is<ShapeError>(
        fmt::format("[cross_entropy] logits has shape (..., V) = (5, 3, 7) but ids has shape (...) "
                    "= (3, 5): the leading axes must match{}",
                    swapped),
        [&] { (void)cross_entropy(logits, ids); });
    mistake.is<ShapeError>(  // and no advice to reshape, which would mix sequences
        fmt::format("[mse] prediction has shape (5, 3, 7) but target has shape (3, 5, 7): the "
                    "shapes must be equal, a loss never broadcasts{}",
                    swapped),
        [&] {
          (void)mse(logits, Tensor::zeros({B, T, V}));
        });
    mistake.is<ShapeError>(
        fmt::format("[mse] weights has shape (3, 5) but target has shape (5, 3): the shapes must "
                    "be equal{}",
                    swapped),
        [&] {
          (void)mse(Tensor::zeros({T, B}), Tensor::zeros({T, B}),
                    {.weights = Tensor::zeros({B, T})});
        });
    mistake.is<ShapeError>(
        fmt::format("[add] a has shape (5, 3, 7) but b has shape (3, 5, 7): the shapes must be "
                    "equal, or one the last axes of the other{}",
                    swapped),
        [&] {
          (void)(logits + Tensor::zeros({B, T, V}));
        });
  });
}

// --- layers ---

TEST_CASE("misuse: dropout that cannot be meant") {
  after([](Training& t, const Mistake& mistake) {
    Tape undecided;
    mistake.is<UsageError>(
        "[dropout] this tape says neither training nor evaluation: make it with "
        "Tape::training({.seed = ..., .pass = ...}), Tape::evaluation() or Tape::inference() (in "
        "lstm.1)",
        [&] { (void)t.loss(undecided); });
    CHECK_NOTHROW(Dropout{0.0}(undecided, Tensor::zeros({2})));
    mistake.is<UsageError>("[dropout] p is 1: it must be in [0, 1)",
                           [&] { (void)Dropout{1.0}(undecided, Tensor::zeros({2})); });
    mistake.is<UsageError>("[dropout] p is nan: it must be in [0, 1)",
                           [&] { (void)Dropout{NAN}(undecided, Tensor::zeros({2})); });
    Rng rng(1);
    mistake.is<UsageError>(
        "[LSTM] dropout = 0.2 acts between layers, but there is only one: put a Dropout after the "
        "LSTM",
        [&] { t.model.lstm = LSTM({.input = E, .hidden = H, .dropout = 0.2}, rng); });
    mistake.is<UsageError>("[LSTM] dropout is -0.1: it must be in [0, 1)", [&] {
      LSTM({.input = E, .hidden = H, .layers = 2, .dropout = -0.1}, rng);
    });
  });
}

TEST_CASE("misuse: what was never constructed, or moved from, is used") {
  const auto use = [](const Mistake& mistake, const CharLM& model, Tape& tape, const Tensor& ids) {
    const Var x = Tensor::zeros({T, B, E});
    mistake.is<UsageError>(undefined_leaf, [&] { (void)model.embed(tape, ids); });
    mistake.is<UsageError>(undefined_leaf, [&] { (void)model.head(tape, x); });
    mistake.is<UsageError>(no_layers, [&] { (void)model.lstm(tape, x); });
    mistake.is<UsageError>(no_layers, [&] { (void)model.lstm.zero_state(B); });
    const LSTMState none{Tensor::zeros({0, B, H}), Tensor::zeros({0, B, H})};
    mistake.is<UsageError>(no_layers, [&] { (void)model.lstm(tape, x, none); });
    mistake.is<UsageError>(undefined_parameter, [&] { (void)model.head.weight.value(); });
    mistake.is<UsageError>(undefined_parameter, [&] { (void)model.head.weight.grad(); });
  };
  after([&](Training& t, const Mistake& mistake) {
    Tape tape = t.tape();
    use(mistake, CharLM(), tape, t.x);
    Parameter none;
    mistake.is<UsageError>(undefined_parameter, [&] { none.set_value(Tensor::zeros({1})); });
    mistake.is<UsageError>(undefined_parameter, [&] { none.set_requires_grad(false); });
    mistake.is<UsageError>(undefined_parameter, [&] { (void)none.requires_grad(); });
    mistake.is<UsageError>(undefined_parameter, [&] { none.zero_grad(); });
    mistake.is<UsageError>(undefined_parameter, [&] { clip_grad_norm({{"none", none}}, 1); });
    mistake.is<UsageError>(undefined_parameter, [&] { (void)LSTMCell().zero_state(B); });
    const LSTMState state{Tensor::zeros({B, H}), Tensor::zeros({B, H})};
    mistake.is<UsageError>(undefined_leaf, [&] {
      (void)LSTMCell()(tape, Tensor::zeros({B, E}), state);
    });
  });
  after([&](Training& t, const Mistake& mistake) {
    CharLM other = std::move(t.model);
    Tape tape = t.tape();
    // NOLINTNEXTLINE(bugprone-use-after-move): that is the mistake
    use(mistake, t.model, tape, t.x);
    t.model = std::move(other);
  });
}

TEST_CASE("misuse: a file of another model") {
  after([](Training& t, const Mistake& mistake) {
    const TempFolder folder;
    Rng rng(9);
    CharLM other{{V, E, rng}, {{.input = E, .hidden = H}, rng}, {H, V + 1, rng}};
    const Parameters fewer = parameters(other);
    save_parameters(folder / "other", fewer);
    mistake.is<FileError>(
        fmt::format("[load_parameters] {} does not fit this model, nothing was loaded: missing "
                    "lstm.weight_ih_l1, float32 (16, 4); missing lstm.weight_hh_l1, float32 (16, "
                    "4); missing lstm.bias_ih_l1, float32 (16); missing lstm.bias_hh_l1, float32 "
                    "(16); head.weight is float32 (8, 4) in the file but float32 (7, 4) in the "
                    "model; head.bias is float32 (8) in the file but float32 (7) in the model",
                    (folder / "other").string()),
        [&] { load_parameters(folder / "other", t.adam.parameters()); });
  });
}

// --- gradients and optimizers ---

TEST_CASE("misuse: a gradient put in by hand that does not fit, or lies in the value itself") {
  after([](Training& t, const Mistake& mistake) {
    Parameter& bias = t.model.head.bias;
    const Tensor good = bias.grad();
    mistake.is<ShapeError>(
        "[set_grad] the gradient has shape (2) but the value has shape (7): they must be equal",
        [&] { bias.set_grad(Tensor::zeros({2})); });
    mistake.is<DtypeError>(
        "[set_grad] the gradient is float64 but the value is float32: convert it with to()",
        [&] { bias.set_grad(Tensor::zeros({V}, DType::float64)); });
    mistake.is<UsageError>("[Tensor] this tensor is undefined: give it a value first",
                           [&] { bias.set_grad(Tensor()); });
    bias.set_grad(bias.value());  // a copy
    CHECK_FALSE(bias.grad().shares_elements_with(bias.value()));
    bias.zero_grad();
    mistake.is<UsageError>(
        "[mutable_grad] there is no gradient to write into: call backward() or set_grad() first",
        [&] { bias.mutable_grad(); });
    bias.set_grad(good);
  });
}

TEST_CASE("misuse: a gradient that is NaN, limits and rates that are no limits and rates") {
  after([](Training& t, const Mistake& mistake) {
    const Parameters& all = t.adam.parameters();
    Tensor grad = t.model.head.bias.grad();
    const double good = grad.at(2);
    grad.mutable_data<float>()[2] = NAN;
    mistake.is<NonFiniteError>(
        "[clip_grad_norm] the gradient of head.bias, shape (7), is nan at element 2: nothing "
        "was changed; a lower learning rate or zero_grad() before each backward are the usual "
        "cures",
        [&] { clip_grad_norm(all, 1); });
    grad.mutable_data<float>()[2] = static_cast<float>(good);
    for (const double limit : {-1.0, static_cast<double>(NAN)}) {
      mistake.is<UsageError>(
          fmt::format("[clip_grad_norm] max_norm is {}: it must not be negative or NaN", limit),
          [&] { clip_grad_norm(all, limit); });
      mistake.is<UsageError>(
          fmt::format("[clip_grad_value] limit is {}: it must not be negative or NaN", limit),
          [&] { clip_grad_value(all, limit); });
      mistake.is<UsageError>(fmt::format("[Adam] lr is {}: it must be in [0, inf)", limit),
                             [&] { t.adam.set_learning_rate(limit); });
    }
  });
}

TEST_CASE("misuse: an optimizer of nothing, of the same twice, of the undefined") {
  after([](Training& t, const Mistake& mistake) {
    Parameters all = t.adam.parameters();
    mistake.is<UsageError>(
        "[SGD] there are no parameters: nothing could be learned; construct the "
        "model first, and do not use it after a move",
        [] { SGD({}, {.lr = 1}); });
    mistake.is<UsageError>("[Adam] parameter 12 does not exist: there are 11",
                           [&] { (void)t.adam.state(all.size() + 1); });
    all.push_back({"tied", all[0]});
    mistake.is<UsageError>(
        "[Adam] embed.weight and tied are the same parameter: it would move twice a step; name it "
        "once",
        [&] { Adam adam(all); });
    const Parameters empty = t.adam.parameters() + Parameters{{"tied", Parameter()}};
    mistake.is<UsageError>("[Adam] tied is undefined: it must have a value",
                           [&] { Adam adam(empty); });
  });
}

TEST_SUITE_END();
