#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../owned.h"
#include "../tensor.h"

namespace tapegrad {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// A tensor of a file that a Tensor cannot hold: another dtype, or more axes.
struct UnreadTensor {
  std::string name;
  std::string what;  // as the file has it: "I64 (20, 3)"
};

/// Content of a safetensors file: tensors in the order of their data, and free text by key.
struct TensorFile {
  Owned<std::vector<NamedTensor>> tensors;
  std::map<std::string, std::string> metadata;
  std::filesystem::path path = {};        // where load_tensors() has read it, for messages
  std::vector<UnreadTensor> unread = {};  // those that load_tensors() has passed over

  /// Returns the tensor of that name. Throws FileError if the file has none, or has one that was not
  /// read.
  const Tensor& tensor(std::string_view name) const&;
  Tensor tensor(std::string_view name) const&& { return tensor(name); }
  /// Returns it likewise; throws FileError also if it has another shape. Ask for all sizes that the
  /// metadata promise in this way before making a model of them: then the file holds that much.
  const Tensor& tensor(std::string_view name, const Shape& shape) const&;
  Tensor tensor(std::string_view name, const Shape& shape) const&& { return tensor(name, shape); }

  /// Takes a prefix off all names, such as the "module." of torch's DataParallel. Throws UsageError,
  /// and changes nothing, unless all have it.
  void remove_prefix(std::string_view prefix);

  /// Returns metadata as text or as a number in [low, high]. Throws FileError that names the key if
  /// it is missing or is no such number.
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
/// that load_tensors() would refuse for its size or cost. Throws FileError as write_file_atomically
/// does.
void save_tensors(const std::filesystem::path& path, const TensorFile& file);

struct LoadOptions {
  bool widen_half = false;  // F16 and BF16 are read, as float32: exact, NaN and infinity too
};

/// Reads a safetensors file that may come from anywhere.
///
/// Nothing is taken on trust: all of the header is checked before memory for a tensor is asked for,
/// and all that is asked for is less than twice the file's size and 16 MB. Throws FileError
/// `[load_tensors] path: tensor 'name': what is wrong` unless
/// * the header has at most 100,000,000 bytes, begins with `{` at once, and ends with `}` and
///   nothing but spaces (the written format; white space before the `{`, which some readers take,
///   is refused);
/// * it is JSON in UTF-8 without duplicate keys, each tensor has dtype, shape and data_offsets and
///   nothing else, all numbers are plain integers from 0 on, and metadata are strings;
/// * no text in it has more than 4 MB and a quarter of the data's size, and it does not take far more
///   memory than bytes, as hundreds of thousands of tiny metadata would;
/// * names are not empty and without control characters (they are not paths: "../x" is a name);
/// * dtypes are those of the format, and shapes have at most 64 axes, of any size, 0 too;
/// * a tensor's offsets are as far apart as its shape and dtype say;
/// * the tensors cover the data exactly: no hole, no overlap, no byte after the last.
///
/// Tensors of another dtype than F32, F64 and I32, or of more than Shape::max_rank axes, are passed
/// over and listed as `unread`. Elements are taken as they are, NaN and infinity too.
TensorFile load_tensors(const std::filesystem::path& path, const LoadOptions& options = {});

}  // namespace tapegrad
