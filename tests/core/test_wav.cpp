// Covers core/io/wav: files as SciPy reads and writes them; rounding and full scale; what is refused.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "../../core/error.h"
#include "../../core/io/wav.h"
#include "../fixtures/wav.h"
#include "../support/message.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;
using namespace std::string_literals;

namespace {

Sound read_bytes(std::string_view bytes, const ReadWavOptions& options = {}) {
  const TempFolder folder;
  spill(folder / "x.wav", bytes);
  return read_wav(folder / "x.wav", options);
}

/// The message that these bytes are refused with, less "[read_wav] path: ".
std::string refusal(std::string_view bytes, const ReadWavOptions& options = {}) {
  const TempFolder folder;
  spill(folder / "x.wav", bytes);
  const std::string message = message_of([&] { read_wav(folder / "x.wav", options); });
  const std::string prefix = "[read_wav] " + (folder / "x.wav").string() + ": ";
  return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
}

std::string written(const Sound& sound, const WriteWavOptions& options = {}) {
  const TempFolder folder;
  write_wav(folder / "x.wav", sound, options);
  return slurp(folder / "x.wav");
}

std::string refused(const Sound& sound, const WriteWavOptions& options = {}) {
  const TempFolder folder;
  std::string message = message_of([&] { write_wav(folder / "x.wav", sound, options); });
  CHECK(folder.names().empty());
  return message;
}

/// Two bytes, the lower one first.
std::string u16(unsigned n) {
  return {static_cast<char>(n & 0xFF), static_cast<char>(n >> 8 & 0xFF)};
}
std::string u32(std::uint32_t n) { return u16(n & 0xFFFF) + u16(n >> 16); }

std::string format_of(unsigned tag, unsigned channels, std::uint32_t rate, unsigned frame,
                      unsigned bits) {
  return "fmt " + u32(16) + u16(tag) + u16(channels) + u32(rate) + u32(rate * frame) + u16(frame) +
         u16(bits);
}
const std::string mono = format_of(1, 1, 8000, 2, 16);

std::string file_of(std::string_view chunks) {
  return "RIFF" + u32(static_cast<std::uint32_t>(chunks.size() + 4)) + "WAVE" + std::string(chunks);
}
std::string data_of(std::string_view bytes) {
  return "data" + u32(static_cast<std::uint32_t>(bytes.size())) + std::string(bytes);
}

}  // namespace

TEST_CASE("wav: files are read as SciPy reads them, and written as SciPy does") {
  for (const WavFile& file : wav_files) {
    CAPTURE(&file - wav_files.data());
    const Sound sound = read_bytes(file.bytes, {.rate = file.rate});
    CHECK(sound.rate == file.rate);
    CHECK(sound.samples.dtype() == DType::float32);
    REQUIRE(sound.samples.shape() == Shape{file.frames, file.channels});
    for (std::size_t i = 0; i < file.samples.size(); ++i) {
      CHECK(sound.samples.values<float>()[i] == file.samples[i]);
    }
    if (file.format) CHECK((written(sound, {.format = *file.format}) == file.bytes));
  }
}

TEST_CASE("wav: PCM that was read is written again as it was, every value of 16 bits") {
  std::string data;
  for (unsigned n = 0; n < 65536; ++n) data += u16(n);
  const std::string file = file_of(mono + data_of(data));
  const Sound sound = read_bytes(file);
  CHECK((written(sound) == file));
  // 24 bits hold them all, shifted, and float32 too.
  const Sound again = read_bytes(written(sound, {.format = WavFormat::pcm24}));
  CHECK((written(again) == file));
  CHECK((written(read_bytes(written(again, {.format = WavFormat::float32}))) == file));
}

TEST_CASE("wav: samples are rounded to the nearest, ties to even, and 1 to the greatest") {
  const auto ends_of = [](double x, WavFormat format) {
    const std::string file = written({Tensor::of({1, 1}, {x}), 8000}, {.format = format});
    const auto data = static_cast<std::size_t>(format == WavFormat::pcm16 ? 2 : 4);  // padded
    return file.substr(file.size() - data);
  };
  const auto two = [&](double x) { return ends_of(x, WavFormat::pcm16); };
  CHECK((two(0.5 / 32768) == u16(0)));
  CHECK((two(1.5 / 32768) == u16(2)));
  CHECK((two(2.5 / 32768) == u16(2)));
  CHECK((two(-1.5 / 32768) == u16(0xFFFE)));
  CHECK((two(2.6 / 32768) == u16(3)));
  CHECK((two(32767.4 / 32768) == u16(0x7FFF)));
  CHECK((two(1) == u16(0x7FFF)));
  CHECK((two(-1) == u16(0x8000)));
  CHECK((ends_of(1, WavFormat::pcm24) == "\xff\xff\x7f\0"s));
  CHECK((ends_of(-1, WavFormat::pcm24) == "\0\0\x80\0"s));
  CHECK((ends_of(1.5 / 8388608, WavFormat::pcm24) == "\2\0\0\0"s));

  const Sound loud{Tensor::of({2, 2}, {0.5, -1.25, 1.5, -1}), 8000};
  CHECK(refused(loud) ==
        "[write_wav] 2 of 4 samples are beyond [-1, 1], most of all 1.5 in frame 1 of channel 0: "
        "scale them, write WavFormat::float32, or set clip");
  CHECK(written(loud, {.clip = true})
            .ends_with(u16(0x4000) + u16(0x8000) + u16(0x7FFF) + u16(0x8000)));
  const Sound same = read_bytes(written(loud, {.format = WavFormat::float32}));
  CHECK(same.samples.at(2) == 1.5);
}

TEST_CASE("wav: an odd data chunk is padded, and sizes count that") {
  const std::string file = written({Tensor::zeros({3, 1}), 8000}, {.format = WavFormat::pcm24});
  CHECK((file == "RIFF" + u32(46) + "WAVE" + format_of(1, 1, 8000, 3, 24) + "data" + u32(9) +
                     std::string(10, '\0')));
}

TEST_CASE("wav: files that are cut off, streamed or something else") {
  const std::string no_wav = "', not with RIFF, a size and WAVE";
  CHECK(refusal("") == "is no WAV file: it begins with '" + no_wav);
  CHECK(refusal("RIFF") == "is no WAV file: it begins with 'RIFF" + no_wav);
  CHECK(refusal("RF64xxxxWAVEfmt ") == "is no WAV file: it begins with 'RF64xxxxWAVE" + no_wav);
  CHECK(refusal("RIFFxxxxAVI fmt ") == "is no WAV file: it begins with 'RIFFxxxxAVI " + no_wav);
  const std::string no_data = "has no data chunk: it is cut off";
  CHECK(refusal(file_of("")) == no_data);
  CHECK(refusal(file_of(mono)) == no_data);
  CHECK(refusal(file_of(mono + "data\1\0"s)) == no_data);
  CHECK(refusal(file_of(mono + "LIST" + u32(0xFFFFFFFF) + data_of("12"))) == no_data);
  CHECK(refusal(file_of(data_of("12") + mono)) == "has no fmt chunk before its data");
  CHECK(refusal(file_of(mono + "data" + u32(96000) + "12345")) ==
        "promises 48000 frames but has 2: it is cut off");
  for (const std::uint32_t size : {0U, 0xFFFFFFFFU}) {
    CHECK(refusal(file_of(mono + "data" + u32(size) + "1234")) ==
          fmt::format(
              "its data chunk has size {} before 4 bytes: if it was written to a pipe, ffmpeg "
              "-i in.wav out.wav fills the size in",
              size));
  }
  CHECK(refusal(file_of(mono + data_of("123"))) ==
        "its data chunk has 3 bytes: they are no whole number of frames of 2");
  CHECK(refusal(file_of(mono + data_of("12")), {.rate = 48000}) ==
        "has 8000 frames per second but 48000 are asked for: ffmpeg -i in.wav -ar 48000 out.wav "
        "resamples it");
}

TEST_CASE("wav: formats that are wrong or not read") {
  CHECK(refusal(file_of("fmt " + u32(4) + "abcd" + data_of("12"))) ==
        "its fmt chunk has 4 bytes: it must have at least 16");
  const auto other = [](unsigned tag, unsigned bits) {
    CHECK(
        refusal(file_of(format_of(tag, 1, 8000, bits / 8, bits) + data_of("1234"))) ==
        fmt::format("has encoding {:#06x} of {} bits: PCM of 8, 16, 24 and 32 bits and float of 32 "
                    "and 64 are read; ffmpeg -i in.wav -c:a pcm_s24le out.wav converts it",
                    tag, bits));
  };
  other(7, 8);     // mu-law
  other(0x55, 0);  // MP3
  other(1, 12);
  other(1, 64);
  other(3, 16);
  other(0xFFFE, 16);  // extensible, but not more
  const auto never = [](unsigned channels, std::uint32_t rate, unsigned frame) {
    CHECK(
        refusal(file_of(format_of(1, channels, rate, frame, 16) + data_of("1234"))) ==
        fmt::format("its fmt chunk says {} channels of 16 bits, {} bytes in all, at a rate of {}: "
                    "that cannot be",
                    channels, frame, rate));
  };
  never(0, 8000, 0);
  never(1, 0, 2);
  never(2, 8000, 2);
  const std::string nan = "\0\0\xc0\x7f"s, one = "\0\0\x80\x3f"s;
  CHECK(refusal(file_of(format_of(3, 2, 8000, 8, 32) + data_of(one + one + one + nan))) ==
        "frame 1 of channel 1 is nan");
  // Beyond float32.
  CHECK(refusal(file_of(format_of(3, 1, 8000, 8, 64) + data_of("\0\0\0\0\0\0\xf0\x7e"s))) ==
        "frame 0 of channel 0 is inf");
}

TEST_CASE("wav: sounds that cannot be written are refused, and nothing is written") {
  const Tensor good = Tensor::zeros({2, 1});
  const std::string shape =
      ": it must be (frames, channels), at least one of each; reshape({n, 1}) makes one channel of "
      "(n)";
  CHECK(refused({Tensor::zeros({2}), 8000}) == "[write_wav] samples have shape (2)" + shape);
  CHECK(refused({Tensor::zeros({0, 1}), 8000}) == "[write_wav] samples have shape (0, 1)" + shape);
  CHECK(refused({Tensor::zeros({2, 1}, DType::float64), 8000}) ==
        "[write_wav] samples are float64: they must be float32, as to(DType::float32) makes them");
  const auto never = [](std::size_t channels, unsigned rate) {
    CHECK(refused({Tensor::zeros({1, channels}), rate}) ==
          fmt::format(
              "[write_wav] 1 frames of {} channels at a rate of {} do not go into a WAV file, "
              "whose numbers have 32 bits",
              channels, rate));
  };
  never(1, 0);
  never(32768, 1);
  never(1, 2147483648U);
  CHECK(written({Tensor::zeros({1, 32767}), 1}).size() == 44 + 2 * 32767);
  for (const WavFormat format : {WavFormat::pcm16, WavFormat::float32}) {
    CHECK(refused({Tensor::of({2, 2}, {0, 0, 0, -INFINITY}), 8000}, {format, true}) ==
          "[write_wav] frame 1 of channel 1 is -inf: samples must be finite");
  }
  CHECK(refused({Tensor(), 8000}) == "[write_wav] samples is undefined: give it a value first");
}
