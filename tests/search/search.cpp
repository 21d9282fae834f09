// Looks for faults with random programs of public functions. usage: search --help

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <set>

#include <unistd.h>

#include "program.h"

namespace {

using namespace tapegrad;
using namespace tapegrad::search;

constexpr const char* usage =
    "search: random programs of public functions, each call against float64, and promises to the "
    "bit\n"
    "usage: search [--programs N] [--seed S] [--only OP] [--keep STEPS]\n"
    "  --programs N   how many, default 200\n"
    "  --seed S       seed of the first one, default 0; the next has S + 1\n"
    "  --only OP      the first call of each is this one, as in softmax\n"
    "  --keep STEPS   without the other steps, as in 0,3: what a failure says\n"
    "All of it counts as one test: the last line is \"1 passed, 0 failed\" or \"0 passed, 1 "
    "failed\".\n";

struct Options {
  std::uint64_t programs = 200, seed = 0;
  const Op* only = nullptr;
  std::optional<std::vector<std::size_t>> keep;
};

[[noreturn]] void refuse(const std::string& why) {
  std::fprintf(stderr, "%s\n%s", why.c_str(), usage);
  std::exit(2);
}

std::uint64_t number(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) {
    refuse(fmt::format("'{}' is no number", text));
  }
  return n;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--help") std::printf("%s", usage), std::exit(0);
    if (i + 1 == argc) refuse(fmt::format("{}: unknown, or without its value", name));
    const std::string_view value = argv[++i];
    if (name == "--programs") {
      o.programs = number(value);
    } else if (name == "--seed") {
      o.seed = number(value);
    } else if (name == "--only") {
      o.only = &find_op(value);
    } else if (name == "--keep") {
      o.keep.emplace();
      for (std::size_t at = 0; at < value.size();) {
        const std::size_t end = std::min(value.find(',', at), value.size());
        o.keep->push_back(number(value.substr(at, end - at)));
        at = end + 1;
      }
    } else {
      refuse(fmt::format("{}: unknown", name));
    }
  }
  return o;
}

/// What a crash or a hang says before the end.
char last_words[64];

extern "C" void say_seed(int signal) {
  [[maybe_unused]] const auto written = write(2, last_words, std::strlen(last_words));
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

struct Tally {
  std::size_t calls = 0, errors = 0;
  std::set<std::string> ops;
};

/// Runs and checks one program; throws its Fault.
void check(std::uint64_t seed, const std::vector<std::size_t>& steps, const Op* only,
           Tally* tally) {
  Run run;
  const Program program = write_program(seed, steps, only, run);
  for (const Item& item : program.items) {
    if (tally == nullptr || item.op == nullptr) continue;
    ++tally->calls;
    tally->errors += !item.error.empty();
    if (item.error.empty()) tally->ops.insert(item.op->name);
  }
  const Gradients gradients = gradients_of(program, run);
  judge(program, run, gradients);
  check_invariants(program, run, gradients, seed);
  search_optimizer(seed);
}

std::optional<Fault> fault_of(std::uint64_t seed, const std::vector<std::size_t>& steps,
                              const Op* only, Tally* tally = nullptr) {
  try {
    check(seed, steps, only, tally);
    return {};
  } catch (const Fault& fault) {
    return fault;
  } catch (const std::exception& e) {
    return Fault{"an error outside of a call", "", e.what()};
  }
}

/// Leaves out steps as long as the same check fails.
std::vector<std::size_t> shrunk(std::uint64_t seed, std::vector<std::size_t> steps, const Op* only,
                                const Fault& fault) {
  for (std::size_t k = steps.size(); k-- > 0 && steps.size() > 1;) {
    std::vector<std::size_t> fewer = steps;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(k));
    const auto other = fault_of(seed, fewer, only);
    if (other && other->check == fault.check) steps = fewer;
  }
  return steps;
}

void report(std::uint64_t seed, const std::vector<std::size_t>& steps, const Op* only) {
  const Fault fault = fault_of(seed, steps, only).value_or(Fault{"gone when run again", "", ""});
  std::string program;
  try {
    Run run;
    program = describe(write_program(seed, steps, only, run));
  } catch (const Fault&) {
    program = "  it cannot be written down: its own call is the fault\n";
  }
  std::string keep;
  for (const std::size_t step : steps) keep += (keep.empty() ? "" : ",") + std::to_string(step);
  std::printf("FAILED: %s, %s: %s\n%s  reproduce: search --programs 1 --seed %llu --keep %s%s\n",
              fault.check.c_str(), fault.op.c_str(), fault.detail.c_str(), program.c_str(),
              static_cast<unsigned long long>(seed), keep.c_str(),
              only == nullptr ? "" : (" --only '" + only->name + "'").c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGBUS, SIGALRM}) {
    std::signal(signal, say_seed);
  }
  Tally tally;
  std::size_t failed = 0;
  for (std::uint64_t seed = o.seed; seed < o.seed + o.programs; ++seed) {
    std::snprintf(last_words, sizeof last_words, "crash or hang: --seed %llu\n",
                  static_cast<unsigned long long>(seed));
    alarm(120);
    std::vector<std::size_t> steps(steps_of(seed));
    std::iota(steps.begin(), steps.end(), std::size_t{0});
    if (o.keep) steps = *o.keep;
    const auto fault = fault_of(seed, steps, o.only, &tally);
    if (!fault) continue;
    ++failed;
    report(seed, shrunk(seed, steps, o.only, *fault), o.only);
  }
  std::printf(
      "search: %llu programs from seed %llu on, %zu failed; %zu calls of %zu functions, %zu of "
      "them refused\n",
      static_cast<unsigned long long>(o.programs), static_cast<unsigned long long>(o.seed), failed,
      tally.calls, tally.ops.size(), tally.errors);
  std::printf("%d passed, %d failed\n", failed == 0, failed != 0);
  return failed == 0 ? 0 : 1;
}
