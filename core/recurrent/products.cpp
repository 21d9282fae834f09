#include <algorithm>
#include <array>

#include "../kernels/gemm.h"
#include "../kernels/indexing.h"
#include "../kernels/parallel-inl.h"
#include "products-inl.h"

namespace tapegrad::kernels {

std::size_t rows(const Sequence& sequence) {
  if (sequence.active == nullptr) return sequence.steps * sequence.batch;
  std::size_t rows = 0;
  for (std::size_t t = 0; t < sequence.steps; ++t) rows += sequence.active[t];
  return rows;
}

namespace {

/// Returns whether the inputs of a chunk are multiplied together: with few rows a step, where a
/// product is slow, or with weights that would not stay in the second cache from one step to the
/// next.
bool suits_merging(std::size_t batch, const Columns& columns, std::size_t size) {
  constexpr std::size_t few = 4, cached = 768 * 1024;
  return batch < few || (columns.input + columns.hidden) * columns.gates * size > cached;
}

/// m * x, where the mask selects.
template <class T>
void multiply_by_mask(const T* mask, const T* x, std::size_t count, T* to) {
  std::transform(x, x + count, mask, to, [](T value, T m) { return masked(m, value); });
}

}  // namespace

// --- forward -------------------------------------------------------------------------------------

template <class T>
PreActivations<T>::PreActivations(const Schedule& schedule, const Columns& columns,
                                  const Operands& operands, T* all)
    : columns_(columns),
      operands_(operands),
      merged_(operands.apart ||
              (operands.table == nullptr && suits_merging(schedule.batch(), columns, sizeof(T)))),
      weight_ih_(columns.input, merged_ ? columns.gates : columns.hidden,
                 {operands.weight_ih, 1, columns.input}, merged_ ? 1 : columns.gate_count()),
      weight_hh_(columns.hidden, columns.hidden, {operands.weight_hh, 1, columns.hidden},
                 columns.gate_count()),
      all_(all),
      own_(merged_ && all == nullptr ? schedule.largest_chunk() * columns.gates : 0),
      masked_(operands.mask != nullptr ? schedule.batch() * columns.hidden : 0) {}

template <class T>
Work PreActivations<T>::work() const {
  const std::size_t columns = columns_.hidden + (merged_ ? 0 : columns_.input);
  return {.row_operations = 2 * columns_.gates * (columns_.hidden + columns_.input),
          .weight_bytes = columns_.gates * columns * sizeof(T),
          .units_can_be_split = operands_.mask == nullptr};
}

template <class T>
void PreActivations<T>::project(const Chunk& chunk, Part part) const {
  if (!merged_) return;
  const std::size_t I = columns_.input, G = columns_.gates, begin = part.begin(chunk.rows);
  weight_ih_.multiply(part.end(chunk.rows) - begin, {operands_.x + (chunk.first + begin) * I, I, 1},
                      false, projected(chunk) + begin * G, G);
}

template <class T>
void PreActivations<T>::compute(const Chunk& chunk, const Rows& rows, Part units, const T* h_before,
                                const void* cell, Use finish) const {
  const auto [I, H, G] = columns_;
  if (operands_.mask != nullptr) {
    T* to = rows.in_state(masked_.get(), H);
    multiply_by_mask(rows.in_state(operands_.mask, H), h_before, rows.count * H, to);
    h_before = to;
  }
  using Term = typename GateProduct<T>::Term;
  const Term from_state{{h_before, H, 1}, &weight_hh_};
  const Term from_input{{rows.in(operands_.x, I), I, 1}, &weight_ih_};
  const T* start = operands_.apart ? nullptr : merged_ ? inputs(chunk, rows) : operands_.table;
  const bool state_alone = merged_ || operands_.table != nullptr;
  run<T>({.rows = rows.count,
          .start = start,
          .start_rows = rows.in(operands_.ids, 1),
          .terms = {state_alone ? from_state : from_input, from_state},
          .count = state_alone ? 1U : 2U,
          .part = units,
          .finish = finish,
          .cell = cell});
}

template <class T>
void last_states(const Schedule& schedule, std::size_t hidden, const T* y, const T* h0, T* h_last) {
  copy_or_zero(h0, schedule.batch() * hidden, h_last);
  for (std::size_t k = 0; k < schedule.steps(); ++k) {
    schedule.for_rows(k, schedule.active(k + 1), schedule.batch(), [&](const Rows& rows) {
      std::copy_n(rows.in(y, hidden), rows.count * hidden, rows.in_state(h_last, hidden));
    });
  }
}

// --- backward ------------------------------------------------------------------------------------

template <class T>
StateGradient<T>::StateGradient(const Schedule& schedule, const Columns& columns,
                                const T* weight_hh, const T* mask)
    : columns_(columns),
      weight_hh_(columns.gates, columns.hidden, {weight_hh, columns.hidden, 1}),
      mask_(mask),
      unmasked_(mask != nullptr ? schedule.batch() * columns.hidden : 0) {}

template <class T>
Work StateGradient<T>::work() const {
  const std::size_t weights = columns_.gates * columns_.hidden;
  return {2 * weights, weights * sizeof(T), true};
}

template <class T>
Units StateGradient<T>::units(Part part) const {
  const std::size_t panels = weight_hh_.panels();
  return {weight_hh_.first_column(part.begin(panels)), weight_hh_.first_column(part.end(panels))};
}

template <class T>
void StateGradient<T>::compute(const T* da, const Rows& rows, Part part, T* dh, bool add) const {
  const std::size_t H = columns_.hidden, G = columns_.gates;
  const std::size_t panels = weight_hh_.panels(), first = part.begin(panels);
  T* to = rows.in_state(dh, H);
  T* product = mask_ != nullptr ? rows.in_state(unmasked_.get(), H) : to;
  weight_hh_.multiply(rows.count, {da, G, 1}, first, part.end(panels) - first,
                      add && mask_ == nullptr, product, H);
  if (mask_ == nullptr) return;
  const T* mask = rows.in_state(mask_, H);
  const auto [begin, end] = units(part);
  for (std::size_t row = 0; row < rows.count; ++row) {
    for (std::size_t n = row * H + begin; n < row * H + end; ++n) {
      deliver(masked(mask[n], product[n]), add, to[n]);
    }
  }
}

template <class T>
void states_before(const Schedule& schedule, std::size_t hidden, const T* y, const T* h0,
                   const T* mask, T* h_before) {
  for (std::size_t k = 0; k < schedule.steps(); ++k) {
    schedule.for_rows(k, 0, schedule.batch(), [&](const Rows& rows) {
      T* to = rows.in(h_before, hidden);
      const std::size_t count = rows.count * hidden;
      copy_or_zero(rows.begin && h0 == nullptr ? nullptr : rows.state_before(y, h0, hidden), count,
                   to);
      if (mask != nullptr) multiply_by_mask(rows.in_state(mask, hidden), to, count, to);
    });
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
  if (m.dbias_hidden != nullptr) sum_rows(m.da_hidden, N, G, m.accumulate, m.dbias_hidden);
  if (m.dtable != nullptr) {
    if (!m.accumulate) std::fill_n(m.dtable, m.table_rows * G, T{0});
    add_rows(m.dtable, m.table_rows, G, {m.ids, N}, m.da);
  }
}

template <class T>
void sum_rows(const T* x, std::size_t rows, std::size_t columns, bool accumulate, T* sums) {
  constexpr std::size_t width = 128;  // columns that are summed side by side
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

template class PreActivations<float>;
template class PreActivations<double>;
template class StateGradient<float>;
template class StateGradient<double>;
template void last_states(const Schedule&, std::size_t, const float*, const float*, float*);
template void last_states(const Schedule&, std::size_t, const double*, const double*, double*);
template void states_before(const Schedule&, std::size_t, const float*, const float*, const float*,
                            float*);
template void states_before(const Schedule&, std::size_t, const double*, const double*,
                            const double*, double*);
template void multiply_merged(const Merged<float>&);
template void multiply_merged(const Merged<double>&);
template void sum_rows(const float*, std::size_t, std::size_t, bool, float*);
template void sum_rows(const double*, std::size_t, std::size_t, bool, double*);

}  // namespace tapegrad::kernels
