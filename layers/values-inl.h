#pragma once

#include <string>
#include <vector>

#include "../autograd/parameter.h"
#include "../core/io/safetensors.h"

#pragma GCC visibility push(hidden)

namespace tapegrad::detail {

/// Why `values` cannot be those of `parameters`: names that are missing, unexpected, of another
/// shape or dtype, each with what it is `here` ("in the file"); empty if they can.
std::string misfit(const std::vector<NamedTensor>& values, const Parameters& parameters,
                   const char* here);
/// Copies values that fit.
void assign(const std::vector<NamedTensor>& values, const Parameters& parameters);
/// The values themselves, not copies.
std::vector<NamedTensor> values_of(const Parameters& parameters);

}  // namespace tapegrad::detail

#pragma GCC visibility pop
