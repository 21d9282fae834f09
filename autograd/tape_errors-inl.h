#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "../core/tensor.h"

#pragma GCC visibility push(hidden)

/// The texts of what can go wrong with a tape. Private to autograd/.
namespace tapegrad::tape_errors {

[[noreturn]] void value_overwritten();
/// `maker` and `scope`: the op that made `name`, or "" if that is not known any more, and where.
[[noreturn]] void pass_is_over(const char* op, std::string_view name, std::string_view maker,
                               std::string_view scope, std::uint64_t made, std::uint64_t now);
/// `name`: an argument that is not of the tape of `other`.
[[noreturn]] void two_tapes(const char* op, std::string_view name, std::string_view other);
[[noreturn]] void other_thread(const char* op);
[[noreturn]] void not_retained();
[[noreturn]] void no_hook();
[[noreturn]] void observes_already();
/// `who`: "hook", "Observer", or the op whose rule it was.
[[noreturn]] void tape_destroyed(const char* who);
[[noreturn]] void shown_was_overwritten(const char* who);
[[noreturn]] void rule_of_numbers(const char* node, std::size_t input);
[[noreturn]] void hook_of_numbers();
[[noreturn]] void parameter_changed(const Shape& shape);
[[noreturn]] void mixed_dtypes(const char* op, std::string_view name, DType dtype,
                               std::string_view other, DType other_dtype);
[[noreturn]] void not_recorded(const char* op);
[[noreturn]] void other_tape(const char* op, std::string_view name);
[[noreturn]] void pass_is_spent(const char* op, const char* node);
[[noreturn]] void not_differentiable(const char* op, const char* node);
[[noreturn]] void graph_while_paused(const char* op);
[[noreturn]] void not_scalar(const char* op, const Shape& shape);
[[noreturn]] void wrong_gradient(const char* node, std::size_t input, const Tensor& gradient,
                                 const Shape& shape, DType dtype);
/// `what`: "input" or "output".
[[noreturn]] void no_such_place(const char* node, const char* what, std::size_t index,
                                std::size_t count);
[[noreturn]] void into_unwanted(const char* node, std::size_t input);
/// `what`, as in "dy", must be a gradient of `of`, as in "y".
[[noreturn]] void not_alike(const char* op, const char* what, const Tensor& gradient,
                            const char* of, const Shape& shape, DType dtype);
[[noreturn]] void directions(const char* op, std::size_t inputs, std::size_t directions);
[[noreturn]] void no_parameter();
[[noreturn]] void outputs_out_of_order(const char* op);
[[noreturn]] void undefined_parameter(const char* op);
[[noreturn]] void tape_is_full();
[[noreturn]] void leaf_of_ids();

}  // namespace tapegrad::tape_errors

#pragma GCC visibility pop
