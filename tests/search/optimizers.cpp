#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../../core/error.h"
#include "../../core/threads.h"
#include "../../optim/clip.h"
#include "optimizer_formulas.h"
#include "program.h"

// Lives of optimizers: random options, gradients, steps, clipping, freezing, rates. What a step makes of
// the numbers before it is compared with the formula in long double, element by element; promises to the
// bit are compared with other lives of the same.

namespace tapegrad::search {
namespace {

/// Parameters and their optimizer.
struct Life {
  std::vector<std::unique_ptr<Parameter>> parameters;
  std::unique_ptr<Optimizer> optimizer;
  std::vector<std::size_t> places;  // of each Parameter in the optimizer's list

  std::vector<Tensor> slots(std::size_t i) const {
    std::vector<Tensor> all;
    for (const std::string& name : optimizer->slots()) {
      all.push_back(optimizer->slot(places[i], name));
    }
    return all;
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
  life.optimizer = make_optimizer(groups, options);
  return life;
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

/// The factor that the mean of several passes, and clipping, multiply by; NaN if it must refuse.
Long gradient_factor(const Life& life, double max_norm, std::uint64_t passes) {
  Long squares = 0;
  for (const auto& p : life.parameters) {
    for (std::size_t k = 0; p->grad().defined() && k < p->grad().numel(); ++k) {
      squares += Long{p->grad().at(k)} * Long{p->grad().at(k)};
    }
  }
  const Long norm = std::sqrt(squares), n = static_cast<Long>(passes);
  return !std::isfinite(norm) ? NAN : norm / n > max_norm ? max_norm / norm : 1 / n;
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
  const bool two = values.size() > 1 && rng.below(3) == 0;
  const auto kind = static_cast<std::size_t>(rng.below(std::variant_size_v<Options>));
  std::vector<Options> options;
  for (int g = 0; g < (two ? 2 : 1); ++g) {
    options.push_back(draw_options(rng, kind));
    story += described(options.back());
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
    const std::uint64_t passes = clips && rng.below(3) == 0 ? 2 + rng.below(3) : 1;
    clipped = clipped || clips;
    const auto before = snapshot(life, steps);
    const Long factor = clips ? gradient_factor(life, max_norm, passes) : 1;
    const auto step = [&](Life& each) {
      return tried(each, [&] {
        clips ? (void)each.optimizer->step({.clip_norm = max_norm, .passes = passes})
              : each.optimizer->step();
      });
    };
    const std::string error = step(life);
    const std::size_t threads_before = threads();
    set_threads(threads_before == 1 ? 2 : 1);
    const auto kept = lives[1].tensors();
    std::string other;
    if (clips && passes == 1) {
      other = tried(lives[1], [&] { clip_grad_norm(lives[1].optimizer->parameters(), max_norm); });
      if (other.empty()) other = tried(lives[1], [&] { lives[1].optimizer->step(); });
    } else {
      other = step(lives[1]);
    }
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
      check_step(o, before[i], factor, p.value(), life.slots(i));
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
