#include "sgd.h"

#include <cmath>

#include "../core/dispatch-inl.h"
#include "../core/error.h"
#include "../core/kernels/loops-inl.h"

namespace tapegrad {
namespace {

template <class T>
struct Factors {
  T lr, momentum, undamped, weight_decay;
};

template <class T>
void descend(std::size_t n, const Factors<T> k, const T* __restrict grad, T* __restrict p) {
  for (std::size_t i = 0; i < n; ++i) p[i] -= k.lr * (grad[i] + k.weight_decay * p[i]);
}

template <class T>
void descend_with_momentum(std::size_t n, const Factors<T> k, bool nesterov,
                           const T* __restrict grad, T* __restrict v, T* __restrict p) {
  for (std::size_t i = 0; i < n; ++i) {
    const T g = grad[i] + k.weight_decay * p[i];
    v[i] = k.momentum * v[i] + k.undamped * g;
    p[i] -= k.lr * (nesterov ? g + k.momentum * v[i] : v[i]);
  }
}

}  // namespace

SGD::SGD(Parameters parameters, const SGDOptions& options)
    : Optimizer("SGD", std::move(parameters), options.lr),
      options_(options),
      velocity_(this->parameters().size()),
      started_(this->parameters().size()) {
  check_option("momentum", options.momentum, 0, 1);
  check_option("dampening", options.dampening, 0, 1);
  check_option("weight_decay", options.weight_decay, 0, INFINITY);
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    throw UsageError("[SGD] nesterov needs momentum > 0 and dampening = 0");
  }
  if (options.dampening != 0 && options.momentum == 0) {
    throw UsageError("[SGD] dampening needs momentum > 0, which it dampens");
  }
}

void SGD::step() {
  const bool momentum = options_.momentum > 0;
  check_gradients();
  if (momentum) prepare(velocity_);
  for (std::size_t i = 0; i < parameters().size(); ++i) {
    ParameterData& p = *parameters()[i].data;
    if (!moves(p)) continue;
    dispatch_float(p.value.dtype(), [&]<class T>(T) {
      const double undamped = started_[i] ? 1 - options_.dampening : 1.0;
      const Factors<T> k{static_cast<T>(learning_rate()), static_cast<T>(options_.momentum),
                         static_cast<T>(undamped), static_cast<T>(options_.weight_decay)};
      const T* grad = p.grad.data<T>();
      T* v = momentum ? velocity_[i].mutable_data<T>() : nullptr;
      T* value = p.value.mutable_data<T>();
      kernels::for_blocks(
          p.value.numel(), kernels::cheap_block, [&](std::size_t begin, std::size_t end) {
            const std::size_t n = end - begin;
            if (!momentum) return descend(n, k, grad + begin, value + begin);
            descend_with_momentum(n, k, options_.nesterov, grad + begin, v + begin, value + begin);
          });
    });
    started_[i] = true;
  }
}

}  // namespace tapegrad
