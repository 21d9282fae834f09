#include "atomic_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "../fail-inl.h"

namespace tapegrad {
namespace {

namespace fs = std::filesystem;

/// What a message begins with: "[op] path: ".
struct Place {
  std::string_view op;
  const fs::path& path;
};

[[noreturn]] void fail_at(Place at, std::string_view what) {
  fail<FileError>(at.op, "{}: {}", at.path.string(), what);
}

/// Throws with the system's text for errno. `what` is a literal, so that nothing can change errno
/// on the way here.
[[noreturn]] void fail_with_errno(Place at, const char* what) {
  const int error = errno;
  fail_at(at, fmt::format("{}: {}", what, std::generic_category().message(error)));
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "is a directory: a regular file is wanted";
  if (S_ISFIFO(mode)) return "is a pipe: a regular file is wanted";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "is a device: a regular file is wanted";
  return "is not a regular file";
}

/// Repeats a system call that a signal has interrupted.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  bool valid() const { return number_ >= 0; }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }
  bool close() { return !valid() || ::close(release()) == 0; }

 private:
  int number_;
};

/// A new file in a directory, removed again unless it is renamed.
class TemporaryFile {
 public:
  TemporaryFile(int directory, const std::string& name, mode_t mode)
      : directory_(directory), descriptor_(create(name, mode)), exists_(descriptor_.valid()) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (exists_) ::unlinkat(directory_, name_.c_str(), 0);
  }

  bool exists() const { return exists_; }
  int descriptor() const { return descriptor_.get(); }
  bool close() { return descriptor_.close(); }
  bool rename_to(const std::string& name) {
    exists_ = ::renameat(directory_, name_.c_str(), directory_, name.c_str()) != 0;
    return !exists_;
  }

 private:
  int create(const std::string& name, mode_t mode) {
    static std::atomic<std::uint64_t> counter{0};
    // Where every process is number 1, as in a container, a crash may have left our name behind.
    for (;;) {
      // Cut, so that a name of the greatest length still has room for what is added to it.
      name_ = fmt::format(".{}.tmp-{}-{}", name.substr(0, 200), ::getpid(), counter++);
      const int descriptor = uninterrupted([&] {
        return ::openat(directory_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      });
      if (descriptor >= 0 || errno != EEXIST) return descriptor;
    }
  }

  int directory_;
  std::string name_;
  Descriptor descriptor_;
  bool exists_;
};

/// The file that `path` names in the end. Links are followed one by one, so that the last may point
/// to a file that is yet to be made.
fs::path follow_links(fs::path path, Place at) {
  constexpr int most_links = 40;  // as the kernel's own limit
  for (int links = 0; links < most_links; ++links) {
    std::error_code not_a_link;
    const fs::path target = fs::read_symlink(path, not_a_link);
    if (not_a_link) return path;
    path = path.parent_path() / target;
  }
  errno = ELOOP;
  fail_with_errno(at, "cannot follow the link");
}

void write_all(int descriptor, std::span<const std::byte> bytes, Place at) {
  while (!bytes.empty()) {
    const ssize_t written =
        uninterrupted([&] { return ::write(descriptor, bytes.data(), bytes.size()); });
    if (written < 0) fail_with_errno(at, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

/// The permission bits of the file that is to be replaced, if there is one.
std::optional<mode_t> mode_of(int directory, const std::string& name, Place at) {
  struct stat status;
  if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::nullopt;
    fail_with_errno(at, "cannot look at the file that is there");
  }
  if (!S_ISREG(status.st_mode)) fail_at(at, kind_of(status.st_mode));
  return status.st_mode & mode_t{0777};
}

}  // namespace

void write_file_atomically(const fs::path& path, std::span<const std::span<const std::byte>> parts,
                           std::string_view op) {
  const Place at{op, path};
  const fs::path target = follow_links(path, at);
  const std::string name = target.filename().string();
  if (name.empty()) fail_at(at, "does not name a file");
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const Descriptor directory(
      uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!directory.valid()) fail_with_errno(at, "cannot open the directory");

  const std::optional<mode_t> kept_mode = mode_of(directory.get(), name, at);
  // Nobody else may look into the copy of a file that may be private.
  TemporaryFile temporary(directory.get(), name, kept_mode ? 0600 : 0666);
  if (!temporary.exists()) fail_with_errno(at, "cannot create a temporary file beside it");
  for (const std::span<const std::byte> part : parts) write_all(temporary.descriptor(), part, at);
  if (kept_mode && ::fchmod(temporary.descriptor(), *kept_mode) != 0) {
    fail_with_errno(at, "cannot keep the mode of the file that is there");
  }
  if (uninterrupted([&] { return ::fsync(temporary.descriptor()); }) != 0) {
    fail_with_errno(at, "cannot sync to the disk");
  }
  if (!temporary.close()) fail_with_errno(at, "cannot close the temporary file");
  if (!temporary.rename_to(name)) fail_with_errno(at, "cannot rename the temporary file");
  // Some file systems cannot sync a directory and say so with EINVAL: there is nothing to be done.
  if (uninterrupted([&] { return ::fsync(directory.get()); }) != 0 && errno != EINVAL) {
    fail_with_errno(at, "is written, but cannot sync its directory to the disk");
  }
}

void write_file_atomically(const fs::path& path, std::string_view content, std::string_view op) {
  const std::span<const std::byte> part = std::as_bytes(std::span(content));
  write_file_atomically(path, std::span(&part, 1), op);
}

InputFile::InputFile(const fs::path& path, std::string_view op)
    : op_(op),
      path_(path),
      // A pipe without a writer would be waited for; regular files do not know O_NONBLOCK.
      descriptor_(uninterrupted(
          [&] { return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); })) {
  if (descriptor_ < 0) fail_with_errno({op_, path_}, "cannot open");
  Descriptor guard(descriptor_);  // until the destructor takes over
  struct stat status;
  if (::fstat(descriptor_, &status) != 0) fail_with_errno({op_, path_}, "cannot look at it");
  if (!S_ISREG(status.st_mode)) fail(kind_of(status.st_mode));
  size_ = static_cast<std::uint64_t>(status.st_size);
  guard.release();
}

InputFile::~InputFile() { ::close(descriptor_); }

std::size_t InputFile::read_some(std::span<std::byte> into) {
  const ssize_t count =
      uninterrupted([&] { return ::read(descriptor_, into.data(), into.size()); });
  if (count < 0) fail_with_errno({op_, path_}, "cannot read");
  return static_cast<std::size_t>(count);
}

void InputFile::read_exactly(std::span<std::byte> into) {
  while (!into.empty()) {
    const std::size_t count = read_some(into);
    if (count == 0) {
      fail(fmt::format("ends {} bytes too early: it was cut while it was read", into.size()));
    }
    into = into.subspan(count);
  }
}

void InputFile::fail(std::string_view what) const { fail_at({op_, path_}, what); }

std::string read_file(const fs::path& path, std::size_t max_bytes, std::string_view op) {
  InputFile file(path, op);
  const auto check_size = [&](std::uint64_t size) {
    if (size > max_bytes) file.fail(fmt::format("has more than the {} bytes allowed", max_bytes));
  };
  check_size(file.size());
  // Room for one more byte than there should be: the end shows without another round, and a file
  // whose size is not known beforehand, or which grows, is read as well.
  std::string content(static_cast<std::size_t>(file.size()) + 1, '\0');
  std::size_t used = 0;
  while (const std::size_t count =
             file.read_some(std::as_writable_bytes(std::span(content).subspan(used)))) {
    used += count;
    check_size(used);
    if (used == content.size()) content.resize(2 * used);
  }
  content.resize(used);
  return content;
}

}  // namespace tapegrad
