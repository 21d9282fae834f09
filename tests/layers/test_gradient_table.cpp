#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/pool.h"
#include "../../layers/recurrent/verify_padding.h"
#include "../support/extended.h"
#include "../support/layer_rows.h"
#include "../support/lstm_cases.h"

// The gradient table: every recurrent layer with each option, for sequences of T steps, in layers and
// directions, with lengths, from first states of three kinds, through each output alone and all of
// them. Each case is checked four ways:
//
//   twin      the fused form against the loop over the cell, each tensor by its norm
//   numeric   the gradients against differences, in a random direction and at some entries
//   subsets   a gradient has the same bits, whichever others are asked for
//   padding   no bit depends on what is behind the sequences' ends
//
// The standard tier draws some of the cases, the long tier takes all.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

enum class First { zero, given, trained };

struct Case {
  std::size_t T;
  LayerSetting setting;
  bool lengths;
  First first;
  std::size_t
      seen;  // the output that the loss sees, y or a part of the last state; after them: all
};

/// Lengths in no order; one of T, one of 0.
Tensor some_lengths(std::size_t T) {
  const auto n = static_cast<std::int32_t>(T);
  return Tensor::from<std::int32_t>({row_batch}, {(n + 1) / 2, n, 0, std::max(1, n - 1)});
}

using Subset = std::uint64_t;  // of the inputs, bits

/// Outputs, and the gradients that were asked for, in the order of the inputs; others undefined.
struct Solution {
  std::vector<NamedValue> outputs, gradients;
};

/// A layer's case with its data. Inputs are x, the parts of the first state, and the Parameters.
class Problem {
 public:
  Problem(const LayerRow& row, const Case& c)
      : stack_(row.make(c.setting)),
        lengths_(c.lengths ? some_lengths(c.T) : Tensor()),
        seen_(c.seen) {
    Rng rng(5, "gradient table");
    const auto draw = [&](const Shape& shape) { return rng.normal(shape, 0, 1, DType::float64); };
    takes_ids_ = row.ids.defined();
    x_ = takes_ids_ ? row.ids.slice(0, c.T) : draw({c.T, row_batch, stack_input});
    if (!takes_ids_) names_.push_back("dx");
    for (const Shape& shape : stack_.state(row_batch)) {
      if (c.first == First::trained) break;
      state_.push_back(c.first == First::zero ? Tensor::zeros(shape, DType::float64) : draw(shape));
      names_.push_back("dstate");
    }
    for (const NamedParameter& p : stack_.parameters) names_.push_back("d" + p.name);
  }

  std::size_t inputs() const { return names_.size(); }
  bool sees_all() const { return seen_ > stack_.state(1).size(); }
  Subset all() const { return (Subset{1} << inputs()) - 1; }

  Solution solve(bool fused, Subset asked) const {
    Tape tape = Tape::training({.seed = 3, .pass = 1});
    std::size_t next = 0;
    Vars wanted;
    const auto input = [&](const Tensor& value) {
      if ((asked >> next++ & 1) == 0) return Var(value);
      wanted.push_back(tape.leaf(value));
      return wanted.back();
    };
    const Var x = takes_ids_ ? Var(x_) : input(x_);
    Vars state;
    for (const Tensor& part : state_) state.push_back(input(part));
    for (const NamedParameter& p : stack_.parameters) {
      p.set_requires_grad((asked >> next++ & 1) != 0);
      if (p.requires_grad()) wanted.push_back(tape.leaf(p));
    }
    const Vars outputs = run(fused, tape, x, state);
    const Var loss = loss_of(outputs);
    const Vars gradients = loss.recorded() ? tape.gradient(loss, wanted) : Vars();
    Solution result;
    for (const Var& output : outputs) {
      result.outputs.push_back({result.outputs.empty() ? "y" : "last", output.value()});
    }
    for (std::size_t i = 0, n = 0; i < inputs(); ++i) {
      const bool has = (asked >> i & 1) != 0 && loss.recorded();
      result.gradients.push_back({names_[i], has ? gradients[n++].value() : Tensor()});
    }
    stack_.parameters.unfreeze();
    return result;
  }

  GradcheckReport differences(const GradcheckOptions& options) const {
    std::vector<GradcheckInput> in;
    if (!takes_ids_) in.push_back({"x", x_});
    for (const Tensor& part : state_) in.push_back({"state " + std::to_string(in.size()), part});
    return gradcheck(
        [&](Tape& tape, std::span<const Var> v) {
          const Vars all = run(true, tape, takes_ids_ ? Var(x_) : v[0],
                               Vars(v.begin() + (takes_ids_ ? 0 : 1), v.end()));
          return seen_ < all.size() ? Vars{all[seen_]} : all;
        },
        in, stack_.parameters, options);
  }

  PaddingReport padding(bool fused) const {
    const auto values = [&](Tape& tape, const Var& x) {
      Vars r = run(fused, tape, x, Vars(state_.begin(), state_.end()));
      r.insert(r.begin(), loss_of(r));
      return r;
    };
    if (!takes_ids_) return verify_padding(values, x_, lengths_, stack_.parameters);
    return verify_padding_ids([&](Tape& tape, const Tensor& ids) { return values(tape, Var(ids)); },
                              x_, lengths_, stack_.parameters);
  }

 private:
  Vars run(bool fused, Tape& tape, const Var& x, const Vars& state) const {
    return stack_.run(fused, tape, x, state.empty() ? stack_.first_state(tape, row_batch) : state,
                      lengths_);
  }
  /// The sum of what is seen, each element times a weight of its own.
  Var loss_of(const Vars& outputs) const {
    Rng rng(6, "weights of the loss");
    Var total;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const Tensor weights = rng.normal(outputs[i].shape(), 0, 1, DType::float64);
      if (seen_ < outputs.size() && seen_ != i) continue;
      const Var share = sum(outputs[i] * Var(weights));
      total = total.defined() ? total + share : share;
    }
    return total;
  }

  Stack stack_;
  Tensor x_, lengths_;
  std::vector<Tensor> state_;  // empty: a trained one
  std::vector<std::string> names_;
  std::size_t seen_;
  bool takes_ids_ = false;
};

/// What the cases of a layer came to.
struct Tally {
  std::size_t cases = 0, twins = 0, entries = 0, undecided = 0, kinks = 0, subsets = 0,
              paddings = 0;
  double twin = 0;              // worst max|difference| / max|composed|
  double error = 0, bound = 0;  // worst error of an entry, relative to its block's largest gradient
};

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return false;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    if (a.at(i) != b.at(i) || std::signbit(a.at(i)) != std::signbit(b.at(i))) return false;
  }
  return true;
}

/// A step of y or dx by itself may be what larger numbers leave of each other; where gradients are
/// clipped, and so equal, the sum over a bias's steps, too.
void check_twin(const Problem& problem, const Solution& fused, Tally& t) {
  const Solution composed = problem.solve(false, problem.all());
  double most = 0;
  for (const NamedValue& gradient : composed.gradients)
    most = std::max(most, largest(gradient.value));
  Deviation tensors{.least = std::max(1e-30, 1e-15 * most)}, steps = tensors;
  for (const auto part : {&Solution::outputs, &Solution::gradients}) {
    for (std::size_t i = 0; i < (fused.*part).size(); ++i) {
      const NamedValue& ref = (composed.*part)[i];
      tensors.compare(ref.name, (fused.*part)[i].value, ref.value);
    }
    steps.compare(fused.*part, composed.*part);
  }
  CHECK_MESSAGE(tensors.worst <= 1e-12, tensors.where);
  CHECK_MESSAGE(steps.worst <= 1e-10, steps.where);
  if (is_worse(tensors.worst, t.twin)) t.twin = tensors.worst;
  ++t.twins;
}

void check_differences(const Problem& problem, Tally& t) {
  const GradcheckReport report =
      problem.differences({.budget = 1, .entries = 1, .directions = 1, .seed = t.cases});
  CHECK_MESSAGE(report.reason.empty(), report.text());
  CHECK_MESSAGE(report.failed == 0, report.text());
  // What happened some steps ago may have a gradient below the noise of the loss, which a kink raises.
  double largest = 0;
  for (const auto& block : report.blocks) largest = std::max(largest, block.scale);
  const auto vanished = [&](const GradEntry& e) { return std::abs(e.analytic) < 1e-6 * largest; };
  for (const GradEntry& e : report.entries) {
    if (e.verdict != Verdict::inconclusive || report.kinks > 0) continue;
    CHECK_MESSAGE(vanished(e), report.text());
  }
  t.entries += report.checked;
  t.undecided += report.inconclusive, t.kinks += report.kinks;
  for (const GradEntry& e : report.entries) {
    if (e.verdict != Verdict::pass || !e.exercised()) continue;
    const double scale =
        std::max({std::abs(e.analytic), std::abs(e.numeric), report.blocks[e.block].scale});
    if (is_worse(e.error / scale, t.error)) t.error = e.error / scale, t.bound = e.bound / scale;
  }
}

/// All subsets, of one layer, at most 3 steps and few inputs; else each alone and 20 drawn. Few are 7, in
/// the long tier 8, and 11 where the loss sees all outputs: both directions of an LSTM.
std::vector<Subset> subsets_of(const Problem& problem, const Case& c, std::size_t seed) {
  std::vector<Subset> subsets;
  const std::size_t few = c.T > 3 || c.setting.layers > 1 ? 0
                          : !extended()                   ? 7
                          : problem.sees_all()            ? 11
                                                          : 8;
  if (problem.inputs() <= few) {
    for (Subset s = 1; s < problem.all(); ++s) subsets.push_back(s);
    return subsets;
  }
  for (std::size_t i = 0; i < problem.inputs(); ++i) subsets.push_back(Subset{1} << i);
  std::mt19937_64 drawn(seed);
  for (int i = 0; i < 20; ++i) {
    subsets.push_back(static_cast<Subset>(1 + drawn() % (problem.all() - 1)));
  }
  return subsets;
}

void check_subsets(const Problem& problem, const Case& c, const Solution& all, Tally& t) {
  for (const Subset subset : subsets_of(problem, c, t.cases)) {
    const Solution some = problem.solve(true, subset);
    for (std::size_t i = 0; i < all.gradients.size(); ++i) {
      const NamedValue& gradient = some.gradients[i];
      if (!gradient.value.defined()) continue;
      CHECK_MESSAGE(same_bits(gradient.value, all.gradients[i].value), gradient.name, " of subset ",
                    subset);
    }
    ++t.subsets;
  }
}

void check_case(const LayerRow& row, const Case& c, Tally& t) {
  INFO(row.layer, ", ", row.option, ", ", row.ways[c.setting.way], ", ", c.setting.layers,
       " layers, T = ", c.T, ", lengths ", c.lengths, ", first state ", static_cast<int>(c.first),
       ", seen ", c.seen);
  const Problem problem(row, c);
  const Solution all = problem.solve(true, problem.all());
  if (row.has_twin) check_twin(problem, all, t);
  if (row.is_derivative) check_differences(problem, t);
  check_subsets(problem, c, all, t);
  if (c.lengths) {
    for (const bool fused : {true, false}) {
      if (!fused && row.ids.defined()) continue;  // an Embedding refuses an id of -1
      const PaddingReport report = problem.padding(fused);
      CHECK_MESSAGE(report.passed, report.text);
      ++t.paddings;
    }
  }
  ++t.cases;
}

/// One of `one_of` cases of a row; of 50 steps, which take most of the time, one of seven times as
/// many.
void check_row(const LayerRow& row, std::size_t one_of, std::mt19937& random, Tally& t) {
  for (const std::size_t layers : {1U, 3U}) {
    for (std::size_t way = 0; way < row.ways.size(); ++way) {
      const std::size_t parts = row.make({layers, way, false}).state(1).size();
      for (const First first : {First::zero, First::given, First::trained}) {
        if (first == First::trained && !row.can_train_state) continue;
        const LayerSetting setting{layers, way, first == First::trained};
        for (const bool lengths : {false, true}) {
          for (std::size_t seen = 0; seen <= parts + 1; ++seen) {
            for (const std::size_t T : {1U, 2U, 3U, 7U, 50U}) {
              const bool taken = random() % (T == 50 && one_of > 1 ? 7 * one_of : one_of) == 0;
              if (taken) check_case(row, {T, setting, lengths, first, seen}, t);
            }
          }
        }
      }
    }
  }
}

void check_layer(const std::string& layer) {
  const std::size_t one_of = extended() ? 1 : sanitized || emulated ? 900 : 90;
  Tally t;
  std::seed_seq seed(layer.begin(), layer.end());
  std::mt19937 random(seed);
  pool::poison(true);
  for (const LayerRow& row : layer_rows(layer)) check_row(row, one_of, random, t);
  pool::poison(false);
  MESSAGE(layer, ": ", t.cases, " cases; ", t.twins, " twins, worst difference ", t.twin,
          " (bound 1e-12); ", t.entries, " entries, worst error ", t.error, " (bound ", t.bound,
          "), ", t.undecided, " undecided, ", t.kinks, " kinks; ", t.subsets, " subsets; ",
          t.paddings, " paddings");
}

}  // namespace

TEST_SUITE_BEGIN("gradient table");

TEST_CASE("gradient table: lstm") { check_layer("lstm"); }
TEST_CASE("gradient table: gru") { check_layer("gru"); }
TEST_CASE("gradient table: rnn, tanh") { check_layer("rnn tanh"); }
TEST_CASE("gradient table: rnn, relu") { check_layer("rnn relu"); }
TEST_CASE("gradient table: lstm of ids") { check_layer("lstm of ids"); }
TEST_CASE("gradient table: lstm variants") { check_layer("lstm variants"); }
TEST_CASE("gradient table: min cells") { check_layer("min cells"); }
TEST_CASE("gradient table: cells") { check_layer("cells"); }

TEST_SUITE_END();
