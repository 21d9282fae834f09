// Covers the gradient checker's worth: every bug of tests/gradcheck/planted_bugs.h is found, in its blocks
// and in no others, and called by its class; the models without a bug pass with nothing undecided.
// As arrays, as functions and as ops on the tape.

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "../../autograd/gradcheck/functions.h"
#include "../../autograd/gradcheck/gradcheck.h"
#include "../../autograd/gradcheck/tape_gradcheck.h"
#include "../../autograd/node.h"
#include "../../autograd/ops/elementwise.h"
#include "../support/is_one_of.h"
#include "planted_bugs.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using planted::Array;
using planted::Bug;
using planted::Model;

namespace {

std::unique_ptr<Model> make(const std::string& name) {
  for (const planted::ModelCase& m : planted::models()) {
    if (m.name == name) return m.make();
  }
  return {};
}

GradcheckOptions options_for(const Model& model) {
  GradcheckOptions options;
  for (const auto& [name, size] : model.sizes) options.sizes.push_back({name, size});
  return options;
}

/// Of the gradients that the model has.
GradcheckReport report_of(Model& model) {
  std::vector<GradBlock> blocks;
  for (Array& a : model.arrays) {
    blocks.push_back(grad_block(a.name, a.value, a.gradient, a.shape));
    blocks.back().gates = a.gates;
  }
  return gradcheck([&] { return model.loss(); }, blocks, options_for(model));
}

GradcheckReport through_arrays(Model& model, const std::string& bug) {
  model.backward(bug);
  return report_of(model);
}

/// A function of all arrays, one after the other, whose only output is the loss, and its
/// vector-Jacobian product.
GradcheckReport through_functions(Model& model, const std::string& bug) {
  const auto f = [&](std::span<const double> x) {
    model.set_values(x);
    return planted::Vector{model.loss()};
  };
  const auto product = [&](std::span<const double> x, std::span<const double> w) {
    f(x);  // backward() takes up what it leaves
    model.backward(bug);
    planted::Vector weighted = model.gradient();
    for (double& d : weighted) d *= w[0];
    return weighted;
  };
  return gradcheck(f, product, model.values());
}

/// The model as an op of the tape, whose rule has the bug.
GradcheckReport through_tape(Model& model, const std::string& bug) {
  const auto op = [&](Tape&, std::span<const Var> inputs) {
    const std::vector<std::reference_wrapper<const Var>> all(inputs.begin(), inputs.end());
    Node n("planted", all);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::copy_n(inputs[i].value().data<double>(), model.arrays[i].value.size(),
                  model.arrays[i].value.begin());
    }
    const Var y = n.out(Tensor::scalar(model.loss(), DType::float64));
    n.rule([&model, &bug](Grads& g) {
      model.backward(bug);
      for (std::size_t i = 0; i < model.arrays.size(); ++i) {
        const Array& a = model.arrays[i];
        g.add(i, g.d() * Var(Tensor::from<double>(Shape(a.shape), a.gradient)));
      }
    });
    return Vars{y};
  };
  std::vector<GradcheckInput> inputs;
  for (const Array& a : model.arrays) {
    inputs.push_back({a.name, Tensor::from<double>(Shape(a.shape), a.value)});
  }
  return gradcheck(op, inputs, {}, options_for(model));
}

/// What a report found: block and class, of those that failed.
std::map<std::string, std::string> found(const GradcheckReport& report) {
  std::map<std::string, std::string> classes;
  for (const GradBlockSummary& b : report.blocks) {
    if (b.failed > 0) classes[b.block.name] = b.diagnosis.substr(0, b.diagnosis.find(':'));
  }
  return classes;
}

/// The array in which element k of all of them lies.
std::string array_of(const Model& model, std::size_t k) {
  for (const Array& a : model.arrays) {
    if (k < a.value.size()) return a.name;
    k -= a.value.size();
  }
  return {};
}

/// Every bug is found, in its blocks and in no others, and called by its class.
void find_all(GradcheckReport (*check)(Model&, const std::string&)) {
  std::size_t caught = 0, blocks = 0, right = 0, named = 0, named_right = 0;
  for (const Bug& bug : planted::bugs()) {
    const auto model = make(bug.model);
    const GradcheckReport report = check(*model, bug.name);
    INFO(bug.model, ", ", bug.name, ": ", report);
    CHECK(report.verdict == Verdict::fail);
    CHECK(report.reason.empty());
    if (report.failed == 0) continue;
    ++caught;
    const std::map<std::string, std::string> seen = found(report);
    const std::string& worst = report.blocks[report.entries.front().block].block.name;
    CHECK(std::ranges::any_of(bug.wrong, [&](const auto& w) { return w.first == worst; }));
    CHECK(seen.size() == bug.wrong.size());
    for (const auto& [block, expected] : bug.wrong) {
      REQUIRE(seen.contains(block));
      const bool ok = is_one_of(expected, seen.at(block)), name = !is_one_of(expected, "other");
      ++blocks;
      right += ok;
      named += name;
      named_right += ok && name;
      if (ok) continue;
      MESSAGE(bug.model, ", ", bug.name, ": ", block, " should be ", expected, " but is ",
              seen.at(block));
    }
  }
  MESSAGE(caught, " of ", planted::bugs().size(), " bugs found, in ", blocks,
          " blocks; class right in ", right, "; of ", named, " that have a class, ", named_right);
  CHECK(right == blocks);
}

}  // namespace

TEST_CASE("planted bugs: models without one pass all interfaces, every entry decided") {
  for (const planted::ModelCase& m : planted::models()) {
    for (const auto check : {through_arrays, through_functions, through_tape}) {
      const auto model = m.make();
      const GradcheckReport report = check(*model, "");
      INFO(m.name, ": ", report);
      CHECK(report);
      CHECK(report.inconclusive + report.kinks == 0);
    }
  }
}

TEST_CASE("planted bugs: each is found, in its blocks alone, and named") {
  find_all(through_arrays);
}

TEST_CASE("planted bugs: the same in the rule of an op on the tape") { find_all(through_tape); }

// What is wrong in some arrays is wrong in a part of x: most are called that.
TEST_CASE("planted bugs: each is found as a vector-Jacobian product") {
  std::map<std::string, int> classes;
  for (const Bug& bug : planted::bugs()) {
    const auto model = make(bug.model);
    const GradcheckReport report = through_functions(*model, bug.name);
    INFO(bug.model, ", ", bug.name, ": ", report);
    CHECK(report.verdict == Verdict::fail);
    CHECK(report.reason.empty());
    CHECK(report.failed > 0);
    for (const GradEntry& e : report.entries) {
      if (e.verdict != Verdict::fail || e.direction) continue;
      const std::string array = array_of(*model, e.index);
      CHECK(std::ranges::any_of(bug.wrong, [&](const auto& w) { return w.first == array; }));
    }
    for (const auto& wrong : found(report)) ++classes[wrong.second];
  }
  std::string called;
  for (const auto& [name, count] : classes) called += ", " + name + " " + std::to_string(count);
  MESSAGE("as a vector-Jacobian product they are called: ", called.substr(2));
}

// Noise has nothing in common with the right gradient: whatever has a name here is a false
// certainty.
TEST_CASE("planted bugs: noise in place of a gradient is called other") {
  std::size_t blocks = 0;
  for (const planted::ModelCase& m : planted::models()) {
    for (std::uint32_t seed = 0; seed < 4; ++seed) {
      const auto model = m.make();
      model->backward("");
      for (Array& a : model->arrays) {
        const planted::Vector right = a.gradient, noise = planted::noise(right.size(), seed, 0.1);
        for (std::size_t k = 0; k < noise.size(); ++k) {  // instead of it, added, as a factor
          a.gradient[k] = seed % 3 == 0   ? noise[k]
                          : seed % 3 == 1 ? right[k] + noise[k]
                                          : right[k] * noise[k];
        }
        ++blocks;
      }
      for (const auto& wrong : found(report_of(*model))) {
        INFO(m.name, ", ", wrong.first, ", seed ", seed);
        CHECK(wrong.second == "other");
        --blocks;
      }
    }
  }
  CHECK(blocks == 0);
}
