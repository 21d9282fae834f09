#include "program.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>

namespace examples {
namespace {

constexpr int failed = 1;
constexpr int wrong_use = 2;

/// An option's text as a finite number.
std::optional<double> finite(const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end || !std::isfinite(number)) return std::nullopt;
  return number;
}

CLI::Validator number(std::string name, std::function<bool(double)> holds) {
  return {[=](std::string& text) -> std::string {
            const std::optional<double> x = finite(text);
            return x && holds(*x) ? "" : text + " is not a number " + name;
          },
          name};
}

bool is_terminal() {
  const char* kind = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && kind != nullptr && std::string_view(kind) != "dumb";
}

std::size_t terminal_columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col : 80u;
}

}  // namespace

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.add_option("--seed", options.seed, "Seed of all random numbers")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--threads", options.threads, "Threads to use; 0: one for each core")
      ->check(CLI::Range(0, 1024));
  app.add_flag("--quiet", options.quiet, "No progress on stderr");
}

CLI::Validator positive() {
  return number("> 0", [](double x) { return x > 0; });
}
CLI::Validator not_negative() {
  return number(">= 0", [](double x) { return x >= 0; });
}
CLI::Validator below_one() {
  return number("in [0, 1)", [](double x) { return x >= 0 && x < 1; });
}
CLI::Validator between(double low, double high) {
  return number(fmt::format("in [{}, {}]", low, high),
                [=](double x) { return x >= low && x <= high; });
}

int run(CLI::App& app, int argc, char** argv, const std::function<int()>& program) {
  const auto say = [&](const char* what) { fmt::print(stderr, "{}: {}\n", app.get_name(), what); };
  try {
    app.parse(argc, argv);
    return program();
  } catch (const CLI::ParseError& error) {
    // Prints the help that was asked for, or what is wrong.
    return app.exit(error) == 0 ? 0 : wrong_use;
  } catch (const WrongUse& error) {
    say(error.what());
    return wrong_use;
  } catch (const std::bad_alloc&) {
    say("there is not enough memory");
    return failed;
  } catch (const std::exception& error) {
    say(error.what());
    return failed;
  }
}

void require_writable(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(folder, error))
    throw WrongUse(
        fmt::format("{}: there is no folder {}; make it first", path.string(), folder.string()));
  if (std::filesystem::is_directory(path, error))
    throw WrongUse(fmt::format("{}: is a folder; name a file", path.string()));
  if (access(folder.c_str(), W_OK) != 0)
    throw WrongUse(fmt::format("{}: files cannot be made in {}", path.string(), folder.string()));
}

std::string shell_word(const std::string& word) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(is_terminal()) {}

bool Progress::due() const { return !quiet_ && clock_.seconds() >= next_; }

void Progress::show(const std::string& line) {
  if (quiet_) return;
  if (terminal_) {
    // Shorter than the terminal is wide: a line that wraps cannot be rewritten.
    const std::string shown = line.substr(0, terminal_columns() - 1);
    fmt::print(stderr, "\r{:<{}}", shown, std::max(columns_, shown.size()));
    columns_ = shown.size();
  } else {
    fmt::print(stderr, "{}\n", line);
  }
  std::fflush(stderr);
  next_ = clock_.seconds() + (terminal_ ? 0.2 : 5);
}

void Progress::clear() {
  if (columns_ == 0) return;
  fmt::print(stderr, "\r{:{}}\r", "", columns_);
  std::fflush(stderr);
  columns_ = 0;
}

void print_result(const nlohmann::ordered_json& result) {
  // Names of files need not be UTF-8, JSON must be.
  fmt::print("result {}\n", result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw std::runtime_error("the results could not be written to stdout");
}

}  // namespace examples
