#include "tape_twin_check.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>

#include "../../core/fail-inl.h"
#include "../../core/write-inl.h"
#include "../inspect/graph.h"

namespace tapegrad {
namespace {

constexpr double epsilon = std::numeric_limits<float>::epsilon();

void check_pair(const NamedParameter& single, const NamedParameter& twin) {
  const auto refuse = [&](const std::string& how) {
    fail<UsageError>("twin_check",
                     "{} and its twin {} {}: they must agree; make the twin with to(model, "
                     "DType::float64) just before",
                     single.name, twin.name, how);
  };
  for (const auto& [p, wanted] : {std::pair(&single, DType::float32), {&twin, DType::float64}}) {
    if (p->value().dtype() == wanted) continue;
    fail<DtypeError>("twin_check", "{} is {}: the {} must be {}", p->name, p->value().dtype(),
                     wanted == DType::float32 ? "model" : "twin", wanted);
  }
  if (single.name != twin.name) refuse("have different names");
  if (single.value().shape() != twin.value().shape()) refuse("have different shapes");
  if (single.requires_grad() != twin.requires_grad()) refuse("are not both frozen");
  for (std::size_t i = 0; i < single.value().numel(); ++i) {
    if (single.value().at(i) != twin.value().at(i)) refuse("have different values");
  }
}

struct Pass {
  double loss = 0;
  std::vector<Tensor> gradients;
  std::size_t elements = 0;
};

Pass run(const std::function<Var(Tape&)>& f, const Parameters& parameters, std::uint64_t seed) {
  Tape tape = Tape::training({.seed = seed, .pass = 0});
  const Var loss = f(tape);
  Vars leaves;
  for (const NamedParameter& p : parameters) leaves.push_back(tape.leaf(p));
  Pass pass{loss.item(), {}, 0};
  for (const NodeView& node : nodes(tape)) {
    for (const Shape& shape : node.outputs) pass.elements += shape.numel();
  }
  for (const Var& g : tape.gradient(loss, leaves)) pass.gradients.push_back(g.value());
  return pass;
}

struct Difference {
  double most = 0, scale = 0;
  std::size_t entry = 0;
};

Difference between(const Tensor& a, const Tensor& exact) {
  Difference d;
  for (std::size_t i = 0; i < exact.numel(); ++i) {
    const double error = std::abs(a.at(i) - exact.at(i));
    if (!std::isnan(d.most) && !(error <= d.most)) d.most = error, d.entry = i;
    d.scale = std::max(d.scale, std::abs(exact.at(i)));
  }
  return d;
}

/// The twin's weights, rounded as float32 would round them, until it goes.
class Rounded {
 public:
  Rounded(const Parameters& parameters, std::uint64_t seed) : Rounded(parameters) {
    Rng rng(seed, "twin_check");
    for (const NamedParameter& p : parameters_) {  // may throw: what was rounded is put back
      Tensor value = p.value();
      double* const v = detail::write<double>(value);
      for (std::size_t i = 0; i < value.numel(); ++i) {
        v[i] *= 1 + rng.uniform(-epsilon / 2, epsilon / 2);
      }
    }
  }
  Rounded(const Rounded&) = delete;
  Rounded& operator=(const Rounded&) = delete;
  ~Rounded() {
    for (std::size_t i = 0; i < exact_.size(); ++i) {
      parameters_[i].set_value(exact_[i]);
    }
  }

 private:
  explicit Rounded(const Parameters& parameters) : parameters_(parameters) {
    for (const NamedParameter& p : parameters_) exact_.push_back(p.value().clone());
  }

  const Parameters& parameters_;
  std::vector<Tensor> exact_;
};

}  // namespace

TwinReport twin_check(const std::function<Var(Tape&)>& single, const Parameters& single_parameters,
                      const std::function<Var(Tape&)>& twin, const Parameters& twin_parameters,
                      const GradcheckOptions& options) {
  if (single_parameters.size() != twin_parameters.size()) {
    fail<UsageError>("twin_check",
                     "the model has {} Parameters but its twin has {}: they must agree; make the "
                     "twin with to(model, DType::float64)",
                     single_parameters.size(), twin_parameters.size());
  }
  for (std::size_t i = 0; i < single_parameters.size(); ++i) {
    check_pair(single_parameters[i], twin_parameters[i]);
  }
  const Parameters rough = detail::learned(single_parameters);
  const Parameters exact = detail::learned(twin_parameters);
  TwinReport report;
  report.formula = gradcheck(twin, exact, options);
  const Pass is = run(single, rough, options.seed), should = run(twin, exact, options.seed);
  report.operations = is.elements;
  const double growth = epsilon * (8 + std::sqrt(static_cast<double>(is.elements)));

  double loss_change = 0;
  std::vector<double> change(exact.size());
  for (std::uint64_t draw = 0; draw < 4; ++draw) {
    const Rounded rounded(exact, options.seed + draw);
    const Pass pass = run(twin, exact, options.seed);
    loss_change = std::max(loss_change, std::abs(pass.loss - should.loss));
    for (std::size_t i = 0; i < exact.size(); ++i) {
      change[i] = std::max(change[i], between(pass.gradients[i], should.gradients[i]).most);
    }
  }
  report.loss_error = std::abs(is.loss - should.loss);
  report.loss_bound = growth * std::abs(should.loss) + 8 * loss_change;
  double largest = 0;
  for (const Tensor& g : should.gradients) largest = std::max(largest, between(g, g).scale);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const Difference d = between(is.gradients[i], should.gradients[i]);
    const double bound = growth * std::sqrt(d.scale * largest) + 8 * change[i];
    report.blocks.push_back({exact[i].name, d.most, bound, d.scale, d.entry});
  }
  const auto ratio = [](const TwinBlock& b) {  // of error and bound, which may both be 0
    const double r = b.error == 0 ? 0 : b.error / b.bound;
    return std::isnan(r) ? std::numeric_limits<double>::infinity() : r;
  };
  std::ranges::stable_sort(report.blocks, std::greater<>{}, ratio);
  return report;
}

namespace {
bool within_bounds(const TwinReport& r) {
  return r.loss_error <= r.loss_bound &&
         std::ranges::all_of(r.blocks, [](const TwinBlock& b) { return b.error <= b.bound; });
}
}  // namespace

TwinReport::operator bool() const { return formula && within_bounds(*this); }

std::string TwinReport::text() const {
  std::string text = fmt::format(
      "twin_check: {}; {} elements on the tape\n  loss: float32 differs by {:.1e} (bound {:.1e})",
      to_string(within_bounds(*this) ? formula.verdict : Verdict::fail), operations, loss_error,
      loss_bound);
  for (const TwinBlock& b : blocks) {
    if (&b != &blocks.front() && b.error <= b.bound) continue;
    text +=
        fmt::format("\n  {}: float32 differs by {:.1e} (bound {:.1e}) in entry {}, scale {:.1e}",
                    b.name, b.error, b.bound, b.entry, b.scale);
  }
  return text + "\n  float64 " + formula.text();
}

std::ostream& operator<<(std::ostream& out, const TwinReport& report) {
  return out << report.text();
}

}  // namespace tapegrad
