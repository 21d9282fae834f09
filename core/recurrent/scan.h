#pragma once

#include "../cxx20.h"

#include <cstddef>
#include <cstdint>

/// The contract of the fused linear recurrence without a product: B sequences of H independent
/// elements,
///
///   h_t = a_t * h_{t-1} + b_t,     y_t = h_t     (each product and sum is rounded, as written)
///
/// and its gradient, with dh_t = dy_t + a_{t+1} * dh_{t+1} (at a sequence's last step dh_last stands
/// for the second term):
///
///   db_t = dh_t,    da_t = dh_t * h_{t-1},    dh_0 = a_1 * dh_1
///
/// All matrices are row-major and contiguous. Sequence b has lengths[b] steps: what is behind its end
/// is not read, and results are 0 there; its last state is that at the end, for length 0 the first
/// one. No two pointers may alias. Sizes have been checked by the caller: T, B, H >= 1.
///
/// Results do not depend on threads() or the instruction set. Subnormal numbers count as 0, as in
/// lstm.h.
namespace tapegrad::kernels::scan {

struct Shape {
  std::size_t steps;                      // T
  std::size_t batch;                      // B
  std::size_t hidden;                     // H
  const std::int32_t* lengths = nullptr;  // (B), each in [0, T]; null: T
  /// Time runs from each sequence's end to its beginning; h_{t-1} above is then that of step t+1.
  bool reverse = false;
};

template <class T>
struct Forward {
  Shape shape;
  const T* a;   // (T, B, H) in
  const T* b;   // (T, B, H) in
  const T* h0;  // (B, H) in
  T* y;         // (T, B, H) out
  T* h_last;    // (B, H) out
};

template <class T>
struct Backward {
  Shape shape;
  const T* a;        // (T, B, H) in, as in forward
  const T* h0;       // (B, H) in, as in forward
  const T* y;        // (T, B, H) in, as forward left it
  const T* dy;       // (T, B, H) in; null: 0
  const T* dh_last;  // (B, H) in; null: 0
  // Results, overwritten; each may be null: not wanted.
  T* da;   // (T, B, H)
  T* db;   // (T, B, H)
  T* dh0;  // (B, H)
};

/// Computes y and h_last.
template <class T>
void forward(const Forward<T>& call);
/// Computes the gradients that are asked for. Scratch memory comes from the tensor pool:
/// std::bad_alloc is the only exception.
template <class T>
void backward(const Backward<T>& call);

}  // namespace tapegrad::kernels::scan
