#include "lstm_stream-inl.h"

#include <algorithm>
#include <span>

#include "lstm_step-inl.h"

namespace tapegrad::kernels::lstm {
template <class T>
Stream<T>::Stream(const Sizes& sizes, const Weights<T>& weights)
    : sizes_(sizes),
      weight_ih_(sizes.input, sizes.hidden, {weights.weight_ih, 1, sizes.input}, 4),
      weight_hh_(sizes.hidden, sizes.hidden, {weights.weight_hh, 1, sizes.hidden}, 4),
      row_(weight_hh_.padded_units()),
      bias_(4 * row_),
      projected_(sizes.steps > 1 ? sizes.steps * sizes.batch * 4 * sizes.hidden : 0),
      y_((sizes.steps + 1) * sizes.batch * row_),
      c_(sizes.batch * row_) {
  load(weights);
  reset();
}

template <class T>
void Stream<T>::load(const Weights<T>& weights) noexcept {
  const std::size_t I = sizes_.input, H = sizes_.hidden;
  weight_ih_.pack({weights.weight_ih, 1, I});
  weight_hh_.pack({weights.weight_hh, 1, H});
  std::fill_n(bias_.get(), 4 * row_, T{0});
  for (std::size_t gate = 0; gate < 4; ++gate) {
    T* const bias = bias_.get() + gate * row_;
    if (weights.bias_ih != nullptr) std::copy_n(weights.bias_ih + gate * H, H, bias);
    if (weights.bias_hh == nullptr) continue;
    for (std::size_t j = 0; j < H; ++j) bias[j] += weights.bias_hh[gate * H + j];
  }
}

template <class T>
void Stream<T>::reset() noexcept {
  std::fill_n(h(), sizes_.batch * row_, T{0});
  std::fill_n(c(), sizes_.batch * row_, T{0});
}

template <class T>
const T* Stream<T>::run(const Strided<T>& x) noexcept {
  const auto [n, B, I, H] = sizes_;
  const bool merged = n > 1;
  typename GateProduct<T>::Term terms[] = {{x, &weight_ih_}, {{nullptr, row_, 1}, &weight_hh_}};
  const std::span all(terms);
  const T* start = nullptr;
  if (merged) {
    kernels::run<T>(n * B, nullptr, all.first(1), [this](const GateSums<T>& sums) {
      for (std::size_t i = 0; i < sums.rows * 4; ++i) {
        std::copy_n(sums.data + i / 4 * sums.row_stride + i % 4 * sums.gate_stride, sums.units,
                    projected_.get() + (sums.row * 4 + i) * sizes_.hidden + sums.unit);
      }
    });
    start = projected_.get();
  }
  StepForward<T> step{.hidden = row_, .bias = bias_.get(), .h_before = h(), .c = c()};
  for (std::size_t t = 0; t < n; ++t) {
    step.y = h() + (t + 1) * B * row_;
    terms[1].a.data = step.h_before;
    kernels::run<T>(B, start, merged ? all.last(1) : all, [&step](GateSums<T> sums) {
      sums.units = sums.gate_stride;  // the zeros behind H, too
      step_forward(step, sums);
    });
    step.h_before = step.y;
    if (merged) start += B * 4 * H;
  }
  std::copy_n(step.h_before, B * row_, h());
  return h() + B * row_;
}

template class Stream<float>;
template class Stream<double>;

}  // namespace tapegrad::kernels::lstm
