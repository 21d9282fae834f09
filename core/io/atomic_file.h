#pragma once

#include "../cxx20.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

/// Whole files: written so that a crash leaves the old file or the new one, read only if they are
/// regular files. Every failure is a FileError `[op] path: what failed: why`, where `op` is the
/// name that the caller passes for its own errors.
namespace tapegrad {

/// Writes `parts`, one after the other, to the file `path`, which then holds all of them; after a
/// throw, a crash or a power failure it is as it was before.
///
/// The bytes go to a new file in the same directory, `.<name>.tmp-<pid>-<number>`; it is synced to
/// the disk, renamed to `path`, and the directory is synced. A process that is killed meanwhile
/// leaves that file behind; the next write to `path` removes it. Readers who have the old file open
/// keep it. The permission bits of an existing file are kept; a new one gets 0666 less the umask.
/// If `path` is a symbolic link, the link stays and the file it points to is replaced; other hard
/// links to a replaced file keep the old content. Many threads and processes may write at the same
/// time: one of them comes last.
///
/// Throws FileError if anything fails, if `path` is there but is not a regular file, or if it has a
/// byte 0. The temporary file is removed then. If only the sync of the directory fails, the error
/// says so, and the new file is in its place.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::span<const std::byte>> parts,
                           std::string_view op = "write_file_atomically");
/// Writes one piece of text likewise.
void write_file_atomically(const std::filesystem::path& path, std::string_view content,
                           std::string_view op = "write_file_atomically");

/// Throws FileError if write_file_atomically() would refuse `path`: does all that it does before the
/// first byte is written, and leaves nothing behind.
void check_writable(const std::filesystem::path& path, std::string_view op = "check_writable");

/// A regular file, read from its beginning on.
class InputFile {
 public:
  /// Throws FileError if `path` cannot be opened or is no regular file: a directory, a pipe or a
  /// device is refused without waiting for it. So is a path with a byte 0, which the system would
  /// take for its end.
  explicit InputFile(const std::filesystem::path& path, std::string_view op = "read_file");
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  /// Bytes of the file when it was opened; 0 for files that the system makes up, as in /proc.
  std::uint64_t size() const { return size_; }

  /// Reads up to `into.size()` bytes and returns how many; 0 only at the end of the file.
  std::size_t read_some(std::span<std::byte> into);
  /// Fills `into`; throws FileError if the file ends before.
  void read_exactly(std::span<std::byte> into);
  /// Fills `into` from the byte at `offset` on, wherever the other functions are.
  void read_exactly_at(std::uint64_t offset, std::span<std::byte> into) const;

  /// Throws FileError `[op] path: what`.
  [[noreturn]] void fail(std::string_view what) const;

 private:
  [[noreturn]] void fail_short(std::size_t missing) const;

  std::string op_;
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

/// Returns the content of a regular file; throws FileError if it has more than `max_bytes`, or as
/// InputFile does.
std::string read_file(const std::filesystem::path& path, std::size_t max_bytes,
                      std::string_view op = "read_file");

}  // namespace tapegrad
