// Covers core/io/safetensors: headers that are broken or made to do harm, each refused with its
// whole message. The cases are those of the format's own tests and attack folder, and of known bugs
// of other loaders.

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../support/safetensors_files.h"

using namespace tapegrad;
using namespace tapegrad::testing;
namespace fs = std::filesystem;
using namespace std::string_literals;

namespace {

/// One F32 tensor 'a' with the given shape and offsets, as they stand in the header.
std::string one(std::string_view shape, std::string_view offsets) {
  return fmt::format(R"({{"a":{{"dtype":"F32","shape":{},"data_offsets":{}}}}})", shape, offsets);
}

}  // namespace

TEST_CASE("safetensors: sizes of file and header that are wrong") {
  CHECK(refusal("") == "has 0 bytes but the size of the header takes 8: it is cut off");
  CHECK(refusal("1234567") == "has 7 bytes but the size of the header takes 8: it is cut off");
  CHECK(refusal(size_bytes(0)) == "the header does not begin with '{'");
  CHECK(refusal(size_bytes(3) + "{}") ==
        "the header's size is 3 but only 2 bytes follow: it is cut off");
  CHECK(refusal(size_bytes(100'000'000) + "{}") ==
        "the header's size is 100000000 but only 2 bytes follow: it is cut off");
  CHECK(refusal(size_bytes(100'000'001) + "{}") ==
        "the header's size is 100000001 but at most 100000000 is allowed: no safetensors file");
  for (const std::uint64_t size : {~0UL, ~0UL - 7, ~0UL - 8, 1UL << 63}) {  // size + 8 overflows
    CHECK(refusal(size_bytes(size) + "{}") ==
          fmt::format("the header's size is {} but at most 100000000 is allowed: no safetensors "
                      "file",
                      size));
  }
  // The size of 2 in the other byte order.
  CHECK(refusal("\0\0\0\0\0\0\0\x02{}"s) ==
        "the header's size is 144115188075855872 but at most 100000000 is allowed: no safetensors "
        "file");
}

TEST_CASE("safetensors: headers that are no JSON object") {
  const std::string begin = "the header does not begin with '{'";
  const std::string end = "the header does not end with '}' and spaces";
  const auto bad_json = [](int position) {
    return fmt::format("the header is not JSON in UTF-8: it goes wrong at its byte {}", position);
  };
  for (const char* header : {" {}", "\n{}", "[]", "null", "\"{}\"", "\xef\xbb\xbf{}", "\xff{}"}) {
    CHECK(refusal(file_of(header)) == begin);
  }
  for (const std::string& header : {"{"s, "{\"a\":"s, "{}\n"s, "{} \t "s, "{}x"s, "{}\0"s, "{}\0}"s,
                                    "{\0}"s, "{\"a\0\":{}}"s}) {
    CHECK(refusal(file_of(header)) == end);
  }
  CHECK(refusal(file_of("{}}")) == bad_json(3));
  CHECK(refusal(file_of("{} {}")) == bad_json(4));
  CHECK(refusal(file_of("{a}")) == bad_json(2));
  CHECK(refusal(file_of("{,}")) == bad_json(2));
  CHECK(refusal(file_of("{'a':{}}")) == bad_json(2));
  CHECK(refusal(file_of("{/**/}")) == bad_json(2));
  CHECK(refusal(file_of("{\"a\xff\":{}}")) == bad_json(4));
  CHECK(refusal(file_of("{\"a\xc0\x80\":{}}")) == bad_json(4));      // overlong
  CHECK(refusal(file_of("{\"a\xed\xa0\x80\":{}}")) == bad_json(5));  // surrogate
  CHECK(refusal(file_of(R"({"a\ud800":{}})")) == bad_json(10));
  CHECK(refusal(file_of(one("[1]", "[0,4],"), "1234")) == bad_json(54));
  CHECK(load_bytes(file_of("{}   ")).tensors.empty());
  CHECK(load_bytes(file_of("{ \n\t\r}")).tensors.empty());
}

TEST_CASE("safetensors: nesting is refused at its first step") {
  const std::string deep(100'000, '['), closed(100'000, ']');
  CHECK(refusal(file_of("{\"a\":" + deep + closed + "}")) ==
        "tensor 'a': must be an object with dtype, shape and data_offsets");
  CHECK(refusal(file_of(one(deep + closed, "[0,4]"))) ==
        "tensor 'a': shape must be a list of plain integers from 0 to 18446744073709551615");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK(refusal(file_of(objects + "{}" + std::string(100'000, '}'))) ==
        "tensor 'a': key 'a' is not known");
}

TEST_CASE("safetensors: entries that are not dtype, shape and data_offsets") {
  const std::string must = "tensor 'a': must be an object with dtype, shape and data_offsets";
  for (const char* value : {"null", "true", "1", "-1", "1.5", "\"x\"", "[]"}) {
    CHECK(refusal(file_of(fmt::format("{{\"a\":{}}}", value))) == must);
  }
  CHECK(refusal(file_of(R"({"a":{}})")) == "tensor 'a': dtype is missing");
  CHECK(refusal(file_of(R"({"a":{"dtype":"F32","data_offsets":[0,0]}})")) ==
        "tensor 'a': shape is missing");
  CHECK(refusal(file_of(R"({"a":{"dtype":"F32","shape":[0]}})")) ==
        "tensor 'a': data_offsets is missing");
  CHECK(refusal(file_of(R"({"a":{"dtype":"F32","dtype":"F32"}})")) ==
        "tensor 'a': dtype is there twice");
  CHECK(refusal(file_of(R"({"a":{"shape":[],"shape":[1]}})")) ==
        "tensor 'a': shape is there twice");
  CHECK(refusal(file_of(R"({"a":{"data_offsets":[0,4],"dtype":"F32","data_offsets":[0,4]}})")) ==
        "tensor 'a': data_offsets is there twice");
  CHECK(refusal(file_of(R"({"a":{"Dtype":"F32"}})")) == "tensor 'a': key 'Dtype' is not known");
  CHECK(refusal(file_of(R"({"a":{"stride":[1]}})")) == "tensor 'a': key 'stride' is not known");
  for (const char* value : {"null", "0", "[]", "{}"}) {
    CHECK(refusal(file_of(fmt::format(R"({{"a":{{"dtype":{}}}}})", value))) ==
          "tensor 'a': dtype must be a string");
  }
  for (const char* dtype : {"f32", "F32 ", "F128", "float", ""}) {
    CHECK(refusal(file_of(fmt::format(R"({{"a":{{"dtype":"{}"}}}})", dtype))) ==
          fmt::format("tensor 'a': dtype '{}' is not one of the format", dtype));
  }
}

TEST_CASE("safetensors: numbers that are not plain integers from 0 on") {
  const std::string shape =
      "tensor 'a': shape must be a list of plain integers from 0 to 18446744073709551615";
  const std::string offsets =
      "tensor 'a': data_offsets must be a list of two plain integers from 0 to "
      "18446744073709551615";
  for (const char* number : {"-1", "-0", "1.0", "1.5", "1e0", "1E2", "18446744073709551616",
                             "100000000000000000000000000", "null", "true", "\"1\"", "[1]", "{}"}) {
    CAPTURE(number);
    CHECK(refusal(file_of(one(fmt::format("[{}]", number), "[0,4]"), "1234")) == shape);
    CHECK(refusal(file_of(one("[1]", fmt::format("[0,{}]", number)), "1234")) == offsets);
    CHECK(refusal(file_of(one("[1]", fmt::format("[{},4]", number)), "1234")) == offsets);
  }
  for (const char* value : {"null", "1", "\"[1]\"", "{}"}) {
    CHECK(refusal(file_of(one(value, "[0,4]"), "1234")) == shape);
    CHECK(refusal(file_of(one("[1]", value), "1234")) == offsets);
  }
  for (const char* value : {"[]", "[0]", "[0,4,4]"}) {
    CHECK(refusal(file_of(one("[1]", value), "1234")) == offsets);
  }
  for (const char* number : {"01", "+1", "0x1", "NaN", "1e999"}) {
    CAPTURE(number);
    CHECK(refusal(file_of(one(fmt::format("[{}]", number), "[0,4]"), "1234"))
              .starts_with("the header is not JSON in UTF-8: it goes wrong at its byte "));
  }
  std::string axes = "[1";
  for (int i = 0; i < 63; ++i) axes += ",1";
  CHECK(refusal(file_of(one(axes + "]", "[0,4]"), "1234")) == "accepted");
  CHECK(refusal(file_of(one(axes + ",1]", "[0,4]"), "1234")) ==
        "tensor 'a': shape has more than 64 axes");
}

TEST_CASE("safetensors: shapes, dtypes and offsets that do not fit together") {
  CHECK(refusal(file_of(one("[1]", "[8,4]"), "12345678")) ==
        "tensor 'a': data_offsets (8, 4) end before they begin");
  CHECK(refusal(file_of(one("[3]", "[0,8]"), "12345678")) ==
        "tensor 'a': data_offsets (0, 8) span 8 bytes but shape (3) of F32 has 12");
  CHECK(refusal(file_of(one("[]", "[0,0]"))) ==
        "tensor 'a': data_offsets (0, 0) span 0 bytes but shape () of F32 has 4");
  CHECK(refusal(file_of(one("[2,0]", "[0,4]"), "1234")) ==
        "tensor 'a': data_offsets (0, 4) span 4 bytes but shape (2, 0) of F32 has 0");
  CHECK(refusal(file_of(R"({"a":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}})", "1234")) ==
        "tensor 'a': data_offsets (0, 4) span 4 bytes but shape (1) of F64 has 8");
  // Products that overflow, to 2^64 - 4, to 0 and to what fits; a 0 does not hide that.
  for (const char* sizes :
       {"2, 18446744073709551614", "2, 9223372036854775807", "4294967296, 4294967296",
        "4611686018427387905", "0, 9223372036854775808", "9223372036854775808, 0, 2",
        "65536, 65536, 65536, 65536"}) {
    CHECK(refusal(file_of(one(fmt::format("[{}]", sizes), "[0,4]"), "1234")) ==
          fmt::format("tensor 'a': shape ({}) has more elements than memory can address", sizes));
  }
  // Far more than there is: refused before any memory is asked for.
  CHECK(refusal(file_of(one("[1073741824,1048576]", "[0,4503599627370496]"), "1234")) ==
        "the tensors need 4503599627370496 bytes but the file has 4: it is cut off");
}

TEST_CASE("safetensors: a tensor that is not read leaves the others readable") {
  // dtype, shape, bytes, what the message says behind the name
  struct Case {
    const char *dtype, *shape;
    std::size_t bytes;
    const char* what;
  };
  const char* const only = "only F32, F64 and I32 of at most 4 axes are read";
  const char* const half = "load_tensors(path, {.widen_half = true}) makes it float32";
  for (const Case& c :
       {Case{"I64", "[2]", 16, only}, Case{"U64", "[1]", 8, only}, Case{"U8", "[2, 3]", 6, only},
        Case{"I8", "[]", 1, only}, Case{"BOOL", "[0]", 0, only}, Case{"U16", "[1]", 2, only},
        Case{"I16", "[1]", 2, only}, Case{"U32", "[1]", 4, only}, Case{"C64", "[1]", 8, only},
        Case{"F8_E4M3", "[3]", 3, only}, Case{"F8_E5M2", "[3]", 3, only},
        Case{"F8_E8M0", "[3]", 3, only}, Case{"F6_E2M3", "[4]", 3, only},
        Case{"F4", "[4]", 2, only}, Case{"F16", "[2]", 4, half}, Case{"BF16", "[2]", 4, half},
        Case{"F32", "[1, 1, 1, 1, 2]", 8, only}}) {
    const auto [dtype, shape, bytes, what] = c;
    CAPTURE(c.dtype);
    const std::string header =
        fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},)"
                    R"("x":{{"dtype":"{}","shape":{},"data_offsets":[4,{}]}},)"
                    R"("z":{{"dtype":"I32","shape":[1],"data_offsets":[{},{}]}}}})",
                    dtype, shape, 4 + bytes, 4 + bytes, 8 + bytes);
    const TensorFile file =
        load_bytes(file_of(header, "\0\0\x80\x3f"s + std::string(bytes, '\1') + "\7\0\0\0"s));
    CHECK(file.tensors.size() == 2);
    CHECK(file.tensor("a").item() == 1);
    CHECK(file.tensor("z", {1}).item() == 7);
    REQUIRE(file.unread.size() == 1);
    std::string shown = fmt::format("{} {}", dtype, shape);
    std::ranges::replace(shown, '[', '(');
    std::ranges::replace(shown, ']', ')');
    CHECK(file.unread[0].what == shown);
    CHECK_THROWS_WITH_AS(
        file.tensor("x"),
        fmt::format("[TensorFile] {} has x as {}: {}", file.path.string(), shown, what).c_str(),
        FileError);
  }
  CHECK(refusal(file_of(R"({"x":{"dtype":"I64","shape":[2],"data_offsets":[0,8]}})", "12345678")) ==
        "tensor 'x': data_offsets (0, 8) span 8 bytes but shape (2) of I64 has 16");
  CHECK(refusal(file_of(R"({"x":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})", "1")) ==
        "tensor 'x': shape (3) of F4 is not a whole number of bytes");
  CHECK(refusal(file_of(R"({"x":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},)"
                        R"("x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})")) ==
        "tensor 'x': this name is there twice");
}

TEST_CASE("safetensors: F16 and BF16 become float32 on request, every value exactly") {
  const TempFolder folder;
  const fs::path path = folder / "half";
  std::string data(2 * 65536, '\0');
  for (std::size_t k = 0; k < 65536; ++k) {
    data[2 * k] = static_cast<char>(k & 0xFF);
    data[2 * k + 1] = static_cast<char>(k >> 8);
  }
  const auto widened = [&](std::string_view dtype) {
    spill(path, file_of(fmt::format(
                            R"({{"h":{{"dtype":"{}","shape":[65536],"data_offsets":[0,131072]}}}})",
                            dtype),
                        data));
    return load_tensors(path, {.widen_half = true}).tensor("h", {65536});
  };
  const Tensor half = widened("F16"), brain = widened("BF16");
  int wrong = 0;
  for (std::uint32_t k = 0; k < 65536; ++k) {
    const std::uint32_t exponent = k >> 10 & 31, significand = k & 1023;
    const double size = exponent == 0 ? std::ldexp(significand, -24)
                        : exponent < 31
                            ? std::ldexp(1024 + significand, static_cast<int>(exponent) - 25)
                        : significand == 0 ? INFINITY
                                           : NAN;
    const double value = half.at(k);
    wrong += std::isnan(size) ? !std::isnan(value) : std::fabs(value) != size;
    wrong += std::signbit(value) != (k >> 15 != 0);
    wrong += std::bit_cast<std::uint32_t>(brain.data<float>()[k]) != k << 16;
  }
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: what a header is worth in memory is bounded by what the file has") {
  const auto many = [](const char* begin, int count, auto item, const char* end) {
    std::string header = begin;
    for (int i = 0; i < count; ++i) header += (i == 0 ? "" : ",") + item(i);
    return header + end;
  };
  const std::string costly =
      "the header would take more memory than twice the file's size and 16 MB";
  CHECK(refusal(file_of(many(
            "{\"__metadata__\":{", 300'000, [](int i) { return fmt::format(R"("{}":"")", i); },
            "}}"))) == costly);
  const auto shaped = [](int i) {
    return fmt::format(R"("t{}":{{"dtype":"F32","shape":[0,{}],"data_offsets":[0,0]}})", i, i);
  };
  CHECK(refusal(file_of(many("{", 200'000, shaped, "}"))) == costly);
  CHECK(load_bytes(file_of(many("{", 20'000, shaped, "}"))).tensors.size() == 20'000);

  const auto text = [](std::size_t size) {
    return R"({"__metadata__":{"k":")" + std::string(size, 'x') + "\"}}";
  };
  const auto too_long = [](std::size_t most) {
    return fmt::format("a text in the header has more than {} bytes", most);
  };
  CHECK(refusal(file_of(text(3'999'999))) == "accepted");
  CHECK(refusal(file_of(text(4'000'001))) == too_long(4'000'000));
  CHECK(refusal(file_of("{\"" + std::string(5'000'000, 'n') + "\":{}}")) == too_long(4'000'000));
  CHECK(refusal(file_of("{" + std::string(5'000'000, '\n') + "}")) == too_long(4'000'000));
  CHECK(refusal(file_of(one(std::string(5'000'000, '1'), "[0,4]"), "1234")) == too_long(4'000'001));
  CHECK(refusal(file_of(R"({"\"\"\")" + std::string(4'000'001, ' ') + "x\":{}}")) ==
        too_long(4'000'000));
  CHECK(refusal(file_of("{}" + std::string(5'000'000, ' '))) == "accepted");
  // A quarter of the data's size more.
  const std::string header =
      R"({"__metadata__":{"k":")" + std::string(4'900'000, 'x') +
      R"("},"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}})";
  CHECK(refusal(file_of(header, std::string(4'000'000, '\0'))) == "accepted");
}

TEST_CASE("safetensors: files of another kind are named, with the cure") {
  const std::string rest(100, '\xff');
  const std::string torch = "load it there and save it with safetensors.torch.save_file";
  for (const auto& [beginning, what] : std::vector<std::pair<std::string, std::string>>{
           {"PK\3\4\0\0\0\0"s, "is a zip archive, as torch.save and numpy.savez write them: " +
                                   torch + " or safetensors.numpy.save_file"},
           {"PK\3\4\x14\0\x08\x08"s,
            "is a zip archive, as torch.save and numpy.savez write them: " + torch +
                " or safetensors.numpy.save_file"},
           {"\x80\x02\x8a\nl\xfc\x9c",
            "is a Python pickle, as torch.save wrote them before 1.6: " + torch},
           {"\x93NUMPY", "is an array of NumPy: load_npy() reads it"},
           {"\x89HDF\r\n",
            "is an HDF5 file, as Keras writes them: load it there and save its arrays "
            "with safetensors.numpy.save_file"},
           {"GGUF\3\0\0"s, "is a GGUF file: convert it"},
           {"\x1f\x8b\x08\0"s, "is compressed by gzip: decompress it first"},
           {"version https://git-lfs.github.com/spec/v1\n",
            "is the pointer that git has in place of a large file: run git lfs pull"},
           {"<!DOCTYPE html>",
            "is a page in HTML: perhaps what a server sent in place of the file"},
           {"{\"metadata\": {}}",
            "is JSON, perhaps an index of several files: name one of them"}}) {
    CHECK(refusal(beginning + rest) == what + " (no safetensors file)");
  }
  // A header of 0x3c = '<' bytes is one.
  CHECK(refusal(file_of("{" + std::string('<' - 2, ' ') + "}")) == "accepted");
}

TEST_CASE("safetensors: tensors that do not cover the data exactly") {
  const auto two = [](int begin, int end) {
    return fmt::format(R"({{"b":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}},)"
                       R"("a":{{"dtype":"I32","shape":[2],"data_offsets":[0,8]}}}})",
                       begin, end);
  };
  const std::string data = "0123456789abcdef";
  CHECK(refusal(file_of(two(12, 16), data)) ==
        "tensor 'b': data_offsets (12, 16) must begin at 8: there may be no hole");
  CHECK(refusal(file_of(two(4, 8), data)) ==
        "tensor 'b': data_offsets (4, 8) must begin at 8: there may be no overlap");
  CHECK(refusal(file_of(two(0, 4), data)) ==
        "tensor 'a': data_offsets (0, 8) must begin at 4: there may be no overlap");
  CHECK(refusal(file_of(one("[1]", "[4,8]"), "12345678")) ==
        "tensor 'a': data_offsets (4, 8) must begin at 0: there may be no hole");
  CHECK(refusal(file_of(one("[0]", "[4,4]"), "1234")) ==
        "tensor 'a': data_offsets (4, 4) must begin at 0: there may be no hole");
  CHECK(refusal(file_of(two(8, 12), data.substr(0, 13))) ==
        "the tensors need 12 bytes but the file has 13: there may be no trailing ones");
  CHECK(refusal(file_of("{}", "x")) ==
        "the tensors need 0 bytes but the file has 1: there may be no trailing ones");
  CHECK(refusal(file_of(two(8, 12), data.substr(0, 10))) ==
        "the tensors need 12 bytes but the file has 10: it is cut off");
  const TensorFile file = load_bytes(file_of(two(8, 12), data.substr(0, 12)));
  CHECK(file.tensors[0].name == "a");  // in the order of the data, not of the header
  CHECK(bytes_of(file.tensors[1].tensor) == "89ab");
}

TEST_CASE("safetensors: many tensors on the same bytes") {
  std::string ten = "{", many = "{";
  for (int i = 0; i < 10; ++i) {
    ten += fmt::format(R"({}"t{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                       i == 0 ? "" : ",", i);
  }
  CHECK(refusal(file_of(ten + "}", "12345678")) ==
        "tensor 't1': data_offsets (0, 8) must begin at 8: there may be no overlap");
  for (int i = 0; i < 100'000; ++i) {
    many += fmt::format(R"({}"t{}":{{"dtype":"F32","shape":[200,200],"data_offsets":[0,160000]}})",
                        i == 0 ? "" : ",", i);
  }
  CHECK(refusal(file_of(many + "}", std::string(160'000, 'x'))) ==
        "tensor 't1': data_offsets (0, 160000) must begin at 160000: there may be no overlap");
}

TEST_CASE("safetensors: many empty tensors are legal, and each comes once") {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i) {
    header += fmt::format(R"("t{}":{{"dtype":"F64","shape":[0],"data_offsets":[0,0]}},)", i);
  }
  header.back() = '}';
  const TensorFile file = load_bytes(file_of(header));
  REQUIRE(file.tensors.size() == 100'000);
  CHECK(file.tensors[12345].name == "t12345");  // equal places: the order of the header
  header.back() = ',';
  header += R"("t77":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}})";
  CHECK(refusal(file_of(header)) == "tensor 't77': this name is there twice");
}

TEST_CASE("safetensors: names") {
  const auto named = [](std::string_view name) {
    return file_of(
        fmt::format(R"({{"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}}})", name));
  };
  CHECK(refusal(named("")) == "tensor '': its name is empty");
  CHECK(refusal(named(R"(a\u0000b)")) == R"(tensor 'a\u0000b': its name has a control character)");
  CHECK(refusal(named(R"(\u001b[2J)")) ==
        R"(tensor '\u001b[2J': its name has a control character)");
  CHECK(refusal(named(R"(a\n)")) == R"(tensor 'a\n': its name has a control character)");
  CHECK(refusal(named("\x7f")) == "tensor '\x7f': its name has a control character");
  for (const char* name : {"../../etc/passwd", "/", ".", " ", "größe", "__metadata", "a/b.c:0"}) {
    CHECK(load_bytes(named(name)).tensors[0].name == name);
  }
  const std::string longest(1'000'000, 'n');
  CHECK(load_bytes(named(longest)).tensors[0].name == longest);
  // A message does not carry all of it.
  CHECK(refusal(file_of("{\"" + longest + "\":1}")) ==
        "tensor '" + std::string(60, 'n') +
            "...': must be an object with dtype, shape and data_offsets");
  CHECK(refusal(file_of(R"({"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                        R"("y":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},)"
                        R"("\u0078":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})")) ==
        "tensor 'x': this name is there twice");
}

TEST_CASE("safetensors: metadata are strings by strings, once") {
  for (const char* value : {"null", "[]", "\"x\"", "1"}) {
    CHECK(refusal(file_of(fmt::format(R"({{"__metadata__":{}}})", value))) ==
          "__metadata__ must be an object");
  }
  for (const char* value : {"null", "1", "1.5", "-1", "true", "[]", "{}"}) {
    CHECK(refusal(file_of(fmt::format(R"({{"__metadata__":{{"k":{}}}}})", value))) ==
          "__metadata__: every value must be a string");
  }
  CHECK(refusal(file_of(R"({"__metadata__":{"k":"1","l":"2","k":"1"}})")) ==
        "__metadata__ 'k': this key is there twice");
  CHECK(refusal(file_of(R"({"__metadata__":{},"__metadata__":{}})")) ==
        "__metadata__ is there twice");
  CHECK(load_bytes(file_of(R"({"__metadata__":{}})")).metadata.empty());
}

TEST_CASE("safetensors: what is not a regular file is refused") {
  const TempFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const auto said = [](const fs::path& path) -> std::string {
    try {
      load_tensors(path);
    } catch (const FileError& error) {
      return error.what();
    }
    return "accepted";
  };
  const std::string at = "[load_tensors] " + folder.path().string();
  CHECK(said(folder.path()) == at + ": is a directory: a regular file is wanted");
  CHECK(said(folder / "pipe") == at + "/pipe: is a pipe: a regular file is wanted");
  CHECK(said(folder / "none") == at + "/none: cannot open: No such file or directory");
  CHECK(said("/dev/zero") == "[load_tensors] /dev/zero: is a device: a regular file is wanted");
  const std::string cut = (folder / "good").string() + "\0bad"s;
  save_tensors(folder / "good", {});
  CHECK(said(cut) ==
        at + R"(/good\u0000bad: has a byte 0, which the system takes for the end of the )"
             "path");
}
