#include "archive.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "../fail-inl.h"
#include "../words-inl.h"
#include "name_index-inl.h"
#include "safetensors.h"

namespace tapegrad {
namespace {

constexpr const char* format_key = "tapegrad.state";
constexpr const char* format = "1";

/// Returns whether all of `text` is a number of this type.
template <class N>
bool parse(const std::string& text, N& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stop == end;
}

}  // namespace

struct [[gnu::visibility("hidden")]] Archive::Loaded {
  explicit Loaded(const TensorFile& file) : tensors(file.tensors), unread(file.unread) {}

  NameIndex<NamedTensor> tensors;
  NameIndex<UnreadTensor> unread;
  Listing problems;
};

void Archive::problem(std::string_view text) const { loaded_->problems.add(text); }

void Archive::add(const std::string& path, std::string text) {
  if (!named_.insert(path).second) {
    fail<UsageError>("save_state", "two parts are called {}: give the objects names of their own",
                     path);
  }
  texts_.emplace(path, std::move(text));
}

const std::string* Archive::text_of(const std::string& path) {
  named_.insert(path);
  const auto found = texts_.find(path);
  if (found != texts_.end()) return &found->second;
  if (mode_ == Mode::check) problem(fmt::format("missing {}", path));
  return nullptr;
}

template <class N>
void Archive::number(std::string_view name, N& value, N low, N high) {
  const std::string path = path_of(name);
  if (mode_ == Mode::save) return add(path, fmt::format("{}", value));
  const std::string* const text = text_of(path);
  if (text == nullptr) return;
  N stored{};
  const bool good = parse(*text, stored) && stored >= low && stored <= high;
  if (!good) {
    problem(
        fmt::format("{} is '{}' but must be a number in [{}, {}]", path, shown(*text), low, high));
  }
  if (loading() && good) value = stored;
}

void Archive::real(std::string_view name, double& value, double low, double high) {
  number(name, value, low, high);
}
void Archive::integer(std::string_view name, std::int64_t& value, std::int64_t low,
                      std::int64_t high) {
  number(name, value, low, high);
}
void Archive::natural(std::string_view name, std::uint64_t& value, std::uint64_t low,
                      std::uint64_t high) {
  number(name, value, low, high);
}

void Archive::operator()(std::string_view name, std::string& text) {
  const std::string path = path_of(name);
  if (mode_ == Mode::save) return add(path, text);
  const std::string* const stored = text_of(path);
  if (loading() && stored != nullptr) text = *stored;
}

void Archive::fact(std::string_view name, std::string_view text) {
  const std::string path = path_of(name);
  if (mode_ == Mode::save) return add(path, std::string(text));
  const std::string* const stored = text_of(path);
  if (stored != nullptr && *stored != text) {
    problem(fmt::format("{} is '{}' in the file but '{}' here", path, shown(*stored), text));
  }
}

void Archive::fact(std::string_view name, std::uint64_t number) {
  fact(name, std::to_string(number));
}

std::uint64_t Archive::peek(std::string_view name, std::uint64_t now) const {
  if (mode_ == Mode::save) return now;
  const auto found = texts_.find(path_of(name));
  std::uint64_t stored = 0;
  return found != texts_.end() && parse(found->second, stored) ? stored : 0;
}

void Archive::operator()(std::string_view name, Tensor& t) {
  const std::string path = path_of(name);
  Tensor stored = t;
  tensor(name, stored, true, t.shape(), t.dtype());
  if (loading()) t.copy_from(stored);
}

void Archive::tensor(std::string_view name, Tensor& tensor, bool present, const Shape& shape,
                     DType dtype) {
  const std::string path = path_of(name);
  if (mode_ == Mode::save) {
    if (!present) return;
    add(path, "");
    texts_.erase(path);
    tensors_.emplace(path, tensor);
    return;
  }
  if (!present) {
    if (loading()) tensor = Tensor();
    return;
  }
  named_.insert(path);
  const NamedTensor* const found = loaded_->tensors.find(path);
  if (loading()) {
    if (found != nullptr) tensor = found->tensor;
  } else if (found != nullptr) {
    if (found->tensor.shape() == shape && found->tensor.dtype() == dtype) return;
    problem(fmt::format("{} is {} in the file but {} here", path, described(found->tensor),
                        described(dtype, shape)));
  } else if (const UnreadTensor* const unread = loaded_->unread.find(path)) {
    problem(fmt::format("{} is {} in the file but {} here", path, unread->what,
                        described(dtype, shape)));
  } else {
    problem(fmt::format("missing {}, {}", path, described(dtype, shape)));
  }
}

void save_state(const std::filesystem::path& path, const std::function<void(Archive&)>& state) {
  Archive archive(Archive::Mode::save);
  state(archive);
  archive.add(format_key, format);
  TensorFile file;
  for (const auto& [name, tensor] : archive.tensors_) file.tensors.push_back({name, tensor});
  file.metadata = std::move(archive.texts_);
  save_tensors(path, file);
}

void check_state(const std::function<void(Archive&)>& state) {
  Archive archive(Archive::Mode::save);
  state(archive);
}

void load_state(const std::filesystem::path& path, const std::function<void(Archive&)>& state) {
  TensorFile file = load_tensors(path);
  Archive archive(Archive::Mode::check);
  Archive::Loaded loaded(file);
  archive.loaded_ = &loaded;
  archive.texts_ = std::move(file.metadata);
  archive.fact(format_key, format);
  state(archive);
  for (const auto& [name, text] : archive.texts_) {
    if (!archive.named_.contains(name)) archive.problem(fmt::format("unexpected {}", shown(name)));
  }
  for (const NamedTensor& t : file.tensors) {
    if (!archive.named_.contains(t.name)) {
      archive.problem(fmt::format("unexpected {}, {}", shown(t.name), described(t.tensor)));
    }
  }
  for (const UnreadTensor& t : file.unread) {
    if (!archive.named_.contains(t.name)) {
      archive.problem(fmt::format("unexpected {}, {}", shown(t.name), t.what));
    }
  }
  if (!loaded.problems.empty()) {
    fail<FileError>("load_state", "{} does not fit, nothing was loaded: {}", shown_path(path),
                    loaded.problems.text());
  }
  archive.mode_ = Archive::Mode::load;
  state(archive);
}

}  // namespace tapegrad
