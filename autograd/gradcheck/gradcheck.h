#pragma once

/// Numeric gradient checking for any code, ours or not. Needs the C++20 standard library and
/// nothing else: no tape, no test framework, no exceptions.
///
///     std::vector<double> W = ..., dW = my_backward(W);
///     auto report = gradcheck([&] { return my_loss(W); }, {grad_block("W", W, dW, {4, 3})});
///     if (!report) std::cerr << report << '\n';

#include "../../core/cxx20.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tapegrad {

/// Verdict on an entry. pass: the gradients agree within the computed error bound. fail: they differ
/// by more than the bound, and other steps confirm that. inconclusive: neither, as when the bound is
/// so wide that agreement says nothing. kink: the loss has no derivative there, and the analytic
/// gradient lies between the one-sided slopes.
enum class Verdict { pass, fail, inconclusive, kink };

/// Returns "PASS", "FAIL", "INCONCLUSIVE" or "KINK".
const char* to_string(Verdict verdict);

/// A named array of parameters beside the analytic gradient to be checked, in memory of the caller.
/// The check reads and writes the array entry by entry and restores it bit for bit; the memory must
/// outlive the check.
struct GradBlock {
  std::string name;
  std::vector<std::size_t> shape;  ///< row-major; empty: a scalar
  std::function<double(std::size_t)> get;
  std::function<void(std::size_t, double)> set;
  std::function<double(std::size_t)> gradient;

  /// Names of the equal parts of the first axis: {"i", "f", "g", "o"} for an LSTM's weights. Rows
  /// are then called "gate f, row 2".
  std::vector<std::string> gates = {};
  bool column_major = false;  ///< the entries lie column after column, as Eigen's
  /// The loss is defined for values in [low, high]: the stencil stays inside.
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  std::span<const std::byte> memory = {};  ///< where the values lie; empty if unknown
  std::string problem = {};                ///< why this block cannot be checked, or empty

  std::size_t size() const;                         ///< number of entries, the product of shape
  std::string entry_name(std::size_t index) const;  ///< `weight_hh_l0[gate f, row 2, col 1]`
};

namespace detail {
GradBlock make_block(std::string name, std::size_t values, std::size_t gradients,
                     std::vector<std::size_t> shape, std::span<const std::byte> memory);
}

/// Makes a block over two arrays of float or double; without a shape it is one-dimensional. Sizes
/// or a shape that do not fit, and a null pointer, fail the check with a reason.
template <class Value, class Gradient>
GradBlock grad_block(std::string name, Value* values, const Gradient* gradient, std::size_t size,
                     std::vector<std::size_t> shape = {}, std::size_t gradient_size = SIZE_MAX) {
  static_assert(std::is_floating_point_v<Value> && std::is_floating_point_v<Gradient>);
  static_assert(sizeof(Value) <= sizeof(double), "a long double would not be restored bit for bit");
  GradBlock block = detail::make_block(
      std::move(name), size, gradient_size == SIZE_MAX ? size : gradient_size, std::move(shape),
      std::as_bytes(std::span<const Value>(values, values == nullptr ? 0 : size)));
  if (size > 0 && (values == nullptr || gradient == nullptr)) {
    block.problem = "block " + block.name + ": its " + (values == nullptr ? "values" : "gradient") +
                    " pointer is null: it must point at the entries";
  }
  block.get = [values](std::size_t i) { return static_cast<double>(values[i]); };
  block.set = [values](std::size_t i, double v) { values[i] = static_cast<Value>(v); };
  block.gradient = [gradient](std::size_t i) { return static_cast<double>(gradient[i]); };
  return block;
}

/// Makes a block over anything with data() and size(): std::vector, std::span, Eigen's matrices.
template <class Values, class Gradients>
requires requires(Values& v, const Gradients& g) { v.data(), v.size(), g.data(), g.size(); }
GradBlock grad_block(std::string name, Values&& values, const Gradients& gradient,
                     std::vector<std::size_t> shape = {}) {
  return grad_block(std::move(name), values.data(), gradient.data(),
                    static_cast<std::size_t>(values.size()), std::move(shape),
                    static_cast<std::size_t>(gradient.size()));
}

/// A size by its name, for the diagnosis: {"T", 20}, {"B", 4}.
struct NamedSize {
  std::string name;
  std::size_t size = 0;
};

struct GradcheckOptions {
  double rtol = 1e-7;  ///< allowed error relative to max(|analytic|, |numeric|)
  /// Allowed error, absolute: what cancels in an analytic gradient leaves rounding behind, of a
  /// size that the loss does not show. 1e-14 times the size of the loss is enough for values of
  /// order one: of 30,000 right gradients of random functions it left one FAIL, of values of 1e7,
  /// where 0 gave five.
  double atol = 0;
  double inconclusive_at = 1e-3;  ///< a bound above this x max(|a|, |n|, block scale) is undecided
  bool accept_inconclusive = false;  ///< undecided entries do not keep the check from passing
  bool strict = false;               ///< entries that are zero both ways fail the check

  /// Blocks are checked in full as long as that takes at most so many calls of the loss; else each
  /// block of more entries is sampled: `entries` of them (at least 1: first, last, those of largest
  /// and smallest |gradient|, then random ones) and the derivative along `directions` random
  /// directions.
  std::size_t budget = 30000;
  std::size_t entries = 16;
  std::size_t directions = 8;
  std::uint64_t seed = 0;  ///< of the sample
  double step = 0;  ///< h, absolute, and no other; less at the edge of a domain; 0: by the noise

  /// Called before every call of the loss: set the seed of dropout and of all random draws.
  std::function<void()> reseed = {};
  /// Computes the analytic gradients in place again: called twice, they must be the same each time.
  std::function<void()> backward = {};
  /// Returns a hash of the branches taken in the last call of the loss: entries where it changes
  /// within the stencil are at a kink. `where` names the first branch that differs from the call
  /// before the last.
  std::function<std::uint64_t()> branches = {};
  std::function<std::string()> where = {};
  std::vector<NamedSize> sizes = {};  ///< for the diagnosis
  /// Checks only this entry: what the report's last line says.
  std::string only_block = {};
  std::size_t only_entry = 0;
};

/// A checked entry or direction, with all numbers that its verdict rests on.
struct GradEntry {
  std::size_t block = 0;   ///< position in GradcheckReport::blocks
  std::size_t index = 0;   ///< flat, as it lies in memory; of a direction: its number
  bool direction = false;  ///< along a random unit vector through the whole block
  double analytic = 0;
  double numeric = 0;            ///< D6
  double bound = 0;              ///< error bound of numeric
  double error = 0;              ///< |analytic - numeric|
  double step = 0;               ///< h
  std::array<double, 6> f = {};  ///< loss at x-3h, x-2h, x-h, x+h, x+2h, x+3h
  Verdict verdict = Verdict::pass;
  double left = 0, right = 0;  ///< one-sided slopes, of a kink
  std::string branch = {};     ///< where a kink lies, if known: "relu#4[2, 17]"

  /// Returns false if both gradients are zero: then the entry was not put to the test.
  bool exercised() const { return analytic != 0 || numeric != 0; }
};

struct GradCounts {
  std::size_t checked = 0;
  std::size_t failed = 0;
  std::size_t inconclusive = 0;
  std::size_t kinks = 0;
  std::size_t unexercised = 0;

  void count(const GradEntry& entry);
};

struct GradBlockSummary : GradCounts {
  GradBlock block;  ///< as given; its memory may be gone
  std::size_t size = 0;
  std::size_t directions = 0;  ///< checked
  double scale = 0;            ///< largest |analytic|
  double missed = 0;           ///< a single entry wrong by `scale`/100 is missed with p <= this
  std::string diagnosis = {};  ///< class and words, if it failed
};

/// Result of a check. True only if no entry failed and all were decided; printable, so that one line
/// works in any test framework: `CHECK(report)` in doctest and Catch2,
/// `EXPECT_TRUE(report) << report` in GoogleTest, `assert(report || !(std::cerr << report))`.
struct GradcheckReport : GradCounts {
  Verdict verdict = Verdict::fail;
  std::string reason;                    ///< why the check as a whole failed, or empty
  std::size_t evaluations = 0;           ///< calls of the loss
  double noise = 0;                      ///< rounding noise of the loss, measured
  std::uint64_t seed = 0;                ///< of the options
  std::vector<GradBlockSummary> blocks;  ///< as given
  std::vector<GradEntry> entries;        ///< every checked entry and direction, worst first

  explicit operator bool() const { return verdict == Verdict::pass; }
  std::string entry_name(const GradEntry& entry) const;
  /// Returns a line or two on pass, else about twelve; no final newline. Verdicts in colour for a
  /// terminal: `text(isatty(2))`. The operator << prints none, because test frameworks write files.
  std::string text(bool colour = false) const;
  std::string json() const;  ///< the same and every entry, one object
  friend std::ostream& operator<<(std::ostream& out, const GradcheckReport& report);
};

/// Compares the analytic gradients of `blocks` with central differences of `loss`, which reads the
/// blocks' values. With f_k = loss at x + k h and s_k = (f_k - f_-k) / 2kh,
///
///     D6    = 3/2 s_1 - 3/5 s_2 + 1/10 s_3      sixth order, the numeric derivative n
///     D4    = 4/3 s_1 - 1/3 s_2                 fourth order, from the same values
///     bound = |D6 - D4| + 10 noise / h
///     h     = (noise / |f|)^(1/7) max(1, |x|)
///
/// where the noise is the rounding noise of the loss, measured. Entry a passes if
///
///     |a - n| <= bound + rtol max(|a|, |n|) + atol + 16 eps (largest |gradient| of its block)
///
/// and the bound is at most inconclusive_at max(|a|, |n|, largest |gradient| of its block); it fails
/// if the difference is more than twice the bound and other steps confirm that. All else is a kink
/// or inconclusive. docs/gradient_testing.md, "How an entry is decided", has the whole procedure
/// and its sources.
///
/// Before all this: `backward` run, loss finite and repeatable, gradients finite, a second
/// `backward` equal to the first; and at the end: no state kept. What cannot be checked is a FAIL
/// with a reason. An exception of the loss passes through, after the values have been restored.
///
/// Limits: |D6 - D4| is an estimate (of the error of D4, so conservative for D6): a loss that varies
/// on a scale that none of the steps meets is not noticed.
GradcheckReport gradcheck(const std::function<double()>& loss, std::span<const GradBlock> blocks,
                          const GradcheckOptions& options = {});

/// Checks blocks written in place: `gradcheck(loss, {grad_block(...), grad_block(...)})`.
GradcheckReport gradcheck(const std::function<double()>& loss,
                          std::initializer_list<GradBlock> blocks,
                          const GradcheckOptions& options = {});

}  // namespace tapegrad
