#include "npy.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../check-inl.h"
#include "../dispatch-inl.h"
#include "../words-inl.h"
#include "../write-inl.h"
#include "atomic_file.h"
#include "elements-inl.h"
#include "npy_header-inl.h"

namespace tapegrad {
namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::size_t max_header_bytes = 10'000;

/// Reads all elements of a tensor, which the file has as `Stored` from byte `offset` on.
template <class Stored, Element T>
void read_elements(const InputFile& file, std::uint64_t offset, bool swapped, Tensor& into) {
  const auto convert = [&](Stored x, std::size_t k) {
    if (swapped) std::ranges::reverse(std::as_writable_bytes(std::span(&x, 1)));
    if constexpr (std::floating_point<T> && std::integral<Stored>) {
      return of_float16(x);
    } else if constexpr (std::integral<Stored>) {
      if (!std::in_range<T>(x)) {
        file.fail(
            fmt::format("element {} in the file is {}, which int32 cannot hold: save it as "
                        "float64",
                        k, x));
      }
      return static_cast<T>(x);
    } else {
      return x;
    }
  };
  read_converted<Stored>(file, offset, std::span(detail::write<T>(into), into.numel()), convert);
}

/// Kind of elements by NumPy's name for it, less the order of bytes.
struct Kind {
  std::string_view name;
  std::size_t bytes;
  DType dtype;
  decltype(&read_elements<float, float>) read;
};
constexpr std::array<Kind, 12> kinds{{
    {"f4", 4, DType::float32, read_elements<float, float>},
    {"f8", 8, DType::float64, read_elements<double, double>},
    {"i4", 4, DType::int32, read_elements<std::int32_t, std::int32_t>},
    {"f2", 2, DType::float32, read_elements<std::uint16_t, float>},
    {"b1", 1, DType::int32, read_elements<std::uint8_t, std::int32_t>},
    {"i1", 1, DType::int32, read_elements<std::int8_t, std::int32_t>},
    {"u1", 1, DType::int32, read_elements<std::uint8_t, std::int32_t>},
    {"i2", 2, DType::int32, read_elements<std::int16_t, std::int32_t>},
    {"u2", 2, DType::int32, read_elements<std::uint16_t, std::int32_t>},
    {"u4", 4, DType::int32, read_elements<std::uint32_t, std::int32_t>},
    {"i8", 8, DType::int32, read_elements<std::int64_t, std::int32_t>},
    {"u8", 8, DType::int32, read_elements<std::uint64_t, std::int32_t>},
}};

const Kind& kind_of(const InputFile& file, std::string_view descr) {
  constexpr std::array<std::pair<char, std::string_view>, 7> others{{{'O', "Python objects"},
                                                                     {'c', "complex numbers"},
                                                                     {'S', "strings"},
                                                                     {'U', "strings"},
                                                                     {'M', "dates"},
                                                                     {'m', "durations"},
                                                                     {'V', "raw bytes"}}};
  const std::string_view name = descr.substr(std::min<std::size_t>(descr.size(), 1));
  const auto known = std::ranges::find(kinds, name, &Kind::name);
  if (known != kinds.end() && std::string_view("<>|").find(descr[0]) != std::string_view::npos) {
    return *known;
  }
  const auto other =
      std::ranges::find_if(others, [&](const auto& pair) { return name.starts_with(pair.first); });
  file.fail(fmt::format("has elements of dtype '{}'{}{}: save them as float32, float64 or int32",
                        shown(descr), other == others.end() ? "" : ", ",
                        other == others.end() ? "" : other->second));
}

/// Returns the shape, if the file has as many elements as it says.
Shape checked_shape(const InputFile& file, const npy::Header& header, const Kind& kind,
                    std::uint64_t data_bytes) {
  const std::span<const std::size_t> dims(header.shape);
  const std::string name = fmt::format("shape ({})", joined(dims, ", "));
  if (dims.size() > Shape::max_rank) {
    file.fail(
        fmt::format("{} has {} axes but a Tensor has at most {}: reshape it before it is "
                    "saved",
                    name, dims.size(), Shape::max_rank));
  }
  const std::optional<std::size_t> elements = element_count(dims);
  if (!elements) file.fail(fmt::format("{} has more elements than memory can address", name));
  const std::uint64_t bytes = *elements * kind.bytes;
  if (bytes != data_bytes) {
    file.fail(fmt::format("{} of '{}' has {} bytes but {} follow the header: {}", name,
                          header.descr, bytes, data_bytes,
                          bytes > data_bytes ? "the file is cut off" : "there may be no others"));
  }
  return Shape(dims);
}

/// Returns what was read in Fortran's order, where the first index runs fastest, in row-major order.
Tensor row_major(const Tensor& fortran) {
  Tensor result = Tensor::empty(fortran.shape(), fortran.dtype());
  std::array<std::size_t, Shape::max_rank> n{1, 1, 1, 1};
  std::ranges::copy(fortran.shape().dims(), n.begin());
  dispatch(fortran.dtype(), [&]<class T>(T) {
    const T* const from = fortran.data<T>();
    T* to = detail::write<T>(result);
    for (std::size_t i = 0; i < n[0]; ++i) {
      for (std::size_t j = 0; j < n[1]; ++j) {
        for (std::size_t k = 0; k < n[2]; ++k) {
          for (std::size_t l = 0; l < n[3]; ++l) {
            *to++ = from[i + n[0] * (j + n[1] * (k + n[2] * l))];
          }
        }
      }
    }
  });
  return result;
}

}  // namespace

Tensor load_npy(const std::filesystem::path& path) {
  const InputFile file(path, "load_npy");
  const std::string start = bytes_at(file, 0, 12);  // the longest there is before the dict
  if (start.size() < 12 || !start.starts_with(magic)) {
    file.fail("is no .npy file, as numpy.save() writes them; savez() makes archives of several");
  }
  const auto major = number_at<std::uint8_t>(start, 6), minor = number_at<std::uint8_t>(start, 7);
  if (major < 1 || major > 3 || minor != 0) {
    file.fail(
        fmt::format("has version {}.{} of the format: 1.0, 2.0 and 3.0 are read", major, minor));
  }
  const bool is_short = major == 1;
  const std::uint64_t begin = is_short ? 10 : 12;
  const std::uint64_t size =
      is_short ? number_at<std::uint16_t>(start, 8) : number_at<std::uint32_t>(start, 8);
  if (size > max_header_bytes || size > file.size() - begin) {
    file.fail(fmt::format("the header's size is {}, but {} bytes follow and at most {} are allowed",
                          size, file.size() - begin, max_header_bytes));
  }
  const npy::Header header = npy::HeaderParser(file, bytes_at(file, begin, size)).parse();
  const Kind& kind = kind_of(file, header.descr);
  const std::uint64_t data = begin + size;
  const Shape shape = checked_shape(file, header, kind, file.size() - data);
  Tensor tensor = Tensor::empty(shape, kind.dtype);
  kind.read(file, data, header.descr[0] == '>', tensor);
  return header.fortran_order ? row_major(tensor) : tensor;
}

void save_npy(const std::filesystem::path& path, const Tensor& tensor) {
  check::defined("save_npy", {{"tensor", tensor}});
  const std::span<const std::byte> elements = bytes_of(tensor);
  const Shape& shape = tensor.shape();
  const auto kind =
      std::ranges::find(kinds, tensor.dtype(), &Kind::dtype);  // the first is the same
  std::string header =
      fmt::format("{{'descr': '<{}', 'fortran_order': False, 'shape': ({}{}), }}", kind->name,
                  joined(shape.dims(), ", "), shape.rank() == 1 ? "," : "");
  // NumPy leaves room for a first size of 21 digits, so that a file can grow, and aligns the data.
  constexpr std::size_t most_digits = 21, alignment = 64, before = 10;
  if (shape.rank() > 0) header.append(most_digits - std::to_string(shape[0]).size(), ' ');
  header.append(alignment - (before + header.size() + 1) % alignment, ' ');
  header += '\n';
  const std::string version = bytes_of_number(1, 1) + bytes_of_number(0, 1);
  const std::string start =
      std::string(magic) + version + bytes_of_number(header.size(), 2) + header;
  const std::array parts{std::as_bytes(std::span<const char>(start)), elements};
  write_file_atomically(path, parts, "save_npy");
}

}  // namespace tapegrad
