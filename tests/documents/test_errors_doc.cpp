#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <iterator>
#include <regex>

#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../layers/dropout.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../support/documents.h"
#include "../support/small_values.h"
#include "../support/temp_folder.h"

// docs/errors.md: each mistake there throws what the page quotes, its cure does not throw, and what
// it says of the state after a throw holds.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

struct Head {
  Linear head;
  void visit(auto&& v) { v("head", head); }
};

/// A message as the page writes it: its type before it.
std::string thrown_by(const std::function<void()>& f) {
  try {
    f();
  } catch (const ShapeError& e) {
    return std::string("ShapeError: ") + e.what();
  } catch (const DtypeError& e) {
    return std::string("DtypeError: ") + e.what();
  } catch (const UsageError& e) {
    return std::string("UsageError: ") + e.what();
  } catch (const FileError& e) {
    return std::string("FileError: ") + e.what();
  } catch (const NonFiniteError& e) {
    return std::string("NonFiniteError: ") + e.what();
  }
  return "nothing";
}

/// Without what differs from run to run: numbers of passes, which are counted over the life of a
/// tape's state, and the folder of a file.
std::string comparable(std::string message) {
  message = std::regex_replace(message, std::regex("pass [0-9]+"), "pass N");
  return std::regex_replace(message, std::regex("/[^ ]*/model"), "model");
}

/// A mistake, and the same code with its cure.
struct Mistake {
  const char* heading;
  void (*run)(bool cured);
};

LSTM lstm_of(std::size_t input) {
  Rng rng(1);
  return LSTM({.input = input, .hidden = 32}, rng);
}

Head head_of(std::size_t inputs) {
  Rng rng(1);
  return {{inputs, 1, rng}};
}

Parameter two_ones() { return Parameter(Tensor::full({2}, 1)); }

const Mistake mistakes[] = {
    {"1. An input of another width",
     [](bool cured) {
       const LSTM lstm = lstm_of(cured ? 12 : 10);
       Tape tape;
       (void)lstm(tape, values({20, 4, 12}));
     }},
    {"2. A state of another batch",
     [](bool cured) {
       const LSTM lstm = lstm_of(10);
       const Var x = values({20, 4, 10});
       Tape tape;
       (void)lstm(tape, x, lstm.zero_state(cured ? x.size(1) : 5));
     }},
    {"3. A prediction (B, 1) and a target (B)",
     [](bool cured) {
       const Var prediction = values({20, 1}), target = values({20});
       (void)mse(cured ? reshape(prediction, target.shape()) : prediction, target);
     }},
    {"4. A factor for each row",
     [](bool cured) {
       const Var a = values({4, 3}), b = values({4});
       (void)(a * (cured ? repeat(b, 1, 3) : b));
     }},
    {"5. Data in double",
     [](bool cured) {
       const LSTM lstm = lstm_of(10);
       const Tensor x = Tensor::zeros({20, 4, 10}, DType::float64);
       Tape tape;
       (void)lstm(tape, cured ? x.to(DType::float32) : x);
     }},
    {"6. Ids that are not integers",
     [](bool cured) {
       const Tensor ids = Tensor::of({2}, {0, 1}, cured ? DType::int32 : DType::float32);
       (void)embedding(values({65, 4}), ids);
     }},
    {"7. An id the vocabulary does not have",
     [](bool cured) {
       const Tensor ids = Tensor::of({2, 2}, {0, 64, cured ? 63. : 65., 1}, DType::int32);
       (void)embedding(values({65, 4}), ids);
     }},
    {"8. A state carried into the next window",
     [](bool cured) {
       const LSTM lstm = lstm_of(10);
       LSTMState state = lstm.zero_state(4);
       for (int window = 0; window < 2; ++window) {
         Tape tape;
         const LSTMState next = lstm(tape, values({20, 4, 10}), state).last;
         state = cured ? next.detach() : next;
       }
     }},
    {"9. A loss that is not one number",
     [](bool cured) {
       const Parameter w = two_ones();
       Tape tape;
       const Var y = square(tape.leaf(w));
       tape.backward(cured ? mean(y) : y);
     }},
    {"10. Backward twice",
     [](bool cured) {
       const Parameter w = two_ones();
       Tape tape;
       const Var loss = sum(square(tape.leaf(w)));
       tape.backward(loss, {.retain = cured});
       tape.backward(loss);
     }},
    {"11. Nothing was recorded",
     [](bool cured) {
       const Parameter w = two_ones();
       Tape tape = cured ? Tape::evaluation() : Tape::inference();
       tape.backward(sum(square(tape.leaf(w))));
     }},
    {"12. A buffer that is filled again",
     [](bool cured) {
       const Parameter w = two_ones();
       Tensor batch = Tensor::full({2}, 3);
       Tape tape;
       const Var loss = sum(tape.leaf(w) * Var(batch));
       if (cured) batch = Tensor::empty({2});
       batch.fill(4);
       tape.backward(loss);
     }},
    {"13. Dropout on a tape that was not told",
     [](bool cured) {
       Tape untold, told = Tape::training({.seed = 1, .pass = 0});
       (void)Dropout{0.5}(cured ? told : untold, values({2}));
     }},
    {"14. The loss has diverged",
     [](bool cured) {
       Head model = head_of(2);
       const Parameters all = parameters(model);
       all[0].set_grad(Tensor::of({1, 2}, {1, cured ? 1e30 : NAN}));
       clip_grad_norm(all, 5);
     }},
    {"15. A file of another model",
     [](bool cured) {
       const TempFolder folder;
       Head saved = head_of(2), loaded = head_of(cured ? 2 : 3);
       save_parameters(folder / "model.safetensors", parameters(saved));
       load_parameters(folder / "model.safetensors", parameters(loaded));
     }},
};

}  // namespace

TEST_CASE("errors.md: every mistake throws what the page quotes, and its cure cures") {
  const Lines page = read_lines("docs/errors.md");
  Lines headings, messages;
  for (const std::string& line : page) {
    if (line.starts_with("### ")) headings.push_back(line.substr(4));
  }
  for (const Block& block : blocks_of(page)) {
    if (block.language != "text") continue;
    std::string message;
    for (const std::string& line : block.lines) message += (message.empty() ? "" : " ") + line;
    messages.push_back(message);
  }
  REQUIRE(headings.size() == std::size(mistakes));
  REQUIRE(messages.size() == std::size(mistakes));
  for (std::size_t k = 0; k < std::size(mistakes); ++k) {
    const Mistake& mistake = mistakes[k];
    CHECK(headings[k] == mistake.heading);
    const std::string said = thrown_by([&] { mistake.run(false); });
    CHECK_MESSAGE(comparable(said) == comparable(messages[k]), mistake.heading);
    CHECK_MESSAGE(thrown_by([&] { mistake.run(true); }) == "nothing", mistake.heading);
  }
}

TEST_CASE("errors.md: what holds after a throw") {
  Parameter w{Tensor::full({2}, 1)};
  Tensor batch = Tensor::full({2}, 3);
  {
    Tape tape;
    const Var x = tape.leaf(w);
    const Var loss = sum(x * Var(batch));
    CHECK_THROWS_AS(x * values({3}), ShapeError);
    CHECK_THROWS_AS(tape.backward(x), ShapeError);
    CHECK_FALSE(w.grad().defined());
    tape.backward(loss);  // an op and a refused backward have left the pass as it was
    CHECK(w.grad().at(0) == 3);
  }
  {
    Tape tape;
    const Var loss = sum(tape.leaf(w) * Var(batch));
    batch.fill(4);
    CHECK_THROWS_AS(tape.backward(loss), UsageError);
    CHECK(w.grad().at(0) == 3);
    CHECK(thrown_by([&] { tape.backward(loss); }).find("differentiated before") !=
          std::string::npos);  // spent
    CHECK(w.grad().at(0) == 3);
  }
  Adam adam({{"w", w}}, {.lr = 1});
  adam.step();
  const double value = w.value().at(0), moment = adam.state(0).m.at(0);
  w.set_grad(Tensor::of({2}, {1, NAN}));
  CHECK_THROWS_AS(clip_grad_norm(adam.parameters(), 0.1), NonFiniteError);
  CHECK_THROWS_AS(clip_grad_value(adam.parameters(), 0.1), NonFiniteError);
  CHECK(w.grad().at(0) == 1);
  CHECK_THROWS_AS(w.set_grad(Tensor::zeros({3})), ShapeError);
  CHECK(w.grad().at(0) == 1);
  adam.zero_grad();
  CHECK_THROWS_AS(adam.step(), UsageError);
  CHECK(w.value().at(0) == value);
  CHECK(adam.state(0).m.at(0) == moment);
}
