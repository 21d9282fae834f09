#pragma once

/// Numeric gradient checking for any code, ours or not: a loss as a callable, parameters as named
/// blocks of the caller's own memory. Needs the C++20 standard library and nothing else.
///
///     std::vector<double> W = ..., dW = my_backward(W);
///     auto report = gradcheck([&] { return my_loss(W); }, {grad_block("W", W, dW, {4, 3})});
///     if (!report) std::cerr << report << '\n';

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

namespace tapegrad {

/// pass: agrees within the computed error bound. fail: differs by more than the bound.
/// inconclusive: agrees, but the bound is so wide that agreement says nothing.
enum class Verdict { pass, fail, inconclusive };

/// "PASS", "FAIL" or "INCONCLUSIVE".
const char* to_string(Verdict verdict);

/// One named array of parameters beside the analytic gradient to be checked. The memory is the
/// caller's, row-major, and must outlive the check; an empty shape is a scalar.
struct GradBlock {
  std::string name;
  double* values = nullptr;          ///< perturbed during the check, restored bit for bit
  const double* gradient = nullptr;  ///< copied before the first call of the loss
  std::vector<std::size_t> shape;

  std::size_t size() const;  ///< number of entries, the product of shape
};

/// Makes a block from two arrays of one size; without a shape it is one-dimensional.
/// Throws std::invalid_argument if the number of values, of gradient entries and shape disagree.
GradBlock grad_block(std::string name, std::span<double> values, std::span<const double> gradient,
                     std::vector<std::size_t> shape = {});

/// Why these blocks cannot be checked: none or only empty ones, a null pointer, overlapping values,
/// a value or gradient that is not finite. Empty if all is well.
std::string check_blocks(std::span<const GradBlock> blocks);

struct GradcheckOptions {
  double rtol = 1e-7;              ///< allowed error relative to max(|analytic|, |numeric|)
  double inconclusive_at = 1e-3;   ///< a bound above this x max(|a|, |n|, block scale) is undecided
  std::size_t max_entries = 0;     ///< per block, 0 = all; else the entries of largest |gradient|,
                                   ///< first, last, smallest |gradient|, then random ones
  std::uint64_t seed = 0;          ///< picks the random ones
  double step = 0;                 ///< h, absolute; 0 = eps^(1/7) max(1, |x|)
  bool require_exercised = false;  ///< fail if a whole block has zero gradient both ways
};

/// One checked entry with all that its verdict rests on.
struct GradEntry {
  std::size_t block = 0;  ///< position in GradcheckReport::blocks
  std::size_t index = 0;  ///< flat, row-major
  double analytic = 0;
  double numeric = 0;            ///< D6
  double bound = 0;              ///< error bound of numeric
  double error = 0;              ///< |analytic - numeric|
  double step = 0;               ///< h
  std::array<double, 6> f = {};  ///< loss at x-3h, x-2h, x-h, x+h, x+2h, x+3h
  Verdict verdict = Verdict::pass;

  /// Zero gradient both ways: nothing about this entry was put to the test.
  bool exercised() const { return analytic != 0 || numeric != 0; }
};

struct GradCounts {
  std::size_t checked = 0;
  std::size_t failed = 0;
  std::size_t inconclusive = 0;
  std::size_t unexercised = 0;

  void count(const GradEntry& entry);
};

struct GradBlockSummary : GradCounts {
  std::string name;
  std::vector<std::size_t> shape;
  std::size_t size = 0;

  std::string entry_name(std::size_t index) const;  ///< logical name: `weight_hh_l0[2, 1]`
};

/// What was found. True only for Verdict::pass, printable, so that one line works in any test
/// framework: `CHECK_MESSAGE(report, report.text())`, `EXPECT_TRUE(report) << report`.
struct GradcheckReport : GradCounts {
  Verdict verdict = Verdict::fail;
  std::string reason;                    ///< why the check as a whole failed, or empty
  std::size_t evaluations = 0;           ///< calls of the loss
  std::uint64_t seed = 0;                ///< of the options
  std::vector<GradBlockSummary> blocks;  ///< as given
  std::vector<GradEntry> entries;        ///< every checked entry, worst first

  explicit operator bool() const { return verdict == Verdict::pass; }
  std::string text() const;  ///< one or two lines on pass, else about twelve; no final newline
  friend std::ostream& operator<<(std::ostream& out, const GradcheckReport& report);
};

/// Compares the analytic gradients of `blocks` with central differences of `loss`, which reads the
/// blocks' values. With f_k = loss at x + k h and the difference quotients s_k = (f_k - f_-k) /
/// 2kh,
///
///     D6 = 3/2 s_1 - 3/5 s_2 + 1/10 s_3         sixth order, the numeric derivative
///     D4 = 4/3 s_1 - 1/3 s_2                    fourth order, from the same values
///     bound = |D6 - D4| + 10 noise / h
///     noise = max(eps max |f_k|, |d6 f| / sqrt(924), median of the latter over all entries)
///
/// where d6 f is the sixth difference of f_-3 ... f_3: it cancels the smooth part of f and has
/// sqrt(924) times the standard deviation of f's rounding noise, so that float32 arithmetic inside
/// the loss, cancellation or a kink widens the bound instead of looking like a wrong gradient.
///
/// An entry fails if |a - n| > bound + rtol max(|a|, |n|); otherwise it passes if a and n are both
/// exactly zero (it then counts as not exercised), and is inconclusive if the bound exceeds
/// inconclusive_at max(|a|, |n|, largest |gradient| of its block) or is not finite. The tolerance
/// does not depend on the number of entries.
///
/// Limits: |D6 - D4| estimates the error of D4, so it is conservative for D6, but it is an
/// estimate: a loss that varies on a scale below h needs a smaller `step`. Values whose
/// neighbourhood x +- 3h leaves the domain of the loss are inconclusive; give a smaller `step`.
/// With only one or two entries the noise is estimated from one or two samples.
///
/// Calls the loss 6 times per entry and 3 times more: twice at the start, to see that it is finite
/// and repeatable, once at the end, to see that it kept no state. What cannot be checked (reason
/// in `reason`) is a fail, not an exception. An exception of the loss passes through, after the
/// values have been restored.
///
/// Sources: Fornberg 1988, "Generation of finite difference formulas on arbitrarily spaced grids",
/// table 1 (coefficients); Stan Math, finite_diff_gradient_auto (six points, h = eps^(1/7)
/// max(1, |x|); here rounded down to a power of two so that x + k h is exact or nearly so);
/// Moré & Wild 2011, "Estimating computational noise" (noise from high differences).
GradcheckReport gradcheck(const std::function<double()>& loss, std::span<const GradBlock> blocks,
                          const GradcheckOptions& options = {});

/// The same for blocks written in place: `gradcheck(loss, {grad_block(...), grad_block(...)})`.
GradcheckReport gradcheck(const std::function<double()>& loss,
                          std::initializer_list<GradBlock> blocks,
                          const GradcheckOptions& options = {});

}  // namespace tapegrad
