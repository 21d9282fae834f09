#pragma once

#include <tapegrad/tapegrad.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// What all example programs share, so that scripts can use any of them: results go to stdout,
/// whose last line is `result {json}`; progress goes to stderr. The exit status is 0 if all went
/// well, 1 if a stated bound was missed, the run failed, or stdout could not be written; 2 if the
/// program was used wrongly, which is found before it begins; 128 + n if signal n stopped it (SignalGuard).
///
/// No stream that is closed, full or a broken pipe ends a run.
namespace examples {

/// Wrong use: an option or a file of the user's cannot be what is needed. Exit status 2.
class WrongUse : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What `make` makes of something the user gave; the library's complaints about it are WrongUse,
/// after the words of `hint`. Numbers that are not finite are no wrong use.
template <class Make>
auto given_by_user(Make&& make, const std::string& hint = "") {
  try {
    return make();
  } catch (const tapegrad::NonFiniteError&) {
    throw;
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

/// A condition that the value of an option must meet: finite, and what `words` say.
struct Check {
  std::string words;  // as in "> 0"
  std::function<bool(double)> holds;
};
Check positive();       // in float32, as rates and norms are used
Check positive_or_0();  // likewise
Check not_negative();
Check below_one();                       // in [0, 1)
Check between(double low, double high);  // in [low, high]

/// The command line of a program, or of one of its commands. Each option has a name such as
/// "--steps", a place for its value, which holds the default, and a description for --help.
class CommandLine {
 public:
  CommandLine(const std::string& about, const std::string& name);
  ~CommandLine();

  /// Adds a command with options of its own; the user must name one.
  CommandLine& command(const std::string& name, const std::string& about);
  /// Whether the user named this command.
  bool given() const;
  /// Sets the last paragraph of --help.
  void footer(const std::string& text);

  /// A number in [low, high], in decimal digits alone.
  void option(const std::string& name, std::size_t& value, const std::string& about,
              std::size_t low = 0, std::size_t high = SIZE_MAX);
  void option(const std::string& name, std::optional<std::size_t>& value, const std::string& about);
  void option(const std::string& name, double& value, const std::string& about, const Check& check);
  void option(const std::string& name, std::vector<double>& values, const std::string& about,
              const Check& check);
  /// A text; if there are choices, one of them.
  void option(const std::string& name, std::string& value, const std::string& about,
              const std::vector<std::string>& choices = {});
  /// A file that the program reads, which must be given; its name has no dashes.
  void input(const std::string& name, std::string& path, const std::string& about);
  /// A file that the program writes, if there is a default or the user names one. run() refuses, as
  /// wrong use, one that cannot be written or that the program reads.
  void output(const std::string& name, std::string& path, const std::string& about);
  /// Sets `value` if the option is there.
  void flag(const std::string& name, bool& value, const std::string& about);
  void options(CommonOptions& common);

  /// Parses the command line, runs `program`, says what went wrong, and returns the exit status.
  int run(int argc, char** argv, const std::function<int()>& program);

 private:
  struct Parser;
  explicit CommandLine(std::unique_ptr<Parser> parser);
  std::unique_ptr<Parser> parser_;
};

/// Prints to stdout. Never fails: run() finds out, at the end, whether all of it was written.
void print(const std::string& text);
/// Returns whether all that was printed so far was written.
bool printed();
/// Prints a line to stderr, after the program's name; a failure is of no account.
void say(const std::string& line);

/// A word as a shell reads it back: in single quotes unless it is plain.
std::string shell_word(const std::string& word);

/// Throws NonFiniteError, with the reason, if a training diverged.
void check_end(const tapegrad::TrainingEnd& end);

/// A value as JSON text: a number, a string, a list, or names with their values.
class Json {
 public:
  using Fields = std::vector<std::pair<std::string, Json>>;

  // NOLINTBEGIN(google-explicit-constructor): a result is written down as plain values
  Json(double number);
  Json(std::size_t number);
  Json(int number);
  Json(const std::string& string);
  Json(const char* string) : Json(std::string(string)) {}
  Json(const std::vector<double>& numbers);
  Json(const std::vector<Json>& list);
  Json(const Fields& fields);
  // NOLINTEND(google-explicit-constructor)

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// Prints the last line of stdout: `result {json}`.
void print_result(const Json::Fields& result);

}  // namespace examples
