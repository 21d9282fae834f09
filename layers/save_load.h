#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "../autograd/parameter.h"

namespace tapegrad {

using Metadata = std::map<std::string, std::string>;

/// Writes the values under their names to a .safetensors file, whole or not at all. Throws
/// FileError.
void save_parameters(const std::filesystem::path& path, const Parameters& parameters,
                     const Metadata& metadata = {});

/// Reads values by name; returns the file's metadata. Strict: names that are missing, unexpected,
/// of another shape or of another dtype are all listed in one FileError, and then nothing has been
/// changed.
Metadata load_parameters(const std::filesystem::path& path, const Parameters& parameters);

}  // namespace tapegrad
