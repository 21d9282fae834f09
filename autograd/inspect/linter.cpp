#include "linter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

#include "../../core/dispatch-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/words-inl.h"
#include "../tape_state-inl.h"

namespace tapegrad {
namespace {

// --- what happened to a Parameter from one step to the next ---

using Events = ParameterEvents;

std::uint64_t gradients(const Events& e) { return e.backward.count + e.set_grad.count; }
std::uint64_t last_gradient(const Events& e) { return std::max(e.backward.last, e.set_grad.last); }
/// Returns whether there is a gradient that no step has taken.
bool has_new_gradient(const Events& e) {
  return last_gradient(e) > std::max(e.step.last, e.zero_grad.last);
}
/// Returns whether there is a gradient that a step has taken.
bool has_used_gradient(const Events& e) {
  return last_gradient(e) > e.zero_grad.last && e.step.last > last_gradient(e);
}

bool clipped_first(const Events& before, const Events& now) {
  return now.clip.count > before.clip.count && !has_new_gradient(before) &&
         gradients(now) == gradients(before) + 1 && now.clip.last < last_gradient(now) &&
         last_gradient(now) < now.step.last;
}
bool clipped_last(const Events& before, const Events& now) {
  return now.clip.count - before.clip.count == now.step.count - before.step.count &&
         gradients(now) > gradients(before) && last_gradient(now) < now.step.last &&
         now.step.last < now.clip.last;
}
bool added_to_used(const Events& before, const Events& now) {
  return has_used_gradient(before) && now.backward.count > before.backward.count &&
         now.zero_grad.count == before.zero_grad.count &&
         now.set_grad.count == before.set_grad.count;
}
bool stepped_again(const Events& before, const Events& now) {
  return now.step.count - before.step.count >
         gradients(now) - gradients(before) + (has_new_gradient(before) ? 1 : 0);
}

struct Misstep {
  bool (*is_made)(const Events& before, const Events& now);
  std::string_view words;
};
constexpr Misstep missteps[] = {
    {clipped_first,
     "the gradients of {} were clipped before backward() made them, and the step took them as they "
     "were: clip between backward() and step(), or by step({{.clip_norm = ...}})"},
    {clipped_last,
     "the gradients of {} were clipped after the step had taken them: clip between backward() and "
     "step(), or by step({{.clip_norm = ...}})"},
    {added_to_used,
     "backward() added to gradients of {} that a step had taken already, and the next step took "
     "the "
     "sum: call zero_grad() before each backward(), or, to add up several passes, before the first "
     "of them"},
    {stepped_again,
     "a step moved {} by a gradient that a step had taken already: call step() once after each "
     "backward(), zero_grad() before the next one, and give a parameter to one optimizer only"},
};

bool all_zero(const Tensor& t) {
  return dispatch_float(t.dtype(), [&]<class T>(T) {
    return std::ranges::all_of(t.values<T>(), [](T x) { return x == 0; });
  });
}

/// Returns "a, b, c" or "a, b, c and 9 others".
std::string listed(std::vector<std::string> names) {
  constexpr std::size_t most = 4;
  if (names.size() <= most) return joined(names, ", ");
  const std::size_t others = names.size() - (most - 1);
  names.resize(most - 1);
  return fmt::format("{} and {} others", joined(names, ", "), others);
}

constexpr const char* type = "TrainingLinter";

}  // namespace

TrainingLinter::TrainingLinter(const Parameters& parameters, const TrainingLinterOptions& options)
    : Observer(Interest::none), patience_(options.patience) {
  if (parameters.empty()) {
    fail<UsageError>(type,
                     "there are no parameters: construct the model first, and do not use it after "
                     "a move");
  }
  if (patience_ == 0) fail<UsageError>(type, "patience is 0: it must be at least 1");
  for (const NamedParameter& p : parameters.distinct()) {
    parameters_.push_back({p, p.events(), p.events(), gradients(p.events())});
  }
}

// --- passes ---

void TrainingLinter::watch(Tape& tape, const TrainingPass& pass) {
  open_.reserve(open_.size() + 1);
  observe(tape, *this);
  if (passes_ == 0) {  // a value that was set until now was loaded, not moved
    for (Watched& p : parameters_) p.first.set_value = p.parameter.events().set_value;
  }
  open_.push_back({&TapeState::of(tape), ++passes_, pass.places.size()});
  if (pass.places.empty()) return;
  const std::size_t rows = pass.carried ? std::min(places_.size(), pass.places.size()) : 0;
  for (std::size_t row = 0; row < rows && carried_.pass == 0; ++row) {
    const std::size_t before = places_[row], now = pass.places[row];
    if (now != before && now != before + 1) carried_ = {{passes_}, row, before, now};
  }
  places_.assign(pass.places.begin(), pass.places.end());
}

void TrainingLinter::on_end(const TapeState& state) noexcept {
  const auto pass = std::ranges::find(open_, &state, &Pass::state);
  if (pass == open_.end()) return;
  // A pass that is left by a throw would have been trained on.
  const bool evaluated = !state.differentiated && std::uncaught_exceptions() == 0;
  if (evaluated && state.dropped && dropout_.pass == 0) dropout_.pass = pass->number;
  for (const auto& p : state.parameters) {
    const Events& e = p->events();
    if (e.backward.count == 0 || e.optimizer.count > 0) continue;
    const auto is_it = [&](const Watched& ours) { return ours.parameter.data() == p; };
    if (std::ranges::none_of(parameters_, is_it)) stranger_ = p;
  }
  for (const NodeRecord& node : state.nodes) {
    if (pass->rows == 0 || exchanged_.pass != 0) break;
    constexpr std::array<std::string_view, 4> recurrent = {"lstm", "gru", "rnn", "scan"};
    if (std::ranges::find(recurrent, node.name) == recurrent.end()) continue;
    const Shape& y = state.slots[node.first_slot].shape;
    if (y.rank() == 3 && y[0] == pass->rows && y[1] != pass->rows)
      exchanged_ = {{pass->number}, node.name, y};
  }
  open_.erase(pass);
}

void TrainingLinter::tell_of_passes() {
  const auto tell_of = [&](Sighting& sighting, const auto& what) {
    if (sighting.pass == 0 || sighting.told) return;
    mistakes_.push_back(fmt::format("[{}] pass {}: {}", type, sighting.pass, what()));
    sighting.told = true;
  };
  tell_of(dropout_, [] {
    return "dropout was on, but no gradient was taken: evaluate on Tape::inference(), where it is "
           "off; where dropout is meant, do not watch the tape";
  });
  tell_of(exchanged_, [&] {
    return fmt::format(
        "{} gave an output of shape (T, B, H) = {} for a batch of {} sequences: the first axis of "
        "the input is the time, the second one the batch; transpose(x, 0, 1) exchanges them",
        exchanged_.op, to_string(exchanged_.y), exchanged_.y[0]);
  });
  tell_of(carried_, [&] {
    return fmt::format(
        "the state is of other sequences: row {} goes on with place {} of the data after place {}; "
        "begin with zero_state(), or read the data in their order, as StreamWindows does",
        carried_.row, carried_.now, carried_.before);
  });
}

// --- steps ---

/// Adds a mistake of this step, made by those Parameters for which is_made(p, its events) holds and
/// that were not told of before; {} of the words are their names and args.
template <class IsMade, class... Args>
void TrainingLinter::tell(std::string_view words, IsMade is_made, const Args&... args) {
  std::vector<Watched*> found;
  std::vector<std::string> names;
  for (Watched& p : parameters_) {
    if (!is_made(p, p.parameter.events()) || std::ranges::count(p.told, words) > 0) continue;
    found.push_back(&p);
    names.push_back(p.parameter.name);
  }
  if (found.empty()) return;
  mistakes_.push_back(fmt::format("[{}] step {}: {}", type, steps_,
                                  fmt::format(fmt::runtime(words), listed(names), args...)));
  for (Watched* const p : found) p->told.push_back(words);
}

void TrainingLinter::tell_of_parameters() {
  for (const Misstep& misstep : missteps) {
    tell(misstep.words, [&](const Watched& p, const Events& now) {
      return now.step.count > p.before.step.count && misstep.is_made(p.before, now);
    });
  }
  tell(
      "backward() gives gradients to {}, but no optimizer moves them: make the optimizer with all "
      "of parameters(model), after the last layer was replaced, and freeze() what is not to learn",
      [](const Watched& p, const Events& now) {
        return now.backward.count > p.first.backward.count && now.optimizer.count == 0 &&
               now.step.count == 0 && now.set_value.count == p.first.set_value.count;
      });
  const std::shared_ptr<ParameterData> stranger = stranger_.lock();
  if (stranger != nullptr && stranger->events().optimizer.count == 0) {
    tell(
        "no gradient has reached {} in {} steps, but a parameter of shape {}, which is in no "
        "optimizer, gets gradients: a layer was replaced; make the optimizer and the linter "
        "afterwards",
        [&](const Watched& p, const Events&) { return p.idle >= patience_; }, patience_,
        to_string(stranger->value().shape()));
  } else {
    tell(
        "no gradient has reached {} in {} steps: use them in the loss, with no detach() or pause() "
        "in between, or freeze() them",
        [&](const Watched& p, const Events& now) {
          return p.idle >= patience_ && gradients(now) == gradients(p.first);
        },
        patience_);
  }
  tell(
      "the gradients of {} were exactly 0 in {} steps in a row, those of others were not: look for "
      "a relu that is never positive, a factor 0, or sequences of one step",
      [&](const Watched& p, const Events&) { return p.zero >= patience_; }, patience_);
}

void TrainingLinter::count_step() {
  ++steps_;
  bool any = false;  // a gradient that is not 0
  for (Watched& p : parameters_) {
    const std::uint64_t now = gradients(p.parameter.events());
    const bool is_new = std::exchange(p.gradients, now) != now;
    const Tensor& grad = p.parameter.grad();
    const bool zero = is_new && grad.defined() && all_zero(grad);
    any = any || (is_new && grad.defined() && !zero);
    p.idle = is_new || !p.parameter.requires_grad() ? 0 : p.idle + 1;
    if (is_new) p.zero = zero ? p.zero + 1 : 0;  // a step of another network says nothing
  }
  for (Watched& p : parameters_) {
    if (!any) p.zero = 0;
  }
}

std::vector<std::string> TrainingLinter::end_step() {
  tell_of_passes();
  const auto is_moved = [](const Watched& p) {
    return p.parameter.events().step.count > p.before.step.count;
  };
  if (std::ranges::any_of(parameters_, is_moved)) {
    count_step();
    tell_of_parameters();
    for (Watched& p : parameters_) {
      if (is_moved(p)) p.before = p.parameter.events();
    }
  }
  const auto first = mistakes_.begin() + std::exchange(returned_, std::ssize(mistakes_));
  return {first, mistakes_.end()};
}

std::string TrainingLinter::report() {
  (void)end_step();
  if (mistakes_.empty()) {
    return fmt::format("[{}] no mistake in {} steps and {} passes", type, steps_, passes_);
  }
  return joined(mistakes_, "\n");
}

}  // namespace tapegrad
