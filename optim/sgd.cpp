#include "sgd.h"

#include <cmath>

namespace tapegrad {

SGD::SGD(const std::vector<Group>& groups) : Optimizer("SGD", groups, {"velocity"}) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const SGDOptions& o = groups[g].options;
    check_option(g, "momentum", o.momentum, 0, 1);
    check_option(g, "dampening", o.dampening, 0, 1);
    check_option(g, "weight_decay", o.weight_decay, 0, INFINITY);
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0)) {
      refuse_option(g, "nesterov needs momentum > 0 and dampening = 0");
    }
    if (o.dampening != 0 && o.momentum == 0) {
      refuse_option(g, "dampening needs momentum > 0, which it dampens");
    }
    options_.push_back(o);
  }
}

template <class T>
void SGD::descend(const Step& step, const kernels::Update<T>& u) const {
  const SGDOptions& o = options_[step.group];
  kernels::descend<T>({.lr = step.lr,
                       .weight_decay = o.weight_decay,
                       .momentum = o.momentum,
                       .undamped = step.number == 1 ? 1 : 1 - o.dampening,
                       .nesterov = o.nesterov},
                      u);
}

void SGD::update(const Step& step, const kernels::Update<float>& u) const { descend(step, u); }
void SGD::update(const Step& step, const kernels::Update<double>& u) const { descend(step, u); }

}  // namespace tapegrad
