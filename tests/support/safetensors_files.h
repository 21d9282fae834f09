#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "../../core/error.h"
#include "../../core/io/safetensors.h"
#include "temp_folder.h"

/// Safetensors files made by hand.
namespace tapegrad::testing {

inline std::string size_bytes(std::uint64_t size) {
  std::string bytes(sizeof size, '\0');
  std::memcpy(bytes.data(), &size, sizeof size);
  return bytes;
}

inline std::string file_of(std::string_view header, std::string_view data = "") {
  return size_bytes(header.size()) + std::string(header) + std::string(data);
}

inline TensorFile load_bytes(std::string_view bytes) {
  const TempFolder folder;
  spill(folder / "x.safetensors", bytes);
  return load_tensors(folder / "x.safetensors");
}

/// The message of the FileError that these bytes are refused with, less "[load_tensors] path: ".
inline std::string refusal(std::string_view bytes) {
  const TempFolder folder;
  const std::filesystem::path path = folder / "x.safetensors";
  spill(path, bytes);
  const std::string prefix = "[load_tensors] " + path.string() + ": ";
  try {
    load_tensors(path);
  } catch (const FileError& error) {
    const std::string what = error.what();
    return what.starts_with(prefix) ? what.substr(prefix.size()) : "no prefix in: " + what;
  }
  return "accepted";
}

inline std::string bytes_of(const Tensor& tensor) {
  std::string bytes(tensor.numel() * size_of(tensor.dtype()), '\0');
  const void* elements = tensor.dtype() == DType::float32 ? tensor.data<float>()
                         : tensor.dtype() == DType::float64
                             ? tensor.data<double>()
                             : static_cast<const void*>(tensor.data<std::int32_t>());
  if (!bytes.empty()) std::memcpy(bytes.data(), elements, bytes.size());
  return bytes;
}

}  // namespace tapegrad::testing
