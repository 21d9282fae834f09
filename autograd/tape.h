#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "../core/rng.h"
#include "parameter.h"
#include "var.h"

namespace tapegrad {

/// The record of one pass and its context: whether it records, its mode, its random stream. Make
/// one for each pass, inside the loop: it allocates nothing, its memory is recycled. A tape belongs
/// to the thread that made it. A throw while recording leaves an unfinished node that nothing uses;
/// a throw in backward leaves every Parameter as it was, and the pass is spent. Scopes, hooks, kept
/// gradients and observers are in inspect/.
class Tape {
 public:
  enum class Mode : std::uint8_t { unspecified, evaluation, training };
  struct Stream {
    std::uint64_t seed = 0;
    std::uint64_t pass = 0;  // number of the training step: another pass, other masks
  };
  struct Options {
    bool retain = false;        // keep the rules, so that the pass can be differentiated again
    bool create_graph = false;  // record the gradients, to differentiate them; implies retain
  };

  /// Makes a tape that records. Dropout with p > 0 throws on it: say training() or evaluation().
  Tape() : Tape(true, Mode::unspecified, {}) {}
  /// Records, dropout on; masks are a function of (seed, pass, site, place).
  static Tape training(Stream stream) { return {true, Mode::training, stream}; }
  /// Records, dropout off.
  static Tape evaluation() { return {true, Mode::evaluation, {}}; }
  /// Records nothing, dropout off: every result is a constant.
  static Tape inference() { return {false, Mode::evaluation, {}}; }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape();

  /// Records a value to differentiate with respect to, by gradient(). Throws DtypeError for int32.
  Var leaf(Tensor value);
  /// Returns the parameter on this tape, the same node each time; a constant if frozen or not
  /// recording. Throws UsageError if it is undefined, or was changed since its first leaf.
  Var leaf(const ParameterHandle& parameter) { return leaf(parameter.data()); }
  Var leaf(const std::shared_ptr<ParameterData>& parameter);

  /// Adds d loss / d parameter to the gradient of every Parameter that `loss` depends on.
  /// Throws ShapeError unless `loss` has one element; UsageError if it is not of this tape, depends
  /// on no Parameter, if its pass was differentiated before without `retain`, or for `create_graph`
  /// while the tape is paused; in each case nothing has changed.
  void backward(const Var& loss, Options options);
  void backward(const Var& loss) { backward(loss, Options{}); }
  /// Returns d y / d x for each x, times dy (like y; needed unless y is one number); touches no
  /// Parameter. Zeros if y does not depend on x. The results share no memory, with dy neither.
  /// Visits only nodes between x and y. Throws as backward() does.
  Vars gradient(const Var& y, const Vars& x, Options options, Var dy = {});
  Vars gradient(const Var& y, const Vars& x) { return gradient(y, x, Options{}); }

  /// Throws UsageError if x, which the caller of `op` knows by `name`, was recorded in another pass,
  /// or on another tape, where this one's leaves would be constants and never learn.
  void require_same_tape(const Var& x, const char* op, std::string_view name = "x") const;

  bool recording() const;
  Mode mode() const { return mode_; }
  /// Returns the key of the random stream at a named site of this pass; unnamed sites are numbered
  /// in the order of asking.
  RandomKey random_key(std::string_view site = "");
  /// Returns the number of nodes recorded in this pass.
  std::size_t size() const;
  /// Gives back the memory that idle tapes of the process keep.
  static void release_memory();

  /// Ends a pause() when it is destroyed. Several may end in any order; the pass ends them all.
  class [[nodiscard]] Guard {
   public:
    explicit Guard(TapeState& state);
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard();

   private:
    TapeState& state_;
    std::uint64_t pass_;
  };
  /// Stops recording while the Guard lives: results are constants.
  Guard pause() { return Guard(*state_); }

 private:
  friend struct TapeState;
  Tape(bool recording, Mode mode, Stream stream);

  TapeState* state_;
  Mode mode_;
  Stream stream_;
  std::uint64_t unnamed_sites_ = 0;
};

}  // namespace tapegrad
