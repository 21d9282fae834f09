#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "../tensor.h"

namespace tapegrad {

/// Texts of several classes.
struct LabelledTexts {
  std::vector<std::string> texts;
  Tensor labels;                     // (n) int32: the class of each text
  std::vector<std::string> classes;  // their names, by id

  std::size_t size() const { return texts.size(); }
  /// Returns the texts of these places, of the same classes. Throws UsageError for no places and for
  /// one that does not exist; ShapeError, DtypeError unless each text has a label.
  LabelledTexts subset(std::span<const std::size_t> places) const;
};

/// Reads the files of a folder whose names end in `extension`: each is a class, called like the file
/// without extension, and each of its lines a text. `classes`: their names, by id, as those of a
/// folder that was read before; none: those in the folder, in the order of their bytes. Empty lines
/// are no texts; a carriage return at a line's end is left out, and so is a byte order mark. Throws
/// FileError if a file cannot be read, has no texts, or is none of the `classes` given, and unless
/// there are at least two files; UsageError for a class that is given twice.
LabelledTexts read_class_files(const std::filesystem::path& folder,
                               const std::string& extension = ".txt",
                               std::vector<std::string> classes = {});

/// Returns weights (C) float64 that give each class the same part in a loss, n / (C n_c) for a class
/// of n_c of the n labels (...) int32, as scikit-learn's "balanced":
///
///     cross_entropy(logits, ids, {.class_weights = balanced_class_weights(train.labels, 2)})
///
/// Throws UsageError for an id outside of [0, C) and for a class without labels; DtypeError.
Tensor balanced_class_weights(const Tensor& labels, std::size_t classes);

struct LabelledLineOptions {
  char separator = '\t';                  // after the label, before the text
  bool header = false;                    // leaves out the first line
  std::string label_end = {};             // of a label only what stands before counts, as ":"
  std::vector<std::string> classes = {};  // their names; none: those in the file, by their bytes
};

/// Reads a file of lines "label, separator, text". Empty lines are left out, carriage returns at the
/// ends, and a byte order mark at the beginning. Throws FileError, with the line, for a line
/// without separator, for a label or a text that is empty, for a label that is in none of the
/// `classes` given; for a file that cannot be read or has labels of one class alone; UsageError for
/// a class that is given twice.
LabelledTexts read_labelled_lines(const std::filesystem::path& path,
                                  const LabelledLineOptions& options = {});

}  // namespace tapegrad
