#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "../core/rng.h"
#include "parameter.h"
#include "var.h"

namespace tapegrad {

class Observer;

/// The record of one pass and its context: whether it records, whether dropout is on, its random
/// stream. Make one for each pass: it allocates nothing, its memory is recycled. A tape belongs to
/// the thread that made it. A throw while recording leaves an unfinished node that nothing uses; a
/// throw in backward leaves every Parameter as it was, and the pass is spent.
class Tape {
 public:
  enum class Dropout : std::uint8_t { undecided, off, on };
  struct Stream {
    std::uint64_t seed = 0;
    std::uint64_t pass = 0;  // number of the training step: another pass, other masks
  };
  struct Options {
    bool retain = false;        // keep the rules, so that the pass can be differentiated again
    bool create_graph = false;  // record the gradients, to differentiate them; implies retain
  };

  /// Records. Dropout with p > 0 refuses to guess and throws: say training() or evaluation().
  Tape() : Tape(true, Dropout::undecided, {}) {}
  /// Records, dropout on; masks are a function of (seed, pass, site, place).
  static Tape training(Stream stream) { return {true, Dropout::on, stream}; }
  /// Records, dropout off.
  static Tape evaluation() { return {true, Dropout::off, {}}; }
  /// Records nothing, dropout off: every result is a constant.
  static Tape inference() { return {false, Dropout::off, {}}; }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;
  ~Tape();

  /// A value to differentiate with respect to, by gradient(). Throws DtypeError for int32.
  Var leaf(Tensor value);
  /// The parameter on this tape: one node however often it is asked for, a constant if frozen or
  /// not recording. Throws UsageError if it is undefined.
  Var leaf(const ParameterHandle& parameter) { return leaf(parameter.data()); }
  Var leaf(const std::shared_ptr<ParameterData>& parameter);

  /// Adds d loss / d parameter to the gradient of every Parameter that `loss` depends on.
  /// Throws ShapeError unless `loss` has one element; UsageError if it is not of this tape, depends
  /// on no Parameter, if its pass was differentiated before without `retain`, or for `create_graph`
  /// while the tape is paused; in each case nothing has changed.
  void backward(const Var& loss, Options options);
  void backward(const Var& loss) { backward(loss, Options{}); }
  /// d y / d x for each x, times dy (like y; needed unless y is one number); touches no Parameter.
  /// Zeros if y does not depend on x. Visits only nodes between x and y. Throws as backward() does.
  Vars gradient(const Var& y, const Vars& x, Options options, Var dy = {});
  Vars gradient(const Var& y, const Vars& x) { return gradient(y, x, Options{}); }

  /// Called with d y / d v in every sweep that reaches v, when it is complete; a defined result
  /// takes its place, for whatever is before v too. Several hooks of one v run in the order given.
  /// backward() goes down to v even if no Parameter is below it, gradient() only to its x. Throws
  /// UsageError unless v was recorded in this pass, and for an empty hook.
  using Hook = std::function<Var(const Var& gradient)>;
  void hook(const Var& v, Hook hook);
  /// Keeps the gradient of v, after its hooks so far, from the next sweeps: grad(v) is then that of
  /// the last one that reached v, undefined if none did; UsageError if it was never retained.
  void retain_grad(const Var& v);
  Var grad(const Var& v) const;
  /// Shows all that happens on this tape to `observer`, which must outlive it; null: nobody. Throws
  /// UsageError if there is one already.
  void observe(Observer* observer);

  /// For layers: throws UsageError if x was recorded on another tape, where this one's leaves would
  /// be constants and never learn.
  void check_input(const Var& x, const char* op) const;

  bool recording() const;
  Dropout dropout() const { return dropout_; }
  /// Key of the random stream at a named site of this pass; unnamed sites are numbered in the order
  /// of asking.
  RandomKey random_key(std::string_view site = "");
  /// Number of nodes recorded in this pass.
  std::size_t size() const;
  /// Gives back the memory that idle tapes of the process keep.
  static void release_memory();

  /// Ends what it stands for, a pause or a scope, when it goes or the pass ends; the last one made
  /// goes first.
  class [[nodiscard]] Until {
   public:
    Until(std::uint32_t& place, std::uint32_t value, const std::uint64_t& pass)
        : place_(place), before_(place), now_(pass), pass_(pass) {
      place = value;
    }
    Until(const Until&) = delete;
    Until& operator=(const Until&) = delete;
    ~Until() {
      if (now_ == pass_) place_ = before_;
    }

   private:
    std::uint32_t& place_;
    std::uint32_t before_;
    const std::uint64_t& now_;
    std::uint64_t pass_;
  };
  /// Until it goes, nothing is recorded: results are constants.
  Until pause();
  /// Until it goes, what is recorded stands under a name, as in "step.1" or "decoder/step.1".
  Until scope(std::string_view name, std::size_t index = SIZE_MAX);

 private:
  friend struct TapeState;
  Tape(bool recording, Dropout dropout, Stream stream);

  TapeState* state_;
  Dropout dropout_;
  Stream stream_;
  std::uint64_t unnamed_sites_ = 0;
};

}  // namespace tapegrad
