// Covers core/io/safetensors: headers that are broken or made to do harm, each refused with its
// whole message. The cases are those of the format's own tests and attack folder, and of known bugs
// of other loaders.

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>

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
  for (const char* dtype :
       {"F16", "BF16", "I64", "U8", "BOOL", "F4", "F6_E2M3", "f32", "F32 ", ""}) {
    CHECK(refusal(file_of(fmt::format(R"({{"a":{{"dtype":"{}"}}}})", dtype))) ==
          fmt::format("tensor 'a': dtype '{}' is not known here: F32, F64 and I32 are", dtype));
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
  CHECK(refusal(file_of(one("[1,1,1,1,1]", "[0,4]"), "1234")) ==
        "tensor 'a': shape has more than 4 axes");
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
}
