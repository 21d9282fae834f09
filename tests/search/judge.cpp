#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "program.h"

// Every call is judged alone: on the very arguments and gradients that it had in the program, in
// float64 (by its composed twin, if it has one). So errors do not add up from call to call, and
// nothing behind a NaN is out of sight. What a correct call may be off by is measured: the spread of
// its results when arguments, gradients and results are moved by roundings of its dtype.

namespace tapegrad::search {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double times_spread = 16, roundings = 8;

struct Limits {
  double epsilon, largest, smallest, subnormal;
};
Limits limits(DType dtype) {
  const auto of = [](auto x) {
    using L = std::numeric_limits<decltype(x)>;
    return Limits{L::epsilon() / 2, L::max(), L::min(), L::denorm_min()};
  };
  return dtype == DType::float64 ? of(double{}) : of(float{});
}

/// The largest and the smallest finite magnitude above 0, at least (at most) 1.
struct Range {
  double largest = 1, smallest = 1;
  bool finite = true;
  void add(const Tensor& t) {
    for (std::size_t i = 0; t.defined() && i < t.numel(); ++i) {
      const double x = std::abs(t.at(i));
      finite = finite && std::isfinite(x);
      if (!std::isfinite(x) || x == 0) continue;
      largest = std::max(largest, x);
      smallest = std::min(smallest, x);
    }
  }
};

/// Results of a call in float64: values, and gradients for its inputs.
struct Sample {
  std::vector<Tensor> y, dx;  // dx: undefined where no gradient arrives
};

struct Judged {
  const Item& item;
  const Run& run;
  std::vector<Tensor> dy;  // for each output, undefined where the loss does not see it
  DType dtype;             // the narrowest one in the call
};

/// Moves each element by about a rounding, or, if it is `bounded`, towards 0; subnormal ones become 0 if
/// `flush`.
Tensor moved(const Tensor& t, double epsilon, Rng* noise, bool flush, bool bounded = false) {
  if (!t.defined() || t.dtype() == DType::int32) return t;
  Tensor result = t.dtype() == DType::float64 ? t.clone() : t.to(DType::float64);
  for (double& x : result.mutable_values<double>()) {
    if (noise != nullptr) {
      const double move = epsilon * noise->normal();
      x *= 1 + (bounded ? -std::abs(move) : move);
    }
    if (flush && std::abs(x) < limits(t.dtype()).smallest) x = 0;
  }
  return result;
}

Sample sample(const Judged& j, Rng* noise, bool flush) {
  const Call& call = j.item.call;
  const double epsilon = limits(j.dtype).epsilon;
  Run local;
  for (std::size_t k = 0; call.sites > 0 && k < j.item.sites_before; ++k)
    (void)local.tape.random_key();
  Arguments arguments{local.tape, {}, {}};
  std::vector<std::shared_ptr<Parameter>> owners;
  for (std::size_t i = 0; i < call.inputs.size(); ++i) {
    const std::size_t place = call.inputs[i];
    owners.push_back(nullptr);
    if (place == absent) {
      arguments.x.push_back(Var());
      arguments.parameters.push_back(nullptr);
      continue;
    }
    const Var& x = j.run.places[place];
    const bool still = j.item.op->nature == Nature::exact;
    Tensor value = moved(x.value(), epsilon, still ? nullptr : noise, flush, i == call.bounded);
    if (j.run.parameters[place] != nullptr) {
      owners.back() = std::make_shared<Parameter>(value);
      owners.back()->set_requires_grad(x.recorded());
      arguments.x.push_back(local.tape.leaf(*owners.back()));
    } else {
      arguments.x.push_back(x.recorded() ? local.tape.leaf(value) : Var(value));
    }
    arguments.parameters.push_back(owners.back().get());
  }
  const Vars y = (call.twin ? call.twin : call.run)(arguments);
  Sample result;
  Var total;
  for (std::size_t k = 0; k < j.item.outputs; ++k) {
    result.y.push_back(
        moved(y[k].value(), epsilon, j.item.op->nature == Nature::exact ? nullptr : noise, false));
    if (!j.dy[k].defined() || !y[k].recorded()) continue;
    const Var part = sum(y[k] * Var(moved(j.dy[k], epsilon, noise, flush)));
    total = total.defined() ? total + part : part;
  }
  Vars leaves;
  std::vector<std::size_t> arrived(arguments.x.size());
  for (std::size_t i = 0; i < arguments.x.size(); ++i) {
    if (!arguments.x[i].recorded()) continue;
    leaves.push_back(arguments.x[i]);
    hook(arguments.x[i], [&count = arrived[i]](const Var&) { return ++count, Var(); });
  }
  Vars dx;
  if (total.defined() && !leaves.empty()) dx = local.tape.gradient(total, leaves);
  for (std::size_t i = 0, next = 0; i < arguments.x.size(); ++i) {
    Tensor d = arguments.x[i].recorded() && !dx.empty() ? dx[next++].value() : Tensor();
    result.dx.push_back(arrived[i] > 0 ? moved(d, epsilon, noise, false) : Tensor());
  }
  return result;
}

/// What an element should be, and how far it may be from that.
struct Expected {
  std::vector<double> value, spread, size;
  std::vector<bool> loose;     // roundings decide between numbers, infinities and NaN
  double slack = 0;            // what underflows
  bool overflows = false;      // intermediate products may
  bool nan_or_inf = false;     // the order of a sum decides between both
  bool other_formula = false;  // infinities and NaN are not those of the twin
  bool unknown = false;        // the twin itself overflows
  bool any = false;            // sums of products overflow, to either sign

  explicit Expected(std::size_t n) : value(n), spread(n), size(n), loose(n) {}
  /// Allows a rounding of the largest element: inside there are sums that may cancel.
  void allow(const Tensor& t, double epsilon) {
    for (std::size_t i = 0; i < t.numel(); ++i) {
      if (std::isfinite(t.at(i))) slack = std::max(slack, roundings * epsilon * std::abs(t.at(i)));
    }
  }
  /// Adds a part and its noisy versions.
  void add(const std::vector<Sample>& samples, auto part) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      const double v = part(samples.front()).at(i);
      double largest = 0;
      for (const Sample& s : samples) {
        const double other = part(s).at(i);
        if (std::isfinite(v) && std::isfinite(other))
          largest = std::max(largest, std::abs(other - v));
        else if (!(other == v) && !(std::isnan(v) && std::isnan(other)))
          loose[i] = true;
      }
      value[i] += v;
      spread[i] += largest;
      if (std::isfinite(v)) size[i] += std::abs(v);
    }
  }
};

/// Says what is wrong with element i, or nothing.
bool near(double got, const Expected& e, std::size_t i, const Limits& l) {
  if (e.any || e.loose[i]) return true;
  const double want = e.value[i];
  if (std::isnan(want)) return std::isnan(got) || (e.nan_or_inf && std::isinf(got)) || e.unknown;
  const double tolerance = times_spread * e.spread[i] + roundings * l.epsilon * e.size[i] + e.slack;
  if (!std::isfinite(got)) {
    if (got == want || e.overflows || e.other_formula || tolerance == inf) return true;
    if (std::isnan(got))
      return e.size[i] >= l.largest / 2 && std::isfinite(want) && e.size[i] > std::abs(want);
    return std::signbit(got) == std::signbit(want) && std::abs(want) + tolerance >= l.largest;
  }
  return std::abs(got - want) <= tolerance;
}

void compare(const char* check, const std::string& op, const Tensor& got,
             const Expected& expected) {
  for (std::size_t i = 0; i < got.numel(); ++i) {
    if (near(got.at(i), expected, i, limits(got.dtype()))) continue;
    throw Fault{check, op,
                fmt::format("element {} of {} {}: {:.9g}, in float64 {:.17g}, spread {:.2g}", i,
                            to_string(got.dtype()), to_string(got.shape()), got.at(i),
                            expected.value[i], expected.spread[i])};
  }
}

template <class T>
long double rounded(long double v) {
  return static_cast<T>(v);
}

/// Values and slopes of a function of single elements in long double, arguments of equal shapes.
void check_pointwise(const Item& item, const Run& run) {
  if (!item.call.pointwise || item.outputs != 1) return;
  std::vector<Tensor> x;
  for (const std::size_t place : item.call.inputs) {
    if (place == absent) return;
    x.push_back(run.places[place].value());
    if (x.back().shape() != x.front().shape()) return;
  }
  for (const bool create_graph : {false, true}) {
    Tape tape;
    Vars leaves;
    for (const Tensor& t : x) leaves.push_back(tape.leaf(t));
    const Var y = item.call.run({tape, leaves, {}}).front();
    const Vars dx = tape.gradient(y, leaves, {.create_graph = create_graph},
                                  Var(Tensor::full(y.shape(), 1, y.dtype())));
    for (std::size_t i = 0; i < x[0].numel(); ++i) {
      const double a = x.front().at(i), b = x.back().at(i);
      const std::array results = {
          item.call.pointwise(a, b, [](long double v) { return v; }),
          item.call.pointwise(a, b,
                              y.dtype() == DType::float32 ? rounded<float> : rounded<double>)};
      for (std::size_t k = 0; k <= x.size(); ++k) {
        const Tensor& got = k == 0 ? y.value() : dx[k - 1].value();
        const auto agrees = [&](const std::array<long double, 3>& result) {
          Expected e(1);
          e.value[0] = static_cast<double>(result[k]);
          e.size[0] = 2 * std::abs(e.value[0]);
          e.slack = 4 * limits(got.dtype()).subnormal;
          return near(got.at(i), e, 0, limits(got.dtype()));
        };
        if (std::ranges::any_of(results, agrees)) continue;
        throw Fault{
            k == 0 ? "value" : "slope", item.op->name,
            fmt::format("at {:.9g}, {:.9g} in {}: {:.9g}, in long double {:.17g}", a, b,
                        to_string(got.dtype()), got.at(i), static_cast<double>(results[0][k]))};
      }
    }
  }
}

void judge(const Program& program, const Run& run, const Gradients& gradients,
           std::size_t samples) {
  std::vector<std::optional<Expected>> totals(program.places);
  const auto total = [&](std::size_t place) -> Expected& {
    if (!totals[place]) totals[place].emplace(run.places[place].value().numel());
    return *totals[place];
  };
  if (program.loss != absent) total(program.loss).value = total(program.loss).size = {1};
  for (std::size_t n = program.items.size(); n-- > 0;) {
    const Item& item = program.items[n];
    if (item.op == nullptr || item.outputs == 0 || !item.error.empty()) continue;
    if (item.call.sites > 0 && item.sites_before == absent) return;
    Judged j{item, run, {}, DType::float64};
    Range range, inputs;
    const auto see = [&](const Tensor& t) {
      range.add(t);
      if (t.dtype() == DType::float32) j.dtype = DType::float32;
    };
    double product = 1;
    std::size_t elements = 1;
    for (const std::size_t place : item.call.inputs) {
      if (place == absent) continue;
      Range one;
      one.add(run.places[place].value());
      product *= one.largest;
      elements = std::max(elements, run.places[place].value().numel());
      see(run.places[place].value());
    }
    inputs = range;
    bool reached = false;
    for (std::size_t k = 0; k < item.outputs; ++k) {
      const std::size_t place = item.first + k;
      see(run.places[place].value());
      j.dy.push_back(totals[place] && gradients[place].defined() ? gradients[place] : Tensor());
      reached = reached || j.dy.back().defined();
    }
    const Limits l = limits(j.dtype);
    const double lost = item.op->nature == Nature::flushes ? l.smallest : l.subnormal;
    std::vector<Sample> all;
    const auto try_sample = [&](Rng* noise, bool flush) {
      try {
        all.push_back(sample(j, noise, flush));
      } catch (const Error& e) {
        if (noise == nullptr && !flush)
          throw Fault{"an error in float64 alone", item.op->name, e.what()};
      }
    };
    try_sample(nullptr, false);
    if (item.op->nature == Nature::flushes) try_sample(nullptr, true);
    Rng noise(n, "noise");
    for (std::size_t k = 0; k < samples; ++k)
      try_sample(&noise, k % 2 == 1 && item.op->nature == Nature::flushes);
    const bool huge = product * static_cast<double>(elements) >= l.largest;
    for (std::size_t k = 0; k < item.outputs; ++k) {
      const Tensor& y = run.places[item.first + k].value();
      if (y.dtype() == DType::int32) continue;
      Expected e(y.numel());
      e.add(all, [k](const Sample& s) -> const Tensor& { return s.y[k]; });
      if (item.op->nature != Nature::exact)
        e.slack = 4 * lost * product * static_cast<double>(elements);
      if (item.call.twin) e.allow(all.front().y[k], l.epsilon);
      e.overflows =
          huge ||
          (!item.call.pointwise &&
           product * range.largest * static_cast<double>(elements) / range.smallest >= l.largest);
      e.any = huge && item.op->nature == Nature::flushes;
      e.unknown = huge && item.call.twin && j.dtype == DType::float64;
      e.nan_or_inf = !item.call.pointwise && !range.finite;
      e.other_formula = item.call.twin && !range.finite;
      compare("value", item.op->name, y, e);
    }
    check_pointwise(item, run);
    if (!reached) continue;
    const bool overflowed = inputs.finite && !range.finite;
    for (const Tensor& dy : j.dy) {
      Range one;
      one.add(dy);
      product *= one.largest;
      range.add(dy);
    }
    for (std::size_t i = 0; i < item.call.inputs.size(); ++i) {
      const std::size_t place = item.call.inputs[i];
      if (place == absent || !all.front().dx[i].defined()) continue;
      Expected& e = total(place);
      e.add(all, [i](const Sample& s) -> const Tensor& { return s.dx[i]; });
      e.slack +=
          4 * lost * product * range.largest * static_cast<double>(elements) / range.smallest;
      const double extent =
          product * range.largest * static_cast<double>(elements) / range.smallest / range.smallest;
      for (std::size_t k = 0; item.call.twin && k < item.outputs; ++k) {
        e.allow(all.front().dx[i], l.epsilon);
        if (j.dy[k].defined()) e.allow(j.dy[k], l.epsilon);
      }
      e.overflows = e.overflows || extent >= l.largest || overflowed;
      e.any = e.any || (item.op->nature == Nature::flushes &&
                        product * range.largest * static_cast<double>(elements) >= l.largest);
      e.unknown = e.unknown || (item.call.twin && j.dtype == DType::float64 && extent >= l.largest);
      e.nan_or_inf = e.nan_or_inf || (!item.call.pointwise && !range.finite);
      e.other_formula = e.other_formula || (item.call.twin && !range.finite);
    }
  }
  for (std::size_t place = 0; place < program.places; ++place) {
    if (!gradients[place].defined()) continue;
    const Expected zeros(gradients[place].numel());
    compare("gradient", fmt::format("value {}", place), gradients[place],
            totals[place] ? *totals[place] : zeros);
  }
}

}  // namespace

void judge(const Program& program, const Run& run, const Gradients& gradients) {
  try {
    judge(program, run, gradients, 2);
  } catch (const Fault&) {
    judge(program, run, gradients, 50);  // two samples may have been close by chance
  }
}

}  // namespace tapegrad::search
