#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "../../core/flush_subnormals-inl.h"
#include "../../core/kernels/reduce.h"
#include "../../core/kernels/update.h"
#include "../support/for_targets.h"
#include "../support/kernel_cases.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using namespace tapegrad::kernels;

namespace {

/// Random numbers, and among them, at places that differ from array to array, what arithmetic
/// treats apart.
template <class T>
std::vector<T> some_numbers(std::size_t n, std::uint64_t seed) {
  using Limits = std::numeric_limits<T>;
  const T special[] = {
      Limits::max(),           -Limits::max(),      Limits::min(),       Limits::min() / 4,
      Limits::infinity(),      -Limits::infinity(), Limits::quiet_NaN(), T{-0.0},
      std::sqrt(Limits::min())};
  Rng rng(seed, "numbers");
  std::vector<T> numbers(n);
  for (T& x : numbers) {
    const auto pick = static_cast<std::size_t>(rng.below(4 * std::size(special)));
    x = pick < std::size(special) ? special[pick] : static_cast<T>(rng.uniform() - 0.5);
  }
  return numbers;
}

/// A value, its gradient and three slots, the last two of which are not negative.
template <class T>
struct Arrays {
  explicit Arrays(std::size_t n)
      : value(some_numbers<T>(n, 1)),
        grad(some_numbers<T>(n, 2)),
        first(some_numbers<T>(n, 3)),
        second(some_numbers<T>(n, 4)),
        third(some_numbers<T>(n, 5)) {
    for (T& x : second) x = std::abs(x);
    for (T& x : third) x = std::abs(x);
  }
  /// The elements from `begin` on, with the first `slots` slots.
  Update<T> update(std::size_t begin, std::size_t slots) {
    const auto slot = [&](std::vector<T>& all, std::size_t k) {
      return k < slots ? all.data() + begin : nullptr;
    };
    return {value.size() - begin,
            value.data() + begin,
            grad.data() + begin,
            {slot(first, 0), slot(second, 1), slot(third, 2)}};
  }

  std::vector<T> value, grad, first, second, third;
};

template <class T>
void plain_descend(const Descent& o, const Update<T>& u) {
  const auto lr = static_cast<T>(o.lr), weight_decay = static_cast<T>(o.weight_decay);
  const auto momentum = static_cast<T>(o.momentum), undamped = static_cast<T>(o.undamped);
  for (std::size_t i = 0; i < u.n; ++i) {
    const T g = u.grad[i] + weight_decay * u.value[i];
    T* const v = u.slot[0];
    if (v == nullptr) {
      u.value[i] -= lr * g;
      continue;
    }
    v[i] = momentum * v[i] + undamped * g;
    u.value[i] -= lr * (o.nesterov ? g + momentum * v[i] : v[i]);
  }
}

/// Returns g, cut so that its square does not overflow; NaN if it is not finite.
template <class T>
T cut(T g) {
  const T largest = std::sqrt(std::numeric_limits<T>::max());
  return std::isfinite(g) ? std::clamp(g, -largest, largest) : std::numeric_limits<T>::quiet_NaN();
}

template <class T>
void plain_adapt(const Moments& o, const Update<T>& u) {
  const auto beta1 = static_cast<T>(o.beta1), rest1 = static_cast<T>(1 - o.beta1);
  const auto beta2 = static_cast<T>(o.beta2), rest2 = static_cast<T>(1 - o.beta2);
  for (std::size_t i = 0; i < u.n; ++i) {
    const T p = u.value[i], g = cut(u.grad[i] + static_cast<T>(o.weight_decay) * p);
    T& m = u.slot[0][i];
    T& v = u.slot[1][i];
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    T square = v;
    if (T* const largest = u.slot[2]; largest != nullptr) {
      square = largest[i] = largest[i] > v ? largest[i] : v;
    }
    const T root = std::sqrt(square) * static_cast<T>(o.root_scale) + static_cast<T>(o.epsilon);
    const T step = (static_cast<T>(o.rate) * m + static_cast<T>(o.grad_rate) * g) / root;
    u.value[i] = p - (static_cast<T>(o.decoupled_decay) * p + step);
  }
}

template <class T>
void plain_adapt_to_largest(const Largest& o, const Update<T>& u) {
  const auto beta1 = static_cast<T>(o.beta1), rest1 = static_cast<T>(1 - o.beta1);
  for (std::size_t i = 0; i < u.n; ++i) {
    const T g = u.grad[i] + static_cast<T>(o.weight_decay) * u.value[i];
    T& m = u.slot[0][i];
    T& largest = u.slot[1][i];
    m = beta1 * m + rest1 * g;
    const T old = static_cast<T>(o.beta2) * largest, now = std::abs(g) + static_cast<T>(o.epsilon);
    largest = old > now ? old : now;
    u.value[i] -= largest == 0 ? 0 : static_cast<T>(o.rate) * m / largest;
  }
}

template <class T>
void plain_normalise(const Squares& o, const Update<T>& u) {
  const auto keep = static_cast<T>(o.keep), share = static_cast<T>(o.share);
  for (std::size_t i = 0; i < u.n; ++i) {
    const T g = cut(u.grad[i] + static_cast<T>(o.weight_decay) * u.value[i]);
    // Slot 0 is not negative where it is a kernel's.
    T& n = u.slot[0][i];
    n = keep * n + share * g * g + static_cast<T>(o.start);
    T square = n;
    if (T* const a = u.slot[1]; a != nullptr) {
      a[i] = keep * a[i] + share * g;
      const T variance = n - a[i] * a[i];
      square = variance < 0 ? 0 : variance;
    }
    const T root =
        std::sqrt(square + static_cast<T>(o.epsilon_in_root)) + static_cast<T>(o.epsilon);
    T step = static_cast<T>(o.rate_in_velocity) * (g / root);
    if (T* const v = u.slot[2]; v != nullptr)
      step = v[i] = static_cast<T>(o.momentum) * v[i] + step;
    u.value[i] -= static_cast<T>(o.rate) * step;
  }
}

/// How many elements differ; a NaN equals a NaN.
template <class T>
std::size_t differences(const std::vector<T>& a, const std::vector<T>& b) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool both_nan = std::isnan(a[i]) && std::isnan(b[i]);
    count += !both_nan && (a[i] != b[i] || std::signbit(a[i]) != std::signbit(b[i]));
  }
  return count;
}

/// The kernel and the plain loop do the same, to the bit, wherever a block begins.
template <class T, class Options>
void check_updates(const Options& o, std::size_t slots,
                   void (*kernel)(const Options&, const Update<T>&),
                   void (*plain)(const Options&, const Update<T>&)) {
  for (const std::size_t n : {1U, 2U, 7U, 16U, 31U, 64U, 67U, 1000U}) {
    for (std::size_t begin = 0; begin < std::min<std::size_t>(n, 4); ++begin) {
      CAPTURE(n);
      CAPTURE(begin);
      Arrays<T> fast(n), slow(n);
      const FlushSubnormals flush;
      for (int step = 0; step < 3; ++step) {
        kernel(o, fast.update(begin, slots));
        plain(o, slow.update(begin, slots));
      }
      CHECK(differences(fast.value, slow.value) == 0);
      CHECK(differences(fast.first, slow.first) == 0);
      CHECK(differences(fast.second, slow.second) == 0);
      CHECK(differences(fast.third, slow.third) == 0);
      CHECK(differences(fast.grad, slow.grad) == 0);
    }
  }
}

}  // namespace

TEST_CASE_TEMPLATE("update kernels: vectors give the bits of plain loops on every instruction set",
                   T, float, double) {
  for_targets([](const std::string& target) {
    CAPTURE(target);
    for (const double weight_decay : {0.0, 0.125}) {
      for (const bool nesterov : {false, true}) {
        const Descent o{0.1, weight_decay, 0.9, 0.75, nesterov};
        check_updates<T>(o, 0, kernels::descend<T>, plain_descend<T>);
        check_updates<T>(o, 1, kernels::descend<T>, plain_descend<T>);
      }
      for (const double root_scale : {1.0, 30.0}) {
        for (const double more : {0.0, 0.25}) {
          const Moments o{0.9, 0.999, weight_decay, more, 1e-3, more, root_scale, 1e-8};
          check_updates<T>(o, 2, kernels::adapt<T>, plain_adapt<T>);
          check_updates<T>(o, 3, kernels::adapt<T>, plain_adapt<T>);
        }
      }
      for (const double epsilon : {0.0, 1e-8}) {
        check_updates<T>(Largest{0.9, 0.999, weight_decay, 1e-3, epsilon}, 2,
                         kernels::adapt_to_largest<T>, plain_adapt_to_largest<T>);
      }
      for (const std::size_t slots : {1U, 2U, 3U}) {
        check_updates<T>(Squares{weight_decay, 0.9, 0.1, 0.5, 0, 1e-8, 0.75, 1, 1e-3}, slots,
                         kernels::normalise<T>, plain_normalise<T>);
        check_updates<T>(Squares{weight_decay, 1, 1, 0, 1e-4, 0, 0.75, 1e-3, 1}, slots,
                         kernels::normalise<T>, plain_normalise<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("norm: the same bits on every instruction set, as right as double allows", T,
                   float, double) {
  constexpr DType dtype = sizeof(T) == 4 ? DType::float32 : DType::float64;
  for (const std::size_t n : {1U, 3U, 15U, 16U, 17U, 45U, 1024U, 5003U, 400'001U}) {
    CAPTURE(n);
    const Tensor x = random_tensor({n}, dtype, n);
    long double squares = 0;
    for (const T v : x.values<T>()) squares += static_cast<long double>(v) * v;
    const double norm = kernels::norm(x);
    // A term is rounded once and in at most 64 additions of its lane and 26 of trees; the root of
    // their sum halves that. The last term is the error of `squares`.
    const double bound = (93 * 0x1p-54 + static_cast<double>(n) * 0x1p-65) * norm;
    CHECK(std::abs(norm - static_cast<double>(std::sqrt(squares))) <= bound);
    for_targets([&](const std::string& target) {
      CAPTURE(target);
      CHECK(kernels::norm(x) == norm);
    });
    check_threads_do_not_matter([&] { return Tensor::scalar(kernels::norm(x), DType::float64); });
  }
}
