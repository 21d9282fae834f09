#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "../../core/pool.h"
#include "../../core/recurrent/lstm.h"
#include "is_worse.h"
#include "lstm_kernel_cases.h"

/// The LSTM kernel on a problem, and how its results are compared.
namespace tapegrad::testing {

namespace lstm = kernels::lstm;

template <class T>
inline constexpr T not_a_number = std::numeric_limits<T>::quiet_NaN();

template <class T>
T* pointer(std::vector<T>& v) {
  return v.empty() ? nullptr : v.data();
}
template <class T>
bool same_bits(const Values<T>& a, const Values<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// A case as the kernel gets it: every output starts as NaN, and so does all scratch memory.
template <class T>
struct Kernel {
  NaiveCase c;
  std::vector<std::size_t> active;
  Inputs<T> in;
  Values<T> mask, zoneout_h, zoneout_c, dy, dh_last, dc_last;
  Values<T> y, h_last, c_last, reserve, gates, cells;
  Inputs<T> grads;  // B_HH: none
  /// (V, 4H), and rows of it in place of x and W_ih if there are any.
  Values<T> table, dtable;
  std::vector<std::int32_t> ids;
  Values<T> dgates, dh, dc;

  Kernel(const NaiveCase& problem, const NaiveData& d) : c(problem), active(problem.active()) {
    pool::poison(true);
    for (const Values<double>& v : d.in) in.push_back(cast(v));
    mask = cast(d.mask), zoneout_h = cast(d.zoneout_h), zoneout_c = cast(d.zoneout_c);
    dy = cast(d.dy), dh_last = cast(d.dh_last), dc_last = cast(d.dc_last);
    const std::size_t N = c.rows();
    const auto fresh = [](std::size_t n) { return Values<T>(n, not_a_number<T>); };
    y = gates = cells = dgates = dh = dc = fresh(N * c.H);
    gates = dgates = fresh(N * 4 * c.H);
    h_last = c_last = fresh(c.B * c.H);
    reserve = fresh(lstm::reserve_size(shape()));
    for (const Values<T>& v : in) grads.push_back(fresh(v.size()));
    if (!c.initial) grads[H0] = grads[C0] = fresh(c.B * c.H);
    grads[B_IH] = fresh(4 * c.H);
    grads[B_HH] = {};
  }
  explicit Kernel(const NaiveCase& problem) : Kernel(problem, numbers_for(problem)) {}

  static Values<T> cast(const Values<double>& v) { return {v.begin(), v.end()}; }
  lstm::Shape shape() const {
    return {{c.T, c.B, c.lengths.empty() ? nullptr : active.data(), c.reverse},
            ids.empty() ? c.I : 0,
            c.H};
  }
  lstm::Weights<T> weights() {
    return {ids.empty() ? in[W_IH].data() : nullptr, in[W_HH].data(), pointer(in[B_IH]),
            pointer(in[B_HH]), pointer(in[PEEPHOLE])};
  }
  lstm::Variant<T> variant() {
    return {pointer(mask), pointer(zoneout_h), pointer(zoneout_c), static_cast<T>(c.cell_clip),
            static_cast<T>(c.gradient_clip)};
  }
  T* x() { return ids.empty() ? pointer(in[X]) : nullptr; }
  void forward() {
    lstm::forward<T>({shape(), weights(), variant(), x(), pointer(in[H0]), pointer(in[C0]),
                      pointer(y), pointer(h_last), pointer(c_last), pointer(reserve),
                      pointer(gates), pointer(cells), pointer(table), pointer(ids)});
  }
  void backward(bool may_overwrite = true, bool accumulate = false) {
    lstm::backward<T>({shape(),
                       weights(),
                       variant(),
                       x(),
                       pointer(in[H0]),
                       pointer(in[C0]),
                       pointer(y),
                       pointer(reserve),
                       may_overwrite,
                       pointer(dy),
                       pointer(dh_last),
                       pointer(dc_last),
                       accumulate,
                       pointer(grads[X]),
                       pointer(grads[H0]),
                       pointer(grads[C0]),
                       pointer(grads[W_IH]),
                       pointer(grads[W_HH]),
                       pointer(grads[B_IH]),
                       pointer(grads[PEEPHOLE]),
                       pointer(dgates),
                       pointer(dh),
                       pointer(dc),
                       dtable.size() / (4 * c.H),
                       pointer(ids),
                       pointer(dtable)});
  }
};

/// max |a - ref| / max |ref|; if ref is all 0, a must be so too.
template <class T>
double deviation(const Values<T>& a, const Values<double>& ref) {
  if (a.size() != ref.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, largest = 0;
  for (std::size_t n = 0; n < ref.size(); ++n) {
    const double d = std::abs(static_cast<double>(a[n]) - ref[n]);
    if (is_worse(d, difference)) difference = d;
    largest = std::max(largest, std::abs(ref[n]));
  }
  return difference == 0 ? 0 : difference / largest;
}

}  // namespace tapegrad::testing
