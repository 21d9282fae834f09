#pragma once

#include "walk.h"

/// A module is any type with a `visit`, which names its members in order:
///
///   struct CharLM {
///     Embedding embed; LSTM lstm; Linear head;
///     void visit(auto&& v) { v("embed", embed); v("lstm", lstm); v("head", head); }
///   };
///
/// No base class, no registration: names such as "lstm.weight_ih_l0" are paths of these members. A
/// member is
///
///   * a Parameter;
///   * a module, or a container of modules or Parameters, whose path has their number ("cells.0.");
///   * a setting: whatever else can be copied without sharing anything (a number, an enum, a
///     string). parameters() passes settings over, clone() copies them.
///
/// Everything else is refused by the compiler, with the cure: what is held by a pointer or seen
/// through a view, and values of one pass (a Var, a state). A constant that is a Tensor is a frozen
/// Parameter: then it is saved, cloned and converted.
///
///   v.skip("cache", cache_)     known to visit, but neither listed nor saved nor copied
///   v.size("layers", layers)    a container whose elements visit names itself: a copy has as many
///
/// visit changes nothing, and names the same members in the same order every time. A Parameter that
/// it forgets would be neither trained nor saved, so parameters() refuses that; clone() refuses
/// every forgotten member.
///
/// Call operators are const and change nothing either: any number of threads can use one model at
/// once, each with a tape of its own, for inference or for Tape::gradient(), while nobody changes
/// its Parameters (Tape::backward() does, and optimizers, loading, freezing).
namespace tapegrad {

template <class T>
concept Module = detail::Visited<T>;

/// Returns all Parameters of a model with their paths, in the order of its `visit`; one that is
/// shared is listed once, under its first name, the others are its `ties`. What is undefined is
/// left out.
///
/// Throws UsageError if a path occurs twice, and if a Parameter with a value is in the model but
/// not in the list: in bytes of a module that visit names no member for, or where a pointer (a
/// std::vector, a std::unique_ptr) among these bytes points.
template <Module Model>
Parameters parameters(const Model& model) {
  detail::Lister lister;
  // visit is not const, so that clone() can use it, but nothing here writes.
  detail::Walk::into(lister, "", const_cast<Model&>(model));
  return lister.list();
}

}  // namespace tapegrad
