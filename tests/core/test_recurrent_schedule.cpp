#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <vector>

#include "../../core/flush_subnormals-inl.h"
#include "../../core/pool.h"
#include "../../core/recurrent/kept_gate-inl.h"
#include "../../core/recurrent/products-inl.h"
#include "../../core/recurrent/schedule-inl.h"
#include "../../core/threads.h"

TEST_SUITE_BEGIN("numerics");

// A second cell on the machinery of core/recurrent: what a cell costs there, and that the machinery
// knows nothing of the LSTM.

// [rnn] begin: a fused Elman network, all that would be core/recurrent/rnn.h and rnn.cpp
#pragma GCC visibility push(hidden)
namespace tapegrad::kernels::rnn {

/// h_t = tanh(W_ih x_t + b + W_hh (m * h_{t-1})); Elman 1990. Rows are packed as in sequence.h.
template <class T>
struct Call {
  Sequence sequence;
  std::size_t input, hidden;  // I, H
  const T* weight_ih;         // (H, I)
  const T* weight_hh;         // (H, H)
  const T* bias;              // (H)
  const T* recurrent_mask;    // m (B, H); null: 1
  const T* x;                 // (N, I)
  const T* h0;                // (B, H); null: 0
};

template <class T>
struct Gradients {
  const T* dy;       // (N, H); null: 0
  const T* dh_last;  // (B, H); null: 0
  bool accumulate;
  T *dx, *dh0, *dweight_ih, *dweight_hh, *dbias;  // shapes of x, h0, ...; null: not wanted
};

/// `reserve` (N, H): what backward needs; null: inference.
template <class T>
void forward(const Call<T>& call, T* y, T* h_last, T* reserve) {
  const FlushSubnormals guard;
  const std::size_t H = call.hidden;
  const Columns columns{call.input, H, H};
  const Schedule schedule(call.sequence);
  const std::size_t states = schedule.batch() * H;
  const Running<T> h0(call.h0, states);
  const PreActivations<T> a(schedule, columns,
                            {.weight_ih = call.weight_ih,
                             .weight_hh = call.weight_hh,
                             .mask = call.recurrent_mask,
                             .x = call.x},
                            reserve);
  schedule.run_forward(
      a.work(), [&](const Chunk& chunk, Part part) { a.project(chunk, part); },
      [&](const Chunk& chunk, const Rows& rows, Part units) {
        const auto finish = [&](const GateSums<T>& sums) {
          for (std::size_t r = 0; r < sums.rows; ++r) {
            for (std::size_t u = 0; u < sums.units; ++u) {
              const std::size_t n = (rows.first + sums.row + r) * H + sums.unit + u;
              const T kept =
                  keep_tanh(sums.data[r * sums.row_stride + u] + call.bias[sums.unit + u]);
              if (reserve != nullptr) reserve[n] = kept;
              y[n] = kept_tanh(kept);
            }
          }
        };
        a.compute(chunk, rows, units, rows.state_before(y, h0.get(), H), finish);
      });
  last_states(schedule, H, y, h0.get(), h_last);
}

/// `reserve` is overwritten.
template <class T>
void backward(const Call<T>& call, const T* y, T* reserve, const Gradients<T>& g) {
  const FlushSubnormals guard;
  const std::size_t H = call.hidden;
  const Columns columns{call.input, H, H};
  const Schedule schedule(call.sequence);
  const std::size_t N = schedule.rows(), states = schedule.batch() * H;
  const Running<T> dh(g.dh_last, states);
  const StateGradient<T> to_state(schedule, columns, call.weight_hh, call.recurrent_mask);
  schedule.run_backward(
      to_state.work(),
      [&](const Rows& rows, Part part) {
        T* da = rows.in(reserve, H);
        const T* dy = rows.in(g.dy, H);
        const T* state = rows.in_state(dh.get(), H);
        const auto [begin, end] = to_state.units(part);
        for (std::size_t row = 0; row < rows.count; ++row) {
          for (std::size_t n = row * H + begin; n < row * H + end; ++n) {
            da[n] = (state[n] + (dy != nullptr ? dy[n] : T{0})) * kept_tanh_slope(da[n]);
          }
        }
      },
      [&](const Rows& rows, Part part) {
        to_state.compute(rows.in(reserve, H), rows, part, dh.get(), false);
      });
  for (std::size_t n = 0; n < states && g.dh0 != nullptr; ++n) {
    deliver(dh.get()[n], g.accumulate, g.dh0[n]);
  }
  const Scratch<T> h_before(N * H);
  states_before(schedule, H, y, call.h0, call.recurrent_mask, h_before.get());
  multiply_merged<T>({.rows = N,
                      .columns = columns,
                      .weight_ih = call.weight_ih,
                      .x = call.x,
                      .h_before = h_before.get(),
                      .da = reserve,
                      .da_hidden = reserve,
                      .accumulate = g.accumulate,
                      .dx = g.dx,
                      .dweight_ih = g.dweight_ih,
                      .dweight_hh = g.dweight_hh,
                      .dbias = g.dbias});
}

}  // namespace tapegrad::kernels::rnn
#pragma GCC visibility pop
// [rnn] end

namespace {

using namespace tapegrad;
using kernels::Sequence;
template <class T>
using Values = std::vector<T>;

struct Case {
  std::size_t T, B, I, H;
  Values<std::size_t> lengths;  // descending; empty: all T
  bool reverse = false, masked = false, initial = true;

  std::size_t length(std::size_t row) const { return lengths.empty() ? T : lengths[row]; }
  Values<std::size_t> active() const {
    Values<std::size_t> a(T, 0);
    for (std::size_t row = 0; row < B; ++row) {
      for (std::size_t t = 0; t < length(row); ++t) ++a[t];
    }
    return a;
  }
};

/// Data, results and gradients of one case.
template <class T>
struct Problem {
  Values<T> x, h0, w_ih, w_hh, bias, mask, dy, dh_last;
  Values<T> y, h_last, dx, dh0, dw_ih, dw_hh, dbias;

  explicit Problem(const Case& c) {
    unsigned state = 12345;
    const auto fill = [&](Values<T>& v, std::size_t n) {
      for (std::size_t i = 0; i < n; ++i) {
        state = state * 1664525U + 1013904223U;
        v.push_back(static_cast<T>(static_cast<int>(state >> 16) - 32768) / 32768);
      }
    };
    std::size_t N = 0;
    for (const std::size_t a : c.active()) N += a;
    fill(x, N * c.I), fill(w_ih, c.H * c.I), fill(w_hh, c.H * c.H), fill(bias, c.H);
    fill(dy, N * c.H), fill(dh_last, c.B * c.H);
    if (c.initial) fill(h0, c.B * c.H);
    for (std::size_t i = 0; c.masked && i < c.B * c.H; ++i) mask.push_back(i % 3 == 0 ? 0 : 1.5);
    constexpr T nan = std::numeric_limits<T>::quiet_NaN();
    y.assign(N * c.H, nan), h_last.assign(c.B * c.H, nan), dx.assign(x.size(), nan);
    dh0.assign(c.B * c.H, nan), dw_ih.assign(w_ih.size(), nan), dw_hh.assign(w_hh.size(), nan);
    dbias.assign(c.H, nan);
  }
};

template <class T>
void run_fused(const Case& c, Problem<T>& p) {
  pool::poison(true);
  const Values<std::size_t> active = c.active();
  const kernels::rnn::Call<T> call{
      .sequence = {c.T, c.B, c.lengths.empty() ? nullptr : active.data(), c.reverse},
      .input = c.I,
      .hidden = c.H,
      .weight_ih = p.w_ih.data(),
      .weight_hh = p.w_hh.data(),
      .bias = p.bias.data(),
      .recurrent_mask = p.mask.empty() ? nullptr : p.mask.data(),
      .x = p.x.data(),
      .h0 = p.h0.empty() ? nullptr : p.h0.data()};
  Values<T> reserve(p.y.size()), inferred(p.y.size()), last(p.h_last.size());
  kernels::rnn::forward<T>(call, inferred.data(), last.data(), nullptr);
  kernels::rnn::forward<T>(call, p.y.data(), p.h_last.data(), reserve.data());
  CHECK(inferred == p.y);
  CHECK(last == p.h_last);
  kernels::rnn::backward<T>(call, p.y.data(), reserve.data(),
                            {.dy = p.dy.data(),
                             .dh_last = p.dh_last.data(),
                             .accumulate = false,
                             .dx = p.dx.data(),
                             .dh0 = p.dh0.data(),
                             .dweight_ih = p.dw_ih.data(),
                             .dweight_hh = p.dw_hh.data(),
                             .dbias = p.dbias.data()});
  pool::poison(false);
}

/// One row after the other, one step after the other.
template <class T>
void run_naive(const Case& c, Problem<T>& p) {
  const Values<std::size_t> active = c.active();
  Values<std::size_t> offset(c.T + 1, 0);
  for (std::size_t t = 0; t < c.T; ++t) offset[t + 1] = offset[t] + active[t];
  for (auto* v : {&p.dx, &p.dw_ih, &p.dw_hh, &p.dbias}) std::fill(v->begin(), v->end(), T{0});
  for (std::size_t row = 0; row < c.B; ++row) {
    const std::size_t length = c.length(row);
    const auto step = [&](std::size_t k) { return c.reverse ? length - 1 - k : k; };
    const auto m = [&](std::size_t j) { return p.mask.empty() ? T{1} : p.mask[row * c.H + j]; };
    Values<Values<T>> h(length + 1, Values<T>(c.H, T{0}));
    for (std::size_t j = 0; j < c.H && !p.h0.empty(); ++j) h[0][j] = p.h0[row * c.H + j];
    for (std::size_t k = 0; k < length; ++k) {
      const std::size_t n = offset[step(k)] + row;
      for (std::size_t j = 0; j < c.H; ++j) {
        T a = p.bias[j];
        for (std::size_t i = 0; i < c.I; ++i) a += p.w_ih[j * c.I + i] * p.x[n * c.I + i];
        for (std::size_t i = 0; i < c.H; ++i) a += p.w_hh[j * c.H + i] * m(i) * h[k][i];
        p.y[n * c.H + j] = h[k + 1][j] = std::tanh(a);
      }
    }
    Values<T> dh(c.H);
    for (std::size_t j = 0; j < c.H; ++j) {
      p.h_last[row * c.H + j] = h[length][j];
      dh[j] = p.dh_last[row * c.H + j];
    }
    for (std::size_t k = length; k-- > 0;) {
      const std::size_t n = offset[step(k)] + row;
      Values<T> before(c.H, T{0});
      for (std::size_t j = 0; j < c.H; ++j) {
        const T y = h[k + 1][j], da = (dh[j] + p.dy[n * c.H + j]) * (1 - y * y);
        p.dbias[j] += da;
        for (std::size_t i = 0; i < c.I; ++i) {
          p.dx[n * c.I + i] += da * p.w_ih[j * c.I + i];
          p.dw_ih[j * c.I + i] += da * p.x[n * c.I + i];
        }
        for (std::size_t i = 0; i < c.H; ++i) {
          before[i] += m(i) * da * p.w_hh[j * c.H + i];
          p.dw_hh[j * c.H + i] += da * m(i) * h[k][i];
        }
      }
      dh = before;
    }
    std::copy(dh.begin(), dh.end(), p.dh0.begin() + static_cast<std::ptrdiff_t>(row * c.H));
  }
}

/// max |a - b| / max |b|; inf where a is NaN.
template <class T>
double deviation(const Values<T>& a, const Values<T>& b) {
  double difference = 0, scale = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double d = static_cast<double>(std::abs(a[i] - b[i]));
    difference = d <= difference ? difference : std::isnan(d) ? HUGE_VAL : d;
    scale = std::max(scale, static_cast<double>(std::abs(b[i])));
  }
  return difference == 0 ? 0 : difference / scale;
}

}  // namespace

TEST_CASE_TEMPLATE("recurrent schedule: a tanh RNN on it is the loop over rows and steps", T,
                   double, float) {
  // 17 rows are two blocks, 1500 steps of 3 rows several chunks.
  const std::vector<Case> shapes = {{.T = 5, .B = 3, .I = 4, .H = 7},
                                    {.T = 4, .B = 3, .I = 2, .H = 5, .lengths = {4, 2, 0}},
                                    {.T = 6, .B = 17, .I = 3, .H = 9},
                                    {.T = 1500, .B = 3, .I = 1, .H = 2}};
  double worst = 0;
  for (Case c : shapes) {
    for (int bits = 0; bits < 8; ++bits) {
      c.reverse = (bits & 1) != 0, c.masked = (bits & 2) != 0, c.initial = (bits & 4) != 0;
      Problem<T> fused(c), naive(c);
      run_fused(c, fused);
      run_naive(c, naive);
      for (const auto part :
           {&Problem<T>::y, &Problem<T>::h_last, &Problem<T>::dx, &Problem<T>::dh0,
            &Problem<T>::dw_ih, &Problem<T>::dw_hh, &Problem<T>::dbias}) {
        worst = std::max(worst, deviation(fused.*part, naive.*part));
      }
    }
  }
  MESSAGE((sizeof(T) * 8), " bits: at most ", worst, " of the largest element");
  // The largest sums have 4500 terms, each rounded to half a unit of the last place.
  CHECK(worst <= 4500 * static_cast<double>(std::numeric_limits<T>::epsilon()) / 2);
}

TEST_CASE("recurrent schedule: the number of threads changes no bit of the RNN") {
  // Large enough for threads: rows are split, also those of packed sequences; then units.
  const Case cases[] = {{.T = 40, .B = 40, .I = 8, .H = 64, .masked = true},
                        {.T = 40, .B = 17, .I = 8, .H = 96, .lengths = Values<std::size_t>(17, 40)},
                        {.T = 90, .B = 3, .I = 5, .H = 150},
                        {.T = 90, .B = 2, .I = 5, .H = 150, .lengths = {90, 60}, .reverse = true},
                        {.T = 9, .B = 12, .I = 5, .H = 530}};
  for (Case c : cases) {
    for (std::size_t row = 0; row < c.lengths.size() && c.B > 2; ++row) c.lengths[row] -= 2 * row;
    Problem<float> alone(c);
    set_threads(1);
    run_fused(c, alone);
    for (const std::size_t threads : {2U, 3U}) {
      Problem<float> shared(c);
      set_threads(threads);
      run_fused(c, shared);
      set_threads(1);
      for (const auto part :
           {&Problem<float>::y, &Problem<float>::h_last, &Problem<float>::dx, &Problem<float>::dh0,
            &Problem<float>::dw_ih, &Problem<float>::dw_hh, &Problem<float>::dbias}) {
        CHECK(alone.*part == shared.*part);
      }
    }
  }
}

TEST_SUITE_END();
