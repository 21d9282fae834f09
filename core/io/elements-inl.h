#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "../dispatch-inl.h"
#include "../tensor.h"
#include "atomic_file.h"

#pragma GCC visibility push(hidden)

/// Elements of tensors as files have them.
namespace tapegrad {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie");

/// Returns the elements as they lie in memory.
inline std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return dispatch(tensor.dtype(), [&]<class T>(T) { return std::as_bytes(tensor.values<T>()); });
}

/// Returns how many elements a shape of a file has; nothing if memory cannot address them. A size of 0
/// does not hide that the others are too large.
inline std::optional<std::size_t> element_count(std::span<const std::size_t> dims) {
  std::size_t count = 1, elements = 1;
  for (const std::size_t size : dims) {
    if (size > 1 && count > PTRDIFF_MAX / sizeof(double) / size) return std::nullopt;
    count *= std::max<std::size_t>(size, 1);
    elements *= size;
  }
  return elements;
}

/// Returns the number whose bytes begin at `at`, the lowest one first.
template <class N>
N number_at(std::string_view bytes, std::size_t at) {
  N number;
  std::memcpy(&number, bytes.substr(at, sizeof number).data(), sizeof number);
  return number;
}
/// Returns the lowest `size` bytes of a number, the lowest one first.
inline std::string bytes_of_number(std::uint64_t number, std::size_t size) {
  const auto raw = std::bit_cast<std::array<char, sizeof number>>(number);
  return {raw.data(), size};
}

/// Returns the `size` bytes from `offset` on, or as many as there are.
inline std::string bytes_at(const InputFile& file, std::uint64_t offset, std::uint64_t size) {
  std::string bytes(std::min(size, file.size() - offset), '\0');
  file.read_exactly_at(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

/// Reads `into.size()` elements, which the file has as `Stored` from byte `offset` on, a few at a
/// time: element k becomes convert(stored, k).
template <class Stored, class T, class Convert>
void read_converted(const InputFile& file, std::uint64_t offset, std::span<T> into,
                    Convert convert) {
  std::array<Stored, 4096> stored;
  for (std::size_t done = 0; done < into.size();) {
    const std::size_t count = std::min(stored.size(), into.size() - done);
    file.read_exactly_at(offset, std::as_writable_bytes(std::span(stored).first(count)));
    for (std::size_t i = 0; i < count; ++i) into[done + i] = convert(stored[i], done + i);
    done += count;
    offset += count * sizeof(Stored);
  }
}

/// Widens an IEEE 754 binary16: sign, 5 bits of exponent with bias 15, 10 of significand.
inline float of_float16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000U} << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1FU, significand = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-24
    const float size = std::ldexp(static_cast<float>(significand), -24);
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(size));
  }
  const std::uint32_t wide_exponent = exponent == 0x1F ? 0xFF : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide_exponent << 23 | significand << 13);
}

}  // namespace tapegrad

#pragma GCC visibility pop
