#include "labelled_texts.h"

#include <algorithm>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "../check-inl.h"
#include "../fail-inl.h"
#include "../words-inl.h"
#include "text.h"

namespace tapegrad {
namespace {

/// Calls f(line, number) for each line of a text that is not empty; numbers begin with 1. A byte order
/// mark would be part of the first one.
template <class F>
void for_each_line(std::string_view text, const F& f) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) f(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

using Ids = std::unordered_map<std::string_view, std::int32_t>;

/// Returns the id of each class by its name. Throws UsageError for a name that is there twice.
Ids ids_of(const char* op, const std::vector<std::string>& classes) {
  Ids ids;
  for (const std::string& name : classes) {
    if (!ids.try_emplace(name, static_cast<std::int32_t>(ids.size())).second)
      fail<UsageError>(op, "the class '{}' is given twice: give each once", shown(name));
  }
  return ids;
}

void check_labels(const char* op, const Tensor& labels) {
  check::defined(op, {{"labels", labels}});
  if (labels.dtype() != DType::int32)
    fail<DtypeError>(op, "labels is {}: it must be int32; convert it with to()", labels.dtype());
}

Tensor as_tensor(const std::vector<std::int32_t>& labels) {
  return Tensor::from<std::int32_t>({labels.size()}, labels);
}

}  // namespace

LabelledTexts LabelledTexts::subset(std::span<const std::size_t> places) const {
  if (places.empty()) fail<UsageError>("subset", "there are no places: give at least one");
  check_labels("subset", labels);
  if (labels.shape() != Shape{size()}) {
    fail<ShapeError>("subset", "labels has shape {} but there are {} texts: each must have one",
                     labels.shape(), size());
  }
  LabelledTexts chosen;
  std::vector<std::int32_t> ids;
  const auto all = labels.values<std::int32_t>();
  for (const std::size_t place : places) {
    if (place >= size())
      fail<UsageError>("subset", "place {} does not exist: there are {} texts", place, size());
    chosen.texts.push_back(texts[place]);
    ids.push_back(all[place]);
  }
  chosen.labels = as_tensor(ids);
  chosen.classes = classes;
  return chosen;
}

Tensor balanced_class_weights(const Tensor& labels, std::size_t classes) {
  constexpr const char* op = "balanced_class_weights";
  check_labels(op, labels);
  if (classes > labels.numel()) {
    fail<UsageError>(op, "there are {} labels for {} classes: each class must have one",
                     labels.numel(), classes);
  }
  std::vector<double> weights(classes);  // at first the number of labels
  for (const std::int32_t id : labels.values<std::int32_t>()) {
    if (id < 0 || static_cast<std::size_t>(id) >= classes)
      fail<UsageError>(op, "a label is {}: it must be in [0, {})", id, classes);
    ++weights[static_cast<std::size_t>(id)];
  }
  for (std::size_t c = 0; c < classes; ++c) {
    if (weights[c] == 0) fail<UsageError>(op, "class {} has no labels: each must have one", c);
    weights[c] = static_cast<double>(labels.numel()) / (static_cast<double>(classes) * weights[c]);
  }
  return Tensor::from<double>({classes}, weights);
}

LabelledTexts read_class_files(const std::filesystem::path& folder, const std::string& extension,
                               std::vector<std::string> classes) {
  constexpr const char* op = "read_class_files";
  LabelledTexts read;
  read.classes = std::move(classes);
  Ids ids = ids_of(op, read.classes);
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().filename().string().ends_with(extension)) files.push_back(entry.path());
  if (error) fail<FileError>(op, "{}: {}", shown_path(folder), error.message());
  if (files.size() < 2) {
    fail<FileError>(
        op, "{} has {} files that end in {}: there must be one for each class, two at least",
        shown_path(folder), files.size(), extension);
  }
  std::ranges::sort(files);
  std::vector<std::string> names;
  for (const std::filesystem::path& file : files) {
    const std::string name = file.filename().string();
    names.push_back(name.substr(0, name.size() - extension.size()));
  }
  if (read.classes.empty()) {
    read.classes = names;
    ids = ids_of(op, read.classes);
  }
  std::vector<std::int32_t> labels;
  for (std::size_t k = 0; k < files.size(); ++k) {
    const std::filesystem::path& file = files[k];
    const auto found = ids.find(names[k]);
    if (found == ids.end()) {
      fail<FileError>(op, "{}: the class '{}' is none of the {} given: {}", shown_path(file),
                      shown(names[k]), ids.size(), near_names(names[k], read.classes));
    }
    const std::size_t before = read.texts.size();
    for_each_line(read_text_file(file), [&](std::string_view line, std::size_t) {
      read.texts.emplace_back(line);
      labels.push_back(found->second);
    });
    if (read.texts.size() == before) fail<FileError>(op, "{}: has no texts", shown_path(file));
  }
  read.labels = as_tensor(labels);
  return read;
}

LabelledTexts read_labelled_lines(const std::filesystem::path& path,
                                  const LabelledLineOptions& options) {
  constexpr const char* op = "read_labelled_lines";
  LabelledTexts read;
  read.classes = options.classes;
  Ids ids = ids_of(op, read.classes);
  std::vector<std::string> labels;
  std::vector<std::size_t> lines;
  for_each_line(read_text_file(path), [&](std::string_view line, std::size_t number) {
    if (options.header && number == 1) return;
    const std::size_t end = line.find(options.separator);
    if (end == std::string_view::npos) {
      fail<FileError>(op, "{}, line {}: has no '{}' between label and text", shown_path(path),
                      number, escaped(std::string_view(&options.separator, 1)));
    }
    std::string_view label = line.substr(0, end);
    if (!options.label_end.empty()) label = label.substr(0, label.find(options.label_end));
    const std::string_view text = line.substr(end + 1);
    if (label.empty() || text.empty()) {
      fail<FileError>(op, "{}, line {}: has no {}", shown_path(path), number,
                      label.empty() ? "label" : "text");
    }
    labels.emplace_back(label);
    lines.push_back(number);
    read.texts.emplace_back(text);
  });
  if (options.classes.empty()) {
    read.classes = labels;
    std::ranges::sort(read.classes);
    read.classes.erase(std::unique(read.classes.begin(), read.classes.end()), read.classes.end());
    ids = ids_of(op, read.classes);
  }
  if (read.classes.size() < 2) {
    fail<FileError>(op, "{}: has {} texts of {} classes: there must be two classes at least",
                    shown_path(path), labels.size(), read.classes.size());
  }
  std::vector<std::int32_t> of_texts;
  for (std::size_t k = 0; k < labels.size(); ++k) {
    const auto found = ids.find(labels[k]);
    if (found == ids.end()) {
      fail<FileError>(op, "{}, line {}: the class '{}' is none of the {} given: {}",
                      shown_path(path), lines[k], shown(labels[k]), ids.size(),
                      near_names(labels[k], read.classes));
    }
    of_texts.push_back(found->second);
  }
  read.labels = as_tensor(of_texts);
  return read;
}

}  // namespace tapegrad
