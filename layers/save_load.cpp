#include "save_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "../core/error.h"
#include "../core/io/safetensors.h"

namespace tapegrad {
namespace {

std::string described(const Tensor& t) {
  return fmt::format("{} {}", to_string(t.dtype()), to_string(t.shape()));
}

}  // namespace

void save_parameters(const std::filesystem::path& path, const Parameters& parameters,
                     const Metadata& metadata) {
  TensorFile file;
  for (const NamedParameter& p : parameters) file.tensors.push_back({p.name, p.value()});
  file.metadata = metadata;
  save_tensors(path, file);
}

Metadata load_parameters(const std::filesystem::path& path, const Parameters& parameters) {
  const TensorFile file = load_tensors(path);
  std::vector<std::string> problems;
  for (const NamedParameter& p : parameters) {
    const auto found = std::ranges::find(file.tensors, p.name, &NamedTensor::name);
    if (found == file.tensors.end()) {
      problems.push_back(fmt::format("missing {}, {}", p.name, described(p.value())));
    } else if (found->tensor.shape() != p.value().shape() ||
               found->tensor.dtype() != p.value().dtype()) {
      problems.push_back(fmt::format("{} is {} in the file but {} in the model", p.name,
                                     described(found->tensor), described(p.value())));
    }
  }
  for (const NamedTensor& t : file.tensors) {
    if (std::ranges::find(parameters, t.name, &NamedParameter::name) == parameters.end()) {
      problems.push_back(fmt::format("unexpected {}, {}", t.name, described(t.tensor)));
    }
  }
  if (!problems.empty()) {
    throw FileError(
        fmt::format("[load_parameters] {} does not fit this model, nothing was loaded: {}",
                    path.string(), fmt::join(problems, "; ")));
  }
  for (const NamedParameter& p : parameters) {
    p.data->value.copy_from(std::ranges::find(file.tensors, p.name, &NamedTensor::name)->tensor);
  }
  return file.metadata;
}

}  // namespace tapegrad
