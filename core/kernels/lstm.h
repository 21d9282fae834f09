#pragma once

#include "../cxx20.h"

#include <cstddef>

/// The contract of the fused LSTM: one layer, one direction, a whole sequence. What is inside may
/// be replaced; what is written here stays.
///
///   a_t = W_ih x_t + b_ih + W_hh (m * h_{t-1}) + b_hh          four blocks of H: i, f, g, o
///   i_t = sigmoid(a_i + p_i * c_{t-1})     f_t = sigmoid(a_f + p_f * c_{t-1})     g_t = tanh(a_g)
///   c~_t = clip(f_t * c_{t-1} + i_t * g_t)
///   o_t = sigmoid(a_o + p_o * c~_t)        h~_t = o_t * tanh(c~_t)
///   c_t = z^c_t * c_{t-1} + (1 - z^c_t) * c~_t                 h_t = z^h_t * h_{t-1} + (1 - z^h_t)
///   * h~_t
///
/// m (recurrent mask), p (peepholes), z (zoneout) and clip are options; without them m = 1, p = 0,
/// z = 0 and clip is the identity: Hochreiter and Schmidhuber 1997 with the forget gate of Gers et
/// al. 2000; peepholes Gers et al. 2002; zoneout Krueger et al. 2017; layout and names of torch's
/// nn.LSTM.
///
/// Rows are packed. Step t has active[t] rows, and active[0] >= active[1] >= ...; sequences are
/// sorted by length, longest first, and row r of step t stands at row offset(t) + r, offset(t) =
/// active[0] + ... + active[t-1]. There are N = offset(T) rows in all. If all sequences have length
/// T, N = T B and (N, .) is just (T, B, .). What would be padding does not exist, so it is neither
/// read nor multiplied. Rows active[0] .. B-1 have length 0: their final state is their initial
/// state.
///
/// All matrices are row-major and contiguous. No two pointers may alias unless it is said. Pointers
/// may have any alignment; 64 bytes are fastest. Sizes have been checked by the caller: T, B, H >=
/// 1 (I >= 1, N >= 0). Results do not depend on threads().
namespace tapegrad::kernels {

struct LstmShape {
  std::size_t steps;                    // T
  std::size_t batch;                    // B
  std::size_t input;                    // I
  std::size_t hidden;                   // H
  const std::size_t* active = nullptr;  // (T); null: B at every step
  bool reverse =
      false;  // time runs from T-1 down to 0; h_{t-1} above is then the state of step t+1
};

/// Weights, torch's layout, gates in blocks of H: i, f, g, o. Read only.
template <class T>
struct LstmWeights {
  const T* weight_ih;           // (4H, I)
  const T* weight_hh;           // (4H, H)
  const T* bias_ih = nullptr;   // (4H); null: 0
  const T* bias_hh = nullptr;   // (4H); null: 0
  const T* peephole = nullptr;  // (3, H): p_i, p_f, p_o; null: 0
};

/// Options that forward and backward must be given alike. Masks are read only, owned by the caller,
/// and must be the same numbers in both. A mask over the input is the caller's: it multiplies x
/// before, and dx after.
template <class T>
struct LstmOptions {
  const T* recurrent_mask =
      nullptr;  // m (B, H), the same at every step, scaled by 1 / (1 - p); null: 1
  const T* zoneout_h =
      nullptr;  // z^h (N, H), in [0, 1]: 0 or 1 in training, the rate in inference; null: 0
  const T* zoneout_c = nullptr;  // z^c (N, H)
  T cell_clip = 0;      // c~ is cut to [-cell_clip, cell_clip], gradient 0 where cut; 0: off
  T gradient_clip = 0;  // da_t is cut to [-g, g] at every step of backward, before anything is
                        // computed from it (Graves 2013); 0: off
};

template <class T>
struct LstmForward {
  LstmShape shape;
  LstmWeights<T> weights;
  LstmOptions<T> options;
  const T* x;            // (N, I) in
  const T* h0;           // (B, H) in; null: 0
  const T* c0;           // (B, H) in; null: 0
  T* y;                  // (N, H) out: h_t
  T* h_last;             // (B, H) out: h after each row's last step; may be null
  T* c_last;             // (B, H) out; may be null
  T* reserve = nullptr;  // lstm_reserve_size() out: what backward needs, opaque; null: inference,
                         // nothing is kept
  T* gates = nullptr;    // (N, 4H) out: i, f, g, o after their nonlinearity; null: not exported
  T* cells = nullptr;    // (N, H) out: c_t; null: not exported
};

template <class T>
struct LstmBackward {
  LstmShape shape;
  LstmWeights<T> weights;
  LstmOptions<T> options;
  const T* x;                  // (N, I) in, as in forward
  const T* h0;                 // (B, H) in, as in forward; null: 0
  const T* c0;                 // (B, H) in, as in forward; null: 0
  const T* y;                  // (N, H) in, as forward left it
  T* reserve;                  // in, as forward left it
  bool may_overwrite_reserve;  // true: the caller will not run this backward again, reserve is
                               // scratch from now on
  const T* dy = nullptr;       // (N, H) in; null: 0
  const T* dh_last = nullptr;  // (B, H) in; null: 0
  const T* dc_last = nullptr;  // (B, H) in; null: 0

  // Results; each may be null: not wanted, and not computed. Those of `accumulate` are added to
  // what is there, otherwise overwritten, and then need not be initialised.
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
  T* dc = nullptr;      // (N, H): the whole gradient of c_t; with zoneout_c, c_t is not c~_t, and
                        // what reaches c~_t through h_t is not in it
};

/// Number of rows N.
std::size_t lstm_rows(const LstmShape& shape);
/// Elements of T (not bytes) that `reserve` must have.
std::size_t lstm_reserve_size(const LstmShape& shape);

/// Scratch memory comes from the tensor pool: std::bad_alloc is the only exception, but for
/// gemm()'s ShapeError if N, 4H or I is too large for OpenBLAS. What results hold after one is
/// undefined.
template <class T>
void lstm_forward(const LstmForward<T>& call);
template <class T>
void lstm_backward(const LstmBackward<T>& call);

}  // namespace tapegrad::kernels
