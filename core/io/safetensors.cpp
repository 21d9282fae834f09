#include "safetensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdint>
#include <deque>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../words-inl.h"
#include "../write-inl.h"
#include "atomic_file.h"
#include "elements-inl.h"
#include "name_index-inl.h"
#include "safetensors_header-inl.h"

namespace tapegrad {
namespace {

using namespace safetensors;

constexpr std::size_t alignment = sizeof(double);

std::span<std::byte> writable_bytes_of(Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(T) {
    return std::as_writable_bytes(std::span(detail::write<T>(tensor), tensor.numel()));
  });
}

class HeaderWriter {
 public:
  explicit HeaderWriter(const std::filesystem::path& path) : path_(shown_path(path)) {}

  void check(const std::vector<NamedTensor>& tensors) const {
    for (const auto& [name, tensor] : tensors) {
      std::string_view fault = fault_of(name);
      if (name == metadata_key) fault = "this name is reserved for metadata";
      if (!tensor.defined()) fault = "it is undefined";
      if (!fault.empty()) fail(fmt::format("tensor '{}': {}", shown(name), fault));
    }
    if (const std::string* const name = NameIndex(tensors).duplicate()) {
      fail(fmt::format("tensor '{}': another tensor has the same name", shown(*name)));
    }
  }

  /// The size and the header, padded; `tensors` in the order of their data.
  std::string write(const std::vector<NamedTensor>& tensors,
                    const std::map<std::string, std::string>& metadata) const {
    Cost cost;
    for (const auto& [name, tensor] : tensors) cost.add_tensor(name);
    for (const auto& [key, text] : metadata) cost.add_metadata(key, text);
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
    const auto check_length = [&](const std::string& text) {
      if (text.size() > longest_text(offset)) {
        fail(fmt::format("the text '{}' has {} bytes but in this file readers take at most {}",
                         shown(text), text.size(), longest_text(offset)));
      }
    };
    for (const auto& [name, tensor] : tensors) check_length(name);
    for (const auto& [key, text] : metadata) check_length(key), check_length(text);
    if (cost.exceeds(header.size(), offset)) {
      fail(
          fmt::format("{} tensors and {} metadata are more than readers take: put numbers together "
                      "into tensors",
                      tensors.size(), metadata.size()));
    }
    return bytes_of_number(header.size(), sizeof(std::uint64_t)) + header;
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

/// Checks the size of a tensor, as shape and dtype have it, against its place in the data.
void check_size(const InputFile& file, const Entry& entry) {
  const auto fail = [&](std::string_view what) {
    file.fail(fmt::format("tensor '{}': {}", shown(entry.name), what));
  };
  const std::span<const std::size_t> dims(entry.dims);
  const auto [begin, end] = entry.offsets;
  if (begin > end) {
    fail(fmt::format("data_offsets ({}, {}) end before they begin", begin, end));
  }
  const std::optional<std::size_t> elements = element_count(dims);
  if (!elements) {
    fail(fmt::format("shape ({}) has more elements than memory can address", joined(dims, ", ")));
  }
  const std::size_t bits = *elements * entry.format->bits;
  if (bits % 8 != 0) {
    fail(fmt::format("shape ({}) of {} is not a whole number of bytes", joined(dims, ", "),
                     entry.format->name));
  }
  if (end - begin != bits / 8) {
    fail(fmt::format("data_offsets ({}, {}) span {} bytes but shape ({}) of {} has {}", begin, end,
                     end - begin, joined(dims, ", "), entry.format->name, bits / 8));
  }
}

/// Reads files: once over the header to check it, once again to read what it names. So the header
/// is never in memory as a whole, beside what it is worth.
class Reader {
 public:
  Reader(const std::filesystem::path& path, const LoadOptions& options)
      : file_(path, "load_tensors"), place_(find_header(file_)), options_(options) {}

  TensorFile read() {
    TensorFile result;
    std::vector<std::uint32_t> slots = survey(result);
    result.tensors.resize(slots.size());
    cost_ = {};
    std::size_t next = 0;
    std::uint64_t bytes = 0;
    read_header(file_, place_,
                {[&](Entry& entry) {
                   check_size(file_, entry);
                   charge(entry);
                   if (!is_read(entry)) {
                     std::string what = entry.described();
                     result.unread.push_back({std::move(entry.name), std::move(what)});
                     return;
                   }
                   const auto [begin, end] = entry.offsets;
                   bytes += end - begin;
                   if (next == slots.size() || bytes > data_bytes()) changed();
                   NamedTensor& slot = result.tensors[slots[next++]];
                   slot.tensor = read_elements(entry);
                   slot.name = std::move(entry.name);
                 },
                 [](const std::string&, const std::string&) {}});
    if (next != slots.size()) changed();
    check_names(result);
    return result;
  }

 private:
  struct Place {
    std::uint64_t begin, end;
    bool is_read;
  };

  std::uint64_t data_bytes() const { return file_.size() - place_.end; }
  bool is_read(const Entry& entry) const {
    return entry.dims.size() <= Shape::max_rank &&
           (entry.format->dtype || (options_.widen_half && is_half(*entry.format)));
  }
  [[noreturn]] void changed() const { file_.fail("was changed while it was read"); }

  /// Refuses a header that would take far more memory than it has bytes.
  void check_cost() const {
    if (cost_.exceeds(place_.end, data_bytes())) {
      file_.fail("the header would take more memory than twice the file's size and 16 MB");
    }
  }
  void charge(const Entry& entry) {
    const bool is_empty = entry.offsets[0] == entry.offsets[1];
    if (is_empty && entry.format == last_empty_.format && entry.dims == last_empty_.dims) {
      cost_.add_shared(entry.name);
    } else {
      cost_.add_tensor(entry.name);
    }
    if (is_empty) last_empty_ = {.format = entry.format, .dims = entry.dims};
    check_cost();
  }

  void check_names(const TensorFile& file) const {
    const NameIndex<NamedTensor> tensors(file.tensors);
    const NameIndex<UnreadTensor> unread(file.unread);
    const auto check = [&](const std::string* twice) {
      if (twice != nullptr) {
        file_.fail(fmt::format("tensor '{}': this name is there twice", shown(*twice)));
      }
    };
    check(tensors.duplicate());
    check(unread.duplicate());
    for (const UnreadTensor& t : file.unread) check(tensors.find(t.name) ? &t.name : nullptr);
  }

  /// Reads the metadata, and checks everything but for duplicate names of tensors; returns a place
  /// in the result for each tensor that is read, in the order of the header.
  std::vector<std::uint32_t> survey(TensorFile& result) {
    std::deque<Place> places;
    read_header(file_, place_,
                {[&](Entry& entry) {
                   check_size(file_, entry);
                   charge(entry);
                   places.push_back({entry.offsets[0], entry.offsets[1], is_read(entry)});
                 },
                 [&](std::string& key, std::string& text) {
                   cost_.add_metadata(key, text);
                   check_cost();
                   const auto [item, is_new] =
                       result.metadata.try_emplace(std::move(key), std::move(text));
                   if (!is_new) {
                     file_.fail(fmt::format("{} '{}': this key is there twice", metadata_key,
                                            shown(item->first)));
                   }
                 }});
    std::vector<std::uint32_t> order(places.size());
    std::iota(order.begin(), order.end(), std::uint32_t{0});
    std::ranges::sort(
        order, {}, [&](std::uint32_t k) { return std::tuple(places[k].begin, places[k].end, k); });
    check_cover(places, order);
    std::vector<std::uint32_t> slot_of(places.size());
    std::uint32_t count = 0;
    for (const std::uint32_t k : order) {
      if (places[k].is_read) slot_of[k] = count++;
    }
    std::vector<std::uint32_t> slots;
    slots.reserve(count);
    for (std::size_t k = 0; k < places.size(); ++k) {
      if (places[k].is_read) slots.push_back(slot_of[k]);
    }
    return slots;
  }

  /// Checks that the tensors, in the order of their places, cover exactly the data.
  void check_cover(const std::deque<Place>& places, const std::vector<std::uint32_t>& order) const {
    std::uint64_t next = 0;
    for (const std::uint32_t k : order) {
      const auto& [begin, end, is_read] = places[k];
      if (begin != next) {
        file_.fail(
            fmt::format("tensor '{}': data_offsets ({}, {}) must begin at {}: there may be no {}",
                        shown(name_of(k)), begin, end, next, begin < next ? "overlap" : "hole"));
      }
      next = end;
    }
    if (next > data_bytes()) {
      file_.fail(fmt::format("the tensors need {} bytes but the file has {}: it is cut off", next,
                             data_bytes()));
    }
    if (next < data_bytes()) {
      file_.fail(fmt::format(
          "the tensors need {} bytes but the file has {}: there may be no trailing ones", next,
          data_bytes()));
    }
  }

  /// The name of tensor k, counted in the header: for a message, so it is worth reading it again.
  std::string name_of(std::size_t k) const {
    std::string name;
    std::size_t next = 0;
    read_header(file_, place_,
                {[&](Entry& entry) {
                   if (next++ == k) name = entry.name;
                 },
                 [](const std::string&, const std::string&) {}});
    return name;
  }

  Tensor read_elements(const Entry& entry) {
    const Shape shape(std::span<const std::size_t>(entry.dims));
    const DType dtype = entry.format->dtype.value_or(DType::float32);
    if (shape.numel() == 0) {
      // Nothing tells tensors without elements apart, and a file may have millions of them.
      const bool shares = empty_.defined() && empty_.shape() == shape && empty_.dtype() == dtype;
      if (!shares) empty_ = Tensor::empty(shape, dtype);
      return empty_;
    }
    Tensor tensor = Tensor::empty(shape, dtype);
    const std::uint64_t begin = place_.end + entry.offsets[0];
    if (entry.format->dtype) {
      file_.read_exactly_at(begin, writable_bytes_of(tensor));
    } else {
      widen(begin, *entry.format, tensor);
    }
    return tensor;
  }

  /// Reads 16-bit numbers into a float32 tensor.
  void widen(std::uint64_t begin, const Format& format, Tensor& tensor) const {
    const auto widened = format.name == "BF16" ? of_bfloat16 : of_float16;
    read_converted<std::uint16_t>(file_, begin,
                                  std::span(detail::write<float>(tensor), tensor.numel()),
                                  [&](std::uint16_t bits, std::size_t) { return widened(bits); });
  }

  static float of_bfloat16(std::uint16_t bits) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }

  InputFile file_;
  HeaderPlace place_;
  LoadOptions options_;
  Cost cost_;
  Entry last_empty_;  // the last one without elements in the header, and in the result
  Tensor empty_;
};

}  // namespace

const Tensor& TensorFile::tensor(std::string_view name) const& {
  const auto found = std::ranges::find(tensors, name, &NamedTensor::name);
  if (found != tensors.end()) return found->tensor;
  const auto passed = std::ranges::find(unread, name, &UnreadTensor::name);
  if (passed == unread.end()) {
    fail<FileError>("TensorFile", "{} has no tensor {}", shown_path(path), shown(name));
  }
  const bool half = passed->what.starts_with("F16") || passed->what.starts_with("BF16");
  fail<FileError>("TensorFile", "{} has {} as {}: {}", shown_path(path), shown(name), passed->what,
                  half ? "load_tensors(path, {.widen_half = true}) makes it float32"
                       : "only F32, F64 and I32 of at most 4 axes are read");
}

const Tensor& TensorFile::tensor(std::string_view name, const Shape& shape) const& {
  const Tensor& found = tensor(name);
  if (found.shape() == shape) return found;
  fail<FileError>("TensorFile", "{} has {} of shape {}: it must be {}", shown_path(path),
                  shown(name), found.shape(), shape);
}

void TensorFile::remove_prefix(std::string_view prefix) {
  const auto check = [&](const std::string& name) {
    if (name.size() > prefix.size() && name.starts_with(prefix)) return;
    fail<UsageError>("TensorFile", "{} does not begin with {}: nothing was renamed", shown(name),
                     shown(prefix));
  };
  for (const NamedTensor& t : tensors) check(t.name);
  for (const UnreadTensor& t : unread) check(t.name);
  for (NamedTensor& t : tensors) t.name.erase(0, prefix.size());
  for (UnreadTensor& t : unread) t.name.erase(0, prefix.size());
}

const std::string& TensorFile::text(const std::string& key) const& {
  const auto found = metadata.find(key);
  if (found != metadata.end()) return found->second;
  fail<FileError>("TensorFile",
                  "{} has no metadata '{}': it must be a file that was written for this use",
                  shown_path(path), key);
}

std::uint64_t TensorFile::number(const std::string& key, std::uint64_t low,
                                 std::uint64_t high) const {
  const std::string& digits = text(key);
  std::uint64_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, value);
  if (error == std::errc{} && stop == end && value >= low && value <= high) return value;
  fail<FileError>("TensorFile", "{} has '{}' as metadata '{}': it must be a number in [{}, {}]",
                  shown_path(path), shown(digits), key, low, high);
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

TensorFile load_tensors(const std::filesystem::path& path, const LoadOptions& options) {
  TensorFile file = Reader(path, options).read();
  file.path = path;
  return file;
}

}  // namespace tapegrad
