#include "save_load.h"

#include <fmt/format.h>

#include "../core/error.h"
#include "../core/io/safetensors.h"
#include "values-inl.h"

namespace tapegrad {

void save_parameters(const std::filesystem::path& path, const Parameters& parameters,
                     const Metadata& metadata) {
  save_tensors(path, {detail::values_of(parameters), metadata});
}

Metadata load_parameters(const std::filesystem::path& path, const Parameters& parameters) {
  const TensorFile file = load_tensors(path);
  const std::string problems = detail::misfit(file.tensors, parameters, "in the file");
  if (!problems.empty()) {
    throw FileError(
        fmt::format("[load_parameters] {} does not fit this model, nothing was loaded: {}",
                    path.string(), problems));
  }
  detail::assign(file.tensors, parameters);
  return file.metadata;
}

}  // namespace tapegrad
