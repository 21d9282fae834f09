#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "model/module.h"

/// What can be done with the Parameters of a model, or with some of them.
namespace tapegrad {

/// The Parameter of that name (or tie). Throws UsageError that lists near names if there is none.
NamedParameter find(const Parameters& parameters, std::string_view name);
/// Those of which a name begins with `prefix`: "lstm." for a module, "lstm.weight" for its
/// matrices. Throws UsageError that lists near names if there is none.
Parameters with_prefix(const Parameters& parameters, std::string_view prefix);

/// Makes Parameters constants on the tape: no node, no gradient (one that is there is forgotten),
/// and optimizers leave them alone. A tie freezes all members that share the Parameter.
void freeze(const Parameters& parameters);
void unfreeze(const Parameters& parameters);
template <Module Model>
void freeze(const Model& model) {
  freeze(parameters(model));
}
template <Module Model>
void unfreeze(const Model& model) {
  unfreeze(parameters(model));
}

/// Copies values by name, as save_parameters() and load_parameters() would. Strict: names that are
/// missing, unexpected, of another shape or of another dtype are all listed in one UsageError, and
/// then nothing has been changed. A Parameter is known by its first name, ties go with it.
void copy_values(const Parameters& from, const Parameters& to);

/// Number of elements.
std::size_t parameter_count(const Parameters& parameters);
template <Module Model>
std::size_t parameter_count(const Model& model) {
  return parameter_count(parameters(model));
}

/// In bytes.
struct ParameterMemory {
  std::size_t values = 0;
  std::size_t gradients = 0;  // those that there are now
};
ParameterMemory parameter_memory(const Parameters& parameters);
template <Module Model>
ParameterMemory parameter_memory(const Model& model) {
  return parameter_memory(parameters(model));
}

/// A table for people: name, shape, dtype, elements and bytes of each Parameter, whether it is
/// frozen, its ties, and the sums.
std::string describe(const Parameters& parameters);
template <Module Model>
std::string describe(const Model& model) {
  return describe(parameters(model));
}

}  // namespace tapegrad
