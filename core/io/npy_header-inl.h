#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "../words-inl.h"
#include "atomic_file.h"

#pragma GCC visibility push(hidden)

/// The header of a .npy file, and how it is taken apart.
namespace tapegrad::npy {

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::size_t> shape;
};

/// Takes apart the header: a dict of Python with three keys, in any order.
class HeaderParser {
 public:
  HeaderParser(const InputFile& file, std::string_view text) : file_(file), text_(text) {}

  Header parse() {
    Header header;
    std::vector<std::string> keys;
    expect("{");
    while (!take("}")) {
      keys.push_back(string());
      expect(":");
      if (keys.back() == "descr") {
        if (take("[")) file_.fail("has structs as elements: save each field as an array");
        header.descr = string();
      } else if (keys.back() == "fortran_order") {
        header.fortran_order = take("True");
        if (!header.fortran_order) expect("False");
      } else if (keys.back() == "shape") {
        header.shape = tuple();
      } else {
        fail();
      }
      if (!take(",") && !next_is("}")) fail();
    }
    if (!next_is("") || at_ != text_.size()) fail();
    std::ranges::sort(keys);
    if (keys != std::vector<std::string>{"descr", "fortran_order", "shape"}) fail();
    return header;
  }

 private:
  /// Skips white space; returns whether `word` is behind it.
  bool next_is(std::string_view word) {
    at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size());
    return text_.substr(at_).starts_with(word);
  }
  bool take(std::string_view word) {
    const bool taken = next_is(word);
    if (taken) at_ += word.size();
    return taken;
  }
  void expect(std::string_view word) {
    if (!take(word)) fail();
  }

  std::string string() {
    const char* const quote = take("\"") ? "\"" : "'";
    if (*quote == '\'') expect(quote);
    const std::string_view rest = text_.substr(at_);
    const std::string_view value = rest.substr(0, rest.find(quote));
    at_ += value.size();
    expect(quote);
    return std::string(value);
  }
  std::vector<std::size_t> tuple() {
    std::vector<std::size_t> sizes;
    expect("(");
    while (!take(")")) {
      const std::string_view rest = text_.substr(at_);
      const auto [end, error] =
          std::from_chars(rest.data(), rest.data() + rest.size(), sizes.emplace_back());
      if (error != std::errc{}) fail();
      at_ += static_cast<std::size_t>(end - rest.data());
      // (3) is a number, (3,) a tuple.
      if (!take(",") && (sizes.size() == 1 || !next_is(")"))) fail();
    }
    return sizes;
  }

  [[noreturn]] void fail() const {
    file_.fail(
        fmt::format("the header must be a dict of descr, fortran_order and shape, as numpy.save() "
                    "writes it, but goes wrong at its byte {}: '{}'",
                    at_, shown(text_)));
  }

  const InputFile& file_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace tapegrad::npy

#pragma GCC visibility pop
