#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loop.h"

namespace tapegrad {

/// The figures of all epochs, the same ones of each.
///
///   History history;
///   loop.run(50, batches, train, evaluate, history);
///   history.write_csv("run.csv");
class History {
 public:
  /// Notes the figures of the next epoch. Throws UsageError unless they have the names of the first
  /// epoch's, in any order, for a name that is there twice or is "epoch", and for more than 1000.
  void add(const Figures& figures);
  std::string on_epoch(const TrainingEpoch& epoch);

  /// Returns the number of epochs, and the names of the figures.
  std::size_t size() const { return names_.empty() ? 0 : values_.size() / names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  /// Returns the figure of that name, an element an epoch. Throws UsageError for an unknown name.
  std::vector<double> operator[](std::string_view name) const;

  /// Writes a line for each epoch, "epoch" (from 1 on) and the figures, whole or not at all: as
  /// CSV, or as JSON texts, whose numbers that are not finite are null. Throws FileError.
  void write_csv(const std::filesystem::path& path) const;
  void write_jsonl(const std::filesystem::path& path) const;

  void state(Archive& a);

 private:
  Figures figures_of(std::size_t epoch) const;

  std::vector<std::string> names_;
  std::vector<double> values_;  // of each epoch, in the order of the names
};

/// A file that gets a line for each epoch as soon as it is done, which History::write_csv() or, if
/// its name ends in ".jsonl", write_jsonl() would write at the end.
///
/// A file that is there is continued. What is not part of the training that goes on leaves it with
/// the first line: what follows the last whole line, left by a program that was killed, and the
/// lines of this epoch and later ones, which were undone, as by going on from an older checkpoint. A
/// training that begins anew so begins the file anew. The file is replaced whole then, so that a
/// program that is killed meanwhile loses none of it. One training a file: two at a time would take
/// each other's lines off.
///
///   TrainingLog log("run.jsonl");
///   loop.run(50, batches, train, evaluate, log);
class TrainingLog {
 public:
  /// Throws UsageError unless the name ends in .csv or .jsonl; FileError if the file cannot be
  /// written.
  explicit TrainingLog(std::filesystem::path path);

  /// Adds a line. Throws UsageError for a name that is there twice or is "epoch"; FileError if it
  /// cannot be written, or if the file's first line names other columns, or them in another order.
  void add(std::uint64_t epoch, const Figures& figures);
  std::string on_epoch(const TrainingEpoch& epoch);

 private:
  std::string kept_before(std::uint64_t epoch, const std::string& header) const;

  std::filesystem::path path_;
  std::optional<std::uint64_t> last_;  // epoch that the file ends with; unknown before a line
  std::string header_;                 // of the file
};

}  // namespace tapegrad
