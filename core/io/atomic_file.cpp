#include "atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "../fail-inl.h"
#include "../words-inl.h"

namespace tapegrad {
namespace {

namespace fs = std::filesystem;

/// Beginning of a message: "[op] path: ".
struct Place {
  std::string_view op;
  const fs::path& path;
};

[[noreturn]] void fail_at(Place at, std::string_view what) {
  fail<FileError>(at.op, "{}: {}", shown_path(at.path), what);
}

/// Throws with the system's text for errno. `what` is a literal, so that nothing can change errno
/// on the way here.
[[noreturn]] void fail_with_errno(Place at, const char* what) {
  const int error = errno;
  fail_at(at, fmt::format("{}: {}", what, std::generic_category().message(error)));
}

void refuse_byte_0(Place at) {
  if (at.path.native().find('\0') != std::string::npos) {
    fail_at(at, "has a byte 0, which the system takes for the end of the path");
  }
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

/// Returns the beginning of the names of temporary files of the file `name`; process and number
/// follow. Cut, so that a name of the greatest length still has room for them.
std::string temporary_prefix(const std::string& name) {
  return fmt::format(".{}.tmp-", name.substr(0, 200));
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/// Returns whether `name` in the directory is the file that is open.
bool is_name_of(int directory, const std::string& name, int descriptor) {
  struct stat named, open;
  return ::fstatat(directory, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::fstat(descriptor, &open) == 0 && same_file(named, open);
}

/// Removes temporary files of `name` whose writers are gone. A writer locks its file as long as it
/// lives, so a file that can be locked has none; where locks are not supported nothing is removed.
void remove_leftovers(int directory, const std::string& name) {
  const std::string prefix = temporary_prefix(name);
  // fdopendir takes a descriptor over, and reads from where it stands.
  Descriptor listed(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listed.valid()) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listed.get()), &::closedir);
  if (!entries) return;
  listed.release();
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string found = entry->d_name;
    if (!found.starts_with(prefix) ||
        found.find_first_not_of("0123456789-", prefix.size()) != std::string::npos) {
      continue;
    }
    const Descriptor file(::openat(directory, found.c_str(),
                                   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    // Whoever removes or renames a file holds its lock, so under the lock a name stays what it is.
    if (file.valid() && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0 &&
        is_name_of(directory, found, file.get())) {
      ::unlinkat(directory, found.c_str(), 0);
    }
  }
}

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

/// Place that a file is to be written to: its name, the directory, and the mode of the file that is
/// to be replaced.
struct Target {
  std::string name;
  Descriptor directory;
  std::optional<mode_t> kept_mode;

  explicit Target(Place at) : Target(at, resolved(at)) {}

 private:
  static fs::path resolved(Place at) {
    refuse_byte_0(at);
    return follow_links(at.path, at);
  }
  Target(Place at, const fs::path& path)
      : name(path.filename().string()),
        directory(open_folder(at, path)),
        kept_mode(mode_of(directory.get(), name, at)) {}
  static int open_folder(Place at, const fs::path& path) {
    if (!path.has_filename()) fail_at(at, "does not name a file");
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    const int opened =
        uninterrupted([&] { return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (opened < 0) fail_with_errno(at, "cannot open the directory");
    return opened;
  }
};

/// A new file beside the target, locked as long as it lives, and removed again unless it is renamed.
class TemporaryFile {
 public:
  /// Removes what killed writers have left there. Nobody else may look into the copy of a file that
  /// may be private.
  TemporaryFile(const Target& target, Place at)
      : target_(target), descriptor_(create(target.kept_mode ? 0600 : 0666)) {
    if (!descriptor_.valid()) fail_with_errno(at, "cannot create a temporary file beside it");
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!renamed_) ::unlinkat(directory(), name_.c_str(), 0);
  }

  int descriptor() const { return descriptor_.get(); }
  bool rename_to_target() {
    renamed_ = ::renameat(directory(), name_.c_str(), directory(), target_.name.c_str()) == 0;
    return renamed_;
  }

 private:
  int directory() const { return target_.directory.get(); }
  int create(mode_t mode) {
    remove_leftovers(directory(), target_.name);
    static std::atomic<std::uint64_t> counter{0};
    // Where every process is number 1, as in a container, a name may be taken.
    for (;;) {
      name_ = fmt::format("{}{}-{}", temporary_prefix(target_.name), ::getpid(), counter++);
      Descriptor made(uninterrupted([&] {
        return ::openat(directory(), name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      }));
      if (!made.valid()) {
        if (errno == EEXIST) continue;
        return -1;
      }
      // Somebody who looked for leftovers may have had the lock first, and removed the file.
      uninterrupted([&] { return ::flock(made.get(), LOCK_EX); });
      if (is_name_of(directory(), name_, made.get())) return made.release();
    }
  }

  const Target& target_;
  std::string name_;
  Descriptor descriptor_;
  bool renamed_ = false;
};

}  // namespace

void write_file_atomically(const fs::path& path, std::span<const std::span<const std::byte>> parts,
                           std::string_view op) {
  const Place at{op, path};
  const Target target(at);
  TemporaryFile temporary(target, at);
  for (const std::span<const std::byte> part : parts) write_all(temporary.descriptor(), part, at);
  if (target.kept_mode && ::fchmod(temporary.descriptor(), *target.kept_mode) != 0) {
    fail_with_errno(at, "cannot keep the mode of the file that is there");
  }
  if (uninterrupted([&] { return ::fsync(temporary.descriptor()); }) != 0) {
    fail_with_errno(at, "cannot sync to the disk");
  }
  // Closed, and unlocked, only after that: without a lock it would be a leftover.
  if (!temporary.rename_to_target()) fail_with_errno(at, "cannot rename the temporary file");
  // Some file systems cannot sync a directory and say so with EINVAL: there is nothing to be done.
  if (uninterrupted([&] { return ::fsync(target.directory.get()); }) != 0 && errno != EINVAL) {
    fail_with_errno(at, "is written, but cannot sync its directory to the disk");
  }
}

void write_file_atomically(const fs::path& path, std::string_view content, std::string_view op) {
  const std::span<const std::byte> part = std::as_bytes(std::span(content));
  write_file_atomically(path, std::span(&part, 1), op);
}

void check_writable(const fs::path& path, std::string_view op) {
  const Place at{op, path};
  const Target target(at);
  const TemporaryFile temporary(target, at);
}

InputFile::InputFile(const fs::path& path, std::string_view op)
    : op_(op),
      path_(path),
      // A pipe without a writer would be waited for; regular files do not know O_NONBLOCK.
      descriptor_(uninterrupted([&] {
        refuse_byte_0({op_, path_});
        return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
      })) {
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
    if (count == 0) fail_short(into.size());
    into = into.subspan(count);
  }
}

void InputFile::read_exactly_at(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t count = uninterrupted(
        [&] { return ::pread(descriptor_, into.data(), into.size(), static_cast<off_t>(offset)); });
    if (count < 0) fail_with_errno({op_, path_}, "cannot read");
    if (count == 0) fail_short(into.size());
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

void InputFile::fail_short(std::size_t missing) const {
  fail(fmt::format("ends {} bytes too early: it was cut while it was read", missing));
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
