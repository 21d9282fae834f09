#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/recurrent/scan.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cstddef>

#include "../flush_subnormals-inl.h"
#include "../kernels/parallel-inl.h"
#include "../simd/lanes-inl.h"
#include "memory-inl.h"
#include "scan.h"

// Vectors over elements that follow each other in one step, time outside: all that a step reads and
// writes is contiguous, and h_{t-1} is still in the nearest cache. Threads share the B H elements.

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

template <class T>
HWY_INLINE void move(std::size_t count, const T* a, const T* b, const T* before, T* h) {
  for_vectors<T>(count, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    const auto kept = hn::Mul(load(d, a + j, lanes), load(d, before + j, lanes));
    store(d, hn::Add(kept, load(d, b + j, lanes)), h + j, lanes);
  });
}

/// dh in: a_{t+1} dh_{t+1}; out: a_t dh_t.
template <class T>
HWY_INLINE void move_back(std::size_t count, const T* a, const T* before, const T* dy, T* dh, T* da,
                          T* db) {
  for_vectors<T>(count, [=](auto d, std::size_t j, auto lanes) HWY_ATTR {
    auto whole = load(d, dh + j, lanes);
    if (dy != nullptr) whole = hn::Add(load(d, dy + j, lanes), whole);
    if (da != nullptr) store(d, hn::Mul(whole, load(d, before + j, lanes)), da + j, lanes);
    if (db != nullptr) store(d, whole, db + j, lanes);
    store(d, hn::Mul(whole, load(d, a + j, lanes)), dh + j, lanes);
  });
}

void move_float(std::size_t count, const float* a, const float* b, const float* before, float* h) {
  move(count, a, b, before, h);
}
void move_double(std::size_t count, const double* a, const double* b, const double* before,
                 double* h) {
  move(count, a, b, before, h);
}
void move_back_float(std::size_t count, const float* a, const float* before, const float* dy,
                     float* dh, float* da, float* db) {
  move_back(count, a, before, dy, dh, da, db);
}
void move_back_double(std::size_t count, const double* a, const double* before, const double* dy,
                      double* dh, double* da, double* db) {
  move_back(count, a, before, dy, dh, da, db);
}

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels::scan {
namespace {

HWY_EXPORT(move_float);
HWY_EXPORT(move_double);
HWY_EXPORT(move_back_float);
HWY_EXPORT(move_back_double);

auto move_of(float) { return &HWY_DYNAMIC_DISPATCH(move_float); }
auto move_of(double) { return &HWY_DYNAMIC_DISPATCH(move_double); }
auto move_back_of(float) { return &HWY_DYNAMIC_DISPATCH(move_back_float); }
auto move_back_of(double) { return &HWY_DYNAMIC_DISPATCH(move_back_double); }

/// Elements [first, first + count) of B H, at one step t.
struct Run {
  std::size_t first, count;
  std::size_t at;      // among the T B H elements
  std::size_t before;  // the same elements one step earlier, among the T B H; only if !begin
  bool begin, end;     // it is their first step, before it is their initial state; their last one

  template <class T>
  const T* state_before(const T* y, const T* initial) const {
    return begin ? initial + first : y + before;
  }
};

/// Calls f(begin, end) for parts of the B H elements, on several threads if they have enough to do.
template <class F>
void for_parts(const Shape& s, F&& f) {
  constexpr std::size_t line = 64;  // elements, so that no two threads write to one cache line
  const std::size_t count = s.batch * s.hidden, most = s.steps * count / cheap_block;
  const std::size_t parts = std::clamp<std::size_t>(most, 1, threads());
  const std::size_t part = ((count + parts - 1) / parts + line - 1) / line * line;
  for_blocks(count, part, f);
}

/// Calls move(run) for elements [begin, end) whose sequences go on at step t, and rest(at, count) for
/// those behind an end.
template <class Move, class Rest>
void for_runs(const Shape& s, std::size_t t, std::size_t begin, std::size_t end, Move&& move,
              Rest&& rest) {
  const std::size_t step = s.batch * s.hidden, before = s.reverse ? t + 1 : t - 1;
  for (std::size_t n = begin; n < end;) {
    const std::size_t row = n / s.hidden;
    const std::size_t next = s.lengths == nullptr ? end : std::min(end, (row + 1) * s.hidden);
    const std::size_t length =
        s.lengths == nullptr ? s.steps : static_cast<std::size_t>(s.lengths[row]);
    if (t < length) {
      const bool at_zero = t == 0, at_end = t + 1 == length;
      const bool first = s.reverse ? at_end : at_zero, last = s.reverse ? at_zero : at_end;
      move(Run{n, next - n, t * step + n, first ? 0 : before * step + n, first, last});
    } else {
      rest(t * step + n, next - n);
    }
    n = next;
  }
}

std::size_t time(const Shape& s, std::size_t k) { return s.reverse ? s.steps - 1 - k : k; }

}  // namespace

template <class T>
void forward(const Forward<T>& call) {
  const FlushSubnormals guard;
  const Shape& s = call.shape;
  const auto move = move_of(T{});
  for_parts(s, [&](std::size_t begin, std::size_t end) {
    std::copy(call.h0 + begin, call.h0 + end, call.h_last + begin);
    for (std::size_t k = 0; k < s.steps; ++k) {
      for_runs(
          s, time(s, k), begin, end,
          [&](const Run& r) {
            move(r.count, call.a + r.at, call.b + r.at, r.state_before(call.y, call.h0),
                 call.y + r.at);
            if (r.end) std::copy_n(call.y + r.at, r.count, call.h_last + r.first);
          },
          [&](std::size_t at, std::size_t count) { std::fill_n(call.y + at, count, T{0}); });
    }
  });
}

template <class T>
void backward(const Backward<T>& call) {
  const FlushSubnormals guard;
  const Shape& s = call.shape;
  const auto move_back = move_back_of(T{});
  const Running<T> running(call.dh_last, s.batch * s.hidden, call.dh0);
  T* const dh = running.get();
  const auto in = [](T* matrix, std::size_t at) {
    return matrix != nullptr ? matrix + at : nullptr;
  };
  for_parts(s, [&](std::size_t begin, std::size_t end) {
    for (std::size_t k = s.steps; k-- > 0;) {
      for_runs(
          s, time(s, k), begin, end,
          [&](const Run& r) {
            move_back(r.count, call.a + r.at, r.state_before(call.y, call.h0),
                      call.dy != nullptr ? call.dy + r.at : nullptr, dh + r.first,
                      in(call.da, r.at), in(call.db, r.at));
          },
          [&](std::size_t at, std::size_t count) {
            for (T* const gradient : {call.da, call.db}) {
              if (gradient != nullptr) std::fill_n(gradient + at, count, T{0});
            }
          });
    }
  });
}

template void forward(const Forward<float>&);
template void forward(const Forward<double>&);
template void backward(const Backward<float>&);
template void backward(const Backward<double>&);

}  // namespace tapegrad::kernels::scan
#endif
