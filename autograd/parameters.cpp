#include "parameters.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "../core/fail-inl.h"
#include "../core/io/archive.h"
#include "../core/io/name_index-inl.h"
#include "../core/io/safetensors.h"
#include "../core/words-inl.h"

namespace tapegrad {
namespace {

template <class Predicate>
bool any_name(const NamedParameter& p, Predicate is_it) {
  return is_it(p.name) || std::ranges::any_of(p.ties, is_it);
}

/// Returns the names, ties too, that `wanted` may have meant.
std::string near(const Parameters& parameters, std::string_view wanted, bool beginning) {
  std::vector<std::string> names;
  for (const NamedParameter& p : parameters) {
    any_name(p, [&](const std::string& name) {
      names.push_back(name);
      return false;
    });
  }
  return names.empty() ? "there are no parameters" : near_names(wanted, names, beginning);
}

std::size_t bytes(const Tensor& t) { return t.defined() ? t.numel() * size_of(t.dtype()) : 0; }

using Names = NameIndex<NamedTensor>;

/// First names, sorted.
std::vector<std::string_view> first_names(const Parameters& parameters) {
  std::vector<std::string_view> names;
  for (const NamedParameter& p : parameters.distinct()) names.emplace_back(p.name);
  std::ranges::sort(names);
  return names;
}

/// The prefix, ending with a dot, that all of `longer` have and that makes most of `shorter` names
/// of `longer`; empty if there is none. Both are sorted.
std::string_view extra_prefix(const std::vector<std::string_view>& longer,
                              const std::vector<std::string_view>& shorter) {
  if (longer.empty()) return "";
  for (auto dot = longer[0].find('.'); dot != std::string::npos;
       dot = longer[0].find('.', dot + 1)) {
    const std::string_view prefix = longer[0].substr(0, dot + 1);
    if (!longer.back().starts_with(prefix)) break;
    const auto is_there = [&](std::string_view name) {
      return std::ranges::binary_search(longer, std::string(prefix).append(name));
    };
    const auto count = static_cast<std::size_t>(std::ranges::count_if(shorter, is_there));
    if (2 * count > shorter.size()) return prefix;
  }
  return "";
}

/// Says why `values` cannot be those of `parameters`: names that are missing, unexpected, of another
/// shape or dtype, each with what it is `here` ("in the file"); empty if they can. `unread`: what
/// else there is.
std::string misfit(const std::vector<NamedTensor>& values, const Names& names,
                   const Parameters& parameters, const char* here,
                   const std::vector<UnreadTensor>& unread = {}) {
  const std::vector<std::string_view> wanted = first_names(parameters);
  std::vector<std::string_view> given;
  given.reserve(values.size() + unread.size());
  for (const NamedTensor& t : values) given.emplace_back(t.name);
  for (const UnreadTensor& t : unread) given.emplace_back(t.name);
  std::ranges::sort(given);
  if (const std::string_view prefix = extra_prefix(given, wanted); !prefix.empty()) {
    return fmt::format(
        "all names {} begin with {} but none in the model does: "
        "TensorFile::remove_prefix(\"{}\") takes it off",
        here, prefix, prefix);
  }
  if (const std::string_view prefix = extra_prefix(wanted, given); !prefix.empty()) {
    return fmt::format(
        "all names in the model begin with {} but none {} does: load into that part of the model",
        prefix, here);
  }
  const NameIndex<UnreadTensor> others(unread);
  Listing problems;
  for (const NamedParameter& p : parameters.distinct()) {
    const auto differs = [&](const std::string& is) {
      problems.add(
          fmt::format("{} is {} {} but {} in the model", p.name, is, here, described(p.value())));
    };
    if (const NamedTensor* const found = names.find(p.name)) {
      if (found->tensor.shape() != p.value().shape() || found->tensor.dtype() != p.value().dtype())
        differs(described(found->tensor));
    } else if (const UnreadTensor* const other = others.find(p.name)) {
      differs(other->what);
    } else {
      problems.add(fmt::format("missing {}, {}", p.name, described(p.value())));
    }
  }
  const auto check_wanted = [&](const std::string& name, const auto& what) {
    if (!std::ranges::binary_search(wanted, std::string_view(name)))
      problems.add(fmt::format("unexpected {}, {}", shown(name), what()));
  };
  for (const NamedTensor& t : values) check_wanted(t.name, [&] { return described(t.tensor); });
  for (const UnreadTensor& t : unread) check_wanted(t.name, [&] { return t.what; });
  return problems.text();
}

/// Copies values that fit.
void assign(const Names& values, const Parameters& parameters) {
  for (const NamedParameter& p : parameters.distinct()) p.set_value(values.find(p.name)->tensor);
}

/// The values themselves, not copies.
std::vector<NamedTensor> values_of(const Parameters& parameters) {
  std::vector<NamedTensor> values;
  for (const NamedParameter& p : parameters.distinct()) values.push_back({p.name, p.value()});
  return values;
}

}  // namespace

Parameters::Parameters(const std::vector<NamedParameter>& list) {
  for (const NamedParameter& p : list) push_back(p);
}

void Parameters::push_back(NamedParameter parameter) {
  const bool again = parameter.defined() && std::ranges::any_of(list_, [&](const auto& p) {
                       return p.data() == parameter.data();
                     });
  list_.push_back(std::move(parameter));
  if (!again) firsts_.push_back(list_.size() - 1);
}

void Parameters::add(const std::string& name, const Parameter& parameter) {
  const auto same = std::ranges::find(list_, parameter.data(), &NamedParameter::data);
  if (same == list_.end()) return push_back({name, parameter});
  same->ties.push_back(name);
}

Parameters& Parameters::operator+=(const Parameters& other) {
  const std::vector<NamedParameter> added = other.list_;  // a copy: `other` may be this list
  for (const NamedParameter& p : added) push_back(p);
  return *this;
}

NamedParameter Parameters::find(std::string_view name) const {
  for (const NamedParameter& p : list_) {
    if (any_name(p, [&](std::string_view n) { return n == name; })) return p;
  }
  fail<UsageError>("find", "there is no parameter {}: {}", name, near(*this, name, false));
}

Parameters Parameters::with_prefix(std::string_view prefix) const {
  Parameters found;
  for (const NamedParameter& p : list_) {
    if (any_name(p, [&](std::string_view n) { return n.starts_with(prefix); })) found.push_back(p);
  }
  if (!found.empty()) return found;
  fail<UsageError>("with_prefix", "no parameter's name begins with {}: {}", prefix,
                   near(*this, prefix, true));
}

void Parameters::freeze() const {
  for (const NamedParameter& p : distinct()) p.set_requires_grad(false);
}

void Parameters::unfreeze() const {
  for (const NamedParameter& p : distinct()) p.set_requires_grad(true);
}

void Parameters::zero_grad() const {
  for (const NamedParameter& p : distinct()) p.zero_grad();
}

void Parameters::copy_values(const Parameters& from) const {
  const std::vector<NamedTensor> values = values_of(from);
  const Names names(values);
  const std::string problems = misfit(values, names, *this, "in the source");
  if (!problems.empty()) {
    fail<UsageError>("copy_values", "the source does not fit this model, nothing was copied: {}",
                     problems);
  }
  assign(names, *this);
}

void Parameters::state(Archive& a) const {
  for (const NamedParameter& p : distinct()) {
    Tensor value = p.value();
    a(p.name, value);
    if (a.loading()) p.record(&ParameterEvents::set_value);
  }
}

std::size_t Parameters::count() const {
  std::size_t count = 0;
  for (const NamedParameter& p : distinct()) count += p.value().numel();
  return count;
}

ParameterMemory Parameters::memory() const {
  ParameterMemory memory;
  for (const NamedParameter& p : distinct()) {
    memory.values += bytes(p.value());
    memory.gradients += bytes(p.grad());
  }
  return memory;
}

std::string Parameters::describe() const {
  std::vector<std::array<std::string, 5>> rows = {{"name", "shape", "dtype", "elements", "bytes"}};
  std::vector<std::string> notes = {""};
  std::size_t frozen = 0;
  for (const NamedParameter& p : distinct()) {
    const Tensor& value = p.value();
    rows.push_back({p.name, to_string(value.shape()), std::string(to_string(value.dtype())),
                    std::to_string(value.numel()), std::to_string(bytes(value))});
    std::string note;
    if (!p.requires_grad()) {
      note += "  frozen";
      frozen += value.numel();
    }
    if (!p.ties.empty()) note += "  tied: " + joined(p.ties, ", ");
    notes.push_back(note);
  }
  std::array<std::size_t, 5> width{};
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) width[c] = std::max(width[c], row[c].size());
  }
  std::string table;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < width.size(); ++c) {  // text to the left, numbers to the right
      if (c > 0) table += "  ";
      table += c < 3 ? fmt::format("{:<{}}", rows[r][c], width[c])
                     : fmt::format("{:>{}}", rows[r][c], width[c]);
    }
    table += notes[r] + "\n";
  }
  const ParameterMemory sums = memory();
  return table + fmt::format(
                     "{} parameters, {} elements ({} frozen), {} bytes of values, {} bytes "
                     "of gradients\n",
                     firsts_.size(), count(), frozen, sums.values, sums.gradients);
}

void save_parameters(const std::filesystem::path& path, const Parameters& parameters,
                     const Metadata& metadata) {
  save_tensors(path, {values_of(parameters), metadata});
}

Metadata load_parameters(const std::filesystem::path& path, const Parameters& parameters) {
  const TensorFile file = load_tensors(path);
  load_parameters(file, parameters);
  return file.metadata;
}

void load_parameters(const TensorFile& file, const Parameters& parameters) {
  const Names names(file.tensors);
  const std::string problems = misfit(file.tensors, names, parameters, "in the file", file.unread);
  if (!problems.empty()) {
    fail<FileError>("load_parameters", "{} does not fit this model, nothing was loaded: {}",
                    shown_path(file.path), problems);
  }
  assign(names, parameters);
}

}  // namespace tapegrad
