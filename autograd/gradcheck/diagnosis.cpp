#include "diagnosis-inl.h"

#include "blocks-inl.h"
#include "comparison-inl.h"
#include "patterns-inl.h"

namespace tapegrad::detail {
namespace {

/// Relation of a wrong gradient to the right one, and the sentence that a report says. The class
/// stands before the colon; each {} is a blank that the test of the pattern fills.
struct Pattern {
  patterns::Blanks (*test)(const Comparison&);
  const char* sentence;
};

/// The first pattern that fits decides, so simple ones stand before those that can imitate them:
/// the order is part of the definition. A question mark ends a guess at the cause.
constexpr Pattern table[] = {
    {patterns::rounding_error, "rounding: analytic is right to {} of the largest entry: {}"},
    {patterns::all_zero,
     "zero: the analytic gradient is {} everywhere: never computed, detached, or overwritten"},
    {patterns::negated, "sign: analytic = -numeric in all entries"},
    {patterns::doubled,
     "doubled: analytic = 2 x numeric in all entries: counted twice, or gradients not set to zero "
     "before{}"},
    {patterns::scaled, "factor: analytic = {} x numeric in all entries"},
    {patterns::transposed, "transpose: analytic is the transpose of numeric"},
    {patterns::axes_permuted,
     "transpose: analytic is right if read with shape ({}): axes ({}) of this one"},
    {patterns::parts_transposed, "transpose: analytic is the transpose of numeric in {}"},
    {patterns::shifted, "{}: off by one: analytic of {} k is numeric of k {} 1"},
    {patterns::reversed, "{}: reversed: analytic of {} k is numeric of {} - k"},
    {patterns::exchanged, "{}: analytic of {}"},
    {patterns::mask_missing,
     "mask: analytic is nonzero in {} that the loss does not depend on: a mask that is not "
     "applied{}"},
    {patterns::other_mask,
     "mask: analytic is nonzero in {} that the loss does not depend on, and zero in {} that it "
     "does: "
     "another mask{}"},
    {patterns::summed, "sum: analytic is the {} of numeric over axis {}, the same all along it"},
    {patterns::scaled_by_part, "factor: each {} has its own: {}: another divisor?"},
    {patterns::clipped,
     "clip: analytic is numeric clipped at {} in {}: check gradients before they are clipped"},
    {patterns::accumulated_over_time,
     "time: analytic at t is numeric summed from {}: a buffer not set to zero"},
    {patterns::right_from_a_step, "time: right from step {} on, {}"},
    {patterns::only_last_step, "time: only the last step has a gradient: nothing is carried back?"},
    {patterns::right_at_last_step,
     "time: right at the last step only: what is carried back through time?"},
    {patterns::right_up_to_a_step, "time: right up to step {}, wrong after it"},
    {patterns::constant_added,
     "value: analytic = numeric + {} in all entries: a constant is added"},
    {patterns::value_added,
     "value: analytic = numeric + {} x the value itself: weight decay, or a penalty that is not in "
     "the loss"},
    {patterns::wrong_parts, "part: wrong in {} {} only{}"},
    {patterns::wrong_entries, "part: wrong in {} only{}"},
    {patterns::mean_term,
     "term: {}, analytic - numeric is constant: the mean term of a normalisation?"},
    {patterns::variance_term,
     "term: {}, analytic - numeric is a + b x value: the variance term of a normalisation?"},
    {patterns::mask_superfluous,
     "mask: analytic is zero in {} that the loss depends on: a mask applied twice, or another one"},
    {patterns::wrong_signs, "sign: right but for the sign in {}"},
    {patterns::one_step_alone,
     "time: analytic has rank {}, numeric {}: the share of one step alone, not summed over time?"},
    {patterns::one_step_missing,
     "time: what is missing has rank {}: the share of one step, the first or the last?"},
};

constexpr const char* no_pattern =
    "other: no simple relation to the numeric gradient; the derivative of another expression?";

std::string filled_in(const std::string& sentence, const std::vector<std::string>& blanks) {
  std::string text;
  std::size_t from = 0;
  for (const std::string& words : blanks) {
    const std::size_t blank = sentence.find("{}", from);
    text += sentence.substr(from, blank - from) + words;
    from = blank + 2;
  }
  return text + sentence.substr(from);
}

}  // namespace

std::string diagnose(const GradBlock& block, std::span<const GradEntry> entries,
                     std::span<const NamedSize> sizes) {
  Comparison comparison(block, entries, sizes);
  if (comparison.entries().empty()) return {};
  // First as if all was computed in float64, then allowing for gradients in float32.
  for (const bool exact : {true, false}) {
    comparison.set_tolerance(exact);
    const double worst = comparison.worst_error();
    if (worst > 1 && worst < 10) continue;  // too near to the error bound to tell
    for (const auto& [test, sentence] : table) {
      const patterns::Blanks blanks = test(comparison);
      if (!blanks) continue;
      return filled_in(sentence, *blanks) +
             (comparison.complete()
                  ? ""
                  : " (of " +
                        plural(comparison.entries().size(), "checked entry", "checked entries") +
                        ")");
    }
  }
  return no_pattern;
}

}  // namespace tapegrad::detail
