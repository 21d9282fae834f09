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

/// Results of a call alone: values, and gradients for its inputs, undefined where none arrives.
struct Sample {
  std::vector<Tensor> y, dx;
};

/// A call with what it had in the program.
struct Judged {
  const Item& item;
  const Run& run;
  std::vector<Tensor> dy = {};       // for each output, undefined where the loss does not see it
  DType dtype = DType::float64;      // the narrowest one in the call
  Range arguments = {}, all = {};    // `all`: results and gradients too
  double product = 1, elements = 1;  // of the largest magnitudes; of the largest argument

  bool is(Nature nature) const { return item.op->nature == nature; }
  bool fused() const { return static_cast<bool>(item.call.twin); }
  /// What an underflow loses.
  double lost() const {
    return is(Nature::flushes) ? limits(dtype).smallest : limits(dtype).subnormal;
  }
  void add(const Tensor& t) {
    all.add(t);
    if (t.dtype() == DType::float32) dtype = DType::float32;
  }
  void add_factor(const Tensor& t) {
    Range one;
    one.add(t);
    product *= one.largest;
    all.add(t);
  }
};

/// How a call is executed alone.
struct How {
  Rng* noise = nullptr;    // that moves arguments, gradients and results by roundings; null: none
  bool flush = false;      // subnormal arguments are 0
  bool in_float64 = true;  // else as it was
  bool second_order = false;  // gradients of the gradients, for the inputs and then for dy
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

/// The arguments of a call on a tape of their own; what was recorded is a leaf.
Arguments arguments_of(const Judged& j, const How& how, Tape& tape,
                       std::vector<std::shared_ptr<Parameter>>& owners) {
  const Call& call = j.item.call;
  Arguments arguments{tape, {}, {}};
  for (std::size_t i = 0; i < call.inputs.size(); ++i) {
    const std::size_t place = call.inputs[i];
    std::shared_ptr<Parameter> owner;
    Var x;
    if (place != absent) {
      const Var& original = j.run.places[place];
      Rng* const noise = j.is(Nature::exact) ? nullptr : how.noise;  // it would decide ties
      const Tensor value = how.in_float64 ? moved(original.value(), limits(j.dtype).epsilon, noise,
                                                  how.flush, i == call.bounded)
                                          : original.value();
      if (j.run.parameters[place] != nullptr) {
        owner = std::make_shared<Parameter>(value.clone());
        owner->set_requires_grad(original.recorded());
        x = tape.leaf(*owner);
      } else {
        x = original.recorded() ? tape.leaf(value) : Var(value);
      }
    }
    arguments.x.push_back(x);
    arguments.parameters.push_back(owner.get());
    owners.push_back(owner);
  }
  return arguments;
}

Var added(const Var& total, const Var& part) { return total.defined() ? total + part : part; }

Sample sample(const Judged& j, const How& how) {
  const double epsilon = limits(j.dtype).epsilon;
  const auto results = [&](const Tensor& t, Rng* noise) {
    return how.in_float64 ? moved(t, epsilon, noise, false) : t;
  };
  Run local;
  Tape& tape = local.tape;
  if (j.item.call.sites > 0) {
    for (std::size_t k = 0; k < j.item.sites_before; ++k) (void)tape.random_key();
  }
  std::vector<std::shared_ptr<Parameter>> owners;
  const Arguments arguments = arguments_of(j, how, tape, owners);
  const Vars y = (how.in_float64 && j.fused() ? j.item.call.twin : j.item.call.run)(arguments);
  Sample result;
  Vars leaves, seeds;
  Var total;
  for (std::size_t k = 0; k < j.item.outputs; ++k) {
    result.y.push_back(results(y[k].value(), j.is(Nature::exact) ? nullptr : how.noise));
    if (!j.dy[k].defined() || !y[k].recorded()) continue;
    const Tensor dy = how.in_float64 ? moved(j.dy[k], epsilon, how.noise, how.flush) : j.dy[k];
    const Var seed = how.second_order ? tape.leaf(dy) : Var(dy);
    seeds.push_back(seed);
    total = added(total, sum(y[k] * seed));
  }
  std::vector<std::size_t> arrived(arguments.x.size());
  for (std::size_t i = 0; i < arguments.x.size(); ++i) {
    if (!arguments.x[i].recorded()) continue;
    leaves.push_back(arguments.x[i]);
    hook(arguments.x[i], [&count = arrived[i]](const Var&) { return ++count, Var(); });
  }
  if (!total.defined() || leaves.empty()) return result;
  Vars dx = tape.gradient(total, leaves, {.create_graph = how.second_order});
  if (how.second_order) {
    Rng rng(1, "weights of gradients");
    Var weighted;
    for (const Var& d : dx) {
      const Tensor weights = rng.normal(d.shape(), 0, 1, DType::float32).to(d.dtype());
      if (d.recorded()) weighted = added(weighted, sum(d * Var(weights)));
    }
    if (!weighted.defined()) return result;
    leaves.insert(leaves.end(), seeds.begin(), seeds.end());
    for (const Var& d : tape.gradient(weighted, leaves)) {
      result.dx.push_back(results(d.value(), how.noise));
    }
    return result;
  }
  for (std::size_t i = 0, next = 0; i < arguments.x.size(); ++i) {
    const Tensor d = arguments.x[i].recorded() ? dx[next++].value() : Tensor();
    result.dx.push_back(arrived[i] > 0 ? results(d, how.noise) : Tensor());
  }
  return result;
}

/// Samples in float64, of which the first is without noise. Noise may push an argument out of its range:
/// then there is one less.
std::vector<Sample> samples_of(const Judged& j, std::size_t noisy, bool second_order) {
  std::vector<Sample> samples;
  const bool flushes = j.is(Nature::flushes);
  const auto take = [&](const How& how) {
    try {
      samples.push_back(sample(j, how));
    } catch (const Error& e) {
      if (samples.empty()) throw Fault{"an error in float64 alone", j.item.op->name, e.what()};
    }
  };
  take({.second_order = second_order});
  if (flushes) take({.flush = true, .second_order = second_order});
  Rng rng(j.item.first, "noise");
  for (std::size_t k = 0; k < noisy; ++k) {
    take({.noise = &rng, .flush = flushes && k % 2 == 1, .second_order = second_order});
  }
  return samples;
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

void check_values(const Judged& j, const std::vector<Sample>& samples) {
  const Limits l = limits(j.dtype);
  const double extent = j.product * j.elements;
  for (std::size_t k = 0; k < j.item.outputs; ++k) {
    const Tensor& y = j.run.places[j.item.first + k].value();
    if (y.dtype() == DType::int32) continue;
    Expected e(y.numel());
    e.add(samples, [k](const Sample& s) -> const Tensor& { return s.y[k]; });
    if (!j.is(Nature::exact)) e.slack = 4 * j.lost() * extent;
    if (j.fused()) e.allow(samples.front().y[k], l.epsilon);
    e.any = extent >= l.largest && j.is(Nature::flushes);
    e.unknown = extent >= l.largest && j.fused() && j.dtype == DType::float64;
    e.overflows = extent >= l.largest ||
                  (!j.item.call.pointwise && extent * j.all.largest / j.all.smallest >= l.largest);
    e.nan_or_inf = !j.item.call.pointwise && !j.all.finite;
    e.other_formula = j.fused() && !j.all.finite;
    compare("value", j.item.op->name, y, e);
  }
}

/// Adds what a call makes of its gradients to what input i should receive.
void add_gradient(const Judged& j, const std::vector<Sample>& samples, std::size_t i, Expected& e) {
  const Limits l = limits(j.dtype);
  const double extent = j.product * j.all.largest * j.elements;
  const double with_quotients = extent / j.all.smallest / j.all.smallest;
  e.add(samples, [i](const Sample& s) -> const Tensor& { return s.dx[i]; });
  e.slack += 4 * j.lost() * extent / j.all.smallest;
  if (j.fused()) {
    e.allow(samples.front().dx[i], l.epsilon);
    for (const Tensor& dy : j.dy) {
      if (dy.defined()) e.allow(dy, l.epsilon);
    }
  }
  e.any = e.any || (extent >= l.largest && j.is(Nature::flushes));
  e.unknown = e.unknown || (with_quotients >= l.largest && j.fused() && j.dtype == DType::float64);
  e.overflows = e.overflows || with_quotients >= l.largest;
  e.nan_or_inf = e.nan_or_inf || (!j.item.call.pointwise && !j.all.finite);
  e.other_formula = e.other_formula || (j.fused() && !j.all.finite);
}

/// Gradients of gradients, of ordinary numbers: elsewhere they overflow on the way.
void check_second_order(const Judged& j, std::size_t noisy) {
  if (!j.all.finite || j.all.largest > 1e3 || j.all.smallest < 1e-6) return;
  const Sample got = sample(j, {.in_float64 = false, .second_order = true});
  const auto samples = samples_of(j, noisy, true);
  for (std::size_t i = 0; i < got.dx.size(); ++i) {
    Expected e(got.dx[i].numel());
    e.add(samples, [i](const Sample& s) -> const Tensor& { return s.dx[i]; });
    for (const Tensor& d : samples.front().dx) e.allow(d, 8 * limits(j.dtype).epsilon);
    for (const Tensor& dy : j.dy) {
      if (dy.defined() && j.fused()) e.allow(dy, 8 * limits(j.dtype).epsilon);
    }
    e.slack += 1e12 * j.lost();
    compare("gradient of the gradient", j.item.op->name, got.dx[i], e);
  }
}

void judge(const Program& program, const Run& run, const Gradients& gradients, std::size_t noisy) {
  std::vector<std::optional<Expected>> totals(program.places);
  const auto total = [&](std::size_t place) -> Expected& {
    if (!totals[place]) totals[place].emplace(run.places[place].value().numel());
    return *totals[place];
  };
  if (program.loss != absent) total(program.loss).value = total(program.loss).size = {1};
  for (std::size_t n = program.items.size(); n-- > 0;) {
    const Item& item = program.items[n];
    if (item.op == nullptr || item.outputs == 0) continue;
    if (item.call.sites > 0 && item.sites_before == absent) return;
    Judged j{item, run};
    for (const std::size_t place : item.call.inputs) {
      if (place == absent) continue;
      const Tensor& x = run.places[place].value();
      j.add(x);
      j.add_factor(x);
      j.elements = std::max(j.elements, static_cast<double>(x.numel()));
    }
    j.arguments = j.all;
    for (std::size_t place = item.first; place < item.first + item.outputs; ++place) {
      j.add(run.places[place].value());
      j.dy.push_back(totals[place] ? gradients[place] : Tensor());
    }
    const bool overflowed = j.arguments.finite && !j.all.finite;
    const auto samples = samples_of(j, noisy, false);
    check_values(j, samples);
    check_pointwise(item, run);
    for (const Tensor& dy : j.dy) j.add_factor(dy);
    for (std::size_t i = 0; i < samples.front().dx.size(); ++i) {
      if (!samples.front().dx[i].defined()) continue;
      add_gradient(j, samples, i, total(item.call.inputs[i]));
      total(item.call.inputs[i]).overflows |= overflowed;
    }
    check_second_order(j, noisy);
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
