#include <algorithm>
#include <array>

#include "../kernels/gemm.h"
#include "../kernels/parallel-inl.h"
#include "products-inl.h"

namespace tapegrad::kernels {

std::size_t rows(const Sequence& sequence) {
  if (sequence.active == nullptr) return sequence.steps * sequence.batch;
  std::size_t rows = 0;
  for (std::size_t t = 0; t < sequence.steps; ++t) rows += sequence.active[t];
  return rows;
}

// --- forward -------------------------------------------------------------------------------------

template <class T>
InputProduct<T>::InputProduct(const Schedule& schedule, const Columns& columns, const T* x,
                              const T* weight_ih, T* all_gates)
    : columns_(columns),
      x_(x),
      weight_ih_(weight_ih),
      all_(all_gates),
      own_(all_gates != nullptr ? 0 : schedule.largest_chunk() * columns.gates) {}

template <class T>
void InputProduct<T>::compute(const Chunk& chunk) const {
  const auto [input, hidden, gates] = columns_;
  gemm<T>(Transpose::no, Transpose::yes, chunk.rows, gates, input, 1, x_ + chunk.first * input,
          input, weight_ih_, input, 0, start(chunk), gates);
}

template <class T>
HiddenProduct<T>::HiddenProduct(Way way, const Schedule& schedule, const Columns& columns,
                                const T* weight_hh, const T* mask)
    : columns_(columns),
      weight_hh_(way == Way::forward
                     ? Packed<T>(columns.hidden, columns.gates, {weight_hh, 1, columns.hidden})
                     : Packed<T>(columns.gates, columns.hidden, {weight_hh, columns.hidden, 1})),
      mask_(mask),
      masked_(mask != nullptr ? schedule.batch() * columns.hidden : 0) {}

template <class T>
void HiddenProduct<T>::add_to_gates(const T* h, const Rows& rows, T* gates, bool overwrite) const {
  const std::size_t H = columns_.hidden, G = columns_.gates;
  const T* h_before = rows.in_state(h, H);
  if (mask_ != nullptr) {
    T* to = rows.in_state(masked_.get(), H);
    std::transform(h_before, h_before + rows.count * H, rows.in_state(mask_, H), to,
                   [](T value, T mask) { return masked(mask, value); });
    h_before = to;
  }
  weight_hh_.multiply(rows.count, {h_before, H, 1}, 0, G, !overwrite, gates, G);
}

// --- backward ------------------------------------------------------------------------------------

template <class T>
void HiddenProduct<T>::pass_to_h_before(const T* da, const Rows& rows, T* dh, bool add) const {
  const std::size_t H = columns_.hidden, G = columns_.gates;
  T* to = rows.in_state(dh, H);
  const Strided<T> left{da, G, 1};
  if (mask_ == nullptr) return weight_hh_.multiply(rows.count, left, 0, H, add, to, H);
  T* product = rows.in_state(masked_.get(), H);
  weight_hh_.multiply(rows.count, left, 0, H, false, product, H);
  const T* mask = rows.in_state(mask_, H);
  for (std::size_t n = 0; n < rows.count * H; ++n) deliver(masked(mask[n], product[n]), add, to[n]);
}

template <class T>
void states_before(const Schedule& schedule, std::size_t hidden, const T* y, const T* h0,
                   const T* mask, T* h_before) {
  for (std::size_t k = 0; k < schedule.steps(); ++k) {
    const Rows now = schedule.step(k);
    T* to = now.in(h_before, hidden);
    std::size_t from_y = 0;  // elements of rows that this step is not the first of
    if (k > 0) {
      const Rows before = schedule.step(k - 1);
      from_y = std::min(now.count, before.count) * hidden;
      std::copy_n(before.in(y, hidden), from_y, to);
    }
    copy_or_zero(h0 != nullptr ? h0 + from_y : nullptr, now.count * hidden - from_y, to + from_y);
    if (mask == nullptr) continue;
    for (std::size_t n = 0; n < now.count * hidden; ++n) to[n] = masked(mask[n], to[n]);
  }
}

template <class T>
void multiply_merged(const Merged<T>& m) {
  const auto [I, H, G] = m.columns;
  const std::size_t N = m.rows;
  const T beta = m.accumulate ? 1 : 0;
  if (m.dx != nullptr) {
    gemm<T>(Transpose::no, Transpose::no, N, I, G, 1, m.da, G, m.weight_ih, I, beta, m.dx, I);
  }
  if (m.dweight_ih != nullptr) {
    gemm<T>(Transpose::yes, Transpose::no, G, I, N, 1, m.da, G, m.x, I, beta, m.dweight_ih, I);
  }
  if (m.dweight_hh != nullptr) {
    gemm<T>(Transpose::yes, Transpose::no, G, H, N, 1, m.da_hidden, G, m.h_before, H, beta,
            m.dweight_hh, H);
  }
  if (m.dbias != nullptr) sum_rows(m.da, N, G, m.accumulate, m.dbias);
}

template <class T>
void sum_rows(const T* x, std::size_t rows, std::size_t columns, bool accumulate, T* sums) {
  constexpr std::size_t width = 64;  // columns that are summed side by side
  constexpr std::size_t run = 16;  // rows that are summed in T: as fast as all, and as exact as few
  const std::size_t widths = rows_per_block(width * rows, cheap_block);
  for_blocks(columns, width * widths, [&](std::size_t block_begin, std::size_t block_end) {
    for (std::size_t begin = block_begin; begin < block_end; begin += width) {
      const std::size_t count = std::min(width, block_end - begin);
      std::array<double, width> total{};
      for (std::size_t first = 0; first < rows; first += run) {
        std::array<T, width> part{};
        for (std::size_t row = first; row < std::min(rows, first + run); ++row) {
          const T* from = x + row * columns + begin;
          for (std::size_t j = 0; j < count; ++j) part[j] += from[j];
        }
        for (std::size_t j = 0; j < count; ++j) total[j] += static_cast<double>(part[j]);
      }
      for (std::size_t j = 0; j < count; ++j) {
        deliver(static_cast<T>(total[j]), accumulate, sums[begin + j]);
      }
    }
  });
}

template class InputProduct<float>;
template class InputProduct<double>;
template class HiddenProduct<float>;
template class HiddenProduct<double>;
template void states_before(const Schedule&, std::size_t, const float*, const float*, const float*,
                            float*);
template void states_before(const Schedule&, std::size_t, const double*, const double*,
                            const double*, double*);
template void multiply_merged(const Merged<float>&);
template void multiply_merged(const Merged<double>&);
template void sum_rows(const float*, std::size_t, std::size_t, bool, float*);
template void sum_rows(const double*, std::size_t, std::size_t, bool, double*);

}  // namespace tapegrad::kernels
