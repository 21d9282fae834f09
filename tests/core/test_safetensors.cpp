// Covers core/io/safetensors: round trips bit by bit, a file written by the Python package, a file
// cut at every byte, a file with every bit flipped, saves that are refused or fail.

#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../support/safetensors_files.h"

using namespace tapegrad;
using namespace tapegrad::testing;
namespace fs = std::filesystem;
using namespace std::string_literals;

namespace {

/// The message of the UsageError that saving throws, less "[save_tensors] path: "; the file that
/// was there must be as it was.
std::string save_refusal(const TensorFile& file) {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  spill(path, "old");
  const std::string prefix = "[save_tensors] " + path.string() + ": ";
  std::string said = "accepted";
  try {
    save_tensors(path, file);
  } catch (const UsageError& error) {
    const std::string what = error.what();
    said = what.starts_with(prefix) ? what.substr(prefix.size()) : "no prefix in: " + what;
  }
  CHECK(slurp(path) == "old");
  CHECK(folder.names().size() == 1);
  return said;
}

void check_same(const NamedTensor& a, const NamedTensor& b) {
  CHECK(a.name == b.name);
  CHECK(a.tensor.dtype() == b.tensor.dtype());
  CHECK(a.tensor.shape() == b.tensor.shape());
  CHECK(bytes_of(a.tensor) == bytes_of(b.tensor));
}

/// Signalling and quiet NaNs with payloads, infinities, zeros of both signs, subnormals.
Tensor odd_floats() {
  std::vector<float> values;
  for (const std::uint32_t bits : {0x7f800001U, 0xffc12345U, 0x7fc00000U, 0x7f800000U, 0xff800000U,
                                   0x80000000U, 0U, 1U, 0x3fc00000U}) {
    values.push_back(std::bit_cast<float>(bits));
  }
  return Tensor::from<float>({3, 3}, values);
}

Tensor odd_doubles() {
  std::vector<double> values;
  for (const std::uint64_t bits : {0x7ff0000000000001U, 0xfff8000012345678U, 0x7ff0000000000000U,
                                   0x8000000000000000U, 1UL, 0x3fb999999999999aU}) {
    values.push_back(std::bit_cast<double>(bits));
  }
  return Tensor::from<double>({1, 2, 3, 1}, values);
}

Tensor odd_ints() {
  using Limits = std::numeric_limits<std::int32_t>;
  const std::vector<std::int32_t> values{Limits::min(), -1, 0, 1, Limits::max()};
  return Tensor::from<std::int32_t>({5}, values);
}

}  // namespace

TEST_CASE("safetensors: a round trip keeps every bit, names, order and metadata") {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  TensorFile file;
  file.tensors = {{"f64", odd_doubles()},
                  {"zzz", odd_floats()},
                  {"i32", odd_ints()},
                  {"scalar", Tensor::scalar(3)},
                  {"none", Tensor::zeros({2, 0, 4})},
                  {"no ids", Tensor::zeros({0}, DType::int32)},
                  {"../Größe \"\\/ 時", Tensor::of({2}, {1, 2})},
                  {std::string(1 << 20, 'n'), Tensor::scalar(-1)}};
  file.metadata = {{"", "empty key"},
                   {"Schlüssel", "日本語 \"quoted\"\n\t\\ \x7f"},
                   {"empty", ""},
                   {"nul", "a\0b"s}};
  save_tensors(path, file);
  const TensorFile read = load_tensors(path);
  CHECK(read.metadata == file.metadata);
  REQUIRE(read.tensors.size() == file.tensors.size());
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    check_same(read.tensors[i], file.tensors[i]);
  }
  // What is read is a file of its own: writing to it, and over it, does no harm to either.
  save_tensors(path, read);
  const TensorFile again = load_tensors(path);
  for (std::size_t i = 0; i < file.tensors.size(); ++i) {
    check_same(again.tensors[i], file.tensors[i]);
  }
  CHECK(folder.names().size() == 1);
}

TEST_CASE("safetensors: the bytes of a file are what the format says") {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  save_tensors(path, {{{"w", Tensor::of({2, 1}, {1, -2})}}, {{"k", "v"}}});
  const std::string header =
      R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  CHECK(slurp(path) == file_of(header + padding, "\0\0\x80\x3f\0\0\0\xc0"s));
  save_tensors(path, {});
  CHECK(slurp(path) == file_of("{}      "));
  CHECK(load_tensors(path).tensors.empty());
}

TEST_CASE("safetensors: every tensor is aligned to its elements") {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  const Tensor f32 = Tensor::of({1}, {1});
  const Tensor f64 = Tensor::of({1}, {2}, DType::float64);
  for (std::size_t length = 1; length <= 8; ++length) {  // of headers modulo 8
    save_tensors(path, {{{std::string(length, 'n'), f32}, {"i", odd_ints()}, {"d", f64}}, {}});
    const std::string bytes = slurp(path);
    std::uint64_t header_size = 0;
    std::memcpy(&header_size, bytes.data(), sizeof header_size);
    CHECK(header_size % 8 == 0);
    const TensorFile read = load_tensors(path);
    CHECK(read.tensors[0].name == "d");  // before the others, whose order is kept
    CHECK(read.tensors[1].name == std::string(length, 'n'));
    CHECK(read.tensors[2].name == "i");
  }
}

TEST_CASE("safetensors: a view is written as what it shows") {
  const TempFolder folder;
  const Tensor whole = Tensor::of({3, 2}, {1, 2, 3, 4, 5, 6});
  save_tensors(folder / "x", {{{"middle", whole.row(1)}}, {}});
  check_same(load_tensors(folder / "x").tensors[0], {"middle", Tensor::of({2}, {3, 4})});
}

TEST_CASE("safetensors: a file by the Python package (safetensors 0.8.0, numpy 2.4)") {
  // safetensors.numpy.save({"b.weight": float32 [[1.5, -2], [inf, -0.0]], "steps": int32 7,
  // "a": float64 [0.1], "none": float32 zeros (2, 0, 3)}, metadata={"schön": 'zwei\nZeilen "q"'})
  const std::string bytes = file_of(
      "{\"__metadata__\":{\"sch\xc3\xb6n\":\"zwei\\nZeilen \\\"q\\\"\"},"
      R"("a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
      R"("b.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},)"
      R"("none":{"dtype":"F32","shape":[2,0,3],"data_offsets":[24,24]},)"
      R"("steps":{"dtype":"I32","shape":[],"data_offsets":[24,28]}}    )",
      "\x9a\x99\x99\x99\x99\x99\xb9\x3f\0\0\xc0\x3f\0\0\0\xc0\0\0\x80\x7f\0\0\0\x80\x07\0\0\0"s);
  CHECK(bytes.size() == 324);
  const TensorFile file = load_bytes(bytes);
  CHECK(file.metadata == std::map<std::string, std::string>{{"schön", "zwei\nZeilen \"q\""}});
  REQUIRE(file.tensors.size() == 4);
  const double inf = std::numeric_limits<double>::infinity();
  check_same(file.tensors[0], {"a", Tensor::of({1}, {0.1}, DType::float64)});
  check_same(file.tensors[1], {"b.weight", Tensor::of({2, 2}, {1.5, -2, inf, -0.0})});
  check_same(file.tensors[2], {"none", Tensor::zeros({2, 0, 3})});
  check_same(file.tensors[3], {"steps", Tensor::scalar(7, DType::int32)});
  // The same tensors and metadata, written by us, are the same bytes.
  const TempFolder folder;
  save_tensors(folder / "x", file);
  CHECK(slurp(folder / "x") == bytes);
}

TEST_CASE("safetensors: a file cut at any byte, or with one byte more, is refused") {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  save_tensors(path, {{{"a", odd_doubles()}, {"b", odd_floats()}}, {{"key", "text"}}});
  const std::string whole = slurp(path);
  CHECK(refusal(whole) == "accepted");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(refusal(whole.substr(0, size)).ends_with("cut off"));
  }
  CHECK(refusal(whole + '\0').ends_with("there may be no trailing ones"));
}

TEST_CASE("safetensors: a flipped bit is refused, unless it is in an element or in free text") {
  const TempFolder folder;
  const fs::path path = folder / "x.safetensors";
  const TensorFile file{{{"d", odd_doubles()}, {"name", odd_floats()}, {"i", odd_ints()}},
                        {{"key", "text"}}};
  save_tensors(path, file);
  const std::string whole = slurp(path);
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, whole.data(), sizeof header_size);
  std::size_t accepted_in_header = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    CAPTURE(bit);
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const bool in_data = bit / 8 >= 8 + header_size;
    spill(path, flipped);
    TensorFile read;
    try {
      read = load_tensors(path);
    } catch (const FileError&) {
      CHECK(!in_data);
      continue;
    }
    // Names and metadata may have become others; all that says what the numbers are has not.
    int names_changed = read.metadata != file.metadata;
    REQUIRE(read.tensors.size() == file.tensors.size());
    std::string data;
    for (std::size_t i = 0; i < read.tensors.size(); ++i) {
      names_changed += read.tensors[i].name != file.tensors[i].name;
      CHECK(read.tensors[i].tensor.dtype() == file.tensors[i].tensor.dtype());
      CHECK(read.tensors[i].tensor.shape() == file.tensors[i].tensor.shape());
      data += bytes_of(read.tensors[i].tensor);
    }
    CHECK(names_changed == (in_data ? 0 : 1));
    CHECK(data == flipped.substr(8 + header_size));
    accepted_in_header += !in_data;
  }
  // 13 letters of names, key and text, of whose 8 bits about 6 give another letter.
  CHECK(accepted_in_header > 50);
  CHECK(accepted_in_header <= 13 * 8);
}

TEST_CASE("safetensors: what is not written") {
  const Tensor x = Tensor::scalar(1);
  CHECK(save_refusal({{{"", x}}, {}}) == "tensor '': its name is empty");
  CHECK(save_refusal({{{"a\nb", x}}, {}}) == R"(tensor 'a\nb': its name has a control character)");
  CHECK(save_refusal({{{"a\0"s, x}}, {}}) ==
        R"(tensor 'a\u0000': its name has a control character)");
  CHECK(save_refusal({{{"__metadata__", x}}, {}}) ==
        "tensor '__metadata__': this name is reserved for metadata");
  CHECK(save_refusal({{{"a", x}, {"b", x}, {"a", x}}, {}}) ==
        "tensor 'a': another tensor has the same name");
  CHECK(save_refusal({{{"a", Tensor()}}, {}}) == "tensor 'a': it is undefined");
  CHECK(save_refusal({{{"a\xff", x}}, {}}) == "the name 'a\xef\xbf\xbd' is not UTF-8");
  CHECK(save_refusal({{}, {{"\xc0\x80", "v"}}}) ==
        "the key '\xef\xbf\xbd\xef\xbf\xbd' is not UTF-8");
  CHECK(save_refusal({{}, {{"k", "v\xed\xa0\x80"}}}).ends_with("' is not UTF-8"));
  CHECK(save_refusal({{}, {{"k", std::string(100'000'000, 'x')}}}) ==
        "the header has 100000032 bytes but readers take at most 100000000: shorten the metadata");
}

TEST_CASE("safetensors: a save that fails names the file and the reason") {
  const TempFolder folder;
  spill(folder / "file", "x");
  const fs::path path = folder / "file/below";
  CHECK_THROWS_WITH_AS(
      save_tensors(path, {}),
      ("[save_tensors] " + path.string() + ": cannot open the directory: Not a directory").c_str(),
      FileError);
}
