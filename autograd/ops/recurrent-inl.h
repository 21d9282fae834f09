#pragma once

#include <string_view>

#include "../../core/check-inl.h"
#include "../var.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::check {

/// Demands of one part of a recurrent state that it has the shape (B, H), or (L, B, H) for a stack,
/// that x, (B, I) or (T, B, I), asks for. Throws ShapeError, which says so if x looks like
/// (B, T, I).
void state(std::string_view op, const Var& x, std::string_view name, const Var& part,
           const Shape& demanded);
/// Checks the shape of x.
void state(std::string_view op, const Shape& x, std::string_view name, const Var& part,
           const Shape& demanded);

}  // namespace tapegrad::check

#pragma GCC visibility pop
