#pragma once

#include <tapegrad/tapegrad.h>

#include <map>
#include <span>
#include <string>
#include <vector>

/// What the programs that learn from public data share: reading it, and batches of sequences of
/// different lengths.
namespace examples {

/// Reads a file of public data. WrongUse if `path` is empty (the user gave no --data) or no file
/// that can be read, with `source`: what the data is called and where it can be had.
std::string read_data(const std::string& path, const std::string& source);

/// Frames of a sequence, each a list of numbers; sequences by the name of their part, as "train".
using FrameLists = std::map<std::string, std::vector<std::vector<std::vector<double>>>>;
/// Reads {"part": [[[number, ...], ...], ...], ...}. WrongUse, with `path`, for anything else.
FrameLists parse_frame_lists(const std::string& json, const std::string& path);

/// Sequences side by side, zeros behind the end of each.
struct Padded {
  tapegrad::Tensor steps;    // (T, B, F) float32, T that of the longest
  tapegrad::Tensor lengths;  // (B) int32
};
/// Makes a batch of those of the sequences (T_b, F) float32 that `chosen` has the places of.
Padded pad(const std::vector<tapegrad::Tensor>& sequences, std::span<const std::size_t> chosen);

/// The places 0 ... count - 1 in batches of `size`, the last one perhaps smaller; in random order,
/// or in theirs without an Rng.
std::vector<std::vector<std::size_t>> batches(std::size_t count, std::size_t size,
                                              tapegrad::Rng* rng = nullptr);

}  // namespace examples
