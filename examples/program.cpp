#include "program.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
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

CLI::Validator validator(const Check& check) {
  return {[=](std::string& text) -> std::string {
            const std::optional<double> x = finite(text);
            return x && check.holds(*x) ? "" : text + " is not a number " + check.words;
          },
          check.words};
}

/// JSON text of a list: `brackets` around the items, commas between them.
std::string joined(const std::vector<std::string>& items, const char* brackets) {
  return fmt::format("{}{}{}", brackets[0], fmt::join(items, ","), brackets[1]);
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

Check positive() {
  return {"> 0", [](double x) { return x > 0; }};
}
Check not_negative() {
  return {">= 0", [](double x) { return x >= 0; }};
}
Check below_one() {
  return {"in [0, 1)", [](double x) { return x >= 0 && x < 1; }};
}
Check between(double low, double high) {
  return {fmt::format("in [{}, {}]", low, high), [=](double x) { return x >= low && x <= high; }};
}

// CLI11 owns the commands of a program: only the program's parser has an App of its own.
struct CommandLine::Parser {
  std::unique_ptr<CLI::App> own;
  CLI::App* app;
  std::vector<std::unique_ptr<CommandLine>> commands = {};
};

CommandLine::CommandLine(std::unique_ptr<Parser> parser) : parser_(std::move(parser)) {}
CommandLine::CommandLine(const std::string& about, const std::string& name) {
  auto app = std::make_unique<CLI::App>(about, name);
  app->option_defaults()->always_capture_default();
  CLI::App* const parsing = app.get();
  parser_ = std::unique_ptr<Parser>(new Parser{std::move(app), parsing});
}
CommandLine::~CommandLine() = default;

CommandLine& CommandLine::command(const std::string& name, const std::string& about) {
  parser_->app->require_subcommand(1);
  std::unique_ptr<Parser> parser(new Parser{nullptr, parser_->app->add_subcommand(name, about)});
  parser_->commands.emplace_back(new CommandLine(std::move(parser)));
  return *parser_->commands.back();
}

bool CommandLine::given() const { return parser_->app->parsed(); }
void CommandLine::footer(const std::string& text) { parser_->app->footer(text); }

void CommandLine::option(const std::string& name, std::size_t& value, const std::string& about,
                         std::size_t low, std::size_t high) {
  CLI::Option* const added = parser_->app->add_option(name, value, about);
  if (high == SIZE_MAX) {
    added->check(CLI::NonNegativeNumber);
  } else {
    added->check(CLI::Range(low, high));
  }
}
void CommandLine::option(const std::string& name, std::optional<std::size_t>& value,
                         const std::string& about) {
  parser_->app->add_option(name, value, about);
}
void CommandLine::option(const std::string& name, double& value, const std::string& about,
                         const Check& check) {
  parser_->app->add_option(name, value, about)->check(validator(check));
}
void CommandLine::option(const std::string& name, std::vector<double>& values,
                         const std::string& about, const Check& check) {
  parser_->app->add_option(name, values, about)->check(validator(check));
}
void CommandLine::option(const std::string& name, std::string& value, const std::string& about,
                         const std::vector<std::string>& choices) {
  CLI::Option* const added = parser_->app->add_option(name, value, about);
  if (!choices.empty()) added->check(CLI::IsMember(choices));
}
void CommandLine::required(const std::string& name, std::string& value, const std::string& about) {
  parser_->app->add_option(name, value, about)->required();
}
void CommandLine::options(CommonOptions& common) {
  option("--seed", common.seed, "Seed of all random numbers");
  option("--threads", common.threads, "Threads to use; 0: one for each core", 0, 1024);
  parser_->app->add_flag("--quiet", common.quiet, "No progress on stderr");
}

int CommandLine::run(int argc, char** argv, const std::function<int()>& program) {
  CLI::App& app = *parser_->app;
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

Json::Json(double number) : text_(nlohmann::json(number).dump()) {}
Json::Json(std::size_t number) : text_(fmt::to_string(number)) {}
Json::Json(int number) : text_(fmt::to_string(number)) {}
// Names of files need not be UTF-8, JSON must be.
Json::Json(const std::string& string)
    : text_(nlohmann::json(string).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)) {
}
Json::Json(const std::vector<double>& numbers)
    : Json(std::vector<Json>(numbers.begin(), numbers.end())) {}
Json::Json(const std::vector<Json>& list) {
  std::vector<std::string> items;
  for (const Json& item : list) items.push_back(item.text());
  text_ = joined(items, "[]");
}
Json::Json(const Fields& fields) {
  std::vector<std::string> items;
  for (const auto& [name, value] : fields) items.push_back(Json(name).text() + ":" + value.text());
  text_ = joined(items, "{}");
}

void print_result(const Json::Fields& result) {
  fmt::print("result {}\n", Json(result).text());
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw std::runtime_error("the results could not be written to stdout");
}

}  // namespace examples
