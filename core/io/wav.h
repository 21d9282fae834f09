#pragma once

#include <cstdint>
#include <filesystem>

#include "../tensor.h"

namespace tapegrad {

/// Sound of one or more channels.
struct Sound {
  Tensor samples;     // float32 (frames, channels); full scale is from -1 to 1
  unsigned rate = 0;  // frames per second
};

struct ReadWavOptions {
  unsigned rate = 0;  // frames per second that the file must have; 0: any
};

/// Reads a WAV file.
///
/// PCM of 16, 24 and 32 bits becomes sample / 2^(bits - 1), in [-1, 1); in float32 the greatest of 32
/// bits are rounded to 1. PCM of 8 bits, which is unsigned, becomes (sample - 128) / 128. IEEE floats
/// of 32 and 64 bits are taken as they are, and may go beyond full scale. Chunks other than fmt and
/// data are skipped.
///
/// Format (Microsoft, Multimedia Programming Interface and Data Specifications 1.0, and
/// WAVEFORMATEXTENSIBLE): "RIFF", size, "WAVE"; chunks of a name, a size in 4 bytes, and as many
/// bytes, with one more if the size is odd. The size behind "RIFF" is not looked at.
///
/// Throws FileError for another encoding or another rate than asked for; if the file is cut off, with
/// the number of frames that are there; for a data chunk whose size is 0 or 2^32 - 1, as programs
/// leave it that wrote to a pipe; for a sample that is not finite; and for what is no WAV file.
Sound read_wav(const std::filesystem::path& path, const ReadWavOptions& options = {});

enum class WavFormat : std::uint8_t { pcm16, pcm24, float32 };

struct WriteWavOptions {
  WavFormat format = WavFormat::pcm16;
  bool clip = false;  // PCM samples beyond full scale become full scale, else they are refused
};

/// Writes a WAV file, whole or not at all (write_file_atomically). In PCM of b bits a sample x
/// becomes
///   min(round(2^(b-1) x), 2^(b-1) - 1),
/// rounded to the nearest integer, ties to even; so what read_wav() reads of PCM of that many bits is
/// written again as it was, and 1 becomes the greatest number there is. float32 is written as it is.
///
/// Throws, and writes nothing: NonFiniteError for a sample that is not finite; UsageError for PCM
/// samples beyond [-1, 1], with their number and the greatest, for a rate, a number of channels or
/// a length that a WAV file cannot have, and for an undefined tensor; ShapeError unless samples are
/// (frames, channels), at least one of each; DtypeError unless they are float32; FileError as
/// write_file_atomically() does.
void write_wav(const std::filesystem::path& path, const Sound& sound,
               const WriteWavOptions& options = {});

}  // namespace tapegrad
