#include "tape_errors-inl.h"

#include <fmt/core.h>

#include <string>

#include "../core/fail-inl.h"

namespace tapegrad::tape_errors {

void value_overwritten() {
  fail<UsageError>("Var",
                   "the elements of this value were overwritten after it was used: gradients would "
                   "be wrong; make a Tape for each pass, inside the loop, and give it a tensor of "
                   "its own, or clone() before writing");
}

void pass_is_over(const char* op, std::string_view name, std::string_view maker,
                  std::string_view scope, std::uint64_t made, std::uint64_t now) {
  std::string by;
  if (!maker.empty()) by = fmt::format(", by '{}'", maker);
  if (!scope.empty()) by += fmt::format(" in {}", scope);
  if (!by.empty()) by += ",";
  fail<UsageError>(op,
                   "{} was made in pass {} of its tape{} but that pass is over (now pass {}): call "
                   "detach() on a state that is carried into the next pass",
                   name, made, by, now);
}

void two_tapes(const char* op, std::string_view name, std::string_view other) {
  fail<UsageError>(
      op, "{} was recorded on another tape than {}: use one tape for a pass, or detach() {}", name,
      other, name);
}

void other_thread(const char* op) {
  fail<UsageError>(op,
                   "the tape was made by another thread: make one in each thread, or detach() what "
                   "goes from one to the other");
}

void not_retained() {
  fail<UsageError>("grad",
                   "the gradient of this value was not kept: call retain_grad() before backward");
}

void no_hook() {
  fail<UsageError>("hook", "the hook is empty: give it a function, or call retain_grad()");
}

void observes_already() {
  fail<UsageError>("observe", "the observer observes this tape already: call observe() once");
}

void tape_destroyed(const char* who) {
  fail<UsageError>(who,
                   "the tape was destroyed while it was in use, by a hook, an observer or a rule: "
                   "let it live until the call returns");
}

void shown_was_overwritten(const char* who) {
  fail<UsageError>(who,
                   "the elements that were shown were overwritten: other values use them; write "
                   "into a clone(), and return that from a hook");
}

void rule_of_numbers(const char* node, std::size_t input) {
  fail<UsageError>(
      node,
      "its rule gave input {} a gradient that was not recorded, so its derivative would be lost: "
      "with create_graph, compute it from d() with ops on Vars, not from value()",
      input);
}

void hook_of_numbers() {
  fail<UsageError>(
      "hook",
      "the gradient it returned was not recorded, so its derivative would be lost: with "
      "create_graph, compute it from the one given with ops on Vars, not from value()");
}

void parameter_changed(const Shape& shape) {
  fail<UsageError>("leaf",
                   "a Parameter of shape {} was changed after this tape used it, as by a step of "
                   "an optimizer: make a Tape for each pass, inside the loop",
                   shape);
}

void mixed_dtypes(const char* op, std::string_view name, DType dtype, std::string_view other,
                  DType other_dtype) {
  fail<DtypeError>(op, "{} is {} but {} is {}: convert one with to()", name, dtype, other,
                   other_dtype);
}

void not_recorded(const char* op) {
  fail<UsageError>(op,
                   "the value to differentiate is a constant: it was not recorded on this tape; "
                   "does it depend on a leaf, and was the tape recording?");
}

void other_tape(const char* op, std::string_view name) {
  fail<UsageError>(op, "{} was recorded on another tape: call the tape that recorded it", name);
}

void pass_is_spent(const char* op, const char* node) {
  fail<UsageError>(
      op,
      "the pass was differentiated before and the saved values of '{}' are freed: make a Tape for "
      "each pass, inside the loop, or pass {{.retain = true}} to the first call",
      node);
}

void not_differentiable(const char* op, const char* node) {
  fail<UsageError>(op, "'{}' is not differentiable: detach() its result, or give it a rule", node);
}

void graph_while_paused(const char* op) {
  fail<UsageError>(op,
                   "create_graph wants gradients recorded but the tape is paused, by pause() or "
                   "because a hook or rule is running: call it outside");
}

void not_scalar(const char* op, const Shape& shape) {
  fail<ShapeError>(op,
                   "the value to differentiate has shape {}: it must have one element; reduce it "
                   "with sum() or mean()",
                   shape);
}

namespace {

/// A gradient that does not fit what it is of: ShapeError, or DtypeError if only that differs.
[[noreturn]] void does_not_fit(const char* where, const std::string& words, const Tensor& gradient,
                               const Shape& shape) {
  if (gradient.shape() != shape) fail<ShapeError>(where, "{}", words);
  fail<DtypeError>(where, "{}", words);
}

}  // namespace

void wrong_gradient(const char* node, std::size_t input, const Tensor& gradient, const Shape& shape,
                    DType dtype) {
  does_not_fit(node,
               fmt::format("its rule gave input {} a gradient of shape {} and {}, but the input "
                           "has shape {} and is {}",
                           input, to_string(gradient.shape()), to_string(gradient.dtype()),
                           to_string(shape), to_string(dtype)),
               gradient, shape);
}

void no_such_place(const char* node, const char* what, std::size_t index, std::size_t count) {
  fail<UsageError>(node, "its rule asks for {} {} but there are {}: count from 0", what, index,
                   count);
}

void into_unwanted(const char* node, std::size_t input) {
  fail<UsageError>(node,
                   "its rule calls into({}), but that gradient is not wanted, or is recorded: call "
                   "it only if needs() and not graph()",
                   input);
}

void not_alike(const char* op, const char* what, const Tensor& gradient, const char* of,
               const Shape& shape, DType dtype) {
  does_not_fit(
      op,
      fmt::format("{} has shape {} and is {} but {} has shape {} and is {}: they must be equal",
                  what, to_string(gradient.shape()), to_string(gradient.dtype()), of,
                  to_string(shape), to_string(dtype)),
      gradient, shape);
}

void directions(const char* op, std::size_t inputs, std::size_t directions) {
  fail<UsageError>(op, "there are {} x but {} v: each x needs a direction of its shape", inputs,
                   directions);
}

void no_parameter() {
  fail<UsageError>(
      "backward",
      "the loss depends on no Parameter, so nothing would change: use gradient() for other leaves");
}

void outputs_out_of_order(const char* op) {
  fail<UsageError>(op,
                   "the op makes its outputs out of order: call out() for all of them, one after "
                   "the other, then rule()");
}

void undefined_parameter(const char* op) {
  fail<UsageError>(op,
                   "the parameter is undefined: construct the layer with its sizes and an Rng "
                   "first, and do not use it after a move");
}

void tape_is_full() {
  fail<UsageError>("Tape", "a pass can hold 2^32 - 2 values: cut it with detach()");
}

void leaf_of_ids() {
  fail<DtypeError>("leaf", "the value is int32: only float32 and float64 have gradients");
}

}  // namespace tapegrad::tape_errors
