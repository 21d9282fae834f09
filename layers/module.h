#pragma once

#include <algorithm>
#include <concepts>
#include <ranges>
#include <string>
#include <string_view>

#include "../autograd/parameter.h"

/// A module is any type with a `visit`, which names its members, Parameters and modules, in order:
///
///   struct CharLM {
///     Embedding embed; LSTM lstm; Linear head;
///     void visit(auto&& v) { v("embed", embed); v("lstm", lstm); v("head", head); }
///   };
///
/// No base class, no registration: names such as "lstm.weight_ih_l0" are paths of these members.
namespace tapegrad {

namespace detail {

struct CollectParameters {
  Parameters& found;
  std::string prefix;

  template <class Member>
  void operator()(std::string_view name, Member& member) const {
    std::string path = prefix + std::string(name);
    if constexpr (std::same_as<Member, Parameter>) {
      if (!member.defined()) return;
      const auto same = [&](const NamedParameter& p) { return p.data == member.data(); };
      if (std::ranges::none_of(found, same)) found.push_back({std::move(path), member.data()});
    } else if constexpr (std::ranges::range<Member>) {
      std::size_t index = 0;
      for (auto& element : member)
        (*this)(std::string(name) + "." + std::to_string(index++), element);
    } else {
      member.visit(CollectParameters{found, path + "."});
    }
  }
};

}  // namespace detail

/// All Parameters of a model with their paths, in the order of its `visit`; one that is shared is
/// listed once, under its first name.
template <class Model>
Parameters parameters(Model& model) {
  Parameters found;
  model.visit(detail::CollectParameters{found, ""});
  return found;
}

}  // namespace tapegrad
