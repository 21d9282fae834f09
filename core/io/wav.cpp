#include "wav.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "../words-inl.h"
#include "../write-inl.h"
#include "atomic_file.h"
#include "elements-inl.h"
#include "wav-inl.h"

namespace tapegrad {
namespace {

using namespace wav;

constexpr std::uint16_t extensible = 0xFFFE;
// What follows the encoding in the GUID of an extensible format (KSDATAFORMAT_SUBTYPE_PCM).
constexpr std::string_view guid_tail("\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71", 14);
constexpr std::uint32_t unknown_size = 0xFFFFFFFF;

float sample_of(std::uint8_t x) { return static_cast<float>(x - 128) / 128; }
float sample_of(std::int16_t x) { return static_cast<float>(x) / 0x1p15F; }
float sample_of(std::int32_t x) { return static_cast<float>(x) / 0x1p31F; }
float sample_of(std::array<std::uint8_t, 3> x) {  // the upper bytes of 32 bits
  return sample_of(static_cast<std::int32_t>(std::uint32_t{x[0]} << 8 | std::uint32_t{x[1]} << 16 |
                                             std::uint32_t{x[2]} << 24));
}
float sample_of(float x) { return x; }
float sample_of(double x) { return static_cast<float>(x); }

template <class Stored>
void read_samples(const InputFile& file, std::uint64_t offset, std::span<float> into) {
  read_converted<Stored>(file, offset, into, [](Stored x, std::size_t) { return sample_of(x); });
}

struct Encoding {
  std::uint16_t tag, bits;
  decltype(&read_samples<float>) read;
};
constexpr std::array<Encoding, 6> encodings{{
    {pcm, 8, read_samples<std::uint8_t>},
    {pcm, 16, read_samples<std::int16_t>},
    {pcm, 24, read_samples<std::array<std::uint8_t, 3>>},
    {pcm, 32, read_samples<std::int32_t>},
    {ieee_float, 32, read_samples<float>},
    {ieee_float, 64, read_samples<double>},
}};

/// Content of the fmt chunk.
struct Format {
  std::uint16_t channels;
  std::uint32_t rate;
  std::uint16_t frame_bytes;
  const Encoding* encoding;
};

Format parse_format(const InputFile& file, std::string_view chunk) {
  if (chunk.size() < 16) {
    file.fail(fmt::format("its fmt chunk has {} bytes: it must have at least 16", chunk.size()));
  }
  auto tag = number_at<std::uint16_t>(chunk, 0);
  const auto bits = number_at<std::uint16_t>(chunk, 14);
  if (tag == extensible && chunk.size() >= 40 && chunk.substr(26, 14) == guid_tail) {
    tag = number_at<std::uint16_t>(chunk, 24);
  }
  const auto found = std::ranges::find_if(
      encodings, [&](const Encoding& e) { return e.tag == tag && e.bits == bits; });
  if (found == encodings.end()) {
    file.fail(
        fmt::format("has encoding {:#06x} of {} bits: PCM of 8, 16, 24 and 32 bits and float of 32 "
                    "and 64 are read; ffmpeg -i in.wav -c:a pcm_s24le out.wav converts it",
                    tag, bits));
  }
  const Format format{number_at<std::uint16_t>(chunk, 2), number_at<std::uint32_t>(chunk, 4),
                      number_at<std::uint16_t>(chunk, 12), found};
  if (format.channels == 0 || format.rate == 0 ||
      format.frame_bytes != format.channels * bits / 8) {
    file.fail(
        fmt::format("its fmt chunk says {} channels of {} bits, {} bytes in all, at a rate of "
                    "{}: that cannot be",
                    format.channels, bits, format.frame_bytes, format.rate));
  }
  return format;
}

Tensor read_data(const InputFile& file, const Format& format, std::uint64_t begin,
                 std::uint32_t size) {
  const std::uint64_t there = file.size() - begin;
  if (size == 0 || size == unknown_size) {
    file.fail(
        fmt::format("its data chunk has size {} before {} bytes: if it was written to a pipe, "
                    "ffmpeg -i in.wav out.wav fills the size in",
                    size, there));
  }
  const unsigned frame = format.frame_bytes;
  if (size > there) {
    file.fail(
        fmt::format("promises {} frames but has {}: it is cut off", size / frame, there / frame));
  }
  if (size % frame != 0) {
    file.fail(fmt::format("its data chunk has {} bytes: they are no whole number of frames of {}",
                          size, frame));
  }
  Tensor samples = Tensor::empty({size / frame, format.channels});
  format.encoding->read(file, begin, std::span(detail::write<float>(samples), samples.numel()));
  if (const std::string fault = non_finite(samples); !fault.empty()) file.fail(fault);
  return samples;
}

}  // namespace

Sound read_wav(const std::filesystem::path& path, const ReadWavOptions& options) {
  const InputFile file(path, "read_wav");
  const std::string start = bytes_at(file, 0, 12);
  if (!start.starts_with("RIFF") || !start.ends_with("WAVE") || start.size() < 12) {
    file.fail(fmt::format("is no WAV file: it begins with '{}', not with RIFF, a size and WAVE",
                          shown(start)));
  }
  std::optional<Format> format;
  for (std::uint64_t at = start.size(); at < file.size();) {
    const std::string head = bytes_at(file, at, 8);
    if (head.size() < 8) break;
    const auto size = number_at<std::uint32_t>(head, 4);
    const std::uint64_t begin = at + head.size();
    if (head.starts_with("fmt ")) {
      format = parse_format(file, bytes_at(file, begin, std::min<std::uint64_t>(size, 40)));
      if (options.rate != 0 && format->rate != options.rate) {
        file.fail(
            fmt::format("has {} frames per second but {} are asked for: ffmpeg -i in.wav -ar "
                        "{} out.wav resamples it",
                        format->rate, options.rate, options.rate));
      }
    } else if (head.starts_with("data")) {
      if (!format) file.fail("has no fmt chunk before its data");
      return {read_data(file, *format, begin, size), format->rate};
    }
    at = begin + size + size % 2;
  }
  file.fail("has no data chunk: it is cut off");
}

}  // namespace tapegrad
