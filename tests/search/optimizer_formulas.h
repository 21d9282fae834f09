#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "../../core/rng.h"
#include "../../optim/adagrad.h"
#include "../../optim/adam.h"
#include "../../optim/adamax.h"
#include "../../optim/nadam.h"
#include "../../optim/rmsprop.h"
#include "../../optim/sgd.h"

/// The optimizers: random options, and what a step should make of an element, in long double.
namespace tapegrad::search {

using Long = long double;
using Options = std::variant<SGDOptions, AdamOptions, AdamWOptions, NAdamOptions, AdamaxOptions,
                             RMSpropOptions, AdagradOptions>;

/// Returns a number of [low, high), or now and then an extreme one.
double number(Rng& rng, double low, double high);
/// Draws options of the optimizer that is alternative `kind` of Options.
Options draw_options(Rng& rng, std::size_t kind);
std::string described(const Options& options);
/// Makes an optimizer of one group for each element of both lists.
std::unique_ptr<Optimizer> make_optimizer(const std::vector<Parameters>& groups,
                                          const std::vector<Options>& options);

/// A Parameter before a step, and what the optimizer remembers of it.
struct Before {
  Tensor value, grad;
  std::vector<Tensor> slots;
  std::uint64_t steps;
  double lr;
};
/// Throws the Fault of an element that is not what the formula makes of the elements before, the
/// gradient times `factor`.
void check_step(const Options& options, const Before& before, Long factor, const Tensor& value,
                const std::vector<Tensor>& slots);

}  // namespace tapegrad::search
