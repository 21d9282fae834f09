// Covers core/io/npy: files that NumPy has written, read and written again; headers and sizes that
// are wrong.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <span>
#include <string>
#include <string_view>

#include "../../core/error.h"
#include "../../core/io/npy.h"
#include "../fixtures/npy.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using namespace std::string_literals;

namespace {

Tensor load_bytes(std::string_view bytes) {
  const TempFolder folder;
  spill(folder / "x.npy", bytes);
  return load_npy(folder / "x.npy");
}

/// The message that these bytes are refused with, less "[load_npy] path: ".
std::string refusal(std::string_view bytes) {
  const TempFolder folder;
  spill(folder / "x.npy", bytes);
  const std::string message = message_of([&] { load_npy(folder / "x.npy"); });
  const std::string prefix = "[load_npy] " + (folder / "x.npy").string() + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

/// A file of version 1.0.
std::string file_of(std::string_view header, std::string_view data = "") {
  const char size[] = {static_cast<char>(header.size() & 0xFF),
                       static_cast<char>(header.size() >> 8)};
  return "\x93NUMPY\1\0"s + std::string(size, 2) + std::string(header) + std::string(data);
}

std::string dict(std::string_view shape, std::string_view descr = "'<f4'") {
  return fmt::format("{{'descr': {}, 'fortran_order': False, 'shape': {}, }}\n", descr, shape);
}

}  // namespace

TEST_CASE("npy: what NumPy has written is read, and native arrays are written as NumPy does") {
  const TempFolder folder;
  for (const NumpyFile& file : numpy_files) {
    CAPTURE(file.bytes.substr(12, 60));
    const Tensor tensor = load_bytes(file.bytes);
    CHECK(tensor.dtype() == file.dtype);
    CHECK(tensor.shape() == Shape(std::span<const std::size_t>(file.shape)));
    REQUIRE(tensor.numel() == file.values.size());
    for (std::size_t i = 0; i < file.values.size(); ++i) {
      CHECK(tensor.at(i) == file.values[i]);
      CHECK(std::signbit(tensor.at(i)) == std::signbit(file.values[i]));
    }
    save_npy(folder / "y.npy", tensor);
    CHECK((slurp(folder / "y.npy") == file.bytes) == file.is_ours);
  }
}

TEST_CASE("npy: what a Tensor cannot hold is refused by name") {
  for (const RefusedNumpyFile& file : refused_numpy_files) CHECK(refusal(file.bytes) == file.what);
}

TEST_CASE("npy: headers in other forms of the same dict are read") {
  const auto value = [](std::string_view header) {
    return load_bytes(file_of(header, "\0\0\x80\x3f"s)).item();
  };
  CHECK(value(R"({"shape":(1,),"descr":"<f4","fortran_order":False})") == 1);
  CHECK(value(" {\t'descr' : '<f4' , 'fortran_order' : True , 'shape' : ( 1 , 1 ) } \n") == 1);
  CHECK(value("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1,), }") == 1);
  CHECK(value(dict("()")) == 1);
}

TEST_CASE("npy: headers that are wrong") {
  const std::string no_npy =
      "is no .npy file, as numpy.save() writes them; savez() makes archives of several";
  CHECK(refusal("") == no_npy);
  CHECK(refusal("\x93NUMPY\1\0\0\0"s) == no_npy);
  CHECK(refusal("PK\3\4" + std::string(100, 'x')) == no_npy);
  CHECK(refusal("\x93NUMPY\4\0xxxxxxxx"s) ==
        "has version 4.0 of the format: 1.0, 2.0 and 3.0 are read");
  CHECK(refusal("\x93NUMPY\1\1xxxxxxxx"s) ==
        "has version 1.1 of the format: 1.0, 2.0 and 3.0 are read");
  CHECK(refusal("\x93NUMPY\0\0xxxxxxxx"s) ==
        "has version 0.0 of the format: 1.0, 2.0 and 3.0 are read");
  CHECK(refusal("\x93NUMPY\1\0\7\0{}"s) ==
        "the header's size is 7, but 2 bytes follow and at most 10000 are allowed");
  CHECK(refusal("\x93NUMPY\2\0\xff\xff\xff\xff{}"s) ==
        "the header's size is 4294967295, but 2 bytes follow and at most 10000 are allowed");
  CHECK(refusal(file_of(std::string(10'001, ' '))) ==
        "the header's size is 10001, but 10001 bytes follow and at most 10000 are allowed");

  const auto bad = [](std::string_view header, int at) {
    CAPTURE(header);
    const std::string shown =
        header.size() > 60 ? std::string(header.substr(0, 60)) + "..." : std::string(header);
    CHECK(
        refusal(file_of(header, "1234")) ==
        fmt::format("the header must be a dict of descr, fortran_order and shape, as numpy.save() "
                    "writes it, but goes wrong at its byte {}: '{}'",
                    at, shown));
  };
  bad("[]", 0);
  bad("{  }", 4);  // keys are missing
  bad("{'descr': '<f4', 'fortran_order': False}", 40);
  bad("{'descr': '<f4', 'descr': '<f4', 'shape': ()}", 45);
  bad("{'descr': '<f4', 'x': 1}", 21);
  bad("{'descr' '<f4'}", 9);
  bad("{'descr': <f4}", 10);
  bad("{'descr': '<f4}", 15);
  bad("{'fortran_order': 0}", 18);
  bad("{'shape': 3}", 10);
  bad("{'shape': (3)}", 12);
  bad("{'shape': (3 4)}", 13);
  bad("{'shape': (-3,)}", 11);
  bad("{'shape': (3.0,)}", 12);
  bad("{'shape': (,)}", 11);
  bad("{'shape': (18446744073709551616,)}", 11);
  bad("{'shape': (3,", 13);
  bad("{'shape': () 'descr': '<f4'}", 13);
  bad("{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", 54);
}

TEST_CASE("npy: shapes that do not fit the bytes") {
  CHECK(refusal(file_of(dict("(2, 3)"), "1234")) ==
        "shape (2, 3) of '<f4' has 24 bytes but 4 follow the header: the file is cut off");
  CHECK(refusal(file_of(dict("(1,)"), "12345")) ==
        "shape (1) of '<f4' has 4 bytes but 5 follow the header: there may be no others");
  CHECK(refusal(file_of(dict("(0, 4611686018427387904)"), "")) ==
        "shape (0, 4611686018427387904) has more elements than memory can address");
  CHECK(refusal(file_of(dict("(4294967296, 4294967296)"), "")) ==
        "shape (4294967296, 4294967296) has more elements than memory can address");
  CHECK(refusal(file_of(dict("(1099511627776,)"), "1234")) ==
        "shape (1099511627776) of '<f4' has 4398046511104 bytes but 4 follow the header: the file "
        "is cut off");
  for (const char* descr : {"''", "'f4'", "'!f4'", "'<f3'", "'<x4'"}) {
    CHECK(refusal(file_of(dict("(1,)", descr), "1234")) ==
          fmt::format("has elements of dtype {}: save them as float32, float64 or int32", descr));
  }
}

TEST_CASE("npy: an undefined tensor is not written") {
  const TempFolder folder;
  CHECK(message_of([&] { save_npy(folder / "x.npy", Tensor()); }) ==
        "[save_npy] tensor is undefined: give it a value first");
  CHECK(folder.names().empty());
}
