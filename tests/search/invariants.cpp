#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"
#include "../../core/threads.h"
#include "program.h"

// Promises that need no tolerance: a program has the same bits whichever way it is executed and
// differentiated.

namespace tapegrad::search {
namespace {

void require_same(const char* check, std::size_t place, const Tensor& got, const Tensor& expected) {
  if (same(got, expected)) return;
  throw Fault{check, fmt::format("value {}", place),
              fmt::format("{} is not {}", got.defined() ? to_string(got) : "undefined",
                          expected.defined() ? to_string(expected) : "undefined")};
}

void require_same_values(const char* check, const Run& got, const Run& expected) {
  for (std::size_t i = 0; i < expected.places.size(); ++i) {
    require_same(check, i, got.places[i].value(), expected.places[i].value());
  }
}

void require_same_gradients(const char* check, const Gradients& got, const Gradients& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (got[i].defined()) require_same(check, i, got[i], expected[i]);
  }
}

/// Whether values are others out of training.
bool drops_out(const Program& program) {
  return std::ranges::any_of(program.items, [](const Item& item) {
    return item.op != nullptr && item.outputs > 0 &&
           (item.call.sites > 0 || item.op->name.ends_with("dropout"));
  });
}

std::unique_ptr<Run> replay(const Program& program, Way way) {
  auto run = std::make_unique<Run>(way);
  for (const Item& item : program.items) run->again(item);
  return run;
}

/// Same values and gradients when executed in this way.
void check_way(const char* check, const Program& program, const Run& plain,
               const Gradients& gradients, Way way) {
  const auto run = replay(program, way);
  require_same_values(check, *run, plain);
  require_same_gradients(check, gradients_of(program, *run), gradients);
}

/// The error of `f`, or nothing.
template <class F>
std::optional<std::string> error_of(F&& f) {
  try {
    f();
    return {};
  } catch (const UsageError& e) {
    if (!is_message(e.what())) throw Fault{"message", "backward", e.what()};
    return e.what();
  }
}

/// backward() hands to each Parameter what gradient() returns, adds to what is there, and leaves alone
/// what is frozen; the pass is then spent, and to say so changes nothing.
void check_backward(const Program& program, const Gradients& gradients) {
  const auto run = replay(program, Way::plain);
  const Var loss = run->places[program.loss];
  const auto check = [&](const char* what, double times) {
    for (std::size_t i = 0; i < program.places; ++i) {
      if (run->parameters[i] == nullptr) continue;
      const Parameter& p = *run->parameters[i];
      if (!p.requires_grad() || times == 0) {
        require_same(what, i, p.grad(), {});
      } else {
        const Tensor once = gradients[i];
        require_same(what, i, p.grad_or_zeros(), times == 1 ? once : (Var(once) + once).value());
      }
    }
  };
  if (error_of([&] { run->tape.backward(loss, {.retain = true}); })) {
    for (std::size_t i = 0; i < program.places; ++i) {
      const bool learns = run->parameters[i] != nullptr && run->parameters[i]->requires_grad();
      const Tensor zeros =
          learns ? Tensor::zeros(gradients[i].shape(), gradients[i].dtype()) : Tensor();
      if (learns) require_same("backward refused", i, gradients[i], zeros);
    }
    return check("backward refused", 0);
  }
  check("backward", 1);
  run->tape.backward(loss);
  check("backward twice", 2);
  if (!error_of([&] { run->tape.backward(loss); }))
    throw Fault{"a spent pass", "backward", "was taken"};
  check("a spent pass", 2);
}

/// Other Parameters frozen: no gradient for them, the same bits for all else.
void check_frozen(const Program& program, const Run& plain, const Gradients& gradients, Rng& rng) {
  Program frozen = program;
  for (Item& item : frozen.items) {
    if (item.op == nullptr && item.kind == Kind::parameter && rng.below(3) == 0)
      item.kind = Kind::frozen;
  }
  const auto run = replay(frozen, Way::plain);
  require_same_values("frozen", *run, plain);
  if (!run->places[program.loss].recorded()) return;
  require_same_gradients("frozen", gradients_of(frozen, *run), gradients);
  (void)error_of([&] { run->tape.backward(run->places[program.loss]); });
  for (std::size_t i = 0; i < program.places; ++i) {
    if (run->parameters[i] == nullptr || run->parameters[i]->requires_grad()) continue;
    require_same("frozen", i, run->parameters[i]->grad(), {});
  }
}

/// The answers of hooks count in place of the gradient, one after the other, and for nothing behind the
/// value.
void check_hook(const Program& program, const Gradients& gradients, Rng& rng) {
  const auto run = replay(program, Way::plain);
  const std::size_t at = static_cast<std::size_t>(rng.below(program.places));
  if (!gradients[at].defined()) return;
  hook(run->places[at], [](const Var& d) { return scale(d, 2); });
  hook(run->places[at], [](const Var&) { return Var(); });
  hook(run->places[at], [](const Var& d) { return scale(d, 2); });
  retain_grad(run->places[at]);
  const Gradients got = gradients_of(program, *run);
  const Tensor answer = scale(scale(gradients[at], 2), 2).value();
  require_same("hook", at, got[at], answer);
  const Var kept = grad(run->places[at]);
  if (kept.defined()) require_same("kept gradient", at, kept.value(), answer);
  for (std::size_t i = at + 1; i < program.places; ++i) {
    if (got[i].defined()) require_same("hook", i, got[i], gradients[i]);
  }
}

/// gradient(v, x, dy) is the gradient of sum(v dy).
void check_seed(const Program& program, Rng& rng) {
  const auto run = replay(program, Way::plain);
  const std::size_t at = static_cast<std::size_t>(rng.below(program.places));
  const Var v = run->places[at];
  if (!v.recorded()) return;
  const Tensor dy = draw(rng, v.shape(), v.dtype(), rng.below(2) == 0);
  Vars x;
  for (std::size_t i = 0; i < at; ++i) {
    if (run->places[i].recorded()) x.push_back(run->places[i]);
  }
  const Vars direct = run->tape.gradient(v, x, {.retain = true}, dy);
  const Vars summed = run->tape.gradient(sum(v * Var(dy)), x, {.retain = true});
  for (std::size_t k = 0; k < x.size(); ++k) {
    require_same("gradient of a tensor", at, direct[k].value(), summed[k].value());
  }
}

}  // namespace

void check_invariants(const Program& program, const Run& plain, const Gradients& gradients,
                      std::uint64_t seed) {
  Rng rng(seed, "invariants");
  require_same_values("paused", *replay(program, Way::paused), plain);
  if (!drops_out(program)) {
    require_same_values("inference", *replay(program, Way::inference), plain);
    require_same_values("evaluation", *replay(program, Way::evaluation), plain);
  }
  if (program.loss == absent) return;
  require_same_gradients("gradient twice", gradients_of(program, plain), gradients);
  check_way("watched", program, plain, gradients, Way::watched);
  const std::size_t before = threads();
  set_threads(before == 1 ? 2 : 1);
  check_way("threads", program, plain, gradients, Way::plain);
  set_threads(before);
  check_backward(program, gradients);
  check_frozen(program, plain, gradients, rng);
  check_hook(program, gradients, rng);
  check_seed(program, rng);
  // Other formulas, the ops of the rules: within the same bounds.
  const auto graph = replay(program, Way::plain);
  judge(program, *graph, gradients_of(program, *graph, {.create_graph = true}));
}

}  // namespace tapegrad::search
