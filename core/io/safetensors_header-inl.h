#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../tensor.h"
#include "atomic_file.h"

#pragma GCC visibility push(hidden)

/// The header of a safetensors file: what its words are, and how it is taken apart.
namespace tapegrad::safetensors {

using Json = nlohmann::json;

inline constexpr std::size_t max_header_bytes = 100'000'000;
inline constexpr std::string_view metadata_key = "__metadata__";

inline constexpr std::array<std::pair<std::string_view, DType>, 3> format_dtypes{
    {{"F32", DType::float32}, {"F64", DType::float64}, {"I32", DType::int32}}};

inline std::string_view format_name(DType dtype) {
  return std::ranges::find(format_dtypes, dtype, [](const auto& d) { return d.second; })->first;
}

/// Text of unknown origin as a message may carry it: escaped, and cut if it is long.
inline std::string shown(std::string_view text) {
  constexpr std::size_t most = 60;
  const std::string head(text.substr(0, most));
  const std::string quoted = Json(head).dump(-1, ' ', false, Json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2) + (text.size() > most ? "..." : "");
}

/// Why `name` cannot be a tensor's name, "" if it can.
inline std::string_view fault_of(std::string_view name) {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (name.empty()) return "its name is empty";
  if (std::ranges::any_of(name, is_control)) return "its name has a control character";
  return "";
}

/// What the header says about one tensor.
struct Entry {
  std::string name;
  DType dtype = DType::float32;
  unsigned keys_seen = 0;  // a bit for each of entry_keys
  std::size_t rank = 0, offset_count = 0;
  std::array<std::size_t, Shape::max_rank> dims{};
  std::array<std::uint64_t, 2> offsets{};  // begin and end in the data
  Shape shape;                             // of dims, once they are checked
};

inline constexpr std::array<std::string_view, 3> entry_keys{"dtype", "shape", "data_offsets"};

struct Header {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  bool has_metadata = false;
  std::uint64_t end = 0;  // where in the file the data begin
};

/// Takes the header apart while it is parsed. It knows what may come next and refuses all else at
/// once, so nesting and numbers out of bounds go no further.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  HeaderReader(const InputFile& file, Header& header) : file_(file), header_(header) {}

  bool start_object(std::size_t) override {
    if (next_ == Next::header) return expect(Next::name);
    if (next_ == Next::entry) return expect(Next::entry_key);
    if (next_ == Next::metadata) return expect(Next::metadata_name);
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
      return expect(Next::metadata_name);
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
      if (entry().rank == Shape::max_rank) {
        fail(fmt::format("shape has more than {} axes", Shape::max_rank));
      }
      entry().dims[entry().rank++] = value;
    } else if (next_ == Next::offset && entry().offset_count < 2) {
      entry().offsets[entry().offset_count++] = value;
    } else {
      unexpected();
    }
    return true;
  }

  bool end_array() override {
    if (next_ == Next::offset && entry().offset_count != 2) unexpected();
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
      if (std::exchange(header_.has_metadata, true)) {
        file_.fail(fmt::format("{} is there twice", metadata_key));
      }
      return expect(Next::metadata);
    }
    header_.entries.emplace_back().name = std::move(name);
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

/// Reads the header, and checks all of it that stands alone: not yet names against each other, nor
/// shapes against offsets.
inline Header read_header(InputFile& file) {
  std::uint64_t size = 0;
  if (file.size() < sizeof size) {
    file.fail(
        fmt::format("has {} bytes but the size of the header takes 8: it is cut off", file.size()));
  }
  file.read_exactly(std::as_writable_bytes(std::span(&size, 1)));
  if (size > max_header_bytes) {
    file.fail(fmt::format("the header's size is {} but at most {} is allowed: no safetensors file",
                          size, max_header_bytes));
  }
  if (size > file.size() - sizeof size) {
    file.fail(fmt::format("the header's size is {} but only {} bytes follow: it is cut off", size,
                          file.size() - sizeof size));
  }
  std::string text(size, '\0');
  file.read_exactly(std::as_writable_bytes(std::span(text)));
  if (!text.starts_with('{')) file.fail("the header does not begin with '{'");
  text.resize(text.find_last_not_of(' ') + 1);
  // The parser takes a byte 0 for the end of its input, and would not see what follows.
  if (!text.ends_with('}') || text.find('\0') != std::string::npos) {
    file.fail("the header does not end with '}' and spaces");
  }
  Header header;
  header.end = sizeof size + size;
  HeaderReader reader(file, header);
  Json::sax_parse(text, &reader);
  return header;
}

}  // namespace tapegrad::safetensors

#pragma GCC visibility pop
