#pragma once

#include <tapegrad/tapegrad.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// What the programs that learn from public data share: reading it.
namespace examples {

/// Reads a file of public data. WrongUse if `path` is empty (the user gave no --data) or no file
/// that can be read, with `source`: what the data is called and where it can be had.
std::string read_data(const std::string& path, const std::string& source);

/// Frames of a sequence, each a list of numbers; sequences by the name of their part, as "train".
using FrameLists = std::map<std::string, std::vector<std::vector<std::vector<double>>>>;
/// Reads {"part": [[[number, ...], ...], ...], ...}. WrongUse, with `path`, for anything else.
FrameLists parse_frame_lists(const std::string& json, const std::string& path);

/// Returns the largest output of each feature over a sequence's own steps, (B, H), of y (T, B, H) in
/// [-1, 1], as an LSTM's is.
tapegrad::Var largest_over_steps(const tapegrad::Var& y, const tapegrad::Tensor& lengths);

/// Returns a number that tells whether the elements are others than they were (FNV-1a).
template <class T>
std::uint64_t hash_of(std::span<const T> elements) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte b : std::as_bytes(elements))
    hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3U;
  return hash;
}

/// A line of a log: an object of JSON with numbers (null is NaN) and texts.
struct LogLine {
  std::map<std::string, double> numbers;
  std::map<std::string, std::string> texts;
};
/// Reads a line; none if it is something else, as one that was cut off.
std::optional<LogLine> parse_log_line(const std::string& line);

}  // namespace examples
