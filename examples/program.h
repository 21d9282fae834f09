#pragma once

#include <tapegrad/tapegrad.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

/// What all example programs share, so that scripts can use any of them: results go to stdout,
/// whose last line is `result {json}`; progress goes to stderr; the exit status is 0 if all went
/// well, 1 if a stated bound was missed or the run failed, 2 if the program was used wrongly.
namespace examples {

/// Wrong use: an option or a file of the user's cannot be what is needed. Exit status 2.
class WrongUse : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What `make` makes of something the user gave; the library's complaints about it are WrongUse,
/// after the words of `hint`.
template <class Make>
auto given_by_user(Make&& make, const std::string& hint = "") {
  try {
    return make();
  } catch (const tapegrad::Error& error) {
    throw WrongUse(hint + error.what());
  }
}

/// The options that every program has.
struct CommonOptions {
  std::uint64_t seed = 1;
  std::size_t threads = 0;
  bool quiet = false;
};
void add_common_options(CLI::App& app, CommonOptions& options);

/// Checks of options: finite, and greater than 0, not less than 0, in [0, 1), in [low, high].
CLI::Validator positive();
CLI::Validator not_negative();
CLI::Validator below_one();
CLI::Validator between(double low, double high);

/// Parses the command line, runs `program`, says what went wrong, and returns the exit status.
int run(CLI::App& app, int argc, char** argv, const std::function<int()>& program);

/// Throws WrongUse unless a file can be made at `path`: better now than after an hour's training.
void require_writable(const std::filesystem::path& path);

/// A word as a shell reads it back: in single quotes unless it is plain.
std::string shell_word(const std::string& word);

/// Seconds since it was made.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// How far a program is, on stderr: one line, rewritten, on a terminal; else a line every few
/// seconds. It has no colours and no control characters but the carriage return, so NO_COLOR has
/// nothing to switch off.
///
///   if (progress.due()) progress.show(fmt::format("step {}", step));
class Progress {
 public:
  explicit Progress(bool quiet);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// True if the last show() is long enough ago.
  bool due() const;
  void show(const std::string& line);
  /// Takes the line off a terminal, so that something else can be printed there.
  void clear();

 private:
  bool quiet_, terminal_;
  Stopwatch clock_;
  double next_ = 0;          // seconds on the clock
  std::size_t columns_ = 0;  // of the line that stands on the terminal
};

/// Prints the last line of stdout: `result {json}`. Throws std::runtime_error if stdout could not
/// be written, now or before.
void print_result(const nlohmann::ordered_json& result);

}  // namespace examples
