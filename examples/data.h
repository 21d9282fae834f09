#pragma once

#include <tapegrad/tapegrad.h>

#include <map>
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

}  // namespace examples
