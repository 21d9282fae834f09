#include "lstm.h"

#include <algorithm>
#include <cstddef>
#include <functional>

#include "../pool.h"
#include "../threads.h"
#include "gemm.h"
#include "lstm_pointwise-inl.h"

// How the formulas of lstm.h are computed.
//
// Forward: x_t W_ih^T is computed for many steps in one matrix product. Then, step by step,
// h_{t-1} W_hh^T is added in another one, and the elements follow (lstm_pointwise-inl.h).
// Backward: da_t and dh_{t-1} = da_t W_hh step by step, the other way round. Then dx = da W_ih,
// dW_ih = da^T x, dW_hh = da^T h_before and db = sum of da, each over all N rows at once.
//
// The states h and c, and backward their gradients, are *running*: one (B, H) buffer each, in which
// step t moves the rows [0, active[t]) on. The rows behind them still hold their initial state, or
// hold their final state already. So the first step, packed rows, sequences of length 0 and both
// directions are no special cases.
//
// Rows do not know of each other until the sums over N, so they are split into blocks, and a block
// runs through all steps in one thread without waiting for others.
//
// `reserve` is three matrices, one after the other:
//   gates     (N, 4H)  i_t, f_t, g_t, o_t; backward may put da_t in their place
//   c_before  (N, H)   c_{t-1}
//   tanh_c    (N, H)   tanh(c~_t)

namespace tapegrad::kernels {
namespace {

/// How many rows a block has. Each block's products pack W_hh anew, so more blocks cost speed in
/// one thread: at H = 256 two instead of one cost 7 % with B = 32 and 4 % with B = 64, and take
/// 0.84 and 0.85 times as long in two threads. Results may depend on it in the last bit, so it is
/// not a function of threads().
std::size_t block_rows(std::size_t batch) {
  constexpr std::size_t least = 16, most = 32, tile = 4;
  if (batch <= least) return batch;
  const std::size_t blocks = std::max<std::size_t>(2, (batch + most - 1) / most);
  const std::size_t even = (batch + blocks - 1) / blocks;
  return (even + tile - 1) / tile * tile;
}

/// Inputs of several steps are multiplied together until they have this many rows: more would not
/// be faster, and inference has to keep the result.
constexpr std::size_t chunk_rows = 1024;

/// Uninitialised memory for the time of one call.
template <class E>
class Scratch {
 public:
  explicit Scratch(std::size_t count)
      : bytes_(count * sizeof(E)),
        data_(count > 0 ? static_cast<E*>(pool::allocate(bytes_)) : nullptr) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (data_ != nullptr) pool::release(data_, bytes_);
  }
  /// Null if the count was 0.
  E* get() const { return data_; }
  E& operator[](std::size_t index) const { return data_[index]; }

 private:
  std::size_t bytes_;
  E* data_;
};

template <class T>
void copy_or_zero(const T* from, std::size_t count, T* to) {
  if (from != nullptr) {
    std::copy_n(from, count, to);
  } else {
    std::fill_n(to, count, T{0});
  }
}

/// Some rows of one step.
struct StepRows {
  std::size_t count;
  std::size_t first;     // among all N
  std::size_t in_batch;  // among the B rows of a state
};

/// Where the rows of each step stand, and which of them belong to which block.
class Steps {
 public:
  explicit Steps(const LstmShape& shape)
      : shape_(shape), block_rows_(block_rows(shape.batch)), offsets_(shape.steps + 1) {
    offsets_[0] = 0;
    for (std::size_t t = 0; t < shape.steps; ++t) {
      offsets_[t + 1] = offsets_[t] + (shape.active != nullptr ? shape.active[t] : shape.batch);
    }
  }

  /// The k-th step in the order in which states move on.
  std::size_t at(std::size_t k) const { return shape_.reverse ? shape_.steps - 1 - k : k; }
  std::size_t active(std::size_t t) const { return offsets_[t + 1] - offsets_[t]; }
  std::size_t offset(std::size_t t) const { return offsets_[t]; }
  std::size_t rows() const { return offset(shape_.steps); }

  std::size_t blocks() const { return (shape_.batch + block_rows_ - 1) / block_rows_; }
  /// Block b of step t; may be empty.
  StepRows block(std::size_t t, std::size_t b) const {
    const std::size_t begin = std::min(b * block_rows_, active(t));
    return {std::min(block_rows_, active(t) - begin), offset(t) + begin, begin};
  }
  /// Calls run(b) for all blocks. A single one is no task: then its products may be split instead.
  template <class F>
  void for_blocks(F&& run) const {
    constexpr std::size_t least_operations = 4'000'000;  // below, waking a thread does not pay
    if (blocks() > 1 && rows() * 8 * shape_.hidden * shape_.hidden >= least_operations) {
      return parallel_tasks(blocks(), run);
    }
    for (std::size_t b = 0; b < blocks(); ++b) run(b);
  }

 private:
  LstmShape shape_;
  std::size_t block_rows_;
  Scratch<std::size_t> offsets_;  // (T+1)
};

template <class T>
struct Reserve {
  T* gates;     // (N, 4H)
  T* c_before;  // (N, H)
  T* tanh_c;    // (N, H)

  Reserve(T* base, std::size_t N, std::size_t H) : gates(base), c_before(), tanh_c() {
    if (base == nullptr) return;
    c_before = base + N * 4 * H;
    tanh_c = c_before + N * H;
  }
};

template <class T>
bool concerns_elements(const LstmWeights<T>& weights, const LstmOptions<T>& options) {
  return weights.peephole != nullptr || options.zoneout_h != nullptr ||
         options.zoneout_c != nullptr || options.cell_clip > 0 || options.gradient_clip > 0;
}

// --- forward -------------------------------------------------------------------------------------

template <class T>
class Forward {
 public:
  explicit Forward(const LstmForward<T>& call)
      : call_(call),
        steps_(call.shape),
        H_(call.shape.hidden),
        states_(call.shape.batch * H_),
        options_(concerns_elements(call.weights, call.options)),
        bias_(4 * H_),
        own_h_(call.h_last != nullptr ? 0 : states_),
        own_c_(call.c_last != nullptr ? 0 : states_),
        masked_h_(call.options.recurrent_mask != nullptr ? states_ : 0),
        reserve_(call.reserve, steps_.rows(), H_),
        all_gates_(call.reserve != nullptr ? call.reserve : call.gates),
        own_gates_(all_gates_ != nullptr ? 0 : largest_chunk() * 4 * H_),
        h_(call.h_last != nullptr ? call.h_last : own_h_.get()),
        c_(call.c_last != nullptr ? call.c_last : own_c_.get()) {}

  void run() {
    copy_or_zero(call_.h0, states_, h_);
    copy_or_zero(call_.c0, states_, c_);
    copy_or_zero(call_.weights.bias_ih, 4 * H_, bias_.get());
    if (call_.weights.bias_hh != nullptr) {
      for (std::size_t n = 0; n < 4 * H_; ++n) bias_[n] += call_.weights.bias_hh[n];
    }
    for (std::size_t k = 0; k < call_.shape.steps;) {
      const Chunk chunk = chunk_from(k);
      project_inputs(chunk);
      steps_.for_blocks([&](std::size_t b) {
        for (std::size_t i = k; i < chunk.end; ++i) step(steps_.at(i), b, chunk);
      });
      k = chunk.end;
    }
  }

 private:
  /// Steps whose inputs are multiplied together, in the order of Steps::at().
  struct Chunk {
    std::size_t end;          // one past the last step
    std::size_t first, rows;  // of N
    T* gates;                 // (rows, 4H)
  };

  /// As many steps as have `chunk_rows` rows, at least one. Training and inference take the same
  /// chunks, so that they compute the same bits.
  Chunk chunk_from(std::size_t k) const {
    std::size_t rows = steps_.active(steps_.at(k));
    std::size_t end = k + 1;
    while (end < call_.shape.steps && rows + steps_.active(steps_.at(end)) <= chunk_rows) {
      rows += steps_.active(steps_.at(end++));
    }
    const std::size_t first = steps_.offset(std::min(steps_.at(k), steps_.at(end - 1)));
    T* gates = all_gates_ != nullptr ? all_gates_ + first * 4 * H_ : own_gates_.get();
    return {end, first, rows, gates};
  }

  std::size_t largest_chunk() const {
    return std::min(steps_.rows(), std::max(chunk_rows, call_.shape.batch));
  }

  /// gates (rows, 4H) = x W_ih^T
  void project_inputs(const Chunk& chunk) const {
    const std::size_t input = call_.shape.input;
    gemm<T>(Transpose::no, Transpose::yes, chunk.rows, 4 * H_, input, 1,
            call_.x + chunk.first * input, input, call_.weights.weight_ih, input, 0, chunk.gates,
            4 * H_);
  }

  /// Step t of block b.
  void step(std::size_t t, std::size_t b, const Chunk& chunk) const {
    const StepRows rows = steps_.block(t, b);
    if (rows.count == 0) return;
    const std::size_t state = rows.in_batch * H_;  // where the block's states begin
    const auto from_row = [&](T* p) { return p != nullptr ? p + rows.first * H_ : nullptr; };
    T* gates = chunk.gates + (rows.first - chunk.first) * 4 * H_;

    const T* h_before = h_ + state;
    if (call_.options.recurrent_mask != nullptr) {
      std::transform(h_before, h_before + rows.count * H_, call_.options.recurrent_mask + state,
                     masked_h_.get() + state, std::multiplies<>());
      h_before = masked_h_.get() + state;
    }
    gemm<T>(Transpose::no, Transpose::yes, rows.count, 4 * H_, H_, 1, h_before, H_,
            call_.weights.weight_hh, H_, 1, gates, 4 * H_);

    const LstmStepForward<T> s{.rows = rows.count,
                               .hidden = H_,
                               .bias = bias_.get(),
                               .gates = gates,
                               .h = h_ + state,
                               .c = c_ + state,
                               .y = from_row(call_.y),
                               .c_before = from_row(reserve_.c_before),
                               .tanh_c = from_row(reserve_.tanh_c)};
    if (options_) {
      lstm_step_forward(s, call_.weights.peephole, call_.options, rows.first);
    } else {
      lstm_step_forward(s);
    }
    if (call_.cells != nullptr) std::copy_n(s.c, rows.count * H_, call_.cells + rows.first * H_);
    if (call_.gates != nullptr && call_.gates != all_gates_) {
      std::copy_n(gates, rows.count * 4 * H_, call_.gates + rows.first * 4 * H_);
    }
  }

  const LstmForward<T>& call_;
  Steps steps_;
  std::size_t H_;
  std::size_t states_;   // B H
  bool options_;         // some that concern elements
  Scratch<T> bias_;      // (4H): b_ih + b_hh
  Scratch<T> own_h_;     // (B, H)
  Scratch<T> own_c_;     // (B, H)
  Scratch<T> masked_h_;  // (B, H): m * h_{t-1}
  Reserve<T> reserve_;
  T* all_gates_;          // (N, 4H), if anybody wants to keep them
  Scratch<T> own_gates_;  // (rows of a chunk, 4H), if not
  T* h_;                  // (B, H), running
  T* c_;                  // (B, H), running
};

// --- backward ------------------------------------------------------------------------------------

template <class T>
class Backward {
 public:
  explicit Backward(const LstmBackward<T>& call)
      : call_(call),
        steps_(call.shape),
        H_(call.shape.hidden),
        states_(call.shape.batch * H_),
        options_(concerns_elements(call.weights, call.options)),
        reserve_(call.reserve, steps_.rows(), H_),
        dh_(states_),
        dc_(states_),
        product_(call.options.recurrent_mask != nullptr ? states_ : 0),
        own_da_(call.dgates != nullptr || call.may_overwrite_reserve ? 0 : steps_.rows() * 4 * H_),
        h_before_(call.dweight_hh != nullptr ? steps_.rows() * H_ : 0),
        dpeephole_(call.dpeephole != nullptr ? steps_.blocks() * 3 * H_ : 0),
        da_(call.dgates != nullptr       ? call.dgates
            : call.may_overwrite_reserve ? reserve_.gates
                                         : own_da_.get()) {}

  void run() {
    copy_or_zero(call_.dh_last, states_, dh_.get());
    copy_or_zero(call_.dc_last, states_, dc_.get());
    if (call_.dpeephole != nullptr) std::fill_n(dpeephole_.get(), steps_.blocks() * 3 * H_, 0.0);
    steps_.for_blocks([&](std::size_t b) {
      for (std::size_t k = call_.shape.steps; k-- > 0;) step(k, b);
    });
    for (std::size_t n = 0; n < states_; ++n) {
      if (call_.dh0 != nullptr) deliver(dh_[n], call_.dh0[n]);
      if (call_.dc0 != nullptr) deliver(dc_[n], call_.dc0[n]);
    }
    multiply_merged();
    if (call_.dbias != nullptr) {
      lstm_sum_rows(da_, steps_.rows(), 4 * H_, call_.accumulate, call_.dbias);
    }
    if (call_.dpeephole != nullptr) sum_peephole();
  }

 private:
  /// The k-th step of block b.
  void step(std::size_t k, std::size_t b) const {
    const std::size_t t = steps_.at(k);
    const StepRows rows = steps_.block(t, b);
    if (rows.count == 0) return;
    const std::size_t state = rows.in_batch * H_;  // where the block's states begin
    const auto from_row = [&](auto* p) { return p != nullptr ? p + rows.first * H_ : nullptr; };
    T* da = da_ + rows.first * 4 * H_;

    const LstmStepBackward<T> s{.rows = rows.count,
                                .hidden = H_,
                                .gates = reserve_.gates + rows.first * 4 * H_,
                                .c_before = from_row(reserve_.c_before),
                                .tanh_c = from_row(reserve_.tanh_c),
                                .dy = from_row(call_.dy),
                                .dh = dh_.get() + state,
                                .dc = dc_.get() + state,
                                .da = da,
                                .whole_dh = from_row(call_.dh),
                                .whole_dc = from_row(call_.dc)};
    if (options_) {
      lstm_step_backward(s, call_.weights.peephole, call_.options, rows.first,
                         call_.dpeephole != nullptr ? dpeephole_.get() + b * 3 * H_ : nullptr);
    } else {
      lstm_step_backward(s);
    }
    if (call_.dweight_hh != nullptr) keep_h_before(k, rows);
    if (k > 0 || call_.dh0 != nullptr) pass_to_h_before(da, rows);
  }

  /// dh (rows, H) = what zoneout carries + m * (da W_hh)
  void pass_to_h_before(const T* da, const StepRows& rows) const {
    const std::size_t state = rows.in_batch * H_;
    T* dh = dh_.get() + state;
    const auto multiply_into = [&](T beta, T* out) {
      gemm<T>(Transpose::no, Transpose::no, rows.count, H_, 4 * H_, 1, da, 4 * H_,
              call_.weights.weight_hh, H_, beta, out, H_);
    };
    const T* mask = call_.options.recurrent_mask;
    if (mask == nullptr) return multiply_into(options_ ? 1 : 0, dh);
    T* product = product_.get() + state;
    multiply_into(0, product);
    for (std::size_t n = 0; n < rows.count * H_; ++n) {
      dh[n] = (options_ ? dh[n] : T{0}) + mask[state + n] * product[n];
    }
  }

  /// h_before (rows, H) = m * h_{t-1}, for dW_hh: a row of y, or of h0 in a sequence's first step.
  void keep_h_before(std::size_t k, const StepRows& rows) const {
    const std::size_t state = rows.in_batch * H_;
    T* h = h_before_.get() + rows.first * H_;
    std::size_t from_y = 0;  // rows that step t is not the first of
    if (k > 0) {
      const std::size_t before = steps_.at(k - 1);
      from_y = std::min(rows.count, std::max(steps_.active(before), rows.in_batch) - rows.in_batch);
      std::copy_n(call_.y + (steps_.offset(before) + rows.in_batch) * H_, from_y * H_, h);
    }
    const T* h0 = call_.h0 != nullptr ? call_.h0 + state + from_y * H_ : nullptr;
    copy_or_zero(h0, (rows.count - from_y) * H_, h + from_y * H_);
    if (const T* mask = call_.options.recurrent_mask) {
      std::transform(h, h + rows.count * H_, mask + state, h, std::multiplies<>());
    }
  }

  void multiply_merged() const {
    const std::size_t rows = steps_.rows(), input = call_.shape.input, gates = 4 * H_;
    const T beta = call_.accumulate ? 1 : 0;
    if (call_.dx != nullptr) {  // (N, I) = da W_ih
      gemm<T>(Transpose::no, Transpose::no, rows, input, gates, 1, da_, gates,
              call_.weights.weight_ih, input, beta, call_.dx, input);
    }
    if (call_.dweight_ih != nullptr) {  // (4H, I) = da^T x
      gemm<T>(Transpose::yes, Transpose::no, gates, input, rows, 1, da_, gates, call_.x, input,
              beta, call_.dweight_ih, input);
    }
    if (call_.dweight_hh != nullptr) {  // (4H, H) = da^T h_before
      gemm<T>(Transpose::yes, Transpose::no, gates, H_, rows, 1, da_, gates, h_before_.get(), H_,
              beta, call_.dweight_hh, H_);
    }
  }

  /// dpeephole (3, H) = the blocks' parts together.
  void sum_peephole() const {
    for (std::size_t n = 0; n < 3 * H_; ++n) {
      double total = 0;
      for (std::size_t b = 0; b < steps_.blocks(); ++b) total += dpeephole_[b * 3 * H_ + n];
      deliver(static_cast<T>(total), call_.dpeephole[n]);
    }
  }

  void deliver(T gradient, T& result) const {
    result = call_.accumulate ? result + gradient : gradient;
  }

  const LstmBackward<T>& call_;
  Steps steps_;
  std::size_t H_;
  std::size_t states_;  // B H
  bool options_;        // some that concern elements
  Reserve<T> reserve_;
  Scratch<T> dh_;              // (B, H), running
  Scratch<T> dc_;              // (B, H), running
  Scratch<T> product_;         // (B, H): da_t W_hh, before the mask
  Scratch<T> own_da_;          // (N, 4H)
  Scratch<T> h_before_;        // (N, H): m * h_{t-1}
  Scratch<double> dpeephole_;  // (blocks, 3, H)
  T* da_;                      // (N, 4H)
};

}  // namespace

std::size_t lstm_rows(const LstmShape& shape) {
  if (shape.active == nullptr) return shape.steps * shape.batch;
  std::size_t rows = 0;
  for (std::size_t t = 0; t < shape.steps; ++t) rows += shape.active[t];
  return rows;
}

std::size_t lstm_reserve_size(const LstmShape& shape) {
  return lstm_rows(shape) * (4 + 1 + 1) * shape.hidden;
}

template <class T>
void lstm_forward(const LstmForward<T>& call) {
  Forward<T>(call).run();
}
template <class T>
void lstm_backward(const LstmBackward<T>& call) {
  Backward<T>(call).run();
}

template void lstm_forward(const LstmForward<float>&);
template void lstm_forward(const LstmForward<double>&);
template void lstm_backward(const LstmBackward<float>&);
template void lstm_backward(const LstmBackward<double>&);

}  // namespace tapegrad::kernels
