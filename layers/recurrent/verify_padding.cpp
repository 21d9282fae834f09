#include "verify_padding.h"

#include <fmt/core.h>

#include <bit>
#include <cstdint>
#include <limits>

#include "../../autograd/ops/packing-inl.h"
#include "../../core/check-inl.h"
#include "../../core/dispatch-inl.h"
#include "../../core/fail-inl.h"

namespace tapegrad {
namespace {

struct Named {
  std::string name;
  Tensor value;
};

/// x with `fill` behind each sequence's end.
Tensor filled(const Tensor& x, const Tensor& lengths, double fill) {
  Tensor result = x.clone();
  const std::size_t T = x.size(0), B = x.size(1), F = x.numel() / (T * B);
  dispatch(x.dtype(), [&]<class E>(E) {
    E* to = result.mutable_data<E>();
    for (std::size_t t = 0; t < T; ++t) {
      for (std::size_t b = 0; b < B; ++b, to += F) {
        if (t >= static_cast<std::size_t>(lengths.at(b))) std::fill_n(to, F, static_cast<E>(fill));
      }
    }
  });
  return result;
}

std::vector<Named> results(const char* op, Tape& tape, const Vars& outputs, const Var& x,
                           const Parameters& parameters) {
  if (outputs.empty())
    fail<UsageError>(op, "the function returns nothing: it must return its loss first");
  std::vector<Named> all;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::string name = i == 0 ? "the loss" : fmt::format("output {}", i);
    check::defined(op, {{name, outputs[i]}});
    all.push_back({name, outputs[i].value()});
  }
  Vars leaves;
  std::vector<std::string> names;
  const auto add = [&](const std::string& name, const Var& leaf) {
    leaves.push_back(leaf);
    names.push_back("the gradient of " + name);
  };
  if (x.defined()) add("x", x);
  for (const NamedParameter& p : parameters) {
    if (p.requires_grad()) add(p.name, tape.leaf(p));
  }
  if (leaves.empty()) return all;
  const Vars gradients = tape.gradient(outputs[0], leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i) all.push_back({names[i], gradients[i].value()});
  return all;
}

/// The first element whose bits differ; a.numel() if there is none.
std::size_t first_difference(const Tensor& a, const Tensor& b) {
  const auto bits = [](const Tensor& t, std::size_t i) {
    return std::bit_cast<std::uint64_t>(t.at(i));
  };
  std::size_t i = 0;
  while (i < a.numel() && bits(a, i) == bits(b, i)) ++i;
  return i;
}

PaddingReport compared(const std::vector<Named>& as_is, const std::vector<Named>& filled,
                       std::string_view with) {
  for (std::size_t i = 0; i < as_is.size(); ++i) {
    const auto& [name, value] = as_is[i];
    const Tensor& other = filled[i].value;
    if (value.shape() != other.shape()) {
      return {false, fmt::format("{} has another shape with {} in the padding", name, with)};
    }
    const std::size_t at = first_difference(value, other);
    if (at == value.numel()) continue;
    return {false,
            fmt::format("{} depends on padding: element {} of shape {} is {}, and {} with {} "
                        "there; give the lengths to every layer that goes along time, and "
                        "leave padding out of the loss by selection, not by a factor 0",
                        name, at, to_string(value.shape()), value.at(at), other.at(at), with)};
  }
  return {true,
          fmt::format("{} values have the same bits with {} in the padding", as_is.size(), with)};
}

template <class Run>
PaddingReport verify(const char* op, const char* name, const Tensor& x, const Tensor& lengths,
                     double fill, std::string_view with, Run run) {
  check::defined(op, {{"lengths", lengths}});
  if (x.rank() < 2 || x.size(0) * x.size(1) == 0)
    check::wrong_shape(op, name, x.shape(), "(T, B, ...) with T >= 1 and B >= 1");
  const recurrent::Packing checked(op, {lengths}, x.shape());
  const auto solve = [&](const Tensor& data) {
    Tape tape = Tape::training({.seed = 1, .pass = 1});
    return run(tape, data);
  };
  return compared(solve(filled(x, lengths, 0)), solve(filled(x, lengths, fill)), with);
}

}  // namespace

PaddingReport verify_padding(const PaddedFunction& f, const Tensor& x, const Tensor& lengths,
                             const Parameters& parameters) {
  constexpr const char* op = "verify_padding";
  check::defined(op, {{"x", x}});
  check::real(op, "x", x.dtype());
  return verify(op, "x", x, lengths, std::numeric_limits<double>::quiet_NaN(), "NaN",
                [&](Tape& tape, const Tensor& data) {
                  const Var leaf = tape.leaf(data);
                  return results(op, tape, f(tape, leaf), leaf, parameters);
                });
}

PaddingReport verify_padding_ids(const PaddedIdsFunction& f, const Tensor& ids,
                                 const Tensor& lengths, const Parameters& parameters) {
  constexpr const char* op = "verify_padding_ids";
  check::defined(op, {{"ids", ids}});
  if (ids.dtype() != DType::int32)
    fail<DtypeError>(op, "ids are {}: they must be int32", ids.dtype());
  return verify(op, "ids", ids, lengths, -1, "-1", [&](Tape& tape, const Tensor& data) {
    return results(op, tape, f(tape, data), {}, parameters);
  });
}

}  // namespace tapegrad
