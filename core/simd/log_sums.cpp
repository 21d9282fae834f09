#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/simd/log_sums.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <cstddef>
#include <limits>

#include "lanes-inl.h"
#include "log_sums-inl.h"
#include "math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

/// The largest exponent is taken out, unless all are -inf: then each term is 0 anyway. hn::Max may
/// prefer a number to a NaN, so the sum tells.
void log_sums_of(const double* a, const double* b, const double* c, const double* d, double* y,
                 std::size_t n) {
  for_vectors<double>(n, [=](auto tag, std::size_t j, auto lanes) HWY_ATTR {
    using V = hn::Vec<decltype(tag)>;
    const V zero = hn::Zero(tag);
    const V impossible = hn::Set(tag, -std::numeric_limits<double>::infinity());
    const V terms[] = {load(tag, a + j, lanes), load(tag, b + j, lanes),
                       hn::Add(load(tag, c + j, lanes), load(tag, d + j, lanes))};
    const V largest = hn::Max(hn::Max(terms[0], terms[1]), terms[2]);
    const V shift = hn::IfThenZeroElse(hn::Eq(largest, impossible), largest);
    V sum = zero;
    for (const V& term : terms) sum = hn::Add(sum, exp(tag, hn::Sub(term, shift)));
    const auto some = hn::Gt(sum, zero);  // then at least about 1
    const V log_sum = hn::Log(tag, hn::IfThenElse(some, sum, hn::Set(tag, 1.0)));
    const V none = hn::IfThenElse(hn::IsNaN(sum), sum, impossible);
    store(tag, hn::IfThenElse(some, hn::Add(shift, log_sum), none), y + j, lanes);
  });
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(log_sums_of);

void log_sums(const double* a, const double* b, const double* c, const double* d, double* y,
              std::size_t n) {
  HWY_DYNAMIC_DISPATCH(log_sums_of)(a, b, c, d, y, n);
}

}  // namespace tapegrad::kernels
#endif
