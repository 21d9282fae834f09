// Looks for the settings of `forecast` that are best in cross-validation: units, learning rate and
// dropout, on a grid or drawn at random.
//
// Each trial learns from several folds of the rows before the test, each of which ends before the rows
// it is judged by (rolling origin, Tashman 2000), and scores the mean error of the folds, in the series'
// unit. The rows to test are never looked at. A trial is a function of its number and the seed,
// and its result a line of the log: a search that was killed goes on where it was, and any number of
// jobs, on one machine or several that share the log's folder, may divide the trials:
//
//   parallel -j 2 tune sunspots.csv --job {}/4 ::: 1 2 3 4
//   sbatch --array=1-4 --wrap 'tune sunspots.csv --job $SLURM_ARRAY_TASK_ID/4'
//
//   command:            build/release/tune sunspots.csv
//   expected last line: result {"program":"tune","trials":12,"best":{...}, ...}
//   exit status:        1 if no trial has a result

#include <fcntl.h>
#include <fmt/format.h>
#include <tapegrad/tapegrad.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "data.h"
#include "forecast_data.h"
#include "forecast_model.h"
#include "program.h"

using namespace tapegrad;
using namespace examples;

namespace {

struct Options {
  SeriesFile file;
  ForecastSettings model{.epochs = 40, .patience = 8};
  std::string search = "grid", log = "tune.jsonl", job;
  std::size_t trials = 12, folds = 3;
  CommonOptions common;
};

/// What a search varies.
struct Trial {
  std::size_t hidden;
  double lr, dropout;
};

/// The trials of a search: all combinations of the grid, or draws, each a function of its number.
std::vector<Trial> trials_of(const Options& o) {
  std::vector<Trial> trials;
  if (o.search == "grid") {
    for (const std::size_t hidden : {8U, 32U, 128U})
      for (const double lr : {1e-3, 5e-3})
        for (const double dropout : {0.0, 0.3}) trials.push_back({hidden, lr, dropout});
    return trials;
  }
  for (std::size_t k = 0; k < o.trials; ++k) {
    Rng rng(o.common.seed, "trial " + std::to_string(k));
    // Sizes and rates are as likely to lie between 1 and 2 as between 2 and 4.
    const double hidden = std::exp(rng.uniform(std::log(4.0), std::log(256.0)));
    const double lr = std::exp(rng.uniform(std::log(3e-4), std::log(2e-2)));
    trials.push_back({static_cast<std::size_t>(hidden), lr, rng.uniform(0, 0.5)});
  }
  return trials;
}

/// A job's share of the trials: every `jobs`-th, from number `job` on.
struct Share {
  std::size_t job = 0, jobs = 1;
};
Share share_of(const Options& o) {
  std::string text = o.job;
  const char* const task = std::getenv("SLURM_ARRAY_TASK_ID");
  if (text.empty() && task != nullptr) {  // of an array of jobs that Slurm has started
    const auto number = [](const char* name) {
      const char* const value = std::getenv(name);
      return value == nullptr ? 1L : std::strtol(value, nullptr, 10);
    };
    const long before = std::strtol(task, nullptr, 10) - number("SLURM_ARRAY_TASK_MIN");
    const long step = std::max(number("SLURM_ARRAY_TASK_STEP"), 1L);  // 2 of --array=1-7:2
    text = fmt::format("{}/{}", before / step + 1, number("SLURM_ARRAY_TASK_COUNT"));
  }
  if (text.empty()) return {};
  std::size_t job = 0, jobs = 0;
  char rest = 0;
  // sscanf() takes -1 for the greatest number, which no sum with it may exceed.
  if (text.find('-') != std::string::npos ||
      std::sscanf(text.c_str(), "%9zu/%9zu%c", &job, &jobs, &rest) != 2 || job < 1 || job > jobs)
    throw WrongUse(fmt::format("{}: {} is not I/N with 1 <= I <= N",
                               o.job.empty() ? "SLURM_ARRAY_TASK_ID" : "--job", text));
  return {job - 1, jobs};
}

/// What a result depends on besides the number of its trial. The name of a file says little: its rows
/// may have been changed.
std::string search_of(const Options& o, const Tensor& series) {
  const ForecastSettings& m = o.model;
  return fmt::format(
      "{} {} trials, seed {}, {} {} {} {}, {} rows {:x}, {} folds, look back {}, horizon {}, "
      "batch {}, epochs {}, patience {}, clip {}",
      o.search, o.search == "grid" ? 0 : o.trials, o.common.seed,
      std::filesystem::path(o.file.path).filename().string(), o.file.target, o.file.inputs,
      o.file.valid, series.size(0), hash_of(series.values<double>()), o.folds, m.look_back,
      m.horizon, m.batch, m.epochs, m.patience, m.clip);
}

/// The results that a log has of `trials` trials, by trial: NaN of one that diverged. WrongUse if they
/// are of another search.
std::map<std::size_t, double> read_log(const Options& o, const std::string& search,
                                       std::size_t trials) {
  std::map<std::size_t, double> scores;
  if (!std::filesystem::exists(o.log)) return scores;
  // As a log has it: without the bytes of a name that are not UTF-8.
  const std::string ours =
      parse_log_line(Json(Json::Fields{{"search", search}}).text())->texts.at("search");
  std::istringstream lines(given_by_user([&] { return read_file(o.log, 1U << 30, "tune"); }));
  for (std::string line; std::getline(lines, line);) {
    const std::optional<LogLine> result = parse_log_line(line);
    // A program that is killed while it writes leaves the beginning of a line.
    const bool whole = result && result->numbers.contains("trial") &&
                       result->numbers.contains("score") && result->texts.contains("search");
    if (!whole) continue;
    if (result->texts.at("search") != ours) {
      throw WrongUse(fmt::format("{}: has results of another search: {}; give another --log", o.log,
                                 result->texts.at("search")));
    }
    const double trial = result->numbers.at("trial");  // from 1 on
    if (trial >= 1 && trial < static_cast<double>(trials) + 1)
      scores[static_cast<std::size_t>(trial) - 1] = result->numbers.at("score");
  }
  return scores;
}

/// Opens the log to append to it; WrongUse if that cannot be.
int open_log(const Options& o) {
  const int file = open(o.log.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file == -1)
    throw WrongUse(fmt::format("--log: {}: cannot be appended to: {}", o.log,
                               std::generic_category().message(errno)));
  return file;
}

/// Appends a line in one piece, so that jobs do not write into each other's; behind a line that was cut
/// off, on a new one.
void append(const Options& o, const std::string& line) {
  const int file = open_log(o);
  char last = '\n';
  const off_t end = lseek(file, 0, SEEK_END);
  const bool read = end <= 0 || pread(file, &last, 1, end - 1) == 1;
  const std::string text = (last == '\n' ? "" : "\n") + line + "\n";
  const bool written =
      read && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(file);
  if (!written) throw std::runtime_error(o.log + ": cannot be written");
}

/// Mean error over the folds, in the series' unit; NaN if a training diverged.
double score_of(const Trial& trial, const Options& o, const Tensor& series,
                const std::vector<RollingFold>& folds) {
  ForecastSettings settings = o.model;
  settings.hidden = trial.hidden, settings.lr = trial.lr, settings.dropout = trial.dropout;
  double sum = 0;
  for (const auto& [known, test] : folds) {
    const auto valid = static_cast<std::size_t>(o.file.valid * static_cast<double>(known.size()));
    const Rows train{known.begin, known.end - valid};
    try {
      const TrainedForecaster trained =
          train_forecaster(series, train, {train.end, known.end}, settings, o.common.seed);
      sum += rmse_of(forecasts_in(trained, series, test), series);
    } catch (const NonFiniteError&) {
      return NAN;
    }
  }
  return sum / static_cast<double>(folds.size());
}

/// The command that learns with a trial's settings, from what the trial learned from.
std::string forecast_command(const Options& o, const Trial& trial) {
  const ForecastSettings& m = o.model;
  return fmt::format(
      "forecast {} --target {} --inputs {} --valid {} --look-back {} --horizon {} --batch {} "
      "--epochs {} --patience {} --clip {} --hidden {} --lr {} --dropout {} --seed {}",
      shell_word(o.file.path), shell_word(o.file.target), shell_word(o.file.inputs), o.file.valid,
      m.look_back, m.horizon, m.batch, m.epochs, m.patience, m.clip, trial.hidden, trial.lr,
      trial.dropout, o.common.seed);
}

int run(Options o) {
  set_threads(o.common.threads);
  const Tensor series = read_series(o.file);
  const std::vector<Trial> trials = trials_of(o);
  const Share share = share_of(o);
  const std::vector<RollingFold> folds = given_by_user(
      [&] {
        const std::size_t known = split_in_time(series.size(0), {0.7, 0.3})[0].end;
        const std::size_t rows = (known - known / 2) / o.folds;  // of a fold's judgement
        if (rows < o.model.horizon)
          throw WrongUse(
              fmt::format("{}: --folds {} leaves {} rows to judge each: --horizon {} "
                          "takes as many at least",
                          o.file.path, o.folds, rows, o.model.horizon));
        return rolling_origin(known, {.train = known - o.folds * rows, .horizon = rows});
      },
      o.file.path + ": ");
  const std::string search = search_of(o, series);
  std::map<std::size_t, double> scores = read_log(o, search, trials.size());
  close(open_log(o));  // before the first trial is spent

  Progress progress(o.common.quiet);
  const SignalGuard guard;
  for (std::size_t k = share.job; k < trials.size() && SignalGuard::received() == 0;
       k += share.jobs) {
    if (scores.contains(k)) continue;
    const auto& [hidden, lr, dropout] = trials[k];
    if (progress.due())
      progress.show(fmt::format("trial {} of {}: {} units, lr {:.2g}, dropout {:.2f}", k + 1,
                                trials.size(), hidden, lr, dropout));
    const Stopwatch clock;
    scores[k] =
        given_by_user([&] { return score_of(trials[k], o, series, folds); }, o.file.path + ": ");
    append(o, Json(Json::Fields{{"trial", k + 1},
                                {"hidden", hidden},
                                {"lr", lr},
                                {"dropout", dropout},
                                {"score", scores[k]},
                                {"seconds", clock.seconds()},
                                {"search", search}})
                  .text());
  }
  progress.clear();

  scores = read_log(o, search, trials.size());  // of other jobs, too
  std::vector<std::pair<double, std::size_t>> ranked;
  for (const auto& [k, score] : scores)
    if (std::isfinite(score)) ranked.emplace_back(score, k);
  std::ranges::sort(ranked);
  print(fmt::format("{} of {} trials have a result in {}\n  trial  units      lr  dropout  error\n",
                    scores.size(), trials.size(), o.log));
  for (const auto& [score, k] : ranked)
    print(fmt::format("  {:5}  {:5}  {:6.2g}  {:7.2f}  {:.4g}\n", k + 1, trials[k].hidden,
                      trials[k].lr, trials[k].dropout, score));
  Json::Fields result{{"program", "tune"},
                      {"trials", scores.size()},
                      {"folds", folds.size()},
                      {"seed", o.common.seed}};
  if (ranked.empty()) {
    print("MISSED: no trial has a result\n");
  } else {
    const auto& [score, best] = ranked[0];
    print(fmt::format("\nTry next:\n  {}\n", forecast_command(o, trials[best])));
    result.emplace_back("best", Json::Fields{{"trial", best + 1},
                                             {"hidden", trials[best].hidden},
                                             {"lr", trials[best].lr},
                                             {"dropout", trials[best].dropout},
                                             {"error", score}});
  }
  print_result(result);
  return ranked.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CommandLine line("Looks for the best settings of forecast.", "tune");
  line.footer("Example: parallel -j 2 tune sunspots.csv --threads 1 --job {}/4 ::: 1 2 3 4");
  add_options(line, options.file);
  add_options(line, options.model);
  line.option("--search", options.search, "All settings of a grid, or random ones",
              {"grid", "random"});
  line.option("--trials", options.trials, "Random trials", 1, 1'000'000);
  line.option("--folds", options.folds, "Folds of the cross-validation", 1, 100);
  line.output("--log", options.log, "File of results, which is continued");
  line.option("--job", options.job,
              "I/N: does every N-th trial from the I-th on; by default Slurm's task, or all");
  line.options(options.common);
  return line.run(argc, argv, [&] { return run(options); });
}
