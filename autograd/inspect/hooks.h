#pragma once

#include <functional>

#include "../var.h"

/// Gradients on their way: to look at, to replace, to keep.
namespace tapegrad {

/// Given d y / d v, returns what takes its place, or an undefined Var to leave it as it is.
using Hook = std::function<Var(const Var& gradient)>;

/// Calls `f` in every sweep that reaches v, when d y / d v is complete; what it returns counts for
/// what is before v, too. Several hooks of one v run in the order given. backward() goes down to v
/// even if no Parameter is below it, gradient() only to its x.
///
/// A hook may add hooks, throw, or differentiate. With `create_graph` it must consist of ops on
/// Vars. Throws UsageError unless v was recorded in this pass, and for an empty hook; the sweep
/// throws UsageError for a hook that overwrites what it is shown, that destroys the tape, or that
/// answers with a number where the answer is to be differentiated, ShapeError or DtypeError for an
/// answer that is not like v.
void hook(const Var& v, Hook f);

/// Keeps the gradient of v, after its hooks so far, in the next sweeps; UsageError unless v was
/// recorded in this pass.
void retain_grad(const Var& v);

/// Returns the gradient of v that retain_grad() kept in the last sweep that reached v, in memory of
/// its own; undefined if none did. UsageError if it was never retained.
Var grad(const Var& v);

}  // namespace tapegrad
