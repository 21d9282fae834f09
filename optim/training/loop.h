#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../core/io/archive.h"

namespace tapegrad {

/// Named numbers of an epoch, in order: {{"valid", 1.25}, {"accuracy", 0.9}}.
using Figures = std::vector<std::pair<std::string, double>>;

/// Loss of a step, the mean over `count` targets. A number alone has the count 1.
struct StepLoss {
  // NOLINTNEXTLINE(google-explicit-constructor): a step returns its loss
  StepLoss(double mean, double targets = 1) : loss(mean), count(targets) {}
  double loss, count;
};

/// A step of a training that has been done.
struct TrainingStep {
  std::uint64_t step;    // of all, from 1 on
  std::uint64_t epoch;   // from 1 on
  std::uint64_t epochs;  // that are asked for
  double loss;           // of this step
  double mean_loss;      // of this epoch so far, over its targets
  /// Share that is used up, in [0, 1], of the epochs asked for or of a callback's limit. Within an
  /// epoch whose steps have no number it does not grow.
  double done;
};

/// An epoch of a training that has been done.
struct TrainingEpoch {
  std::uint64_t epoch;   // from 1 on
  std::uint64_t epochs;  // that are asked for
  std::uint64_t step;    // of all, from 1 on
  Figures figures;       // "train", the mean loss over its targets, and what was evaluated after it

  /// Returns the figure of that name. Throws UsageError, with the names that there are.
  double operator[](std::string_view name) const;
};

/// End of a training.
struct TrainingEnd {
  enum class Cause : std::uint8_t { done, stopped, diverged };
  Cause cause = Cause::done;
  std::string why;  // in words; "" if all epochs asked for were done
};

/// Anything that sees the steps or the epochs of a training and may end it. It has one of these, or
/// more:
///
///   std::string on_step(const TrainingStep&)     returns why the training is to end, or ""
///   std::string on_epoch(const TrainingEpoch&)   likewise
///   void on_end(const TrainingEnd&)
///
/// and may have `double used()`, the share of a limit of its own that is used up, in [0, 1].
template <class C>
concept TrainingCallback = requires(C& c, const TrainingStep& s) {
  { c.on_step(s) } -> std::same_as<std::string>;
}
|| requires(C& c, const TrainingEpoch& e) {
  { c.on_epoch(e) } -> std::same_as<std::string>;
}
|| requires(C& c, const TrainingEnd& e) { c.on_end(e); };

/// A function that evaluates a model at the end of an epoch: its Figures, or one number, "valid".
template <class F>
concept EpochEvaluation = requires(F& f) {
  { f() } -> std::convertible_to<Figures>;
}
|| requires(F& f) {
  { f() } -> std::convertible_to<double>;
};

/// The elements of an epoch in an object that outlives it, as Batches, and that goes on where a loop
/// over it was left. If it has a put_back(), this is told of the element for which train() threw.
template <class R>
concept RemembersPlace = std::is_lvalue_reference_v<R> &&
    requires(const std::remove_cvref_t<R>& range) {
  { range.epoch() } -> std::convertible_to<std::uint64_t>;
};

/// A loop over epochs and steps that tells callbacks how far it is. It owns nothing but its
/// position; all callbacks do without it, in a loop written by hand.
///
///   TrainingLoop loop;
///   Progress progress;
///   EarlyStopping best(parameters(model), {.patience = 5});
///   loop.run(50, batches, [&](const auto& places) {
///     ...                                              // forward, backward, adam.step()
///     return loss.item();
///   }, [&] { return Figures{{"valid", evaluate(model)}}; }, progress, best);
///   best.restore();
///
/// Called again, it goes on where it ended; so does a training whose position was restored, from
/// the next step of its epoch on.
class TrainingLoop {
 public:
  /// Trains until `epochs` epochs in all are done, or a callback ends it, or a loss is not finite:
  /// then the weights of this step are useless, whoever kept those of an epoch before has the last
  /// good ones.
  ///
  /// `source` is what an epoch goes through: a range, the same in each epoch, as StreamWindows; a
  /// function that maps the number of an epoch, from 0 on, to a range; or Batches, whose state() is to
  /// be saved beside the loop's. `train` maps an element to a StepLoss. `evaluate` returns the Figures
  /// of an epoch. Callbacks are called in their order, all of them even if one ends the training. An
  /// exception leaves the position behind the last whole step: an element for which `train` threw
  /// comes again, to what `train` had changed by then; what a callback did not see does not.
  ///
  /// Throws UsageError for an epoch without elements, and for a count that is not finite and > 0.
  template <class Source, class Train, EpochEvaluation Evaluate, TrainingCallback... Callbacks>
  TrainingEnd run(std::uint64_t epochs, Source&& source, Train&& train, Evaluate&& evaluate,
                  Callbacks&&... callbacks) {
    begin(epochs);
    (stop(used(callbacks) >= 1 ? "a limit was used up before the first step" : ""), ...);
    while (end_.why.empty() && epoch_ < epochs) {
      if (!steps_are_done_) run_steps(epoch_of(source), train, callbacks...);
      if (!end_.why.empty()) break;  // the end of its epoch is still to come
      steps_are_done_ = true;        // if evaluate() throws, the next call begins with it
      [[maybe_unused]] const TrainingEpoch epoch = end_epoch(figures_of(evaluate));
      (stop(call_on_epoch(callbacks, epoch)), ...);
    }
    (call_on_end(callbacks, end_), ...);
    return end_;
  }
  /// Trains without evaluating anything.
  template <class Source, class Train, TrainingCallback... Callbacks>
  TrainingEnd run(std::uint64_t epochs, Source&& source, Train&& train, Callbacks&&... callbacks) {
    return run(
        epochs, source, train, [] { return Figures{}; }, callbacks...);
  }

  /// Returns how many epochs, and how many steps, were done.
  std::uint64_t epoch() const { return epoch_; }
  std::uint64_t step() const { return step_; }

  /// Saves or restores the position.
  void state(Archive& a);

 private:
  /// Trains on what is left of an epoch.
  template <class Range, class Train, class... Callbacks>
  void run_steps(Range&& range, Train& train, Callbacks&... callbacks) {
    std::uint64_t size = 0;
    if constexpr (requires { std::ranges::size(range); }) size = std::ranges::size(range);
    std::uint64_t place = 0;
    for (auto&& element : range) {
      // Done before the training was interrupted; Batches go on by themselves.
      if (place++ < steps_of_epoch_ && !RemembersPlace<Range>) continue;
      static_assert(std::convertible_to<decltype(train(element)), StepLoss>,
                    "train returns the loss of a step as a number: return loss.item();");
      [[maybe_unused]] TrainingStep step = step_on(element, range, train, size);
      ((step.done = std::max(step.done, used(callbacks))), ...);
      (stop(call_on_step(callbacks, step)), ...);
      if (!end_.why.empty()) break;
    }
    check_not_empty(place + steps_of_epoch_);
  }
  /// Trains on an element; if that throws, the element is still to be done, of Batches too.
  template <class Element, class Range, class Train>
  TrainingStep step_on(Element& element, Range& range, Train& train, std::uint64_t size) {
    try {
      return add(train(element), size);
    } catch (...) {
      if constexpr (requires { range.put_back(); }) range.put_back();
      throw;
    }
  }
  template <class Source>
  decltype(auto) epoch_of(Source& source) const {
    if constexpr (requires { source(epoch_); }) {
      return source(epoch_);
    } else {
      return (source);
    }
  }
  template <class F>
  static Figures figures_of(F& evaluate) {
    if constexpr (std::convertible_to<decltype(evaluate()), Figures>) {
      return evaluate();
    } else {
      return {{"valid", evaluate()}};
    }
  }
  template <class C>
  static double used(C& callback) {
    if constexpr (requires { callback.used(); }) return callback.used();
    return 0;
  }
  template <class C>
  static std::string call_on_step(C& callback, const TrainingStep& step) {
    if constexpr (requires { callback.on_step(step); }) return callback.on_step(step);
    return "";
  }
  template <class C>
  static std::string call_on_epoch(C& callback, const TrainingEpoch& epoch) {
    if constexpr (requires { callback.on_epoch(epoch); }) return callback.on_epoch(epoch);
    return "";
  }
  template <class C>
  static void call_on_end(C& callback, const TrainingEnd& end) {
    if constexpr (requires { callback.on_end(end); }) callback.on_end(end);
  }

  void begin(std::uint64_t epochs);
  static void check_not_empty(std::uint64_t steps);
  TrainingStep add(const StepLoss& loss, std::uint64_t steps);
  TrainingEpoch end_epoch(Figures figures);
  void stop(const std::string& why);

  std::uint64_t epoch_ = 0, step_ = 0, steps_of_epoch_ = 0;  // done
  double loss_sum_ = 0, loss_count_ = 0;                     // of this epoch
  bool steps_are_done_ = false;                              // all of this epoch; its end is not
  std::uint64_t epochs_ = 0;                                 // asked for
  TrainingEnd end_;
};

}  // namespace tapegrad
