#include "optimizer_formulas.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "program.h"

namespace tapegrad::search {

double number(Rng& rng, double low, double high) {
  constexpr std::array extremes = {
      0.0, 1e-45, 1e-30, 1e-10, 0.5,   0.9,  0.999999,         1 - 1e-12,  1.0,
      2.0, 1e10,  1e38,  1e39,  1e300, -1.0, double{INFINITY}, double{NAN}};
  return rng.below(5) == 0 ? extremes[rng.below(extremes.size())] : rng.uniform(low, high);
}

Options draw_options(Rng& rng, std::size_t kind) {
  const auto maybe = [&rng](double low, double high) {
    return rng.below(2) == 0 ? number(rng, low, high) : 0;
  };
  const double lr = number(rng, 0, 0.1), decay = maybe(0, 0.1);
  const double beta1 = number(rng, 0, 0.99), beta2 = number(rng, 0.5, 0.9999);
  const double epsilon = number(rng, 1e-10, 1e-3);
  const bool one = rng.below(2) == 0, other = rng.below(2) == 0, corrected = rng.below(4) != 0;
  const Options all[] = {
      SGDOptions{.lr = lr,
                 .momentum = one ? number(rng, 0.1, 0.99) : 0,
                 .dampening = one && other ? number(rng, 0, 0.9) : 0,
                 .nesterov = one && !other && rng.below(2) == 0,
                 .weight_decay = decay},
      AdamOptions{.lr = lr,
                  .beta1 = beta1,
                  .beta2 = beta2,
                  .epsilon = epsilon,
                  .weight_decay = decay,
                  .epsilon_form = one ? AdamEpsilon::hat : AdamEpsilon::after_correction,
                  .amsgrad = other,
                  .bias_correction = corrected},
      AdamWOptions{.lr = lr,
                   .beta1 = beta1,
                   .beta2 = beta2,
                   .epsilon = epsilon,
                   .weight_decay = decay,
                   .decay_form = one ? AdamWDecay::published : AdamWDecay::times_lr,
                   .amsgrad = other,
                   .bias_correction = corrected},
      NAdamOptions{.lr = lr,
                   .beta1 = beta1,
                   .beta2 = beta2,
                   .epsilon = epsilon,
                   .weight_decay = decay,
                   .momentum_decay = maybe(0, 0.1),
                   .decoupled_weight_decay = one},
      AdamaxOptions{.lr = lr,
                    .beta1 = beta1,
                    .beta2 = beta2,
                    .epsilon = one ? 0 : epsilon,
                    .weight_decay = decay},
      RMSpropOptions{.lr = lr,
                     .alpha = beta2,
                     .epsilon = epsilon,
                     .weight_decay = decay,
                     .momentum = maybe(0.1, 0.99),
                     .centered = one,
                     .form = other ? RMSpropForm::published : RMSpropForm::torch},
      AdagradOptions{.lr = lr,
                     .lr_decay = maybe(0, 0.1),
                     .epsilon = epsilon,
                     .weight_decay = decay,
                     .initial_sum = maybe(0, 0.1)},
  };
  return all[kind];
}

namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

std::string described(const Options& options) {
  return std::visit(
      Overloaded{
          [](const SGDOptions& o) {
            return fmt::format(" SGD lr {} momentum {} dampening {} decay {}{};", o.lr, o.momentum,
                               o.dampening, o.weight_decay, o.nesterov ? " nesterov" : "");
          },
          [](const AdamOptions& o) {
            return fmt::format(" Adam lr {} betas {}, {} epsilon {} decay {}{}{};", o.lr, o.beta1,
                               o.beta2, o.epsilon, o.weight_decay, o.amsgrad ? " amsgrad" : "",
                               o.bias_correction ? "" : " uncorrected");
          },
          [](const AdamWOptions& o) {
            return fmt::format(" AdamW lr {} betas {}, {} epsilon {} decay {}{}{}{};", o.lr,
                               o.beta1, o.beta2, o.epsilon, o.weight_decay,
                               o.decay_form == AdamWDecay::published ? " published" : "",
                               o.amsgrad ? " amsgrad" : "",
                               o.bias_correction ? "" : " uncorrected");
          },
          [](const NAdamOptions& o) {
            return fmt::format(" NAdam lr {} betas {}, {} epsilon {} decay {}{} of momentum {};",
                               o.lr, o.beta1, o.beta2, o.epsilon, o.weight_decay,
                               o.decoupled_weight_decay ? " decoupled" : "", o.momentum_decay);
          },
          [](const AdamaxOptions& o) {
            return fmt::format(" Adamax lr {} betas {}, {} epsilon {} decay {};", o.lr, o.beta1,
                               o.beta2, o.epsilon, o.weight_decay);
          },
          [](const RMSpropOptions& o) {
            return fmt::format(" RMSprop lr {} alpha {} epsilon {} decay {} momentum {}{}{};", o.lr,
                               o.alpha, o.epsilon, o.weight_decay, o.momentum,
                               o.centered ? " centered" : "",
                               o.form == RMSpropForm::published ? " published" : "");
          },
          [](const AdagradOptions& o) {
            return fmt::format(" Adagrad lr {} decay {} epsilon {} decay {} from {};", o.lr,
                               o.lr_decay, o.epsilon, o.weight_decay, o.initial_sum);
          }},
      options);
}

namespace {

template <class T, class O>
std::unique_ptr<Optimizer> make_of(const std::vector<Parameters>& groups,
                                   const std::vector<Options>& options) {
  std::vector<ParameterGroup<O>> all;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    all.push_back({groups[g], std::get<O>(options[g])});
  }
  return std::make_unique<T>(all);
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const std::vector<Parameters>& groups,
                                          const std::vector<Options>& options) {
  using Make =
      std::unique_ptr<Optimizer>(const std::vector<Parameters>&, const std::vector<Options>&);
  constexpr Make* make[] = {make_of<SGD, SGDOptions>,        make_of<Adam, AdamOptions>,
                            make_of<AdamW, AdamWOptions>,    make_of<NAdam, NAdamOptions>,
                            make_of<Adamax, AdamaxOptions>,  make_of<RMSprop, RMSpropOptions>,
                            make_of<Adagrad, AdagradOptions>};
  return make[options[0].index()](groups, options);
}

namespace {

/// A number and the sum of the magnitudes it was made of, for its error.
struct Sum {
  Long value = 0, size = 0;
};
Sum operator+(Sum a, Sum b) { return {a.value + b.value, a.size + b.size}; }
Sum operator*(Long f, Sum a) { return {f * a.value, std::abs(f) * a.size}; }
Sum number_of(Long x) { return {x, std::abs(x)}; }

/// An element in a step, and the formulas' common parts. What is remembered is compared with what
/// was before; the value with what is remembered now.
template <class T>
struct Element {
  static constexpr Long largest = std::numeric_limits<T>::max();
  static constexpr Long smallest = std::numeric_limits<T>::min();
  static constexpr Long rounding = std::numeric_limits<T>::epsilon();

  Long lr, t, clip;
  Sum p, grad;
  double value;
  std::array<Long, 3> old;    // slots
  std::array<double, 3> now;  // NaN where none is kept

  /// As the kernel sees an option, or an element: subnormal numbers are 0.
  static Long seen(Long x) {
    const T narrow = static_cast<T>(x);
    return std::abs(narrow) < std::numeric_limits<T>::min() ? 0 : static_cast<Long>(narrow);
  }
  static bool near(double got, Sum want, Long scale) {
    if (std::isnan(want.value)) return std::isnan(got) || !std::isfinite(want.size);
    if (!std::isfinite(got)) {
      return static_cast<Long>(got) == want.value || !(want.size * scale < largest / 4);
    }
    const Long tolerance = 16 * rounding * want.size + 16 * smallest * scale;
    return std::isinf(want.size) ? std::isinf(got)
                                 : std::abs(static_cast<Long>(got) - want.value) <= tolerance;
  }
  static void require(const char* what, double got, Sum want, Long scale) {
    if (near(got, want, scale)) return;
    throw Fault{
        "step", what,
        fmt::format("{:.9g}, in long double {:.17g}", got, static_cast<double>(want.value))};
  }
  void require_slot(std::size_t k, const char* what, Sum want, Long scale) const {
    require(what, now[k], want, scale);
  }
  static bool may_overflow(Sum x) { return x.size >= largest / 4 && std::isfinite(x.size); }
  /// As the kernels cut a gradient whose square would overflow.
  static Sum squarable(Sum g) {
    const Long cut = std::sqrt(largest);
    if (!std::isfinite(g.value) || std::abs(g.value) <= cut) return g;
    return number_of(std::copysign(cut, g.value));
  }
  /// Numbers that are subnormal on the way count as 0: so many of them may be missing.
  Long scale(Long decay, Sum g) const {
    return 1 + decay + std::abs(g.value) + 1 / std::max<Long>(clip, smallest);
  }
};

template <class T>
void check(const SGDOptions& o, const Element<T>& e) {
  const Long momentum = e.seen(o.momentum), decay = e.seen(o.weight_decay);
  const Sum g = e.grad + decay * e.p;
  if (e.may_overflow(g)) return;
  Sum step = g;
  const Long lr = e.seen(e.lr), scale = 1 + decay + lr + 1 / std::max<Long>(e.clip, e.smallest);
  if (o.momentum > 0) {
    const Long undamped = e.t == 1 ? 1 : e.seen(1 - o.dampening);
    e.require_slot(0, "velocity", momentum * number_of(e.old[0]) + undamped * g, scale);
    const Sum v = number_of(e.now[0]);
    step = o.nesterov ? g + momentum * v : v;
  }
  if (e.may_overflow(step)) return;
  e.require("SGD", e.value, e.p + -lr * step, scale);
}

/// Adam and its kin: rates of m and g, and the scale of the root, as the kernel has them. `lost`: by
/// how much rounding in double has grown in the rates.
struct Rates {
  Long beta1, beta2, decay, decoupled, rate, grad_rate, root_scale, epsilon, lost;
  bool amsgrad;
};

template <class T>
void check_moments(const char* name, const Rates& o, const Element<T>& e) {
  const Long beta1 = e.seen(o.beta1), rest1 = e.seen(1 - o.beta1);
  const Long beta2 = e.seen(o.beta2), rest2 = e.seen(1 - o.beta2);
  const Long decay = e.seen(o.decay), decoupled = e.seen(o.decoupled);
  const Sum whole = e.grad + decay * e.p;
  if (e.may_overflow(whole)) return;
  const Sum g = e.squarable(whole);
  const Long scale = e.scale(decay, g);
  e.require_slot(0, "m", beta1 * number_of(e.old[0]) + rest1 * g, scale);
  const Sum square{g.value * g.value, g.size * g.size};
  e.require_slot(1, "v", beta2 * number_of(e.old[1]) + rest2 * square, scale);
  Long v = e.now[1];
  if (o.amsgrad) {
    v = e.old[2] > v ? e.old[2] : v;
    e.require_slot(2, "v_max", number_of(v), 0);
  }
  const Long root = std::sqrt(v) * o.root_scale + e.seen(o.epsilon);
  const Long size = std::max({Long{1}, std::abs(Long{e.now[0]}), std::abs(g.value)});
  if (std::max(o.rate, o.grad_rate) * size >= e.largest || decoupled >= e.largest) return;
  const Sum step = 1 / root * (o.rate * number_of(e.now[0]) + o.grad_rate * g);
  Sum want = e.p + -decoupled * e.p + Long{-1} * step;
  if (e.may_overflow(want)) return;
  want.size += step.size * o.lost * std::numeric_limits<double>::epsilon() / e.rounding;
  const Long of_g = o.grad_rate == 0 ? 0 : o.grad_rate * scale;
  e.require(name, e.value, want, 1 + (1 + of_g) / e.seen(o.epsilon));
}

template <class T>
void check(const AdamOptions& o, const Element<T>& e, const char* name = "Adam",
           double decoupled = 0) {
  const Long correction1 = o.bias_correction ? 1 - std::pow(Long{o.beta1}, e.t) : 1;
  const Long correction2 = o.bias_correction ? std::sqrt(1 - std::pow(Long{o.beta2}, e.t)) : 1;
  const bool hat = o.epsilon_form == AdamEpsilon::hat;
  check_moments(name,
                {.beta1 = o.beta1,
                 .beta2 = o.beta2,
                 .decay = o.weight_decay,
                 .decoupled = decoupled,
                 .rate = e.lr / correction1 * (hat ? correction2 : 1),
                 .grad_rate = 0,
                 .root_scale = hat ? 1 : 1 / correction2,
                 .epsilon = o.epsilon,
                 .lost = 1 / correction1 + 1 / (correction2 * correction2),
                 .amsgrad = o.amsgrad},
                e);
}

template <class T>
void check(const AdamWOptions& o, const Element<T>& e) {
  const auto lr = static_cast<double>(e.lr);
  check({.lr = o.lr,
         .beta1 = o.beta1,
         .beta2 = o.beta2,
         .epsilon = o.epsilon,
         .amsgrad = o.amsgrad,
         .bias_correction = o.bias_correction},
        e, "AdamW", (o.decay_form == AdamWDecay::published ? lr / o.lr : lr) * o.weight_decay);
}

template <class T>
void check(const NAdamOptions& o, const Element<T>& e) {
  const auto mu = [&](Long t) {
    return o.beta1 * (1 - std::pow(Long{0.96}, t * o.momentum_decay) / 2);
  };
  Long product = 1;
  for (Long t = 1; t <= e.t; ++t) product *= mu(t);
  const Long correction = 1 - std::pow(Long{o.beta2}, e.t);
  check_moments("NAdam",
                {.beta1 = o.beta1,
                 .beta2 = o.beta2,
                 .decay = o.decoupled_weight_decay ? 0 : o.weight_decay,
                 .decoupled = o.decoupled_weight_decay ? e.lr * o.weight_decay : 0,
                 .rate = e.lr * mu(e.t + 1) / (1 - product * mu(e.t + 1)),
                 .grad_rate = e.lr * (1 - mu(e.t)) / (1 - product),
                 .root_scale = 1 / std::sqrt(correction),
                 .epsilon = o.epsilon,
                 .lost = 8 / (1 - product) + 8 / (1 - mu(e.t)) + 1 / correction,
                 .amsgrad = false},
                e);
}

template <class T>
void check(const AdamaxOptions& o, const Element<T>& e) {
  const Long decay = e.seen(o.weight_decay), epsilon = e.seen(o.epsilon);
  const Sum g = e.grad + decay * e.p;
  if (e.may_overflow(g)) return;
  const Long scale = e.scale(decay, g);
  e.require_slot(0, "m", e.seen(o.beta1) * number_of(e.old[0]) + e.seen(1 - o.beta1) * g, scale);
  const Long faded = e.seen(o.beta2) * e.old[1], fresh = std::abs(g.value) + epsilon;
  e.require_slot(1, "norm", {faded > fresh ? faded : fresh, faded + g.size + epsilon}, scale);
  const Long rate = e.lr / (1 - std::pow(Long{o.beta1}, e.t)), m = e.now[0], norm = e.now[1];
  if (rate * std::max(Long{1}, std::abs(m)) >= e.largest) return;
  const Sum step = norm == 0 ? Sum{} : number_of(rate * m / norm);
  Sum want = e.p + Long{-1} * step;
  if (e.may_overflow(want)) return;
  want.size += step.size / (1 - std::pow(Long{o.beta1}, e.t)) *
               std::numeric_limits<double>::epsilon() / e.rounding;
  e.require("Adamax", e.value, want, 1 + (norm == 0 ? 0 : 1 / norm));
}

/// RMSprop and Adagrad, as kernels::Squares.
struct Roots {
  Long decay, keep, share, start, epsilon_in_root, epsilon, momentum, rate_in_velocity, rate;
  bool centered;
};

template <class T>
void check_roots(const char* name, const Roots& o, const Element<T>& e) {
  const Long decay = e.seen(o.decay), keep = e.seen(o.keep), share = e.seen(o.share);
  const Sum whole = e.grad + decay * e.p;
  if (e.may_overflow(whole)) return;
  const Sum g = e.squarable(whole), square{g.value * g.value, g.size * g.size};
  const Long scale = e.scale(decay, g);
  e.require_slot(0, "mean of squares",
                 keep * number_of(e.old[0]) + share * square + number_of(e.seen(o.start)), scale);
  const Long n = e.now[0];
  Long low = n, high = n;
  if (o.centered) {
    e.require_slot(1, "mean", keep * number_of(e.old[1]) + share * g, scale);
    const Long a = e.now[1], error = 4 * e.rounding * (n + a * a) + e.smallest;
    low = std::max(Long{0}, n - a * a - error), high = std::max(Long{0}, n - a * a + error);
  }
  if (!std::isfinite(n) || !std::isfinite(high)) return;
  const auto root = [&](Long x) {
    return std::sqrt(x + e.seen(o.epsilon_in_root)) + e.seen(o.epsilon);
  };
  const Long rate = e.seen(o.rate), inner = e.seen(o.rate_in_velocity);
  if (rate >= e.largest || inner >= e.largest) return;
  Sum step = inner / root(high) * g;
  step.size += std::abs(inner * g.value) * (1 / root(low) - 1 / root(high)) / e.rounding;
  const Long missing = inner * (1 + scale / root(0));
  if (o.momentum > 0) {
    const Long momentum = e.seen(o.momentum);
    e.require_slot(2, "velocity", momentum * number_of(e.old[2]) + step, 1 + missing);
    step = number_of(e.now[2]);
  }
  const Sum want = e.p + -rate * step;
  if (e.may_overflow(want) || e.may_overflow(step)) return;
  e.require(name, e.value, want, 1 + rate * (1 + missing));
}

template <class T>
void check(const RMSpropOptions& o, const Element<T>& e) {
  const bool published = o.form == RMSpropForm::published;
  check_roots("RMSprop",
              {.decay = o.weight_decay,
               .keep = o.alpha,
               .share = 1 - o.alpha,
               .start = 0,
               .epsilon_in_root = published ? o.epsilon : 0,
               .epsilon = published ? 0 : o.epsilon,
               .momentum = o.momentum,
               .rate_in_velocity = published ? e.lr : 1,
               .rate = published ? 1 : e.lr,
               .centered = o.centered},
              e);
}

template <class T>
void check(const AdagradOptions& o, const Element<T>& e) {
  check_roots("Adagrad",
              {.decay = o.weight_decay,
               .keep = 1,
               .share = 1,
               .start = e.t == 1 ? o.initial_sum : 0,
               .epsilon_in_root = 0,
               .epsilon = o.epsilon,
               .momentum = 0,
               .rate_in_velocity = 1,
               .rate = e.lr / (1 + (e.t - 1) * o.lr_decay),
               .centered = false},
              e);
}

template <class T>
void check_elements(const Options& options, const Before& b, Long factor, const Tensor& value,
                    const std::vector<Tensor>& slots) {
  using E = Element<T>;
  for (std::size_t k = 0; k < value.numel(); ++k) {
    E e{.lr = b.lr,
        .t = static_cast<Long>(b.steps + 1),
        .clip = factor,
        .p = number_of(E::seen(b.value.at(k))),
        .grad = factor * number_of(E::seen(b.grad.at(k))),
        .value = value.at(k),
        .old = {},
        .now = {NAN, NAN, NAN}};
    for (std::size_t s = 0; s < slots.size(); ++s) {
      if (b.slots[s].defined()) e.old[s] = E::seen(b.slots[s].at(k));
      if (slots[s].defined()) e.now[s] = slots[s].at(k);
    }
    std::visit([&e](const auto& o) { check(o, e); }, options);
  }
}

}  // namespace

void check_step(const Options& options, const Before& before, Long factor, const Tensor& value,
                const std::vector<Tensor>& slots) {
  const bool single = value.dtype() == DType::float32;
  (single ? check_elements<float> : check_elements<double>)(options, before, factor, value, slots);
}

}  // namespace tapegrad::search
