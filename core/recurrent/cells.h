#pragma once

#include <cstddef>
#include <cstdint>

#include "sequence.h"

/// The contract of the fused cells that carry h alone: one layer, one direction, a whole sequence.
///
///   rnn_tanh, rnn_relu (Elman 1990), one block:
///     a_t  = W_ih x_t + b_ih + W_hh (m * h_{t-1}) + b_hh
///     h~_t = phi(a_t)                                            phi: tanh or relu
///
///   gru (Cho et al. 2014; the form that resets after the product, as torch, cuDNN and Keras have
///   it), three blocks of H: r, z, n; u_t = W_ih x_t + b_ih and s_t = W_hh (m * h_{t-1}) + b_hh:
///     r_t  = sigmoid(u_r + s_r)                                  reset gate
///     z_t  = sigmoid(u_z + s_z)                                  update gate
///     n_t  = tanh(u_n + r_t * s_n)                               candidate
///     h~_t = (1 - z_t) * n_t + z_t * h_{t-1}
///
///   all: h_t = z^h_t * h_{t-1} + (1 - z^h_t) * h~_t
///
/// m (recurrent mask) and z^h (zoneout, Krueger et al. 2017) are variants; without them m = 1, z^h =
/// 0. A mask selects: where m, z^h or 1 - z^h is 0, its factor may be infinite or NaN and the product
/// is 0. m is in products alone: the h_{t-1} of z_t * h_{t-1} has none. Layout and names: torch's
/// nn.RNN and nn.GRU.
///
/// All matrices are row-major and contiguous; rows (N, .) are packed as in sequence.h. No two
/// pointers may alias unless it is said. Pointers may have any alignment; 64 bytes are fastest.
/// Sizes have been checked by the caller: T, B, I, H >= 1 (N >= 0). G is the blocks times H.
///
/// Results do not depend on threads(). Subnormal numbers count as 0, as in lstm.h.
namespace tapegrad::kernels::cells {

enum class Cell : std::uint8_t { rnn_tanh, rnn_relu, gru };

struct Shape {
  Sequence sequence;   // T, B
  std::size_t input;   // I
  std::size_t hidden;  // H
};

/// Weights, torch's layout. Read only.
template <class T>
struct Weights {
  const T* weight_ih;          // (G, I)
  const T* weight_hh;          // (G, H)
  const T* bias_ih = nullptr;  // (G); null: 0
  const T* bias_hh = nullptr;  // (G); null: 0
};

/// Variants of the cell; forward and backward must be given the same numbers. Masks are read only
/// and owned by the caller.
template <class T>
struct Variant {
  /// m (B, H), the same at every step, scaled by 1 / (1 - p); null: 1.
  const T* recurrent_mask = nullptr;
  /// z^h (N, H), in [0, 1]: 0 or 1 in training, the rate in inference; null: 0.
  const T* zoneout = nullptr;
  /// Gradients of pre-activations (of n_t's: of u_n) are cut to [-gradient_clip, gradient_clip] at
  /// every step of backward, before anything is computed from them (Graves 2013); 0: off.
  T gradient_clip = 0;
};

template <class T>
struct Forward {
  Shape shape;
  Weights<T> weights;
  Variant<T> variant;
  const T* x;   // (N, I) in
  const T* h0;  // (B, H) in; null: 0
  T* y;         // (N, H) out: h_t
  T* h_last;    // (B, H) out: h after each row's last step; may be null
  /// reserve_size() out: what backward needs, opaque; null: inference, nothing is kept.
  T* reserve = nullptr;
  T* gates =
      nullptr;  // (N, G) out: phi(a_t); or r, z, n after their nonlinearity; null: not exported
};

template <class T>
struct Backward {
  Shape shape;
  Weights<T> weights;
  Variant<T> variant;
  const T* x;   // (N, I) in, as in forward
  const T* h0;  // (B, H) in, as in forward; null: 0
  const T* y;   // (N, H) in, as forward left it
  T* reserve;   // in, as forward left it
  /// True: the caller will not run this backward again, and reserve is scratch from now on.
  bool may_overwrite_reserve;
  const T* dy = nullptr;       // (N, H) in; null: 0
  const T* dh_last = nullptr;  // (B, H) in; null: 0

  // Results; each may be null: not wanted, and not computed. With `accumulate` they are added to
  // what is there; otherwise they are overwritten and need not be initialised.
  bool accumulate = false;
  T* dx = nullptr;          // (N, I)
  T* dh0 = nullptr;         // (B, H)
  T* dweight_ih = nullptr;  // (G, I)
  T* dweight_hh = nullptr;  // (G, H)
  T* dbias_ih = nullptr;    // (G)
  T* dbias_hh = nullptr;    // (G): the same numbers as dbias_ih, but in the GRU's last block

  // Exports, always overwritten; null: not exported.
  T* dgates = nullptr;  // (N, G): gradient of a_t, or of u_t, after gradient_clip
  T* dh = nullptr;      // (N, H): the whole gradient of h_t, from dy, dh_last and step t+1
};

/// Returns the number of blocks: G = gate_count(cell) * H.
std::size_t gate_count(Cell cell);

/// Elements of T (not bytes) that `reserve` must have.
std::size_t reserve_size(Cell cell, const Shape& shape);

/// Computes y and what else is asked for. Scratch memory comes from the tensor pool: std::bad_alloc
/// is the only exception. What results hold after one is undefined.
template <class T>
void forward(Cell cell, const Forward<T>& call);

/// Computes the gradients that are asked for. Exceptions as in forward().
template <class T>
void backward(Cell cell, const Backward<T>& call);

}  // namespace tapegrad::kernels::cells
