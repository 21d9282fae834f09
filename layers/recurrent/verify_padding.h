#pragma once

#include <functional>
#include <string>

#include "../../autograd/parameters.h"
#include "../../autograd/tape.h"

/// A check that a model does not read what is behind the ends of its sequences.
namespace tapegrad {

struct PaddingReport {
  bool passed;
  std::string text;  // the first difference and where it is; what was compared if there is none
};

/// A model of sequences x (T, B, ...): the loss first, a single number, then any outputs.
using PaddedFunction = std::function<Vars(Tape& tape, const Var& x)>;
/// A model of ids (T, B) int32, likewise.
using PaddedIdsFunction = std::function<Vars(Tape& tape, const Tensor& ids)>;

/// Computes f twice, on training tapes with the same masks: with x as it is, and with NaN behind each
/// sequence's end. Loss, outputs, the gradient of x, which must be 0 there, and the gradients of all
/// parameters that are not frozen must have the same bits. `lengths` (B) int32 in [0, T]. Throws
/// ShapeError, for T = 0 and B = 0 too; DtypeError; UsageError for lengths that are none, or if f
/// returns nothing; what f throws.
PaddingReport verify_padding(const PaddedFunction& f, const Tensor& x, const Tensor& lengths,
                             const Parameters& parameters);
/// Checks a model of ids, with -1 behind each sequence's end.
PaddingReport verify_padding_ids(const PaddedIdsFunction& f, const Tensor& ids,
                                 const Tensor& lengths, const Parameters& parameters);

}  // namespace tapegrad
