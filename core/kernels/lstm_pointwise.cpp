#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/kernels/lstm_pointwise.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>

#include <algorithm>
#include <cmath>

#include "parallel-inl.h"
#include "lstm_pointwise-inl.h"
#include "vector_math-inl.h"

// --- without options: vectors over the columns of a row ------------------------------------------

HWY_BEFORE_NAMESPACE();
namespace tapegrad::kernels::HWY_NAMESPACE {
namespace {

template <class T>
struct RowForward {
  const LstmStepForward<T>& s;
  std::size_t row;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t j, Lanes lanes) const {
    const std::size_t H = s.hidden;
    T* gates = s.gates + row * 4 * H + j;
    const T* bias = s.bias + j;
    const auto a = [&](std::size_t gate) HWY_ATTR {
      return hn::Add(load(d, gates + gate * H, lanes), load(d, bias + gate * H, lanes));
    };
    const std::size_t n = row * H + j;
    const auto c_before = load(d, s.c + n, lanes);

    const auto i = sigmoid(d, a(0));
    const auto f = sigmoid(d, a(1));
    const auto g = tanh(d, a(2));
    const auto o = sigmoid(d, a(3));
    const auto c = hn::MulAdd(f, c_before, hn::Mul(i, g));
    const auto tanh_c = tanh(d, c);
    const auto h = hn::Mul(o, tanh_c);

    store(d, i, gates, lanes);
    store(d, f, gates + H, lanes);
    store(d, g, gates + 2 * H, lanes);
    store(d, o, gates + 3 * H, lanes);
    store(d, c, s.c + n, lanes);
    store(d, h, s.h + n, lanes);
    store(d, h, s.y + n, lanes);
    if (s.c_before != nullptr) store(d, c_before, s.c_before + n, lanes);
    if (s.tanh_c != nullptr) store(d, tanh_c, s.tanh_c + n, lanes);
  }
};

template <class T>
struct RowBackward {
  const LstmStepBackward<T>& s;
  std::size_t row;

  template <class D, class Lanes>
  HWY_INLINE void operator()(D d, std::size_t j, Lanes lanes) const {
    const std::size_t H = s.hidden;
    const T* gates = s.gates + row * 4 * H + j;
    T* da = s.da + row * 4 * H + j;
    const std::size_t n = row * H + j;
    const auto one = hn::Set(d, T{1});
    const auto i = load(d, gates, lanes);
    const auto f = load(d, gates + H, lanes);
    const auto g = load(d, gates + 2 * H, lanes);
    const auto o = load(d, gates + 3 * H, lanes);
    const auto c_before = load(d, s.c_before + n, lanes);
    const auto tanh_c = load(d, s.tanh_c + n, lanes);
    auto dh = load(d, s.dh + n, lanes);
    if (s.dy != nullptr) dh = hn::Add(dh, load(d, s.dy + n, lanes));

    // h = o tanh c and c = f c_{t-1} + i g, derived; sigmoid' = s (1 - s), tanh' = 1 - tanh^2
    const auto d_o = hn::Mul(dh, tanh_c);
    const auto dc =
        hn::MulAdd(hn::Mul(dh, o), hn::NegMulAdd(tanh_c, tanh_c, one), load(d, s.dc + n, lanes));
    const auto di = hn::Mul(dc, g);
    const auto df = hn::Mul(dc, c_before);
    const auto dg = hn::Mul(dc, i);

    store(d, hn::Mul(di, hn::Mul(i, hn::Sub(one, i))), da, lanes);
    store(d, hn::Mul(df, hn::Mul(f, hn::Sub(one, f))), da + H, lanes);
    store(d, hn::Mul(dg, hn::NegMulAdd(g, g, one)), da + 2 * H, lanes);
    store(d, hn::Mul(d_o, hn::Mul(o, hn::Sub(one, o))), da + 3 * H, lanes);
    store(d, hn::Mul(dc, f), s.dc + n, lanes);
    if (s.whole_dh != nullptr) store(d, dh, s.whole_dh + n, lanes);
    if (s.whole_dc != nullptr) store(d, dc, s.whole_dc + n, lanes);
  }
};

template <class T>
HWY_INLINE void forward(const LstmStepForward<T>& s) {
  for (std::size_t row = 0; row < s.rows; ++row) for_vectors<T>(s.hidden, RowForward<T>{s, row});
}
template <class T>
HWY_INLINE void backward(const LstmStepBackward<T>& s) {
  for (std::size_t row = 0; row < s.rows; ++row) for_vectors<T>(s.hidden, RowBackward<T>{s, row});
}

void forward_float(const LstmStepForward<float>& s) { forward(s); }
void forward_double(const LstmStepForward<double>& s) { forward(s); }
void backward_float(const LstmStepBackward<float>& s) { backward(s); }
void backward_double(const LstmStepBackward<double>& s) { backward(s); }

}  // namespace
}  // namespace tapegrad::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tapegrad::kernels {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

template <>
void lstm_step_forward(const LstmStepForward<float>& step) {
  HWY_DYNAMIC_DISPATCH(forward_float)(step);
}
template <>
void lstm_step_forward(const LstmStepForward<double>& step) {
  HWY_DYNAMIC_DISPATCH(forward_double)(step);
}
template <>
void lstm_step_backward(const LstmStepBackward<float>& step) {
  HWY_DYNAMIC_DISPATCH(backward_float)(step);
}
template <>
void lstm_step_backward(const LstmStepBackward<double>& step) {
  HWY_DYNAMIC_DISPATCH(backward_double)(step);
}

// --- with options: the formulas of lstm.h, one element at a time ---------------------------------

namespace {

template <class T>
T sigmoid(T x) {
  const T e = std::exp(-std::abs(x));
  return (x < 0 ? e : T{1}) / (T{1} + e);
}

/// 0 is no limit; a NaN stays.
template <class T>
T clip(T x, T limit) {
  return limit > 0 ? std::clamp(x, -limit, limit) : x;
}

/// An option that may be absent, and then stands for zeros.
template <class T>
T at(const T* p, std::size_t index) {
  return p != nullptr ? p[index] : T{0};
}

}  // namespace

template <class T>
void lstm_step_forward(const LstmStepForward<T>& s, const T* p, const LstmOptions<T>& options,
                       std::size_t first) {
  const std::size_t H = s.hidden;
  for (std::size_t row = 0; row < s.rows; ++row) {
    T* gates = s.gates + row * 4 * H;
    for (std::size_t j = 0; j < H; ++j) {
      const std::size_t n = row * H + j;
      const auto a = [&](std::size_t gate) { return gates[gate * H + j] + s.bias[gate * H + j]; };
      const T h_before = s.h[n];
      const T c_before = s.c[n];

      const T i = sigmoid(a(0) + at(p, j) * c_before);
      const T f = sigmoid(a(1) + at(p, H + j) * c_before);
      const T g = std::tanh(a(2));
      const T new_c = clip(f * c_before + i * g, options.cell_clip);  // c~_t
      const T o = sigmoid(a(3) + at(p, 2 * H + j) * new_c);
      const T tanh_c = std::tanh(new_c);
      const T z_c = at(options.zoneout_c, first * H + n);
      const T z_h = at(options.zoneout_h, first * H + n);

      s.c[n] = z_c * c_before + (1 - z_c) * new_c;
      s.h[n] = s.y[n] = z_h * h_before + (1 - z_h) * (o * tanh_c);
      gates[j] = i;
      gates[H + j] = f;
      gates[2 * H + j] = g;
      gates[3 * H + j] = o;
      if (s.c_before != nullptr) s.c_before[n] = c_before;
      if (s.tanh_c != nullptr) s.tanh_c[n] = tanh_c;
    }
  }
}

template <class T>
void lstm_step_backward(const LstmStepBackward<T>& s, const T* p, const LstmOptions<T>& options,
                        std::size_t first, double* dpeephole) {
  const std::size_t H = s.hidden;
  for (std::size_t row = 0; row < s.rows; ++row) {
    const T* gates = s.gates + row * 4 * H;
    T* da = s.da + row * 4 * H;
    for (std::size_t j = 0; j < H; ++j) {
      const std::size_t n = row * H + j;
      const T i = gates[j], f = gates[H + j], g = gates[2 * H + j], o = gates[3 * H + j];
      const T c_before = s.c_before[n];
      const T tanh_c = s.tanh_c[n];
      const T unclipped = f * c_before + i * g;
      const T new_c = clip(unclipped, options.cell_clip);  // c~_t
      const T z_c = at(options.zoneout_c, first * H + n);
      const T z_h = at(options.zoneout_h, first * H + n);

      const T dh = s.dh[n] + at(s.dy, n);
      const T dc = s.dc[n];
      const T dnew_h = (1 - z_h) * dh;
      const T da_o = clip(dnew_h * tanh_c * o * (1 - o), options.gradient_clip);
      const T dnew_c =
          (1 - z_c) * dc + dnew_h * o * (1 - tanh_c * tanh_c) + at(p, 2 * H + j) * da_o;
      const bool cut = options.cell_clip > 0 && std::abs(unclipped) > options.cell_clip;
      const T dsum = cut ? T{0} : dnew_c;  // of f_t c_{t-1} + i_t g_t
      const T da_i = clip(dsum * g * i * (1 - i), options.gradient_clip);
      const T da_f = clip(dsum * c_before * f * (1 - f), options.gradient_clip);
      const T da_g = clip(dsum * i * (1 - g * g), options.gradient_clip);

      s.dh[n] = z_h * dh;
      s.dc[n] = z_c * dc + dsum * f + at(p, j) * da_i + at(p, H + j) * da_f;
      da[j] = da_i;
      da[H + j] = da_f;
      da[2 * H + j] = da_g;
      da[3 * H + j] = da_o;
      if (dpeephole != nullptr) {
        dpeephole[j] += static_cast<double>(da_i) * static_cast<double>(c_before);
        dpeephole[H + j] += static_cast<double>(da_f) * static_cast<double>(c_before);
        dpeephole[2 * H + j] += static_cast<double>(da_o) * static_cast<double>(new_c);
      }
      if (s.whole_dh != nullptr) s.whole_dh[n] = dh;
      // Without zoneout c_t is c~_t; with it, what reaches c~_t through h~_t does not pass c_t.
      if (s.whole_dc != nullptr) s.whole_dc[n] = options.zoneout_c != nullptr ? dc : dnew_c;
    }
  }
}

// --- sums over rows ------------------------------------------------------------------------------

template <class T>
void lstm_sum_rows(const T* x, std::size_t rows, std::size_t columns, bool accumulate, T* sums) {
  // Columns are summed side by side, and runs of rows apart, so that errors grow with rows / run.
  constexpr std::size_t width = 64, run = 64;
  const std::size_t widths = rows_per_block(width * rows, cheap_block);
  for_blocks(columns, width * widths, [&](std::size_t block_begin, std::size_t block_end) {
    for (std::size_t begin = block_begin; begin < block_end; begin += width) {
      const std::size_t count = std::min(width, block_end - begin);
      T total[width] = {};
      for (std::size_t first = 0; first < rows; first += run) {
        T part[width] = {};
        for (std::size_t row = first; row < std::min(rows, first + run); ++row) {
          for (std::size_t j = 0; j < count; ++j) part[j] += x[row * columns + begin + j];
        }
        for (std::size_t j = 0; j < count; ++j) total[j] += part[j];
      }
      for (std::size_t j = 0; j < count; ++j) {
        sums[begin + j] = accumulate ? sums[begin + j] + total[j] : total[j];
      }
    }
  });
}

template void lstm_step_forward(const LstmStepForward<float>&, const float*,
                                const LstmOptions<float>&, std::size_t);
template void lstm_step_forward(const LstmStepForward<double>&, const double*,
                                const LstmOptions<double>&, std::size_t);
template void lstm_step_backward(const LstmStepBackward<float>&, const float*,
                                 const LstmOptions<float>&, std::size_t, double*);
template void lstm_step_backward(const LstmStepBackward<double>&, const double*,
                                 const LstmOptions<double>&, std::size_t, double*);
template void lstm_sum_rows(const float*, std::size_t, std::size_t, bool, float*);
template void lstm_sum_rows(const double*, std::size_t, std::size_t, bool, double*);

}  // namespace tapegrad::kernels
#endif
