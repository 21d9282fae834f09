#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "atomic_file.h"
#include "elements-inl.h"
#include "wav-inl.h"
#include "wav.h"

namespace tapegrad {
namespace {

using namespace wav;

constexpr const char* op = "write_wav";

unsigned sample_bytes(WavFormat format) {
  return format == WavFormat::pcm16 ? 2 : format == WavFormat::pcm24 ? 3 : 4;
}

void check_sound(const Sound& sound, WavFormat format) {
  const Tensor& samples = sound.samples;
  check::defined(op, {{"samples", samples}});
  if (samples.rank() != 2 || samples.numel() == 0) {
    fail<ShapeError>(op,
                     "samples have shape {}: it must be (frames, channels), at least one of each; "
                     "reshape({{n, 1}}) makes one channel of (n)",
                     samples.shape());
  }
  if (samples.dtype() != DType::float32) {
    fail<DtypeError>(op, "samples are {}: they must be float32, as to(DType::float32) makes them",
                     samples.dtype());
  }
  constexpr std::uint64_t most_32 = std::numeric_limits<std::uint32_t>::max();
  constexpr std::uint64_t headers = 100;  // more than they have
  const std::size_t frame = samples.size(1) * sample_bytes(format);
  if (sound.rate == 0 || frame > std::numeric_limits<std::uint16_t>::max() ||
      std::uint64_t{sound.rate} * frame > most_32 ||
      samples.size(0) > (most_32 - headers) / frame) {
    fail<UsageError>(op,
                     "{} frames of {} channels at a rate of {} do not go into a WAV file, whose "
                     "numbers have 32 bits",
                     samples.size(0), samples.size(1), sound.rate);
  }
  if (const std::string fault = non_finite(samples); !fault.empty()) {
    fail<NonFiniteError>(op, "{}: samples must be finite", fault);
  }
}

void check_full_scale(const Tensor& samples) {
  const std::span<const float> values = samples.values<float>();
  const auto size = [](float x) { return std::fabs(x); };
  const auto beyond = std::ranges::count_if(values, [&](float x) { return size(x) > 1; });
  if (beyond == 0) return;
  const auto peak = std::ranges::max_element(values, {}, size);
  const auto k = static_cast<std::size_t>(peak - values.begin()), channels = samples.size(1);
  fail<UsageError>(op,
                   "{} of {} samples are beyond [-1, 1], most of all {} in frame {} of channel {}: "
                   "scale them, write WavFormat::float32, or set clip",
                   beyond, values.size(), *peak, k / channels, k % channels);
}

/// Returns the samples as integers of `bytes` bytes.
std::string quantised(const Tensor& samples, unsigned bytes) {
  std::string data;
  data.reserve(samples.numel() * bytes);
  const double scale = std::ldexp(1.0, static_cast<int>(8 * bytes - 1));
  for (const float x : samples.values<float>()) {
    const double nearest = std::nearbyint(std::clamp(scale * double{x}, -scale, scale - 1));
    const auto raw = std::bit_cast<std::array<char, 4>>(static_cast<std::int32_t>(nearest));
    data.append(raw.data(), bytes);  // the lower ones
  }
  return data;
}

}  // namespace

void write_wav(const std::filesystem::path& path, const Sound& sound,
               const WriteWavOptions& options) {
  check_sound(sound, options.format);
  const Tensor& samples = sound.samples;
  const bool is_pcm = options.format != WavFormat::float32;
  if (is_pcm && !options.clip) check_full_scale(samples);
  const unsigned bytes = sample_bytes(options.format);
  const std::string integers = is_pcm ? quantised(samples, bytes) : "";
  const std::span<const std::byte> data =
      is_pcm ? std::as_bytes(std::span<const char>(integers)) : bytes_of(samples);

  const std::size_t channels = samples.size(1), frame = channels * bytes;
  std::string chunks = "WAVE";
  const auto begin_chunk = [&](std::string_view name, std::size_t size) {
    chunks += name;
    chunks += bytes_of_number(size, 4);
  };
  begin_chunk("fmt ", is_pcm ? 16 : 18);
  chunks += bytes_of_number(is_pcm ? pcm : ieee_float, 2) + bytes_of_number(channels, 2) +
            bytes_of_number(sound.rate, 4) + bytes_of_number(sound.rate * frame, 4) +
            bytes_of_number(frame, 2) + bytes_of_number(8 * bytes, 2);
  if (!is_pcm) {
    chunks += bytes_of_number(0, 2);  // no more about the format
    begin_chunk("fact", 4);
    chunks += bytes_of_number(samples.size(0), 4);
  }
  begin_chunk("data", data.size());
  const std::string padding(data.size() % 2, '\0');
  const std::size_t riff = chunks.size() + data.size() + padding.size();
  const std::string start = "RIFF" + bytes_of_number(riff, 4) + chunks;
  const std::array parts{std::as_bytes(std::span<const char>(start)), data,
                         std::as_bytes(std::span<const char>(padding))};
  write_file_atomically(path, parts, op);
}

}  // namespace tapegrad
