#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "fields.h"

/// The machinery below module.h: a Walk goes through a model and tells a Visitor what it meets.
namespace tapegrad::detail {

struct ByteRange {
  const std::byte* begin;
  std::size_t bytes;
  std::string name;  // a path, "" for the model itself

  template <class T>
  static ByteRange of(const T& object, std::string name) {
    return {reinterpret_cast<const std::byte*>(&object), sizeof(T), std::move(name)};
  }
};

/// A module with the members that its visit named: what they do not cover was forgotten, or is
/// padding between them, or belongs to the compiler (`polymorphic`).
struct VisitedModule {
  ByteRange range;
  const std::type_info& type;
  std::size_t alignment;
  bool polymorphic;
  std::vector<Field> (*fields)();  // null unless it is an aggregate
  std::vector<ByteRange> members;
};

/// A member that is neither Parameter nor module, whatever its type.
struct Setting {
  const std::type_info& type;
  void* value;
  void (*assign)(void* to, const void* from);
};

/// Visitor of the parts of a model, in the order of its `visit`, under the paths of parameters().
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void parameter(const std::string& path, Parameter& parameter) = 0;
  virtual void setting(const std::string& /*path*/, const Setting&) {}
  /// Begins a container of `size` modules; returns how many it shall have.
  virtual std::size_t container(const std::string& /*path*/, std::size_t size) { return size; }
  /// Ends a module, after its members.
  virtual void module(VisitedModule) {}
};

/// The `v` of a module's visit.
class Walk {
 public:
  Walk(Visitor& visitor, std::string prefix) : visitor_(visitor), prefix_(std::move(prefix)) {}

  /// Visits a member, and what is in it.
  template <class Member>
  void operator()(std::string_view name, Member& member) {
    check_member<Member>();
    const std::string path = cover(name, member);
    if constexpr (is_walked<Member>()) {
      walk(path, member);
    } else {
      visitor_.setting(path, {typeid(Member), &member, [](void* to, const void* from) {
                                *static_cast<Member*>(to) = *static_cast<const Member*>(from);
                              }});
    }
  }

  /// Skips a member: not listed, not saved, and as a new model has it in a
  /// copy.
  template <class Member>
  void skip(std::string_view name, const Member& member) {
    cover(name, member);
  }

  /// Begins a container whose elements visit() goes on to name itself.
  template <Container Elements>
  void size(std::string_view name, Elements& elements) {
    resize(cover(name, elements), elements);
  }

  /// Walks into a module: its members are named `prefix` + name.
  template <class Module>
  static void into(Visitor& visitor, const std::string& prefix, Module& module) {
    Walk inside(visitor, prefix);
    module.visit(inside);
    if constexpr (!std::is_empty_v<Module>) {
      std::vector<Field> (*fields)() = nullptr;
      if constexpr (std::is_aggregate_v<Module>) fields = fields_of<Module>;
      visitor.module({ByteRange::of(module, prefix.substr(0, prefix.find_last_of('.'))),
                      typeid(Module), alignof(Module), std::is_polymorphic_v<Module>, fields,
                      std::move(inside.members_)});
    }
  }

  /// Walks into a member that visit() has not named.
  template <class Member>
  static void into_unnamed(Visitor& visitor, Member& member) {
    Walk(visitor, "").walk("", member);
  }

 private:
  template <class Member>
  std::string cover(std::string_view name, const Member& member) {
    std::string path = prefix_ + std::string(name);
    members_.push_back(ByteRange::of(member, path));
    return path;
  }

  template <class Elements>
  void resize(const std::string& path, Elements& elements) {
    const std::size_t size = visitor_.container(path, std::size(elements));
    if constexpr (requires { elements.resize(size); }) {
      if (size != std::size(elements)) elements.resize(size);
    }
  }

  template <class Member>
  void walk(const std::string& path, Member& member) {
    if constexpr (std::same_as<Member, Parameter>) {
      visitor_.parameter(path, member);
    } else if constexpr (Visited<Member>) {
      into(visitor_, path + ".", member);
    } else {
      resize(path, member);
      for (std::size_t number = 0; auto& element : member)
        walk(path + "." + std::to_string(number++), element);
    }
  }

  Visitor& visitor_;
  std::string prefix_;
  std::vector<ByteRange> members_;
};

template <class T>
void show_parameters(T& field, Visitor& visitor) {
  if constexpr (is_walked<T>()) {
    Walk::into_unnamed(visitor, field);
  } else if constexpr (Optional<T> || Pointing<T>) {
    if constexpr (requires { static_cast<bool>(field), sizeof(*field); }) {
      if (field) show_parameters(*field, visitor);
    }
  } else if constexpr (any_part<Leading, T>()) {
    if constexpr (is_range_of_others<T>()) {
      for (auto& element : field) show_parameters(element, visitor);
    } else if constexpr (requires { field.first, field.second; }) {
      show_parameters(field.first, visitor);
      show_parameters(field.second, visitor);
    }
  }
}

/// Bytes of a module that no member covers.
struct Gap {
  const std::byte* begin;
  std::size_t bytes;
  std::string where;  // "names no member for N bytes of MODULE after MEMBER"
};
std::vector<Gap> gaps(const VisitedModule& module);

/// Finds Parameters that are in a model but were not met by a walk over it.
class Census {
 public:
  void met(const Parameter& parameter) { met_.push_back(parameter.data().get()); }
  void add(const VisitedModule& module);
  /// Throws UsageError, in the name of `op`, if there is one.
  void check(const char* op);

 private:
  struct Suspect {
    VisitedModule module;
    std::vector<Gap> gaps;  // that a pointer would fit in
  };
  std::vector<const ParameterData*> met_;
  std::vector<Suspect> suspects_;
};

/// Makes the list of parameters().
class Lister final : public Visitor {
 public:
  void parameter(const std::string& path, Parameter& parameter) override;
  void module(VisitedModule module) override { census_.add(module); }
  /// Throws UsageError if a Parameter was forgotten.
  Parameters list();

 private:
  Parameters found_;
  Census census_;
};

}  // namespace tapegrad::detail
