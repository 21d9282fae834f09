#include "safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "../dispatch-inl.h"
#include "../error.h"
#include "atomic_file.h"

namespace tapegrad {
namespace {

using Json = nlohmann::json;

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

constexpr std::size_t max_header_bytes = 100'000'000;
constexpr std::size_t alignment = sizeof(std::uint64_t);
constexpr std::string_view metadata_key = "__metadata__";

constexpr std::array<std::pair<std::string_view, DType>, 3> format_dtypes{
    {{"F32", DType::float32}, {"F64", DType::float64}, {"I32", DType::int32}}};

std::string_view format_name(DType dtype) {
  return std::ranges::find(format_dtypes, dtype, [](const auto& d) { return d.second; })->first;
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(T) { return std::as_bytes(tensor.values<T>()); });
}

std::span<std::byte> writable_bytes_of(Tensor& tensor) {
  return dispatch(tensor.dtype(),
                  [&]<class T>(T) { return std::as_writable_bytes(tensor.mutable_values<T>()); });
}

/// Text of unknown origin as a message may carry it: escaped, and cut if it is long.
std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  const std::string head(text.substr(0, most));
  const std::string quoted = Json(head).dump(-1, ' ', false, Json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2) + (text.size() > most ? "..." : "");
}

/// Why `name` cannot be a tensor's name, "" if it can.
std::string_view fault_of(std::string_view name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (name.empty()) return "its name is empty";
  if (std::ranges::any_of(name, is_control)) return "its name has a control character";
  return "";
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

// --- writing -------------------------------------------------------------------------------------

class HeaderWriter {
 public:
  explicit HeaderWriter(const std::filesystem::path& path)
      : prefix_(fmt::format("[save_tensors] {}: ", path.string())) {}

  /// The size and the header, padded; `tensors` in the order of their data.
  std::string write(const std::vector<NamedTensor>& tensors,
                    const std::map<std::string, std::string>& metadata) const {
    check(tensors);
    std::vector<std::string> items;
    if (!metadata.empty()) items.push_back(metadata_item(metadata));
    std::size_t offset = 0;
    for (const auto& [name, tensor] : tensors) {
      const std::size_t end = offset + bytes_of(tensor).size();
      items.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                  quoted(name, "the name"), format_name(tensor.dtype()),
                                  fmt::join(tensor.shape().dims(), ","), offset, end));
      offset = end;
    }
    std::string header = fmt::format("{{{}}}", fmt::join(items, ","));
    header.append((alignment - header.size() % alignment) % alignment, ' ');
    if (header.size() > max_header_bytes) {
      fail(
          fmt::format("the header has {} bytes but a reader takes at most {}: shorten names or "
                      "metadata",
                      header.size(), max_header_bytes));
    }
    const auto size =
        std::bit_cast<std::array<char, sizeof(std::uint64_t)>>(std::uint64_t{header.size()});
    return std::string(size.begin(), size.end()) + header;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw UsageError(prefix_ + std::string(what));
  }

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

  std::string metadata_item(const std::map<std::string, std::string>& metadata) const {
    std::vector<std::string> items;
    for (const auto& [key, text] : metadata) {
      items.push_back(quoted(key, "the key") + ":" + quoted(text, "metadata"));
    }
    return fmt::format(R"("{}":{{{}}})", metadata_key, fmt::join(items, ","));
  }

  std::string quoted(const std::string& text, std::string_view what) const {
    try {
      return Json(text).dump();
    } catch (const Json::type_error&) {
      fail(fmt::format("{} '{}' is not UTF-8", what, shown(text)));
    }
  }

  std::string prefix_;
};

// --- reading -------------------------------------------------------------------------------------

/// What the header says about one tensor.
struct Entry {
  std::string name;
  DType dtype = DType::float32;
  std::vector<std::uint64_t> dims, offsets;
  unsigned keys_seen = 0;  // a bit for each of entry_keys
};

constexpr std::array<std::string_view, 3> entry_keys{"dtype", "shape", "data_offsets"};

struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  bool has_metadata = false;
};

/// Takes the header apart while it is parsed. It knows what may come next and refuses all else at
/// once, so nesting and numbers out of bounds go no further.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(const InputFile& file, Header& header) : file_(file), header_(header) {}

  bool start_object(std::size_t) override {
    if (next_ == Next::header) return expect(Next::name);
    if (next_ == Next::entry) return expect(Next::entry_key);
    if (next_ == Next::metadata) return expect(Next::metadata_key);
    unexpected();
  }

  bool key(std::string& key) override {
    if (next_ == Next::name) return start_item(key);
    if (next_ == Next::entry_key) return start_field(key);
    const auto [item, is_new] = header_.metadata.try_emplace(std::move(key));
    if (!is_new) {
      file_.fail(fmt::format("{} '{}': this key is there twice", metadata_key, shown(item->first)));
    }
    text_ = &item->second;
    return expect(Next::text);
  }

  bool string(std::string& value) override {
    if (next_ == Next::text) {
      *text_ = std::move(value);
      return expect(Next::metadata_key);
    }
    if (next_ != Next::dtype) unexpected();
    const auto found =
        std::ranges::find(format_dtypes, value, [](const auto& d) { return d.first; });
    if (found == format_dtypes.end()) {
      fail(fmt::format("dtype '{}' is not known here: F32, F64 and I32 are", shown(value)));
    }
    entry().dtype = found->second;
    return expect(Next::entry_key);
  }

  bool start_array(std::size_t) override {
    if (next_ == Next::shape) return expect(Next::size);
    if (next_ == Next::offsets) return expect(Next::offset);
    unexpected();
  }

  bool number_unsigned(std::uint64_t value) override {
    if (next_ == Next::size) {
      if (entry().dims.size() == Shape::max_rank) {
        fail(fmt::format("shape has more than {} axes", Shape::max_rank));
      }
      entry().dims.push_back(value);
    } else if (next_ == Next::offset && entry().offsets.size() < 2) {
      entry().offsets.push_back(value);
    } else {
      unexpected();
    }
    return true;
  }

  bool end_array() override {
    if (next_ == Next::offset && entry().offsets.size() != 2) unexpected();
    return expect(Next::entry_key);
  }

  bool end_object() override {
    if (next_ == Next::entry_key) {
      for (std::size_t i = 0; i < entry_keys.size(); ++i) {
        if ((entry().keys_seen >> i & 1U) == 0) fail(fmt::format("{} is missing", entry_keys[i]));
      }
    }
    return expect(Next::name);
  }

  bool number_integer(std::int64_t) override { unexpected(); }  // negative
  bool number_float(double, const std::string&) override { unexpected(); }
  bool null() override { unexpected(); }
  bool boolean(bool) override { unexpected(); }
  bool binary(Json::binary_t&) override { unexpected(); }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    file_.fail(
        fmt::format("the header is not JSON in UTF-8: it goes wrong at its byte {}", position));
  }

 private:
  enum class Next {
    header,
    name,
    entry,
    entry_key,
    dtype,
    shape,
    size,
    offsets,
    offset,
    metadata,
    metadata_key,
    text
  };

  bool expect(Next next) {
    next_ = next;
    return true;
  }

  bool start_item(std::string& name) {
    if (name == metadata_key) {
      if (std::exchange(header_.has_metadata, true)) {
        file_.fail(fmt::format("{} is there twice", metadata_key));
      }
      return expect(Next::metadata);
    }
    header_.entries.push_back({.name = std::move(name)});
    if (const std::string_view fault = fault_of(entry().name); !fault.empty()) fail(fault);
    return expect(Next::entry);
  }

  bool start_field(const std::string& key) {
    constexpr std::array fields{Next::dtype, Next::shape, Next::offsets};
    const auto found = std::ranges::find(entry_keys, key);
    if (found == entry_keys.end()) fail(fmt::format("key '{}' is not known", shown(key)));
    const auto field = static_cast<std::size_t>(found - entry_keys.begin());
    if ((entry().keys_seen >> field & 1U) != 0) fail(fmt::format("{} is there twice", key));
    entry().keys_seen |= 1U << field;
    return expect(fields[field]);
  }

  [[noreturn]] void unexpected() const {
    constexpr std::string_view integers = "plain integers from 0 to 18446744073709551615";
    switch (next_) {
      case Next::dtype:
        fail("dtype must be a string");
      case Next::shape:
      case Next::size:
        fail(fmt::format("shape must be a list of {}", integers));
      case Next::offsets:
      case Next::offset:
        fail(fmt::format("data_offsets must be a list of two {}", integers));
      case Next::metadata:
        file_.fail(fmt::format("{} must be an object", metadata_key));
      case Next::text:
        file_.fail(fmt::format("{}: every value must be a string", metadata_key));
      default:
        fail("must be an object with dtype, shape and data_offsets");
    }
  }

  Entry& entry() const { return header_.entries.back(); }
  [[noreturn]] void fail(std::string_view what) const {
    file_.fail(fmt::format("tensor '{}': {}", shown(entry().name), what));
  }

  const InputFile& file_;
  Header& header_;
  Next next_ = Next::header;
  std::string* text_ = nullptr;
};
