#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../parameters.h"
#include "../tape.h"
#include "observer.h"

namespace tapegrad {

struct TrainingLinterOptions {
  /// Steps in a row, >= 1, in which a Parameter may have no gradient, or, of those in which it has a
  /// new one, one of zeros alone.
  std::uint64_t patience = 100;
};

/// Facts about a pass that its tape does not know.
struct TrainingPass {
  /// Places in the data of what stands in the rows of the batch: numbers of sequences, or of windows,
  /// if these are numbered in time, through one sequence after the other.
  std::span<const std::size_t> places = {};
  /// True if the pass begins with the state that the last one with places ended with.
  bool carried = false;
};

/// Linter of training loops: finds mistakes that throw nothing and only make the training worse.
///
///   TrainingLinter linter(parameters(model));
///   for (...) {
///     Tape tape = Tape::training({.seed = 1, .pass = step++});
///     linter.watch(tape);
///     ...                                                            // forward, backward, step()
///     for (const std::string& mistake : linter.end_step()) std::puts(mistake.c_str());
///   }
///
/// From the events of Parameters (ParameterEvents), and from what a watched pass has recorded when it
/// ends:
///
///   * clipping before backward, or after the step;
///   * two steps by one gradient; a gradient that was not forgotten after a step;
///   * a Parameter that no optimizer moves, or that no gradient reaches: one of a layer that was
///     replaced, for example; a gradient that is always 0;
///   * dropout in a pass that is not differentiated;
///   * with places: a batch of axes (B, T) where (T, B) is meant; a state carried to other sequences.
///
/// None of these: a frozen Parameter without gradient or optimizer; gradients of several passes that
/// are added up before a step; a clip to an infinite norm, which only measures; a pass that ends by a
/// throw.
///
/// Changes no bit of the training. Costs some comparisons for each Parameter and step, and reads the
/// gradients up to their first element that is not 0; a pass costs nothing while it is recorded.
class TrainingLinter : private Observer {
 public:
  /// Looks at what happens from now on. Throws UsageError for no parameters, an undefined one, or a
  /// patience of 0.
  explicit TrainingLinter(const Parameters& parameters, const TrainingLinterOptions& options = {});

  /// Watches a pass of training or evaluation until its tape is destroyed. In the thread of both.
  /// Throws UsageError if the tape is watched already.
  void watch(Tape& tape, const TrainingPass& pass = {});
  /// Returns the mistakes found since the last call, each with its cure and the Parameters concerned;
  /// none is told twice of the same Parameter. To be called after each step (calls in between, as
  /// after each of several passes, do no harm). Mistakes of a pass are found when its tape is gone.
  std::vector<std::string> end_step();
  /// Returns all mistakes so far, a line each; or that there was none.
  std::string report();

 private:
  struct Watched {
    NamedParameter parameter;
    ParameterEvents first, before;  // when the linter was made; after the last step that moved it
    std::uint64_t gradients;        // that it got until the last step that moved any of them
    std::uint64_t idle = 0, zero = 0;  // steps in a row without a gradient; with one of zeros
    std::vector<std::string_view> told = {};  // words about its mistakes
  };
  struct Pass {
    const TapeState* state;
    std::uint64_t number;  // of all that were watched, from 1 on
    std::size_t rows;      // of its batch; 0: unknown
  };
  /// The first pass with a mistake of one kind; 0: none.
  struct Sighting {
    std::uint64_t pass = 0;
    bool told = false;
  };

  void on_end(const TapeState& state) noexcept override;
  void tell_of_passes();
  void tell_of_parameters();
  template <class IsMade, class... Args>
  void tell(std::string_view words, IsMade is_made, const Args&... args);
  void count_step();

  std::uint64_t patience_, steps_ = 0, passes_ = 0;
  std::vector<Watched> parameters_;
  std::vector<Pass> open_;                 // passes that are not over
  std::vector<std::size_t> places_;        // of the last pass that had some
  std::vector<std::string> mistakes_;      // all of them,
  std::ptrdiff_t returned_ = 0;            // and how many of them end_step() has returned
  std::weak_ptr<ParameterData> stranger_;  // got a gradient; not ours, and no optimizer's

  Sighting dropout_;
  struct : Sighting {
    const char* op = nullptr;
    Shape y;  // its output
  } exchanged_;
  struct : Sighting {
    std::size_t row = 0, before = 0, now = 0;
  } carried_;
};

}  // namespace tapegrad
