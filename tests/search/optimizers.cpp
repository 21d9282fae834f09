#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../../core/error.h"
#include "../../core/threads.h"
#include "../../optim/adam.h"
#include "../../optim/clip.h"
#include "../../optim/sgd.h"
#include "program.h"

// Lives of optimizers: random options, gradients, steps, clipping, freezing, rates. What a step makes of
// the numbers before it is compared with the formula in long double, element by element; promises to the
// bit are compared with other lives of the same.

namespace tapegrad::search {
namespace {

using Long = long double;

struct Options {
  bool adam;
  SGDOptions sgd;
  AdamOptions of_adam;
};

/// Parameters and their optimizer.
struct Life {
  std::vector<std::unique_ptr<Parameter>> parameters;
  std::unique_ptr<Optimizer> optimizer;
  std::vector<std::size_t> places;  // of each Parameter in the optimizer's list

  std::vector<Tensor> slots(std::size_t i) const {
    if (const auto* adam = dynamic_cast<const Adam*>(optimizer.get())) {
      return {adam->state(places[i]).m, adam->state(places[i]).v};
    }
    return {dynamic_cast<const SGD&>(*optimizer).velocity(places[i])};
  }
  /// Every tensor: values, gradients, what is remembered.
  std::vector<Tensor> tensors() const {
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Parameter& p = *parameters[i];
      all.push_back(p.value().clone());
      all.push_back(p.grad().defined() ? p.grad().clone() : Tensor());
      for (const Tensor& slot : slots(i)) all.push_back(slot.defined() ? slot.clone() : Tensor());
    }
    return all;
  }
};

void require_same(const std::string& check, const std::vector<Tensor>& a,
                  const std::vector<Tensor>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (same(a[i], b[i])) continue;
    throw Fault{
        check, "optimizer",
        fmt::format("tensor {}: {} is not {}", i, a[i].defined() ? to_string(a[i]) : "undefined",
                    b[i].defined() ? to_string(b[i]) : "undefined")};
  }
}

/// Does f; what it throws must be typed and leave everything as it was. Returns its message.
template <class F>
std::string tried(const Life& life, F&& f) {
  const auto before = life.tensors();
  try {
    f();
    return "";
  } catch (const Error& e) {
    if (!is_message(e.what())) throw Fault{"message", "optimizer", e.what()};
    require_same("a refused call changed something", life.tensors(), before);
    return e.what();
  } catch (const std::exception& e) {
    throw Fault{"untyped error", "optimizer", e.what()};
  }
}

double number(Rng& rng, double low, double high) {
  constexpr std::array extremes = {
      0.0, 1e-45, 1e-30, 1e-10, 0.5,   0.9,  0.999999,         1 - 1e-12,  1.0,
      2.0, 1e10,  1e38,  1e39,  1e300, -1.0, double{INFINITY}, double{NAN}};
  return rng.below(5) == 0 ? extremes[rng.below(extremes.size())] : rng.uniform(low, high);
}

Options draw_options(Rng& rng, bool adam) {
  const bool momentum = rng.below(2) == 0, dampening = momentum && rng.below(3) == 0;
  return {adam,
          {.lr = number(rng, 0, 0.1),
           .momentum = momentum ? number(rng, 0.1, 0.99) : 0,
           .dampening = dampening ? number(rng, 0, 0.9) : 0,
           .nesterov = momentum && !dampening && rng.below(2) == 0,
           .weight_decay = rng.below(2) == 0 ? number(rng, 0, 0.1) : 0},
          {.lr = number(rng, 0, 0.1),
           .beta1 = number(rng, 0, 0.99),
           .beta2 = number(rng, 0.5, 0.9999),
           .epsilon = number(rng, 1e-10, 1e-3),
           .weight_decay = rng.below(2) == 0 ? number(rng, 0, 0.1) : 0,
           .epsilon_form = rng.below(2) == 0 ? AdamEpsilon::hat : AdamEpsilon::after_correction}};
}

/// A life with these Parameters, in one group, or in two of which the first has `cut` of them.
Life make(const std::vector<Tensor>& values, const std::vector<Options>& options, std::size_t cut,
          bool backwards) {
  Life life;
  for (const Tensor& value : values)
    life.parameters.push_back(std::make_unique<Parameter>(value.clone()));
  std::vector<Parameters> groups(options.size());
  life.places.resize(values.size());
  std::size_t place = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::size_t begin = g == 0 ? 0 : cut, end = g + 1 == groups.size() ? values.size() : cut;
    for (std::size_t k = begin; k < end; ++k) {
      const std::size_t i = backwards ? end - 1 - (k - begin) : k;
      groups[g].push_back({fmt::format("p{}", i), *life.parameters[i]});
      life.places[i] = place++;
    }
  }
  std::vector<Adam::Group> adam;
  std::vector<SGD::Group> sgd;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    adam.push_back({groups[g], options[g].of_adam});
    sgd.push_back({groups[g], options[g].sgd});
  }
  if (options[0].adam) {
    life.optimizer = std::make_unique<Adam>(adam);
  } else {
    life.optimizer = std::make_unique<SGD>(sgd);
  }
  return life;
}

/// A number and the sum of the magnitudes it was made of, for its error.
struct Sum {
  Long value = 0, size = 0;
};
Sum operator+(Sum a, Sum b) { return {a.value + b.value, a.size + b.size}; }
Sum operator*(Long f, Sum a) { return {f * a.value, std::abs(f) * a.size}; }
Sum number_of(Long x) { return {x, std::abs(x)}; }

template <class T>
struct Arithmetic {
  static constexpr Long largest = std::numeric_limits<T>::max();
  static constexpr Long smallest = std::numeric_limits<T>::min();
  /// As the kernel sees an option, or an element: subnormal numbers are 0.
  static Long seen(double x) {
    const T t = static_cast<T>(x);
    return std::abs(t) < std::numeric_limits<T>::min() ? 0 : static_cast<Long>(t);
  }
  static bool near(double got, Sum want, Long scale) {
    if (std::isnan(want.value)) return std::isnan(got) || !std::isfinite(want.size);
    if (!std::isfinite(got)) {
      return static_cast<Long>(got) == want.value || !(want.size * scale < largest / 4);
    }
    const Long tolerance =
        16 * std::numeric_limits<T>::epsilon() * want.size + 16 * smallest * scale;
    return std::isinf(want.size) ? std::isinf(got)
                                 : std::abs(static_cast<Long>(got) - want.value) <= tolerance;
  }
};

struct Before {
  Tensor value, grad;
  std::vector<Tensor> slots;
  std::uint64_t steps;
  double lr;
};

void require_near(bool near, const char* what, double got, Sum want) {
  if (near) return;
  throw Fault{"step", what,
              fmt::format("{:.9g}, in long double {:.17g}", got, static_cast<double>(want.value))};
}

template <class T>
void check_sgd(const SGDOptions& o, const Before& b, const Life& life, std::size_t i, Long clip) {
  using A = Arithmetic<T>;
  const Long lr = A::seen(b.lr), momentum = A::seen(o.momentum), decay = A::seen(o.weight_decay);
  const Long undamped = b.steps == 0 ? 1 : A::seen(1 - o.dampening);
  for (std::size_t k = 0; k < b.value.numel(); ++k) {
    const Sum p = number_of(A::seen(b.value.at(k)));
    const Sum g = clip * number_of(A::seen(b.grad.at(k))) + decay * p;
    if (g.size >= A::largest / 4 && std::isfinite(g.size)) continue;  // may overflow
    Sum step = g;
    const Long scale = 1 + decay + lr + 1 / std::max<Long>(clip, A::smallest);
    if (o.momentum > 0) {
      const Tensor v = life.slots(i)[0];
      const Long old = b.slots[0].defined() ? A::seen(b.slots[0].at(k)) : 0;
      const Sum now = momentum * number_of(old) + undamped * g;
      require_near(A::near(v.at(k), now, scale), "velocity", v.at(k), now);
      step = o.nesterov ? g + momentum * number_of(v.at(k)) : number_of(v.at(k));
    }
    if (step.size >= A::largest / 4 && std::isfinite(step.size))
      continue;  // may overflow on the way
    const Sum want = p + -lr * step;
    const double got = life.parameters[i]->value().at(k);
    require_near(A::near(got, want, scale), "SGD", got, want);
  }
}

template <class T>
void check_adam(const AdamOptions& o, const Before& b, const Life& life, std::size_t i, Long clip) {
  using A = Arithmetic<T>;
  const Long beta1 = A::seen(o.beta1), rest1 = A::seen(1 - o.beta1), beta2 = A::seen(o.beta2);
  const Long rest2 = A::seen(1 - o.beta2), decay = A::seen(o.weight_decay),
             epsilon = A::seen(o.epsilon);
  const Long cut = std::sqrt(A::largest), t = static_cast<Long>(b.steps + 1);
  const Long correction1 = 1 - std::pow(Long{o.beta1}, t);
  const Long correction2 = std::sqrt(1 - std::pow(Long{o.beta2}, t));
  const auto slots = life.slots(i);
  for (std::size_t k = 0; k < b.value.numel(); ++k) {
    const Sum p = number_of(A::seen(b.value.at(k)));
    Sum g = clip * number_of(A::seen(b.grad.at(k))) + decay * p;
    if (g.size >= A::largest / 4 && std::isfinite(g.size)) continue;
    if (std::isfinite(g.value) && std::abs(g.value) > cut)
      g = number_of(std::copysign(cut, g.value));
    const auto old = [&](std::size_t s) {
      return b.slots[s].defined() ? A::seen(b.slots[s].at(k)) : 0;
    };
    const Long scale = 1 + decay + std::abs(g.value) + 1 / std::max<Long>(clip, A::smallest);
    const Sum m = beta1 * number_of(old(0)) + rest1 * g;
    require_near(A::near(slots[0].at(k), m, scale), "m", slots[0].at(k), m);
    const Sum v = beta2 * number_of(old(1)) + rest2 * Sum{g.value * g.value, g.size * g.size};
    require_near(A::near(slots[1].at(k), v, scale), "v", slots[1].at(k), v);
    const Long root = std::sqrt(Long{slots[1].at(k)}), m_now = slots[0].at(k);
    // The rate and its product, as the kernel has them.
    if (b.lr / correction1 * std::max(Long{1}, std::abs(m_now)) >= A::largest) continue;
    const Long step = o.epsilon_form == AdamEpsilon::hat
                          ? b.lr * correction2 / correction1 * m_now / (root + epsilon)
                          : b.lr / correction1 * m_now / (root / correction2 + epsilon);
    // 1 - beta^t has lost digits where beta is near 1.
    Sum want = p + number_of(-step);
    want.size += std::abs(step) * (1 / correction1 + 1 / (correction2 * correction2)) *
                 std::numeric_limits<double>::epsilon() / std::numeric_limits<T>::epsilon();
    const double got = life.parameters[i]->value().at(k);
    require_near(A::near(got, want, 1 + 1 / epsilon), "Adam", got, want);
  }
}

std::vector<Before> snapshot(const Life& life, const std::vector<std::uint64_t>& steps) {
  std::vector<Before> all;
  for (std::size_t i = 0; i < life.parameters.size(); ++i) {
    const Parameter& p = *life.parameters[i];
    std::vector<Tensor> slots;
    for (const Tensor& slot : life.slots(i))
      slots.push_back(slot.defined() ? slot.clone() : Tensor());
    all.push_back({p.value().clone(), p.grad().defined() ? p.grad().clone() : Tensor(), slots,
                   steps[i],
                   life.optimizer->learning_rate(life.optimizer->group_of(life.places[i]))});
  }
  return all;
}

/// The factor that clipping multiplies by; NaN if it must refuse.
Long clip_factor(const Life& life, double max_norm) {
  Long squares = 0;
  for (const auto& p : life.parameters) {
    for (std::size_t k = 0; p->grad().defined() && k < p->grad().numel(); ++k) {
      squares += Long{p->grad().at(k)} * Long{p->grad().at(k)};
    }
  }
  const Long norm = std::sqrt(squares);
  return !std::isfinite(norm) ? NAN : norm > max_norm ? max_norm / norm : 1;
}

}  // namespace

namespace {

void live(std::uint64_t seed, std::string& story) {
  Rng rng(seed, "optimizer");
  std::vector<Tensor> values;
  for (std::size_t n = 1 + rng.below(4); n > 0; --n) {
    const std::size_t size = rng.below(40) == 0   ? 40000
                             : rng.below(10) == 0 ? 0
                                                  : 1 + rng.below(20);
    values.push_back(
        draw(rng, {size}, rng.below(4) == 0 ? DType::float64 : DType::float32, rng.below(3) == 0));
  }
  const bool adam = rng.below(2) == 0, two = values.size() > 1 && rng.below(3) == 0;
  std::vector<Options> options;
  for (int g = 0; g < (two ? 2 : 1); ++g) options.push_back(draw_options(rng, adam));
  for (const Options& o : options) {
    story += adam ? fmt::format(" Adam lr {} betas {}, {} epsilon {} decay {};", o.of_adam.lr,
                                o.of_adam.beta1, o.of_adam.beta2, o.of_adam.epsilon,
                                o.of_adam.weight_decay)
                  : fmt::format(" SGD lr {} momentum {} dampening {} decay {}{};", o.sgd.lr,
                                o.sgd.momentum, o.sgd.dampening, o.sgd.weight_decay,
                                o.sgd.nesterov ? " nesterov" : "");
  }
  const std::size_t cut = two ? 1 + rng.below(values.size() - 1) : values.size();
  std::vector<Life> lives;  // the plain one; clipped by hand, on other threads; listed backwards
  try {
    for (const bool backwards : {false, false, true})
      lives.push_back(make(values, options, cut, backwards));
  } catch (const Error& e) {
    if (!is_message(e.what())) throw Fault{"message", "optimizer", e.what()};
    return;
  }
  Life& life = lives[0];
  std::vector<std::uint64_t> steps(values.size());
  bool clipped = false;  // the norm is added up in the order of the list
  const std::size_t count = 1 + rng.below(5);
  for (std::size_t n = 0; n < count; ++n) {
    const bool wild = rng.below(2) == 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint64_t what = rng.below(12);
      const Tensor grad = draw(rng, values[i].shape(), values[i].dtype(), wild);
      for (Life& each : lives) {
        Parameter& p = *each.parameters[i];
        if (what == 0) p.set_requires_grad(!p.requires_grad());
        if (what <= 1) p.zero_grad();
        if (what > 1) p.set_grad(grad);
      }
    }
    if (rng.below(6) == 0) {
      const double lr = number(rng, 0, 0.1);
      for (Life& each : lives) tried(each, [&] { each.optimizer->set_learning_rate(lr); });
    }
    const bool clips = rng.below(2) == 0;
    const double max_norm = clips ? number(rng, 0, 10) : INFINITY;
    clipped = clipped || clips;
    const auto before = snapshot(life, steps);
    const Long factor = clips ? clip_factor(life, max_norm) : 1;
    const auto step = [&](Life& each) {
      return tried(each, [&] {
        clips ? (void)each.optimizer->step({.clip_norm = max_norm}) : each.optimizer->step();
      });
    };
    const std::string error = step(life);
    const std::size_t threads_before = threads();
    set_threads(threads_before == 1 ? 2 : 1);
    const auto kept = lives[1].tensors();
    std::string other =
        clips ? tried(lives[1], [&] { clip_grad_norm(lives[1].optimizer->parameters(), max_norm); })
              : "";
    if (other.empty()) other = tried(lives[1], [&] { lives[1].optimizer->step(); });
    set_threads(threads_before);
    if (step(lives[2]).empty() != error.empty() || other.empty() != error.empty()) {
      throw Fault{"refused in one way", "optimizer", error + " / " + other};
    }
    if (!error.empty()) return;  // each has refused: the lives are over, unchanged
    if (clips && std::isnan(factor))
      throw Fault{"clipping", "optimizer", "gradients without a norm"};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Parameter& p = *life.parameters[i];
      if (!p.requires_grad() || !p.grad().defined()) {
        require_same("left alone", {p.value()}, {before[i].value});
        continue;
      }
      const Options& o = options[life.optimizer->group_of(life.places[i])];
      const bool single = p.value().dtype() == DType::float32;
      if (o.adam) {
        (single ? check_adam<float> : check_adam<double>)(o.of_adam, before[i], life, i, factor);
      } else {
        (single ? check_sgd<float> : check_sgd<double>)(o.sgd, before[i], life, i, factor);
      }
      require_same("a step changed a gradient", {p.grad()}, {before[i].grad});
      ++steps[i];
      const Parameter& by_hand = *lives[1].parameters[i];
      require_same("clip and step", {p.value()}, {by_hand.value()});
      require_same("clip and step", life.slots(i), lives[1].slots(i));
      if (clipped) continue;
      require_same("list backwards", {p.value()}, {lives[2].parameters[i]->value()});
      require_same("list backwards", life.slots(i), lives[2].slots(i));
    }
    if (clips && max_norm >= 0) {
      for (Life& each : lives)
        tried(each, [&] { clip_grad_value(each.optimizer->parameters(), max_norm); });
    }
  }
}

}  // namespace

void search_optimizer(std::uint64_t seed) {
  std::string story;
  try {
    live(seed, story);
  } catch (Fault& fault) {
    fault.detail += story;
    throw;
  }
}

}  // namespace tapegrad::search
