#include "safetensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../words-inl.h"
#include "../write-inl.h"
#include "atomic_file.h"
#include "safetensors_header-inl.h"

namespace tapegrad {
namespace {

using namespace safetensors;

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

constexpr std::size_t alignment = sizeof(double);

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(T) { return std::as_bytes(tensor.values<T>()); });
}

std::span<std::byte> writable_bytes_of(Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(T) {
    return std::as_writable_bytes(std::span(detail::write<T>(tensor), tensor.numel()));
  });
}

/// A name that is there more than once, if there is one.
template <class Named>
std::optional<std::string_view> find_duplicate(const std::vector<Named>& items) {
  std::vector<std::string_view> names;
  names.reserve(items.size());
  for (const Named& item : items) names.push_back(item.name);
  std::ranges::sort(names);
  const auto found = std::ranges::adjacent_find(names);
  return found == names.end() ? std::nullopt : std::optional(*found);
}

class HeaderWriter {
 public:
  explicit HeaderWriter(const std::filesystem::path& path) : path_(path.string()) {}

  void check(const std::vector<NamedTensor>& tensors) const {
    for (const auto& [name, tensor] : tensors) {
      std::string_view fault = fault_of(name);
      if (name == metadata_key) fault = "this name is reserved for metadata";
      if (!tensor.defined()) fault = "it is undefined";
      if (!fault.empty()) fail(fmt::format("tensor '{}': {}", shown(name), fault));
    }
    if (const auto name = find_duplicate(tensors)) {
      fail(fmt::format("tensor '{}': another tensor has the same name", shown(*name)));
    }
  }

  /// The size and the header, padded; `tensors` in the order of their data.
  std::string write(const std::vector<NamedTensor>& tensors,
                    const std::map<std::string, std::string>& metadata) const {
    std::vector<std::string> items;
    if (!metadata.empty()) items.push_back(metadata_item(metadata));
    std::size_t offset = 0;
    for (const auto& [name, tensor] : tensors) {
      const std::size_t end = offset + bytes_of(tensor).size();
      items.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  quoted(name, "the name"), format_name(tensor.dtype()),
                                  joined(tensor.shape().dims(), ","), offset, end));
      offset = end;
    }
    std::string header = "{" + joined(items, ",") + "}";
    header.append((alignment - header.size() % alignment) % alignment, ' ');
    if (header.size() > max_header_bytes) {
      fail(fmt::format("the header has {} bytes but readers take at most {}: shorten the metadata",
                       header.size(), max_header_bytes));
    }
    const auto size =
        std::bit_cast<std::array<char, sizeof(std::uint64_t)>>(std::uint64_t{header.size()});
    return std::string(size.begin(), size.end()) + header;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    tapegrad::fail<UsageError>("save_tensors", "{}: {}", path_, what);
  }

  std::string metadata_item(const std::map<std::string, std::string>& metadata) const {
    std::vector<std::string> items;
    items.reserve(metadata.size());
    for (const auto& [key, text] : metadata) {
      items.push_back(quoted(key, "the key") + ":" + quoted(text, "metadata"));
    }
    return fmt::format(R"("{}":{{{}}})", metadata_key, joined(items, ","));
  }

  std::string quoted(const std::string& text, std::string_view what) const {
    try {
      return Json(text).dump();
    } catch (const Json::type_error&) {
      fail(fmt::format("{} '{}' is not UTF-8", what, shown(text)));
    }
  }

  std::string path_;
};

/// The shape of `entry`, checked against its place in the data.
Shape shape_of(const InputFile& file, const Entry& entry) {
  const auto fail = [&](std::string_view what) {
    file.fail(fmt::format("tensor '{}': {}", shown(entry.name), what));
  };
  const auto [begin, end] = entry.offsets;
  if (begin > end) {
    fail(fmt::format("data_offsets ({}, {}) end before they begin", begin, end));
  }
  const std::span<const std::size_t> dims(entry.dims.data(), entry.rank);
  Shape shape;
  try {
    shape = Shape(dims);
  } catch (const ShapeError&) {
    fail(fmt::format("shape ({}) has more elements than memory can address", joined(dims, ", ")));
  }
  const std::size_t bytes = shape.numel() * size_of(entry.dtype);
  if (end - begin != bytes) {
    fail(fmt::format("data_offsets ({}, {}) span {} bytes but shape {} of {} has {}", begin, end,
                     end - begin, to_string(shape), format_name(entry.dtype), bytes));
  }
  return shape;
}

/// Sorts `entries` by their place in the data, and checks that they cover exactly `data_bytes`.
void check_cover(const InputFile& file, std::vector<Entry>& entries, std::uint64_t data_bytes) {
  std::ranges::stable_sort(entries, {}, &Entry::offsets);
  std::uint64_t next = 0;
  for (const Entry& entry : entries) {
    const auto [begin, end] = entry.offsets;
    if (begin != next) {
      file.fail(
          fmt::format("tensor '{}': data_offsets ({}, {}) must begin at {}: there may be no {}",
                      shown(entry.name), begin, end, next, begin < next ? "overlap" : "hole"));
    }
    next = end;
  }
  if (next > data_bytes) {
    file.fail(fmt::format("the tensors need {} bytes but the file has {}: it is cut off", next,
                          data_bytes));
  }
  if (next < data_bytes) {
    file.fail(
        fmt::format("the tensors need {} bytes but the file has {}: there may be no trailing ones",
                    next, data_bytes));
  }
}

}  // namespace

const std::string& TensorFile::text(const std::string& key) const& {
  const auto found = metadata.find(key);
  if (found != metadata.end()) return found->second;
  fail<FileError>("TensorFile",
                  "{} has no metadata '{}': it must be a file that was written for this use",
                  path.string(), key);
}

std::uint64_t TensorFile::number(const std::string& key, std::uint64_t low,
                                 std::uint64_t high) const {
  const std::string& digits = text(key);
  std::uint64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error == std::errc{} && stop == end && value >= low && value <= high) return value;
  fail<FileError>("TensorFile", "{} has '{}' as metadata '{}': it must be a number in [{}, {}]",
                  path.string(), shown(digits), key, low, high);
}

void save_tensors(const std::filesystem::path& path, const TensorFile& file) {
  const HeaderWriter writer(path);
  writer.check(file.tensors);
  std::vector<NamedTensor> tensors = file.tensors;
  std::ranges::stable_sort(tensors, std::greater(),
                           [](const NamedTensor& t) { return size_of(t.tensor.dtype()); });
  const std::string header = writer.write(tensors, file.metadata);
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(header))};
  for (const NamedTensor& named : tensors) parts.push_back(bytes_of(named.tensor));
  write_file_atomically(path, parts, "save_tensors");
}

TensorFile load_tensors(const std::filesystem::path& path) {
  InputFile file(path, "load_tensors");
  Header header = read_header(file);
  std::vector<Entry>& entries = header.entries;
  if (const auto name = find_duplicate(entries)) {
    file.fail(fmt::format("tensor '{}': this name is there twice", shown(*name)));
  }
  for (Entry& entry : entries) entry.shape = shape_of(file, entry);
  check_cover(file, entries, file.size() - header.end);
  TensorFile result;
  result.path = path;
  result.metadata = std::move(header.metadata);
  result.tensors.reserve(entries.size());
  for (Entry& entry : entries) {
    Tensor tensor = Tensor::empty(entry.shape, entry.dtype);
    file.read_exactly(writable_bytes_of(tensor));
    result.tensors.push_back({std::move(entry.name), std::move(tensor)});
  }
  return result;
}

}  // namespace tapegrad
