#include "sgd.h"

#include <cmath>

#include "../core/dispatch-inl.h"
#include "../core/error.h"
#include "../core/kernels/parallel-inl.h"

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

SGD::SGD(const std::vector<Group>& groups)
    : Optimizer("SGD", groups), velocity_(parameters().size()), started_(parameters().size()) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const SGDOptions& o = groups[g].options;
    check_option(g, "momentum", o.momentum, 0, 1);
    check_option(g, "dampening", o.dampening, 0, 1);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0)) {
      throw UsageError(about(g) + " nesterov needs momentum > 0 and dampening = 0");
    }
    if (o.dampening != 0 && o.momentum == 0) {
      throw UsageError(about(g) + " dampening needs momentum > 0, which it dampens");
    }
    options_.push_back(o);
  }
}

void SGD::step() {
  check_gradients();
  prepare({&velocity_});
  for (std::size_t i = 0; i < parameters().size(); ++i) {
    if (!moves(i)) continue;
    ParameterData& p = *parameters()[i].data;
    const SGDOptions& o = options_[group_of(i)];
    const bool momentum = o.momentum > 0;
    dispatch_float(p.value.dtype(), [&]<class T>(T) {
      const double undamped = started_[i] ? 1 - o.dampening : 1.0;
      const Factors<T> k{static_cast<T>(learning_rate(group_of(i))), static_cast<T>(o.momentum),
                         static_cast<T>(undamped), static_cast<T>(o.weight_decay)};
      const T* grad = p.grad.data<T>();
      T* v = momentum ? velocity_[i].mutable_data<T>() : nullptr;
      T* value = p.value.mutable_data<T>();
      kernels::for_blocks(
          p.value.numel(), kernels::cheap_block, [&](std::size_t begin, std::size_t end) {
            const std::size_t n = end - begin;
            if (!momentum) return descend(n, k, grad + begin, value + begin);
            descend_with_momentum(n, k, o.nesterov, grad + begin, v + begin, value + begin);
          });
    });
    started_[i] = true;
  }
}

}  // namespace tapegrad
