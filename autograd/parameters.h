#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parameter.h"

namespace tapegrad {

class Archive;
struct TensorFile;

/// Sizes of some Parameters in bytes.
struct ParameterMemory {
  std::size_t values = 0;
  std::size_t gradients = 0;  // those that there are now
};

/// Some Parameters under their names, in order: those of a model (`parameters(model)`), of a part
/// of one, or of several (`a + b`).
///
/// A list may name a Parameter twice, as a join of two modules with a tied weight does. Every
/// function here and in optim then takes the Parameter once, under its first name; an optimizer
/// refuses such a list.
class Parameters {
 public:
  using value_type = NamedParameter;
  using const_iterator = std::vector<NamedParameter>::const_iterator;
  using iterator = const_iterator;

  Parameters() = default;
  Parameters(std::initializer_list<NamedParameter> list) : Parameters(std::vector(list)) {}
  explicit Parameters(const std::vector<NamedParameter>& list);

  const_iterator begin() const { return list_.begin(); }
  const_iterator end() const { return list_.end(); }
  std::size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  const NamedParameter& operator[](std::size_t i) const& { return list_[i]; }
  NamedParameter operator[](std::size_t i) && { return std::move(list_[i]); }
  /// A view of entries by their places in a list. (clang 14 does not take libstdc++'s views.)
  class Distinct {
   public:
    class iterator {
     public:
      using value_type = NamedParameter;
      using difference_type = std::ptrdiff_t;

      iterator() = default;
      iterator(const NamedParameter* list, const std::size_t* place) : list_(list), place_(place) {}
      const NamedParameter& operator*() const { return list_[*place_]; }
      iterator& operator++() {
        ++place_;
        return *this;
      }
      iterator operator++(int) { return {list_, place_++}; }
      bool operator==(const iterator& other) const { return place_ == other.place_; }

     private:
      const NamedParameter* list_ = nullptr;
      const std::size_t* place_ = nullptr;
    };

    Distinct(const NamedParameter* list, const std::vector<std::size_t>& places)
        : begin_(list, places.data()), end_(list, places.data() + places.size()) {}
    iterator begin() const { return begin_; }
    iterator end() const { return end_; }

   private:
    iterator begin_, end_;
  };
  /// Returns the entries without those that name a Parameter again.
  Distinct distinct() const& { return {list_.data(), firsts_}; }
  void distinct() && = delete;  // would be a view of a list that is gone

  void push_back(NamedParameter parameter);
  /// Adds a Parameter, or, if the list has it already, its name to the ties of that entry.
  void add(const std::string& name, const Parameter& parameter);
  Parameters& operator+=(const Parameters& other);
  friend Parameters operator+(Parameters a, const Parameters& b) { return a += b; }

  /// Returns the Parameter of that name (or tie). Throws UsageError that lists near names if there
  /// is none.
  NamedParameter find(std::string_view name) const;
  /// Returns those of which a name begins with `prefix`: "lstm." for a module, "lstm.weight" for
  /// its matrices. Throws UsageError that lists near names if there is none.
  Parameters with_prefix(std::string_view prefix) const;

  /// Makes all of them constants on the tape: no node, no gradient (one that is there is
  /// forgotten), and optimizers leave them alone. A tie freezes all members that share the
  /// Parameter.
  void freeze() const;
  void unfreeze() const;
  /// Forgets the gradients, so that the next backward starts from zero. Keeps their memory.
  void zero_grad() const;
  /// Copies values of `from` by name, as saving and loading would. Strict: names that are missing,
  /// unexpected, of another shape or of another dtype are all listed in one UsageError, and then
  /// nothing has been changed. A Parameter is known by its first name, ties go with it.
  void copy_values(const Parameters& from) const;

  /// Saves or restores the values by name: "one entry" of a training's state.
  void state(Archive& a) const;

  /// Returns the number of elements.
  std::size_t count() const;
  ParameterMemory memory() const;
  /// Returns a table for people: name, shape, dtype, elements and bytes of each Parameter, whether
  /// it is frozen, its ties, and the sums.
  std::string describe() const;

 private:
  std::vector<NamedParameter> list_;
  std::vector<std::size_t> firsts_;  // places of the distinct ones
};

using Metadata = std::map<std::string, std::string>;

/// Writes the values under their names to a .safetensors file, whole or not at all. Throws
/// FileError.
void save_parameters(const std::filesystem::path& path, const Parameters& parameters,
                     const Metadata& metadata = {});

/// Reads values by name; returns the file's metadata. Strict: names that are missing, unexpected,
/// of another shape or of another dtype are all listed in one FileError, and then nothing has been
/// changed.
Metadata load_parameters(const std::filesystem::path& path, const Parameters& parameters);
/// Copies values from a file that load_tensors() has read, whose metadata tell how to build the
/// model.
void load_parameters(const TensorFile& file, const Parameters& parameters);

}  // namespace tapegrad
