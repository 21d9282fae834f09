#pragma once

#include <cstddef>
#include <cstdint>

#include "sequence.h"

/// The contract of the fused LSTM: one layer, one direction, a whole sequence. What is inside may
/// be replaced.
///
///   a_t  = W_ih x_t + b_ih + W_hh (m * h_{t-1}) + b_hh         four blocks of H: i, f, g, o
///   i_t  = sigmoid(a_i + p_i * c_{t-1})                        input gate
///   f_t  = sigmoid(a_f + p_f * c_{t-1})                        forget gate
///   g_t  = tanh(a_g)                                           candidate
///   c~_t = clip(f_t * c_{t-1} + i_t * g_t)
///   o_t  = sigmoid(a_o + p_o * c~_t)                           output gate
///   h~_t = o_t * tanh(c~_t)
///   c_t  = z^c_t * c_{t-1} + (1 - z^c_t) * c~_t
///   h_t  = z^h_t * h_{t-1} + (1 - z^h_t) * h~_t
///
/// With a `table`, row id_t of it is in place of W_ih x_t: a_t = table[id_t] + b_ih + .... Then x,
/// weight_ih and their gradients are not used, and I is 0.
///
/// m (recurrent mask), p (peepholes), z (zoneout) and clip are variants; without them m = 1, p = 0,
/// z = 0 and clip is the identity. Hochreiter and Schmidhuber 1997, with the forget gate of Gers et
/// al. 2000; peepholes: Gers et al. 2002; zoneout: Krueger et al. 2017; layout and names: torch's
/// nn.LSTM. A mask selects: where m, z or 1 - z is 0, its factor may be infinite or NaN and the
/// product is 0.
///
/// Composed of primitive ops only, not in this contract: projection (h of another size than c),
/// coupled input and forget gates, layer norm inside the cell.
///
/// All matrices are row-major and contiguous; rows (N, .) are packed as in sequence.h. No two
/// pointers may alias unless it is said. Pointers may have any alignment; 64 bytes are fastest.
/// Sizes and ids have been checked by the caller: T, B, H >= 1 (I >= 1, N >= 0).
///
/// Results do not depend on threads(). Subnormal numbers count as 0, in data, results and variants
/// (FlushSubnormals): a subnormal clip is off, a subnormal mask or rate is 0.
namespace tapegrad::kernels::lstm {

struct Shape {
  Sequence sequence;   // T, B
  std::size_t input;   // I
  std::size_t hidden;  // H
};

/// Weights, torch's layout, gates in blocks of H: i, f, g, o. Read only.
template <class T>
struct Weights {
  const T* weight_ih;           // (4H, I)
  const T* weight_hh;           // (4H, H)
  const T* bias_ih = nullptr;   // (4H); null: 0
  const T* bias_hh = nullptr;   // (4H); null: 0
  const T* peephole = nullptr;  // (3, H): p_i, p_f, p_o; null: 0
};

/// Variants of the cell; forward and backward must be given the same numbers. Masks are read only
/// and owned by the caller. A mask over the input is the caller's: it multiplies x before, and dx
/// after.
template <class T>
struct Variant {
  /// m (B, H), the same at every step, scaled by 1 / (1 - p); null: 1.
  const T* recurrent_mask = nullptr;
  /// z^h (N, H), in [0, 1]: 0 or 1 in training, the rate in inference; null: 0.
  const T* zoneout_h = nullptr;
  /// z^c (N, H), likewise.
  const T* zoneout_c = nullptr;
  /// c~ is cut to [-cell_clip, cell_clip], gradient 0 where cut; 0: off.
  T cell_clip = 0;
  /// da_t is cut to [-gradient_clip, gradient_clip] at every step of backward, before anything is
  /// computed from it (Graves 2013); 0: off.
  T gradient_clip = 0;
};

template <class T>
struct Forward {
  Shape shape;
  Weights<T> weights;
  Variant<T> variant;
  const T* x;   // (N, I) in
  const T* h0;  // (B, H) in; null: 0
  const T* c0;  // (B, H) in; null: 0
  T* y;         // (N, H) out: h_t
  T* h_last;    // (B, H) out: h after each row's last step; may be null
  T* c_last;    // (B, H) out; may be null
  /// reserve_size() out: what backward needs, opaque; null: inference, nothing is kept.
  T* reserve = nullptr;
  T* gates = nullptr;        // (N, 4H) out: i, f, g, o after their nonlinearity; null: not exported
  T* cells = nullptr;        // (N, H) out: c_t; null: not exported
  const T* table = nullptr;  // (V, 4H) in: W_ih x for each of V possible x; null: none
  const std::int32_t* ids = nullptr;  // (N) in, in [0, V); null without a table
};

template <class T>
struct Backward {
  Shape shape;
  Weights<T> weights;
  Variant<T> variant;
  const T* x;   // (N, I) in, as in forward
  const T* h0;  // (B, H) in, as in forward; null: 0
  const T* c0;  // (B, H) in, as in forward; null: 0
  const T* y;   // (N, H) in, as forward left it
  T* reserve;   // in, as forward left it
  /// True: the caller will not run this backward again, and reserve is scratch from now on.
  bool may_overwrite_reserve;
  const T* dy = nullptr;       // (N, H) in; null: 0
  const T* dh_last = nullptr;  // (B, H) in; null: 0
  const T* dc_last = nullptr;  // (B, H) in; null: 0

  // Results; each may be null: not wanted, and not computed. With `accumulate` they are added to
  // what is there; otherwise they are overwritten and need not be initialised.
  bool accumulate = false;
  T* dx = nullptr;          // (N, I)
  T* dh0 = nullptr;         // (B, H)
  T* dc0 = nullptr;         // (B, H)
  T* dweight_ih = nullptr;  // (4H, I)
  T* dweight_hh = nullptr;  // (4H, H)
  T* dbias = nullptr;       // (4H): gradient of bias_ih, and the same for bias_hh
  T* dpeephole = nullptr;   // (3, H)

  // Exports, always overwritten; null: not exported.
  T* dgates = nullptr;  // (N, 4H): gradient of the pre-activations a_t, after gradient_clip
  T* dh = nullptr;      // (N, H): the whole gradient of h_t, from dy, dh_last and step t+1
  /// (N, H): the whole gradient of c_t; with zoneout_c, c_t is not c~_t, and what reaches c~_t
  /// through h_t is not in it.
  T* dc = nullptr;

  // With a table; dtable is a result like the others.
  std::size_t table_rows = 0;         // V
  const std::int32_t* ids = nullptr;  // (N) in, as in forward
  T* dtable = nullptr;                // (V, 4H)
};

/// Elements of T (not bytes) that `reserve` must have.
std::size_t reserve_size(const Shape& shape);

/// Computes y and what else is asked for. Scratch memory comes from the tensor pool: std::bad_alloc
/// is the only exception. What results hold after one is undefined.
template <class T>
void forward(const Forward<T>& call);

/// Computes the gradients that are asked for. Exceptions as in forward().
template <class T>
void backward(const Backward<T>& call);

}  // namespace tapegrad::kernels::lstm
