#include "history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "../../core/fail-inl.h"
#include "../../core/io/atomic_file.h"
#include "../../core/io/csv-inl.h"
#include "../../core/words-inl.h"

namespace tapegrad {
namespace {

constexpr const char* log_name = "TrainingLog";
constexpr std::uint64_t max_figures = 1000;  // of an epoch: a file may promise any number
constexpr std::size_t max_log_bytes = std::size_t{1} << 30;

/// Throws unless all names differ, also from the column "epoch".
void check_names(const char* where, const Figures& figures) {
  std::vector<std::string> names{"epoch"};
  for (const auto& [name, value] : figures) names.push_back(name);
  if (const std::size_t k = csv::first_repeated(names); k < names.size()) {
    fail<UsageError>(where, "the figure {} is there twice: each must have a name of its own{}",
                     names[k], names[k] == names[0] ? ", and epoch is the number's" : "");
  }
}
std::string csv_header(const Figures& figures) {
  std::string line = "epoch";
  for (const auto& [name, value] : figures) line += ',' + csv::cell_of(name, ',');
  return line + '\n';
}
std::string csv_line(std::uint64_t epoch, const Figures& figures) {
  std::string line = fmt::to_string(epoch);
  for (const auto& [name, value] : figures)
    line += std::isnan(value) ? ",nan" : fmt::format(",{}", value);  // never "-nan"
  return line + '\n';
}
std::string json_line(std::uint64_t epoch, const Figures& figures) {
  nlohmann::ordered_json line{{"epoch", epoch}};
  for (const auto& [name, value] : figures) line[name] = value;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

/// Returns the epoch of a line that csv_line() or json_line() wrote; none of another one.
std::optional<std::uint64_t> epoch_of(std::string_view line) {
  constexpr std::string_view json = "{\"epoch\":";
  if (line.starts_with(json)) line.remove_prefix(json.size());
  std::uint64_t epoch = 0;
  const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), epoch);
  if (error != std::errc{}) return std::nullopt;
  return epoch;
}
void append(const std::filesystem::path& path, const std::string& line) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "ab"),
                                                             std::fclose);
  if (!file || std::fwrite(line.data(), 1, line.size(), file.get()) != line.size() ||
      std::fflush(file.get()) != 0) {
    fail<FileError>(log_name, "{}: cannot be written: {}", path.string(),
                    std::generic_category().message(errno));
  }
}

}  // namespace

void History::add(const Figures& figures) {
  check_names("History", figures);
  if (figures.size() > max_figures) {
    fail<UsageError>("History", "there are {} figures: it takes at most {} an epoch",
                     figures.size(), max_figures);
  }
  const bool is_first = names_.empty();
  std::vector<std::string> names = names_;
  if (is_first)
    for (const auto& [name, value] : figures) names.push_back(name);
  std::vector<double> values;
  for (const std::string& name : names) {
    const auto found = std::ranges::find(figures, name, &Figures::value_type::first);
    if (found != figures.end()) values.push_back(found->second);
  }
  if (values.size() != names.size() || figures.size() != names.size() || names.empty()) {
    std::vector<std::string_view> given;
    for (const auto& [name, value] : figures) given.push_back(name);
    fail<UsageError>(
        "History",
        "epoch {} has the figures ({}): they must be those of the first epoch, ({}), at "
        "least one",
        size() + 1, fmt::format("{}", fmt::join(given, ", ")),
        fmt::format("{}", fmt::join(names_, ", ")));
  }
  values_.insert(values_.end(), values.begin(), values.end());
  names_ = std::move(names);
}
std::string History::on_epoch(const TrainingEpoch& epoch) {
  add(epoch.figures);
  return "";
}

std::vector<double> History::operator[](std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  if (found == names_.end()) {
    fail<UsageError>("History", "there is no figure {}: there are {}", name,
                     names_.empty() ? "none yet" : fmt::format("{}", fmt::join(names_, ", ")));
  }
  std::vector<double> values;
  for (auto k = static_cast<std::size_t>(found - names_.begin()); k < values_.size();
       k += names_.size()) {
    values.push_back(values_[k]);
  }
  return values;
}

Figures History::figures_of(std::size_t epoch) const {
  Figures figures;
  for (std::size_t k = 0; k < names_.size(); ++k)
    figures.emplace_back(names_[k], values_[epoch * names_.size() + k]);
  return figures;
}

void History::write_csv(const std::filesystem::path& path) const {
  std::string text = size() == 0 ? "epoch\n" : csv_header(figures_of(0));
  for (std::size_t n = 0; n < size(); ++n) text += csv_line(n + 1, figures_of(n));
  write_file_atomically(path, text, "write_csv");
}
void History::write_jsonl(const std::filesystem::path& path) const {
  std::string text;
  for (std::size_t n = 0; n < size(); ++n) text += json_line(n + 1, figures_of(n));
  write_file_atomically(path, text, "write_jsonl");
}

void History::state(Archive& a) {
  std::uint64_t columns = a.peek("columns", names_.size()), epochs = a.peek("epochs", size());
  a("columns", columns, std::uint64_t{0}, max_figures);
  a("epochs", epochs);
  std::vector<std::string> names = names_;
  names.resize(std::min(columns, max_figures));
  for (std::size_t k = 0; k < names.size(); ++k) a(fmt::format("name.{}", k), names[k]);
  const Shape shape{epochs, names.size()};
  Tensor values;
  if (!a.loading() && size() > 0) values = Tensor::from<double>({size(), names_.size()}, values_);
  a.tensor("values", values, epochs > 0, shape, DType::float64);
  if (!a.loading()) return;
  names_ = std::move(names);
  values_.clear();
  if (epochs > 0) values_.assign(values.values<double>().begin(), values.values<double>().end());
}

TrainingLog::TrainingLog(std::filesystem::path path) : path_(std::move(path)) {
  const std::filesystem::path kind = path_.extension();
  if (kind != ".csv" && kind != ".jsonl") {
    fail<UsageError>(log_name, "{}: its name must end in .csv or .jsonl", path_.string());
  }
  check_writable(path_, log_name);
}

/// Returns what of the file stays before the line of `epoch`, beginning with the header.
std::string TrainingLog::kept_before(std::uint64_t epoch, const std::string& header) const {
  std::error_code error;
  if (!std::filesystem::exists(path_, error) && !error) return header;
  std::string text = read_file(path_, max_log_bytes, log_name);
  text.resize(text.rfind('\n') + 1);            // 0 if there is none
  if (header.starts_with(text)) return header;  // cut off in a name with a line break, too
  if (!text.starts_with(header)) {
    fail<FileError>(log_name, "{}: its first line is {} but the columns are {}: give another file",
                    path_.string(), shown(text.substr(0, text.find('\n'))),
                    shown(header.substr(0, header.size() - 1)));
  }
  std::string kept = header;
  for (std::size_t at = header.size(), end = 0; at < text.size(); at = end) {
    end = text.find('\n', at) + 1;
    const std::string_view line = std::string_view(text).substr(at, end - at);
    const auto its_epoch = epoch_of(line);
    if (!its_epoch || *its_epoch < epoch) kept += line;
  }
  return kept;
}

void TrainingLog::add(std::uint64_t epoch, const Figures& figures) {
  check_names(log_name, figures);
  const bool is_csv = path_.extension() == ".csv";
  const std::string header = is_csv ? csv_header(figures) : "";
  const std::string line = is_csv ? csv_line(epoch, figures) : json_line(epoch, figures);
  std::error_code error;
  const bool goes_on = last_ && epoch > *last_ && header == header_ &&
                       std::filesystem::exists(path_, error);  // somebody may have moved it away
  last_.reset();  // if the line cannot be written, what there is of it leaves with the next one
  if (goes_on) {
    append(path_, line);
  } else {
    write_file_atomically(path_, kept_before(epoch, header) + line, log_name);
  }
  last_ = epoch;
  header_ = header;
}
std::string TrainingLog::on_epoch(const TrainingEpoch& epoch) {
  add(epoch.epoch, epoch.figures);
  return "";
}

}  // namespace tapegrad
