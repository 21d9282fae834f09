#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../tensor.h"
#include "../words-inl.h"
#include "atomic_file.h"

#pragma GCC visibility push(hidden)

/// The header of a safetensors file: what its words are, and how it is taken apart.
namespace tapegrad::safetensors {

using Json = nlohmann::json;

inline constexpr std::size_t max_header_bytes = 100'000'000;
/// The longest text that is read in the header of a file with so many bytes of data: while it
/// parses one, the parser needs up to five times its size.
inline std::uint64_t longest_text(std::uint64_t data) { return 4'000'000 + data / 4; }

inline constexpr std::string_view metadata_key = "__metadata__";

/// A type of elements by its name in the format; those without a dtype are known, but not read.
struct Format {
  std::string_view name;
  unsigned bits;
  std::optional<DType> dtype = std::nullopt;
};
inline constexpr std::array<Format, 22> formats{{
    {"F32", 32, DType::float32},
    {"F64", 64, DType::float64},
    {"I32", 32, DType::int32},
    {"F16", 16},
    {"BF16", 16},
    {"BOOL", 8},
    {"U8", 8},
    {"I8", 8},
    {"U16", 16},
    {"I16", 16},
    {"U32", 32},
    {"U64", 64},
    {"I64", 64},
    {"C64", 64},
    {"F8_E4M3", 8},
    {"F8_E5M2", 8},
    {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8},
    {"F6_E2M3", 6},
    {"F6_E3M2", 6},
    {"F4", 4},
}};

inline std::string_view format_name(DType dtype) {
  return std::ranges::find(formats, std::optional(dtype), &Format::dtype)->name;
}

/// Returns whether 16 bits of this format become a float32 on request.
inline bool is_half(const Format& format) { return format.name == "F16" || format.name == "BF16"; }

/// The memory that a header is worth when it is read, estimated: what its texts, tensors and
/// metadata take beside the elements.
class Cost {
 public:
  void add_tensor(std::string_view name) { bytes_ += 240 + heap(name); }
  /// A tensor that shares what another one has.
  void add_shared(std::string_view name) { bytes_ += 56 + heap(name); }
  void add_metadata(std::string_view key, std::string_view text) {
    bytes_ += 112 + heap(key) + heap(text);
  }
  /// Returns whether it is more than a file of so many bytes may ask for. With the elements, twice
  /// the file's size and 16 MB are enough then.
  bool exceeds(std::uint64_t header, std::uint64_t data) const {
    return bytes_ > 16'000'000 + header + header / 2 + data / 2;
  }

 private:
  static std::uint64_t heap(std::string_view text) {
    return text.size() < 16 ? 0 : text.size() + 24;
  }
  std::uint64_t bytes_ = 0;
};

/// Returns why `name` cannot be a tensor's name, "" if it can.
inline std::string_view fault_of(std::string_view name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (name.empty()) return "its name is empty";
  if (std::ranges::any_of(name, is_control)) return "its name has a control character";
  return "";
}

/// Description of one tensor in the header.
struct Entry {
  std::string name;
  const Format* format = nullptr;
  unsigned keys_seen = 0;  // a bit for each of entry_keys
  std::size_t offset_count = 0;
  std::vector<std::size_t> dims;
  std::array<std::uint64_t, 2> offsets{};  // begin and end in the data

  std::string described() const {
    return fmt::format("{} ({})", format->name, joined(std::span(std::as_const(dims)), ", "));
  }
};

inline constexpr std::array<std::string_view, 3> entry_keys{"dtype", "shape", "data_offsets"};
inline constexpr std::size_t most_axes = 64;  // as torch has

/// Receiver of what the header holds, in the order of the header.
struct Listener {
  std::function<void(Entry&)> entry;
  std::function<void(std::string& key, std::string& text)> metadata;
};

/// Takes the header apart while it is parsed. It knows what may come next and refuses all else at
/// once, so nesting and numbers out of bounds go no further.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(const InputFile& file, const Listener& listener)
      : file_(file), listener_(listener) {}

  bool start_object(std::size_t) override {
    if (next_ == Next::header) return expect(Next::name);
    if (next_ == Next::entry) return expect(Next::entry_key);
    if (next_ == Next::metadata) return expect(Next::metadata_name);
    unexpected();
  }

  bool key(std::string& key) override {
    if (next_ == Next::name) return start_item(key);
    if (next_ == Next::entry_key) return start_field(key);
    key_ = std::move(key);
    return expect(Next::text);
  }

  bool string(std::string& value) override {
    if (next_ == Next::text) {
      listener_.metadata(key_, value);
      return expect(Next::metadata_name);
    }
    if (next_ != Next::dtype) unexpected();
    const auto found = std::ranges::find(formats, value, &Format::name);
    if (found == formats.end()) {
      fail(fmt::format("dtype '{}' is not one of the format", shown(value)));
    }
    entry_.format = &*found;
    return expect(Next::entry_key);
  }

  bool start_array(std::size_t) override {
    if (next_ == Next::shape) return expect(Next::size);
    if (next_ == Next::offsets) return expect(Next::offset);
    unexpected();
  }

  bool number_unsigned(std::uint64_t value) override {
    if (next_ == Next::size) {
      if (entry_.dims.size() == most_axes) {
        fail(fmt::format("shape has more than {} axes", most_axes));
      }
      entry_.dims.push_back(value);
    } else if (next_ == Next::offset && entry_.offset_count < 2) {
      entry_.offsets[entry_.offset_count++] = value;
    } else {
      unexpected();
    }
    return true;
  }

  bool end_array() override {
    if (next_ == Next::offset && entry_.offset_count != 2) unexpected();
    return expect(Next::entry_key);
  }

  bool end_object() override {
    if (next_ == Next::entry_key) {
      for (std::size_t i = 0; i < entry_keys.size(); ++i) {
        if ((entry_.keys_seen >> i & 1U) == 0) fail(fmt::format("{} is missing", entry_keys[i]));
      }
      listener_.entry(entry_);
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
  // What the next value or key is.
  // clang-format off
  enum class Next {
    header, name, entry, entry_key, dtype, shape, size, offsets, offset,
    metadata, metadata_name, text
  };
  // clang-format on

  bool expect(Next next) {
    next_ = next;
    return true;
  }

  bool start_item(std::string& name) {
    if (name == metadata_key) {
      if (std::exchange(has_metadata_, true)) {
        file_.fail(fmt::format("{} is there twice", metadata_key));
      }
      return expect(Next::metadata);
    }
    entry_ = Entry{.name = std::move(name), .dims = std::move(entry_.dims)};
    entry_.dims.clear();
    if (const std::string_view fault = fault_of(entry_.name); !fault.empty()) fail(fault);
    return expect(Next::entry);
  }

  bool start_field(const std::string& key) {
    constexpr std::array fields{Next::dtype, Next::shape, Next::offsets};
    const auto found = std::ranges::find(entry_keys, key);
    if (found == entry_keys.end()) fail(fmt::format("key '{}' is not known", shown(key)));
    const auto field = static_cast<std::size_t>(found - entry_keys.begin());
    if ((entry_.keys_seen >> field & 1U) != 0) fail(fmt::format("{} is there twice", key));
    entry_.keys_seen |= 1U << field;
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

  [[noreturn]] void fail(std::string_view what) const {
    file_.fail(fmt::format("tensor '{}': {}", shown(entry_.name), what));
  }

  const InputFile& file_;
  const Listener& listener_;
  Next next_ = Next::header;
  Entry entry_;
  std::string key_;
  bool has_metadata_ = false;
};

/// Place of the header in the file: its text, then spaces, then the data.
struct HeaderPlace {
  static constexpr std::uint64_t begin = 8;
  std::uint64_t text_end, end;
};

inline constexpr std::size_t buffer_bytes = std::size_t{64} << 10;

/// An input iterator over the bytes of the header, of which a few are in memory at a time.
class HeaderBytes {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  HeaderBytes(const InputFile& file, std::vector<char>& buffer, std::uint64_t end)
      : file_(&file), buffer_(&buffer), at_(HeaderPlace::begin), end_(end) {}
  /// The end: where nothing is read.
  explicit HeaderBytes(std::uint64_t end) : at_(end), end_(end) {}

  char operator*() {
    if (left_ == 0) {
      left_ = std::min<std::uint64_t>(buffer_->size(), end_ - at_);
      file_->read_exactly_at(at_, std::as_writable_bytes(std::span(*buffer_).first(left_)));
      next_ = buffer_->data();
    }
    return *next_;
  }
  HeaderBytes& operator++() {
    **this;
    ++next_;
    --left_;
    ++at_;
    return *this;
  }
  HeaderBytes operator++(int) {
    const HeaderBytes before = *this;
    ++*this;
    return before;
  }
  bool operator==(const HeaderBytes& other) const { return at_ == other.at_; }

 private:
  const InputFile* file_ = nullptr;
  std::vector<char>* buffer_ = nullptr;
  std::uint64_t at_, end_;
  const char* next_ = nullptr;
  std::size_t left_ = 0;
};

/// Kind of file that is no safetensors file, by how it begins, with the cure.
struct Stranger {
  std::string_view beginning, what;
};
inline constexpr std::array<Stranger, 11> strangers{{
    {"PK\x03\x04",
     "is a zip archive, as torch.save and numpy.savez write them: load it there and save it with "
     "safetensors.torch.save_file or safetensors.numpy.save_file"},
    {"\x80",
     "is a Python pickle, as torch.save wrote them before 1.6: load it there and save it with "
     "safetensors.torch.save_file"},
    {"\x93NUMPY", "is an array of NumPy: load_npy() reads it"},
    {"\x89HDF",
     "is an HDF5 file, as Keras writes them: load it there and save its arrays with "
     "safetensors.numpy.save_file"},
    {"GGUF", "is a GGUF file: convert it"},
    {"\x1f\x8b", "is compressed by gzip: decompress it first"},
    {"version ", "is the pointer that git has in place of a large file: run git lfs pull"},
    {"<!", "is a page in HTML: perhaps what a server sent in place of the file"},
    {"<htm", "is a page in HTML: perhaps what a server sent in place of the file"},
    {"{", "is JSON, perhaps an index of several files: name one of them"},
    {"\x7f"
     "ELF",
     "is a program"},
}};

/// Returns what else the file is, with the cure, if that can be seen.
inline std::string stranger(const InputFile& file) {
  std::string head(std::min<std::uint64_t>(file.size(), 32), '\0');
  file.read_exactly_at(0, std::as_writable_bytes(std::span(head)));
  for (const auto& [beginning, what] : strangers) {
    if (head.starts_with(beginning)) return fmt::format("{} (no safetensors file)", what);
  }
  return "";
}

/// Finds the header, and checks its bytes one by one: it begins with '{', ends with '}' and spaces,
/// and has no byte 0, which the parser would take for its end. No text in it is so long that the
/// parser, which needs three times its size, would need too much.
inline HeaderPlace find_header(const InputFile& file) {
  std::uint64_t size = 0;
  if (file.size() < sizeof size) {
    file.fail(
        fmt::format("has {} bytes but the size of the header takes 8: it is cut off", file.size()));
  }
  file.read_exactly_at(0, std::as_writable_bytes(std::span(&size, 1)));
  constexpr std::uint64_t zip =
      0x04034b50;  // an archive's first bytes may be a size that is allowed
  if (size > max_header_bytes || size == zip) {
    if (const std::string what = stranger(file); !what.empty()) file.fail(what);
  }
  if (size > max_header_bytes) {
    file.fail(fmt::format("the header's size is {} but at most {} is allowed: no safetensors file",
                          size, max_header_bytes));
  }
  if (size > file.size() - sizeof size) {
    file.fail(fmt::format("the header's size is {} but only {} bytes follow: it is cut off", size,
                          file.size() - sizeof size));
  }
  HeaderPlace place{HeaderPlace::begin, HeaderPlace::begin + size};
  std::vector<char> buffer(buffer_bytes);
  const std::uint64_t longest = longest_text(file.size() - place.end);
  std::size_t run = 0;  // bytes since the last quotation mark that is not escaped
  bool escape = false, has_byte_0 = false;
  char last = '\0';  // but for spaces
  const HeaderBytes end(place.end);
  std::uint64_t at = HeaderPlace::begin;
  for (HeaderBytes byte(file, buffer, place.end); byte != end; ++byte, ++at) {
    const char c = *byte;
    if (at == HeaderPlace::begin && c != '{') break;
    ++run;
    has_byte_0 |= c == '\0';
    if (c == ' ') continue;
    last = c;
    place.text_end = at + 1;
    if (run > longest)
      file.fail(fmt::format("a text in the header has more than {} bytes", longest));
    if (c == '"' && !escape) run = 0;
    escape = c == '\\' && !escape;
  }
  if (place.text_end == HeaderPlace::begin) file.fail("the header does not begin with '{'");
  if (last != '}' || has_byte_0) file.fail("the header does not end with '}' and spaces");
  return place;
}

/// Reads the header, and checks all of it that stands alone: neither names against each other, nor
/// shapes against offsets.
inline void read_header(const InputFile& file, HeaderPlace place, const Listener& listener) {
  HeaderReader reader(file, listener);
  std::vector<char> buffer(buffer_bytes);
  Json::sax_parse(HeaderBytes(file, buffer, place.text_end), HeaderBytes(place.text_end), &reader);
}

}  // namespace tapegrad::safetensors

#pragma GCC visibility pop
