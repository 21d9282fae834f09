// Covers core/io/atomic_file: the new content or the old one, whatever fails; modes, links, names
// that are taken or long, writers side by side; reading regular files only, whole or not at all.

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "../../core/error.h"
#include "../../core/io/atomic_file.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;
namespace fs = std::filesystem;

namespace {

/// The whole message of the FileError that `call` throws.
template <class Call>
std::string failure(Call call) {
  try {
    call();
  } catch (const FileError& error) {
    return error.what();
  }
  return "no FileError";
}

mode_t mode_of(const fs::path& path) {
  struct stat status;
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// No file grows beyond `bytes` while it lives: a write fails with EFBIG, as one does on a full
/// disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_{};
  void (*old_handler_)(int);
};

}  // namespace

TEST_CASE("atomic_file: parts follow one another, and nothing else is left in the folder") {
  const TempFolder folder;
  const std::string parts[] = {"one ", "", std::string("t\0o\n", 4), "three"};
  std::vector<std::span<const std::byte>> spans;
  for (const std::string& part : parts) spans.push_back(std::as_bytes(std::span(part)));
  write_file_atomically(folder / "new", spans);
  CHECK(slurp(folder / "new") == std::string("one t\0o\nthree", 13));
  write_file_atomically(folder / "new", "shorter");
  CHECK(slurp(folder / "new") == "shorter");
  write_file_atomically(folder / "new", "");
  CHECK(slurp(folder / "new").empty());
  CHECK(folder.names() == std::set<std::string>{"new"});
}

TEST_CASE("atomic_file: paths without a folder are in the current one") {
  const TempFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("here", "x");
  fs::current_path(before);
  CHECK(slurp(folder / "here") == "x");
}

TEST_CASE("atomic_file: a new file follows the umask, an existing one keeps its mode") {
  const TempFolder folder;
  const mode_t old_mask = ::umask(027);
  write_file_atomically(folder / "new", "x");
  CHECK(mode_of(folder / "new") == 0640);
  for (const mode_t mode : {0600U, 0644U, 0666U, 0755U, 0400U}) {
    REQUIRE(::chmod((folder / "new").c_str(), mode) == 0);
    write_file_atomically(folder / "new", "y");
    CHECK(mode_of(folder / "new") == mode);
  }
  ::umask(old_mask);
}

TEST_CASE("atomic_file: a write error leaves the old file and no temporary one") {
  const TempFolder folder;
  spill(folder / "model", "old content");
  const std::string big(1 << 16, 'x');
  std::string said, said_of_new;
  {
    const FileSizeLimit limit(1000);
    said = failure([&] { write_file_atomically(folder / "model", big, "save_tensors"); });
    said_of_new = failure([&] { write_file_atomically(folder / "new", big); });
  }
  CHECK(said == "[save_tensors] " + (folder / "model").string() + ": cannot write: File too large");
  CHECK(said_of_new ==
        "[write_file_atomically] " + (folder / "new").string() + ": cannot write: File too large");
  CHECK(slurp(folder / "model") == "old content");
  CHECK(folder.names() == std::set<std::string>{"model"});
  write_file_atomically(folder / "model", big);
  CHECK(slurp(folder / "model") == big);
}

TEST_CASE("atomic_file: what cannot be written to is refused and stays what it is") {
  const TempFolder folder;
  spill(folder / "file", "x");
  fs::create_directory(folder / "folder");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  fs::create_symlink("loop", folder / "loop");
  fs::create_symlink("pipe", folder / "to_pipe");
  const auto names = folder.names();
  const auto said = [&](const fs::path& path) {
    return failure([&] { write_file_atomically(path, "y"); });
  };
  const std::string at = "[write_file_atomically] " + folder.path().string() + "/";
  CHECK(said(folder / "folder") == at + "folder: is a directory: a regular file is wanted");
  CHECK(said(folder / "pipe") == at + "pipe: is a pipe: a regular file is wanted");
  CHECK(said(folder / "to_pipe") == at + "to_pipe: is a pipe: a regular file is wanted");
  CHECK(said(folder / "loop") ==
        at + "loop: cannot follow the link: Too many levels of symbolic links");
  CHECK(said(folder / "folder/") == at + "folder/: does not name a file");
  CHECK(said("") == "[write_file_atomically] : does not name a file");
  CHECK(said(folder / "file/below") ==
        at + "file/below: cannot open the directory: Not a directory");
  CHECK(said(folder / "none/below") ==
        at + "none/below: cannot open the directory: No such file or directory");
  CHECK(said("/proc/self/none") ==
        "[write_file_atomically] /proc/self/none: cannot create a temporary file beside it: No "
        "such file or "
        "directory");
  CHECK(folder.names() == names);
  CHECK(fs::is_fifo(folder / "pipe"));
  CHECK(slurp(folder / "file") == "x");
}

TEST_CASE("atomic_file: a link stays, the file it points to is replaced or made") {
  const TempFolder folder;
  fs::create_directory(folder / "far");
  spill(folder / "far/target", "old");
  fs::create_symlink("far/target", folder / "link");
  fs::create_symlink(folder / "link", folder / "link_to_link");
  fs::create_symlink("far/yet_to_be_made", folder / "dangling");
  write_file_atomically(folder / "link_to_link", "new");
  write_file_atomically(folder / "dangling", "made");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(fs::is_symlink(folder / "link_to_link"));
  CHECK(fs::is_symlink(folder / "dangling"));
  CHECK(slurp(folder / "far/target") == "new");
  CHECK(slurp(folder / "far/yet_to_be_made") == "made");
  CHECK(folder.names() == std::set<std::string>{"dangling", "far", "link", "link_to_link"});
}

TEST_CASE("atomic_file: what a killed writer left is removed by the next write to that name") {
  const TempFolder folder;
  const std::string own = std::to_string(::getpid());
  for (const char* number : {"0", "1", "99999", "600000"}) {
    spill(folder / (".file.tmp-" + own + "-" + number), "left behind");
    spill(folder / (".file.tmp-1-" + std::string(number)), "left behind");
  }
  const std::set<std::string> others{".file.tmp-1-2.txt", ".file.tmp-x", ".file2.tmp-1-1",
                                     "file.tmp-1-1"};
  for (const std::string& name : others) spill(folder / name, "somebody else's");
  fs::create_directory(folder / ".file.tmp-7-7");
  write_file_atomically(folder / "file", "x");
  CHECK(slurp(folder / "file") == "x");
  std::set<std::string> left = others;
  left.insert({"file", ".file.tmp-7-7"});
  CHECK(folder.names() == left);
}

TEST_CASE("atomic_file: killed at any moment of a write, nothing is left after the next one") {
  const TempFolder folder;
  const std::string content(1 << 20, 'x');
  for (int round = 0; round < 20; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) write_file_atomically(folder / "file", content);
    }
    ::usleep(static_cast<useconds_t>(500 * round));
    REQUIRE(::kill(child, SIGKILL) == 0);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    check_writable(folder / "file");
    const auto names = folder.names();
    CHECK((names.empty() || names == std::set<std::string>{"file"}));
    if (!names.empty()) CHECK(slurp(folder / "file") == content);
  }
}

TEST_CASE("atomic_file: check_writable refuses what a write would refuse, and leaves nothing") {
  const TempFolder folder;
  spill(folder / "file", "old");
  fs::create_symlink("none/there", folder / "dangling");
  fs::create_symlink("new", folder / "to_new");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const auto names = folder.names();
  for (const fs::path& path : {folder / "pipe", folder / "dangling", folder.path(), folder / "",
                               folder / "file/x", fs::path(), fs::path("/dev/null"),
                               folder / std::string(300, 'n'), folder / std::string("a\0b", 3)}) {
    CAPTURE(path);
    const std::string said = failure([&] { check_writable(path, "op"); });
    CHECK(said == failure([&] { write_file_atomically(path, "x", "op"); }));
    CHECK(said.starts_with("[op] "));
  }
  check_writable(folder / "file");
  check_writable(folder / "new");
  check_writable(folder / "to_new");
  CHECK(folder.names() == names);
  CHECK(slurp(folder / "file") == "old");
}

TEST_CASE("atomic_file: a name of the greatest length") {
  const TempFolder folder;
  const std::string name(255, 'n');
  write_file_atomically(folder / name, "x");
  CHECK(folder.names() == std::set<std::string>{name});
}

TEST_CASE("atomic_file: with many writers a reader sees the whole of one") {
  const TempFolder folder;
  const fs::path path = folder / "file";
  const auto content = [](int i) {
    return std::string(10000 + static_cast<std::size_t>(i), static_cast<char>('a' + i));
  };
  write_file_atomically(path, content(0));
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) write_file_atomically(path, content(i));
    });
  }
  int torn = 0;
  for (int round = 0; round < 200; ++round) {
    const std::string seen = read_file(path, 1 << 20);
    torn += seen.empty() || seen != content(seen.front() - 'a');
  }
  for (std::thread& writer : writers) writer.join();
  CHECK(torn == 0);
  CHECK(folder.names() == std::set<std::string>{"file"});
}

TEST_CASE("read_file: the whole content, up to the limit") {
  const TempFolder folder;
  std::string content(100'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  spill(folder / "file", content);
  spill(folder / "empty", "");
  CHECK(read_file(folder / "file", content.size()) == content);
  CHECK(read_file(folder / "empty", 0).empty());
  CHECK(failure([&] { read_file(folder / "file", content.size() - 1, "load"); }) ==
        "[load] " + (folder / "file").string() + ": has more than the 99999 bytes allowed");
}

TEST_CASE("read_file: files whose size is not known beforehand") {
  if (!fs::exists("/proc/self/status")) {
    MESSAGE("skipped: there is no /proc here");
    return;
  }
  CHECK(read_file("/proc/self/status", 1 << 20).starts_with("Name:\t"));
  CHECK(failure([] { read_file("/proc/self/status", 10); }) ==
        "[read_file] /proc/self/status: has more than the 10 bytes allowed");
  // Nothing is mapped at address 0, so this is a regular file that fails to be read.
  CHECK(failure([] { read_file("/proc/self/mem", 10); }) ==
        "[read_file] /proc/self/mem: cannot read: Input/output error");
}

TEST_CASE("read_file: only regular files, and none is waited for") {
  const TempFolder folder;
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  fs::create_symlink("/dev/zero", folder / "to_zero");
  const auto said = [](const fs::path& path) { return failure([&] { read_file(path, 100); }); };
  const std::string at = "[read_file] " + folder.path().string();
  CHECK(said(folder.path()) == at + ": is a directory: a regular file is wanted");
  CHECK(said(folder / "pipe") == at + "/pipe: is a pipe: a regular file is wanted");
  CHECK(said(folder / "to_zero") == at + "/to_zero: is a device: a regular file is wanted");
  CHECK(said("/dev/zero") == "[read_file] /dev/zero: is a device: a regular file is wanted");
  CHECK(said(folder / "none") == at + "/none: cannot open: No such file or directory");
  CHECK(said("") == "[read_file] : cannot open: No such file or directory");
}

TEST_CASE("InputFile: a file that is cut while it is read") {
  const TempFolder folder;
  spill(folder / "file", "0123456789");
  InputFile file(folder / "file", "load");
  CHECK(file.size() == 10);
  char head[4];
  file.read_exactly(std::as_writable_bytes(std::span(head)));
  CHECK(std::string(head, 4) == "0123");
  fs::resize_file(folder / "file", 6);
  char rest[6];
  CHECK(failure([&] { file.read_exactly(std::as_writable_bytes(std::span(rest))); }) ==
        "[load] " + (folder / "file").string() +
            ": ends 4 bytes too early: it was cut while it was read");
  CHECK(file.read_some(std::as_writable_bytes(std::span(rest))) == 0);
}

TEST_CASE("atomic_file: no descriptor is left open, after success or failure") {
  const TempFolder folder;
  spill(folder / "file", "x");
  const int before = ::dup(0);
  ::close(before);
  for (int i = 0; i < 10; ++i) {
    write_file_atomically(folder / "file", "y");
    read_file(folder / "file", 10);
    failure([&] { read_file(folder.path(), 10); });
    failure([&] { read_file(folder / "file", 0); });
    failure([&] { write_file_atomically(folder.path(), "z"); });
    const FileSizeLimit limit(10);
    failure([&] { write_file_atomically(folder / "file", std::string(100, 'z')); });
  }
  const int after = ::dup(0);
  ::close(after);
  CHECK(after == before);
}
