#pragma once

#include <cstddef>
#include <string_view>

#include "../../core/pool.h"
#include "../../core/recurrent/sequence.h"
#include "../../core/tensor.h"
#include "recurrent.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::recurrent {

/// Throws ShapeError, DtypeError or UsageError unless the lengths, if there are any, are (B) int32 in
/// [0, T], for a sequence of the shape (T, B, ...).
void check_lengths(std::string_view op, const Steps& steps, const Shape& sequence);

/// A batch of sequences as the kernels have it (core/recurrent/sequence.h): the longest first, and
/// no rows behind a sequence's end. Without lengths, everything is passed through as it is.
class Packing {
 public:
  /// For a sequence of the shape (T, B, ...). Throws as check_lengths() does.
  Packing(std::string_view op, const Steps& steps, const Shape& sequence);

  bool packed() const { return rows_.defined(); }
  /// Points into this object.
  kernels::Sequence sequence() const;
  /// The shape of all rows, (N, columns); (T, B, columns) if there are no lengths.
  Shape shape(std::size_t columns) const {
    return packed() ? Shape{rows_.numel(), columns} : Shape{steps_, batch_, columns};
  }

  /// (T, B, F) -> (N, F); ids (T, B) -> (N).
  Tensor pack(const Tensor& x) const;
  /// (N, F) -> (T, B, F), with zeros behind each sequence's end.
  Tensor unpack(const Tensor& x) const;
  /// A state (B, F), the longest sequence's row first; an undefined one stays so.
  Tensor sort(const Tensor& state) const;
  /// Undoes sort().
  Tensor unsort(const Tensor& state) const;

 private:
  std::size_t steps_, batch_;
  bool reverse_;
  pool::Vector<std::size_t> active_;  // (T)
  Tensor rows_;   // (N) int32: which of the T B rows the n-th packed one is; undefined: all of them
  Tensor order_;  // (B) int32: whose row of the caller's the r-th is
  Tensor places_;  // (B) int32: where the caller's b-th row is
};

/// Returns ids (T, B) with 0 behind each sequence's end. Throws as Packing does.
Tensor valid_ids(std::string_view op, const Tensor& ids, const Steps& steps);

/// Returns the rows whose sequence goes on at step t, (n) int32, ascending; undefined if all do.
Tensor going_on(const Steps& steps, std::size_t t);

}  // namespace tapegrad::recurrent

#pragma GCC visibility pop
