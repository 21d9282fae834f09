#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "../owned.h"
#include "../tensor.h"

namespace tapegrad {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// What a safetensors file holds: tensors in the order of their data, and free text by key.
struct TensorFile {
  Owned<std::vector<NamedTensor>> tensors;
  std::map<std::string, std::string> metadata;
  std::filesystem::path path = {};  // where load_tensors() has read it, for messages

  /// Metadata as text or as a number in [low, high]. Throws FileError that names the key if it is
  /// missing or is no such number.
  const std::string& text(const std::string& key) const&;
  std::string text(const std::string& key) && { return std::as_const(*this).text(key); }
  std::uint64_t number(const std::string& key, std::uint64_t low, std::uint64_t high) const;
};

/// Writes `file` to `path` in the safetensors format, whole or not at all (write_file_atomically).
///
/// Format (github.com/huggingface/safetensors, README): 8 bytes, the size N of the header as a
/// little-endian integer; N bytes of JSON, `{"__metadata__": {key: text}, name: {"dtype": "F32",
/// "shape": [4, 2], "data_offsets": [begin, end]}}`, padded with spaces so that the data begin at a
/// multiple of 8; the tensors' elements, row-major, little-endian, without gaps. dtypes are F32,
/// F64 and I32. The order given is kept, but for float64, which comes before the others: so every
/// tensor is aligned to its elements, as readers that map the file expect.
///
/// Throws UsageError, and writes nothing, for an undefined tensor; for a name that is empty, there
/// twice, "__metadata__", or has control characters; for text that is not UTF-8; and for a header
/// over 100,000,000 bytes. Throws FileError as write_file_atomically does.
void save_tensors(const std::filesystem::path& path, const TensorFile& file);

/// Reads a safetensors file that may come from anywhere.
///
/// Nothing is taken on trust: all of the header is checked before memory for a tensor is asked for,
/// and what is asked for is the size of the file. Throws FileError `[load_tensors] path: tensor
/// 'name': what is wrong` unless
/// * the header has at most 100,000,000 bytes, begins with `{` at once, and ends with `}` and
///   nothing but spaces (the written format; white space before the `{`, which some readers take,
///   is refused);
/// * it is JSON in UTF-8 without duplicate keys, each tensor has dtype, shape and data_offsets and
///   nothing else, all numbers are plain integers from 0 on, and metadata are strings;
/// * names are not empty and without control characters (they are not paths: "../x" is a name);
/// * dtypes are F32, F64 or I32, and shapes have at most Shape::max_rank axes, of any size, 0 too;
/// * a tensor's offsets are as far apart as its shape and dtype say;
/// * the tensors cover the data exactly: no hole, no overlap, no byte after the last.
///
/// Elements are taken as they are, NaN and infinity too.
TensorFile load_tensors(const std::filesystem::path& path);

}  // namespace tapegrad
