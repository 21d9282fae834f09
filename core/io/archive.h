#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../tensor.h"

namespace tapegrad {

class Archive;

/// A type that can be saved and restored: it names its parts in `void state(Archive& a)`.
template <class T>
concept Stateful = requires(T& t, Archive& a) {
  t.state(a);
};

/// Receiver of the parts of an object, which its state() names; one function saves and restores:
///
///   void Rng::state(Archive& a) { a("key", key_.bits); a("block", block_); }
///
/// Names are paths ("adam.0.head.weight.m"). While a file is loaded, state() is called twice: first
/// to compare names, types, shapes and ranges, when nothing is changed, then to restore. It must
/// name the same parts both times.
class Archive {
 public:
  /// Names a number that must be in [low, high].
  template <class N>
  requires std::integral<N> || std::floating_point<N>
  void operator()(std::string_view name, N& number, N low = std::numeric_limits<N>::lowest(),
                  N high = std::numeric_limits<N>::max()) {
    if constexpr (std::floating_point<N>) {
      double value = static_cast<double>(number);
      real(name, value, static_cast<double>(low), static_cast<double>(high));
      if (loading()) number = static_cast<N>(value);
    } else if constexpr (std::signed_integral<N>) {
      std::int64_t value = number;
      integer(name, value, low, high);
      if (loading()) number = static_cast<N>(value);
    } else {
      std::uint64_t value = number;
      natural(name, value, low, high);
      if (loading()) number = static_cast<N>(value);
    }
  }
  void operator()(std::string_view name, std::string& text);
  /// Names a tensor that keeps its shape and dtype; restored by copying into its elements.
  void operator()(std::string_view name, Tensor& tensor);
  /// Names an object with a state(): its parts get `name` and a dot before their names.
  template <class T>
  requires Stateful<T>
  void operator()(std::string_view name, T&& object) {
    const std::size_t outer = prefix_.size();
    prefix_.append(name).append(".");
    object.state(*this);
    prefix_.resize(outer);
  }

  /// Names a tensor of that shape and dtype if `present`, else none: saved only if it is present,
  /// and replaced when restored.
  void tensor(std::string_view name, Tensor& tensor, bool present, const Shape& shape, DType dtype);
  /// Names what must be the same in the file, as the kind of an optimizer.
  void fact(std::string_view name, std::string_view text);
  void fact(std::string_view name, std::uint64_t number);
  /// Returns the number that the file has, on which the presence of other parts depends; `now`
  /// while saving. Does not count as naming it.
  std::uint64_t peek(std::string_view name, std::uint64_t now) const;

  /// Returns whether parts are restored: in the second call, when nothing can be refused any more.
  bool loading() const { return mode_ == Mode::load; }

 private:
  friend void save_state(const std::filesystem::path&, const std::function<void(Archive&)>&);
  friend void load_state(const std::filesystem::path&, const std::function<void(Archive&)>&);
  friend void check_state(const std::function<void(Archive&)>&);
  enum class Mode : std::uint8_t { save, check, load };
  explicit Archive(Mode mode) : mode_(mode) {}

  void real(std::string_view name, double& value, double low, double high);
  void integer(std::string_view name, std::int64_t& value, std::int64_t low, std::int64_t high);
  void natural(std::string_view name, std::uint64_t& value, std::uint64_t low, std::uint64_t high);
  template <class N>
  void number(std::string_view name, N& value, N low, N high);
  /// Returns the text of an entry, noted as named; null if there is none.
  const std::string* text_of(const std::string& path);
  std::string path_of(std::string_view name) const { return prefix_ + std::string(name); }
  void add(const std::string& path, std::string text);
  void problem(std::string_view text) const;

  Mode mode_;
  std::string prefix_;
  std::map<std::string, std::string> texts_;
  std::map<std::string, Tensor> tensors_;
  std::set<std::string> named_;
  struct Loaded;  // what is used while a file is loaded
  Loaded* loaded_ = nullptr;
};

/// Writes all parts that `state` names, whole or not at all: tensors and, as metadata, numbers and
/// texts, in a .safetensors file. Numbers keep all their bits.
///
///   const auto state = [&](Archive& a) {
///     a("model", parameters(model)); a("adam", adam); a("rng", rng); a("window", window);
///     a("step", step);
///   };
///   save_state("run.state", state);   ...   load_state("run.state", state);
///
/// Throws UsageError if two parts have one name, and as save_tensors() does.
void save_state(const std::filesystem::path& path, const std::function<void(Archive&)>& state);

/// Throws UsageError if two parts that `state` names have one name; writes nothing.
void check_state(const std::function<void(Archive&)>& state);

/// Restores the parts that `state` names, so that a training goes on with the same bits. Strict:
/// parts that are missing, unexpected, out of range, or of another type, shape or dtype are all
/// listed in one FileError, and then nothing has been changed. The file may come from anywhere: it
/// is read as by load_tensors().
void load_state(const std::filesystem::path& path, const std::function<void(Archive&)>& state);

}  // namespace tapegrad
