#include "program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>

namespace examples {
namespace {

constexpr int failed = 1;
constexpr int wrong_use = 2;

/// All of an option's text as a number: decimal, neither wrapped nor rounded to infinity or zero.
template <class Number>
std::optional<Number> parsed(const std::string& text) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

/// The texts that are numbers for which `holds` is true.
template <class Number, class Holds>
CLI::Validator numbers(const std::string& words, Holds holds) {
  return {[=](std::string& text) -> std::string {
            const std::optional<Number> x = parsed<Number>(text);
            return x && holds(*x) ? "" : text + " is not a number " + words;
          },
          words};
}
CLI::Validator validator(const Check& check) {
  return numbers<double>(check.words, [=](double x) { return std::isfinite(x) && check.holds(x); });
}
CLI::Validator in_range(std::size_t low, std::size_t high) {
  return numbers<std::size_t>(fmt::format("in [{}, {}]", low, high),
                              [=](std::size_t x) { return x >= low && x <= high; });
}

/// Descriptors 0 to 2 are taken, so that no file the program opens can get the place of a stream
/// that is closed. What is written there fails, as it should.
void occupy_standard_streams() {
  for (int stream = 0; stream <= 2; ++stream)
    if (fcntl(stream, F_GETFD) == -1) (void)open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY);
}

std::string program_name;

/// JSON text of a list: `brackets` around the items, commas between them.
std::string joined(const std::vector<std::string>& items, const char* brackets) {
  return fmt::format("{}{}{}", brackets[0], fmt::join(items, ","), brackets[1]);
}

}  // namespace

Check positive() {
  using Float = std::numeric_limits<float>;
  return {"> 0 in float32", [](double x) { return x >= Float::min() && x <= Float::max(); }};
}
Check positive_or_0() {
  return {">= 0 in float32", [](double x) { return x == 0 || positive().holds(x); }};
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
  struct File {
    const CLI::Option* option;
    const std::string& path;
  };
  std::vector<std::unique_ptr<CommandLine>> commands = {};
  std::vector<File> inputs = {}, outputs = {};

  /// Adds an option of which `set` gets the text; `shown` is its default.
  CLI::Option* add(const std::string& name, const std::string& about, const char* type,
                   const std::string& shown, const std::function<void(const std::string&)>& set) {
    return app->add_option_function<std::string>(name, set, about)
        ->type_name(type)
        ->default_str(shown);
  }

  /// Throws WrongUse for an output that cannot be written, or that is an input.
  void check_files() const {
    for (const File& out : outputs) {
      if (out.option->count() == 0 && out.path.empty()) continue;
      const std::string name = out.option->get_name();
      given_by_user([&] { tapegrad::check_writable(out.path); }, name + ": ");
      for (const File& in : inputs) {
        std::error_code none_there;
        if (std::filesystem::equivalent(in.path, out.path, none_there))
          throw WrongUse(fmt::format("{}: {} is the {} that is read, and would be lost", name,
                                     out.path, in.option->get_name()));
      }
    }
    for (const auto& command : commands)
      if (command->given()) command->parser_->check_files();
  }
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
  parser_
      ->add(name, about, "UINT", fmt::to_string(value),
            [&value](const std::string& text) { value = *parsed<std::size_t>(text); })
      ->check(in_range(low, high));
}
void CommandLine::option(const std::string& name, std::optional<std::size_t>& value,
                         const std::string& about) {
  parser_
      ->add(name, about, "UINT", "",
            [&value](const std::string& text) { value = parsed<std::size_t>(text); })
      ->check(in_range(0, SIZE_MAX));
}
void CommandLine::option(const std::string& name, double& value, const std::string& about,
                         const Check& check) {
  parser_
      ->add(name, about, "FLOAT", fmt::to_string(value),
            [&value](const std::string& text) { value = *parsed<double>(text); })
      ->check(validator(check));
}
void CommandLine::option(const std::string& name, std::vector<double>& values,
                         const std::string& about, const Check& check) {
  const auto set = [&values](const std::vector<std::string>& texts) {
    values.clear();
    for (const std::string& text : texts) values.push_back(*parsed<double>(text));
  };
  parser_->app->add_option_function<std::vector<std::string>>(name, set, about)
      ->type_name("FLOAT")
      ->default_str(fmt::format("{}", fmt::join(values, " ")))
      ->check(validator(check));
}
void CommandLine::option(const std::string& name, std::string& value, const std::string& about,
                         const std::vector<std::string>& choices) {
  CLI::Option* const added = parser_->app->add_option(name, value, about);
  if (!choices.empty()) added->check(CLI::IsMember(choices));
}
void CommandLine::input(const std::string& name, std::string& path, const std::string& about) {
  parser_->inputs.push_back({parser_->app->add_option(name, path, about)->required(), path});
}
void CommandLine::output(const std::string& name, std::string& path, const std::string& about) {
  parser_->outputs.push_back({parser_->app->add_option(name, path, about), path});
}
void CommandLine::flag(const std::string& name, bool& value, const std::string& about) {
  parser_->app->add_flag(name, value, about);
}
void CommandLine::options(CommonOptions& common) {
  option("--seed", common.seed, "Seed of all random numbers");
  option("--threads", common.threads, "Threads to use; 0: one for each core", 0, 1024);
  parser_->app->add_flag("--quiet", common.quiet, "No progress on stderr");
}

int CommandLine::run(int argc, char** argv, const std::function<int()>& program) {
  occupy_standard_streams();
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App& app = *parser_->app;
  program_name = app.get_name();
  const auto run_it = [&] {
    try {
      app.parse(argc, argv);
      parser_->check_files();
      return program();
    } catch (const CLI::ParseError& error) {
      // The help that was asked for, or what is wrong.
      std::ostringstream out, wrong;
      const bool helped = app.exit(error, out, wrong) == 0;
      print(out.str());
      std::fputs(wrong.str().c_str(), stderr);
      return helped ? 0 : wrong_use;
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
  };
  int status = run_it();
  if (!printed()) {
    say("what it printed could not all be written to stdout");
    if (status == 0) status = failed;
  }
  const int signal = tapegrad::SignalGuard::received();
  return signal == 0 ? status : 128 + signal;
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }
bool printed() { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }
void say(const std::string& line) {
  std::fputs(fmt::format("{}: {}\n", program_name, line).c_str(), stderr);
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

void check_end(const tapegrad::TrainingEnd& end) {
  if (end.cause == tapegrad::TrainingEnd::Cause::diverged)
    throw tapegrad::NonFiniteError("[" + program_name + "] " + end.why);
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
  print(fmt::format("result {}\n", Json(result).text()));
}

}  // namespace examples
