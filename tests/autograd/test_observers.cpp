#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/inspect/observer.h"
#include "../../autograd/inspect/trace.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/lstm.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "../../core/error.h"
#include "../../core/kernels/elementwise.h"
#include "../support/small_values.h"

// Observers: several of them, what they ask for, what fused ops show, and what they must not do.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// All that an observer is shown, as text.
class Log : public Observer {
 public:
  explicit Log(Interest interests = Interest::everything) : Observer(interests) {}
  void on_value(const NodeView& node, std::size_t number, const Var& v) override {
    add("value", node.name, number, v.value());
  }
  void on_gradient(const NodeView& node, std::size_t number, const Var& v) override {
    add("gradient", node.name, number, v.value());
  }
  void on_branch(std::size_t node, const char* op, const Tensor& choice) override {
    add("branch", op, node, choice);
  }
  void on_internal(const NodeView& node, const Internal& inside) override {
    CHECK(inside.step == Internal::all_steps);
    add(inside.name, node.name, node.index, inside.value);
  }
  std::vector<std::string> lines;

 private:
  void add(std::string_view what, std::string_view name, std::size_t number, const Tensor& t) {
    std::string line =
        std::string(what) + " " + std::string(name) + " " + std::to_string(number) + ":";
    for (std::size_t i = 0; i < t.numel(); ++i) line += " " + std::to_string(t.at(i));
    lines.push_back(line);
  }
};

struct Case {
  Tensor x, h, c, ih, hh, bias;
  explicit Case(DType dtype = DType::float64) {
    Rng rng(7);
    const auto draw = [&](const Shape& s) { return rng.normal(s, 0, 0.5, dtype); };
    x = draw({4, 2, 3}), h = draw({2, 2}), c = draw({2, 2});
    ih = draw({8, 3}), hh = draw({8, 2}), bias = draw({8});
  }
  template <class F>  // lstm or lstm_composed
  Var loss(Tape& tape, F&& layer, Vars& inputs) const {
    inputs = {tape.leaf(x), tape.leaf(h), tape.leaf(c), tape.leaf(ih), tape.leaf(hh)};
    const LSTMResult r =
        layer(inputs[0], {inputs[1], inputs[2]}, {inputs[3], inputs[4], bias, {}}, {}, {});
    return sum(square(r.y)) + sum(r.last.c);
  }
};

/// The internals of a fused LSTM by their names.
class Inside : public Observer {
 public:
  Inside() : Observer(Interest::internals) {}
  void on_internal(const NodeView&, const Internal& inside) override {
    CHECK_FALSE(tensors.contains(std::string(inside.name)));
    tensors[std::string(inside.name)] = inside.value.clone();
  }
  std::map<std::string, Tensor> tensors;
};

}  // namespace

TEST_CASE("observers: two see what one sees, gradients too") {
  const auto run = [](Tape& tape) {
    Vars in;
    Var loss = Case().loss(tape, lstm, in);
    loss += sum(relu(in[0]));
    std::vector<double> all;
    for (const Var& d : tape.gradient(loss, in)) {
      for (std::size_t i = 0; i < d.shape().numel(); ++i) all.push_back(d.value().at(i));
    }
    return all;
  };
  Tape tape, alone_tape, watched;
  const auto plain = run(tape);
  Log alone;
  observe(alone_tape, alone);
  CHECK(run(alone_tape) == plain);
  Log a, b, branches(Interest::branches);
  for (Observer* o : std::initializer_list<Observer*>{&a, &branches, &b}) observe(watched, *o);
  CHECK(run(watched) == plain);
  CHECK(a.lines == alone.lines);
  CHECK(b.lines == alone.lines);
  CHECK(branches.lines.size() == 1);
  CHECK(alone.lines.size() > 30);
}

TEST_CASE("observers: one sees inside the fused lstm what the composed one computes") {
  for (const bool retain : {false, true}) {  // unless retained, backward overwrites its reserve
    CAPTURE(retain);
    const Case c;
    Tape tape, composed;
    Inside inside;
    observe(tape, inside);
    Vars in;
    const Var loss = c.loss(tape, lstm, in);
    REQUIRE(inside.tensors.size() == 2);
    (void)tape.gradient(loss, {in[0], in[3]}, {.retain = retain});
    REQUIRE(inside.tensors.size() == 5);

    // The same step by step, with every value at hand: a, gates, c, h.
    Vars gates, before, cells, hidden;
    const LSTMState start{composed.leaf(c.h), composed.leaf(c.c)};
    LSTMState s = start;
    const Var ih = composed.leaf(c.ih), hh = composed.leaf(c.hh);
    for (const Var& x : unbind(composed.leaf(c.x))) {
      const Var a = matmul(x, ih, Transpose::no, Transpose::yes) + Var(c.bias) +
                    matmul(s.h, hh, Transpose::no, Transpose::yes);
      const auto [ai, af, ag, ao] = split<4>(a, 1);
      const Var i = sigmoid(ai), f = sigmoid(af), g = tanh(ag), o = sigmoid(ao);
      s.c = f * s.c + i * g;
      s.h = o * tanh(s.c);
      before.push_back(a), gates.push_back(concat({i, f, g, o}, 1));
      cells.push_back(s.c), hidden.push_back(s.h);
    }
    const Var twin = sum(square(stack(hidden))) + sum(s.c);
    CHECK(twin.item() == doctest::Approx(loss.item()).epsilon(1e-14));
    const auto check = [&](const char* name, const Vars& steps) {
      CAPTURE(name);
      const Tensor expected = stack(steps).value(), &got = inside.tensors.at(name);
      REQUIRE(got.shape() == expected.shape());
      for (std::size_t k = 0; k < got.numel(); ++k) {
        CHECK(std::abs(got.at(k) - expected.at(k)) <= 1e-13);
      }
    };
    check("gates", gates);
    check("cells", cells);
    check("dgates", composed.gradient(twin, before, {.retain = true}));
    check("dh", composed.gradient(twin, hidden, {.retain = true}));
    check("dc", composed.gradient(twin, cells, {.retain = true}));
  }
}

TEST_CASE("observers: a ledger of gradient norms by step and gate") {
  // dW_hh = sum over t of dgates_t^T h_{t-1}: the shares of the steps sum to the gradient.
  const Case c;
  Tape tape;
  Inside inside;
  observe(tape, inside);
  Vars in;
  const LSTMResult r = [&] {
    in = {tape.leaf(c.x), tape.leaf(c.h), tape.leaf(c.c), tape.leaf(c.ih), tape.leaf(c.hh)};
    return lstm(in[0], {in[1], in[2]}, {in[3], in[4], c.bias, {}});
  }();
  const Tensor whole = tape.gradient(sum(square(r.y)), {in[4]})[0].value();
  const Tensor dgates = inside.tensors.at("dgates");
  Var total = Tensor::zeros(whole.shape(), DType::float64);
  for (std::size_t t = 0; t < 4; ++t) {
    const Var before = t == 0 ? Var(c.h) : Var(Tensor(r.y.value()).row(t - 1));
    const Var share = matmul(Var(dgates.row(t)), before, Transpose::yes);
    CHECK(sum(square(share)).item() > 0);
    total += share;
  }
  for (std::size_t k = 0; k < whole.numel(); ++k) {
    CHECK(std::abs(total.value().at(k) - whole.at(k)) <= 1e-14);
  }
}

TEST_CASE("observers: what is not asked for is not made") {
  class Counter : public Observer {
   public:
    using Observer::Observer;
    void on_value(const NodeView&, std::size_t, const Var&) override { ++values; }
    void on_gradient(const NodeView&, std::size_t, const Var&) override { ++gradients; }
    void on_branch(std::size_t, const char*, const Tensor&) override { ++branches; }
    void on_internal(const NodeView&, const Internal&) override { ++internals; }
    int values = 0, gradients = 0, branches = 0, internals = 0;
  };
  Counter values(Interest::values), gradients(Interest::gradients), none(Interest::none);
  Tape tape;
  for (Observer* o : std::initializer_list<Observer*>{&values, &gradients, &none}) {
    observe(tape, *o);
  }
  const Var one = tape.leaf(number(1));
  Node asks("asks", {one});
  CHECK(asks.wants(Interest::values));
  CHECK_FALSE(asks.wants(Interest::internals));
  CHECK_FALSE(asks.wants(Interest::branches));
  asks.branch([]() -> Tensor { throw std::logic_error("asked for a branch"); });
  asks.report("nothing", number(1));
  const Var x = tape.leaf(number(3));
  (void)tape.gradient(relu(x), {x});
  CHECK(values.values == 3);
  CHECK(values.gradients + values.branches + values.internals == 0);
  CHECK(gradients.gradients == 2);
  CHECK(gradients.values == 0);
  CHECK(none.values + none.gradients + none.branches + none.internals == 0);
}

TEST_CASE("observers: they come and go at any time, in calls too") {
  Tape tape;
  auto first = std::make_unique<Log>(), second = std::make_unique<Log>();
  observe(tape, *first);
  observe(tape, *second);
  CHECK_THROWS_WITH_AS(observe(tape, *first),
                       "[observe] the observer observes this tape already: call observe() once",
                       UsageError);
  (void)tape.leaf(number(1));
  first.reset();
  (void)tape.leaf(number(2));
  CHECK(second->lines.size() == 2);

  class Killer : public Observer {  // ends another, and brings one, while it is called
   public:
    Killer(Tape& tape, std::unique_ptr<Log>& victim, Log& friends)
        : tape_(tape), victim_(victim), friends_(friends) {}
    void on_value(const NodeView&, std::size_t, const Var&) override {
      victim_.reset();
      if (!brought_) observe(tape_, friends_);
      brought_ = true;
    }

   private:
    Tape& tape_;
    std::unique_ptr<Log>& victim_;
    Log& friends_;
    bool brought_ = false;
  };
  Log friends;
  auto victim = std::make_unique<Log>();
  Killer killer(tape, victim, friends);
  observe(tape, killer);
  observe(tape, *victim);
  (void)tape.leaf(number(3));
  CHECK(victim == nullptr);
  CHECK(friends.lines.empty());  // from the next event on
  (void)tape.leaf(number(4));
  CHECK(friends.lines.size() == 1);
  CHECK(second->lines.size() == 4);
}

TEST_CASE("observers: one observes several tapes, and outlives them or not") {
  auto log = std::make_unique<Log>(Interest::values);
  {
    Tape a, b;
    observe(a, *log);
    observe(b, *log);
    (void)a.leaf(number(1)), (void)b.leaf(number(2));
    CHECK(log->lines.size() == 2);
  }
  Tape next;  // takes the memory of one of them
  (void)next.leaf(number(3));
  CHECK(log->lines.size() == 2);
  observe(next, *log);
  log.reset();
  (void)next.leaf(number(4));
}

TEST_CASE("observers: while one is called nothing is recorded") {
  class Squares : public Observer {
   public:
    explicit Squares(Tape& tape) : tape_(tape) {}
    void on_value(const NodeView&, std::size_t, const Var& v) override {
      CHECK_FALSE(tape_.recording());
      total += sum(square(v)).item();
    }
    double total = 0;

   private:
    Tape& tape_;
  };
  Tape tape;
  Squares squares(tape);
  observe(tape, squares);
  const Var x = tape.leaf(number(3));
  (void)(x * x);
  CHECK(squares.total == 9 + 81);
  CHECK(tape.size() == 2);
}

TEST_CASE("observers: one that overwrites what it is shown is refused") {
  class Vandal : public Observer {
   public:
    explicit Vandal(Interest i) : Observer(i) {}
    void on_value(const NodeView&, std::size_t, const Var& v) override {
      Tensor(v.value()).fill(0);
    }
    void on_gradient(const NodeView&, std::size_t, const Var& v) override {
      Tensor(v.value()).fill(0);
    }
    void on_branch(std::size_t, const char*, const Tensor& choice) override {
      Tensor(choice).fill(0);
    }
    void on_internal(const NodeView&, const Internal& i) override { Tensor(i.value).fill(0); }
  };
  const std::string message =
      "[Observer] the elements that were shown were overwritten: other values use them; write into "
      "a clone(), and return that from a hook";
  for (const Interest i :
       {Interest::values, Interest::gradients, Interest::branches, Interest::internals}) {
    CAPTURE(static_cast<int>(i));
    Tape tape;
    Vandal vandal(i);
    observe(tape, vandal);
    CHECK_THROWS_WITH_AS(
        [&] {
          Vars in;
          Var loss = Case().loss(tape, lstm, in);
          loss += sum(relu(in[0]));
          (void)tape.gradient(loss, in);
        }(),
        message.c_str(), UsageError);
  }
}

TEST_CASE("observers: one that destroys the tape is refused, wherever it is called") {
  class Killer : public Observer {
   public:
    Killer(std::unique_ptr<Tape>& tape, Interest i) : Observer(i), tape_(tape) {}
    void on_value(const NodeView&, std::size_t, const Var&) override { tape_.reset(); }
    void on_gradient(const NodeView&, std::size_t, const Var&) override { tape_.reset(); }
    void on_branch(std::size_t, const char*, const Tensor&) override { tape_.reset(); }
    void on_internal(const NodeView&, const Internal&) override { tape_.reset(); }

   private:
    std::unique_ptr<Tape>& tape_;
  };
  for (const Interest i :
       {Interest::values, Interest::gradients, Interest::branches, Interest::internals}) {
    CAPTURE(static_cast<int>(i));
    auto tape = std::make_unique<Tape>();
    Vars in;
    Killer killer(tape, i);
    Log other;  // sees nothing of a tape that is no more
    observe(*tape, killer);
    observe(*tape, other);
    CHECK_THROWS_WITH_AS(
        [&] {
          Var loss = Case().loss(*tape, lstm, in);
          loss += sum(relu(in[0]));
          (void)tape->gradient(loss, in);
        }(),
        "[Observer] the tape was destroyed while it was in use, by a hook, an observer or a rule: "
        "let it live until the call returns",
        UsageError);
    CHECK(tape == nullptr);
    Tape next;
    const Var x = next.leaf(number(2));
    CHECK(next.size() == 1);
    CHECK(next.gradient(square(x), {x})[0].item() == 4);
  }
}

TEST_CASE("observers: notes of a node that fails go to nobody else") {
  Tape tape;
  Observer notes(Interest::notes);
  observe(tape, notes);
  const Var x = tape.leaf(number(1));
  const auto fails = [&] {
    Node n("fails", {x});
    n.note("lost", 1);
    throw std::runtime_error("in the op");
  };
  CHECK_THROWS_AS(fails(), std::runtime_error);
  class Last : public Observer {
   public:
    void on_value(const NodeView& node, std::size_t, const Var&) override { last = node.notes; }
    std::vector<Note> last;
  } seen;
  observe(tape, seen);
  (void)scale(x, 3);
  REQUIRE(seen.last.size() == 1);
  CHECK(std::string(seen.last[0].name) == "factor");
  Node outer("outer", {x});  // notes, records another, and goes on
  outer.note("own", Shape{2, 3});
  (void)scale(x, 4);
  CHECK(seen.last.size() == 1);
  outer.note("word", "yes");
  (void)outer.out(number(5));
  REQUIRE(seen.last.size() == 2);
  CHECK(seen.last[0].value == "(2, 3)");
  CHECK(seen.last[1].value == "yes");
}
