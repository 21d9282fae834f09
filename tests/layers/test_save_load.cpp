#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../core/io/archive.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../support/char_lm.h"
#include "../support/model_cases.h"
#include "../support/safetensors_files.h"
#include "../support/temp_folder.h"

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

/// Lacks what CharLM has, and the other way round.
struct Other {
  Embedding embed;
  Linear head;
  Parameter scale{Tensor::zeros({}, DType::float64)};
  void visit(auto&& v) {
    v("embed", embed);
    v("head", head);
    v("scale", scale);
  }
};

CharLM char_lm(std::uint64_t seed, std::size_t hidden = 3, LSTMBias bias = LSTMBias::two) {
  Rng rng(seed);
  return {Embedding(5, 2, rng),
          LSTM({.input = 2, .hidden = hidden, .layers = 2, .bias = bias}, rng),
          Linear(hidden, 5, rng)};
}

struct TemporaryFile {
  TempFolder folder;
  std::filesystem::path path = folder / "model.safetensors";
};

}  // namespace

TEST_CASE("save_load: parameters are named by their path") {
  CharLM m = char_lm(1);
  std::vector<std::string> names;
  for (const NamedParameter& p : parameters(m)) names.push_back(p.name);
  CHECK(names == std::vector<std::string>{"embed.weight", "lstm.weight_ih_l0", "lstm.weight_hh_l0",
                                          "lstm.bias_ih_l0", "lstm.bias_hh_l0", "lstm.weight_ih_l1",
                                          "lstm.weight_hh_l1", "lstm.bias_ih_l1", "lstm.bias_hh_l1",
                                          "head.weight", "head.bias"});
}

TEST_CASE("save_load: what was saved is loaded, bit for bit, with its metadata") {
  const TemporaryFile file;
  CharLM a = char_lm(1);
  CharLM b = char_lm(2);
  save_parameters(file.path, parameters(a), {{"vocabulary", "ab\"c\n\u00e9"}});
  CHECK_FALSE(same_bits(parameters(a), parameters(b)));
  const Metadata metadata = load_parameters(file.path, parameters(b));
  CHECK(same_bits(parameters(a), parameters(b)));
  CHECK(metadata.at("vocabulary") == "ab\"c\n\u00e9");
}

TEST_CASE(
    "save_load: missing, unexpected and misshaped names are listed together and nothing is "
    "loaded") {
  const TemporaryFile file;
  CharLM saved = char_lm(1, 3, LSTMBias::one);
  save_parameters(file.path, parameters(saved));
  Rng rng(3);
  Other other{Embedding(5, 4, rng), Linear(3, 5, rng)};
  const Tensor before = other.head.weight.value().clone();
  CHECK_THROWS_WITH_AS(load_parameters(file.path, parameters(other)),
                       fmt::format("[load_parameters] {} does not fit this model, nothing was "
                                   "loaded: embed.weight is float32 (5, 2) in "
                                   "the file but float32 (5, 4) in the model; missing scale, "
                                   "float64 (); unexpected lstm.weight_ih_l0, "
                                   "float32 (12, 2); unexpected lstm.weight_hh_l0, float32 (12, "
                                   "3); unexpected lstm.bias_ih_l0, float32 "
                                   "(12); unexpected lstm.weight_ih_l1, float32 (12, 3); "
                                   "unexpected lstm.weight_hh_l1, float32 (12, 3); "
                                   "unexpected lstm.bias_ih_l1, float32 (12)",
                                   file.path.string())
                           .c_str(),
                       FileError);
  for (std::size_t i = 0; i < before.numel(); ++i)
    CHECK(other.head.weight.value().at(i) == before.at(i));
}

TEST_CASE("save_load: a prefix that all names have is named, with the cure") {
  const TemporaryFile file;
  CharLM model = char_lm(1);
  const auto renamed = [&](const std::string& prefix) {
    TensorFile tensors;
    for (const NamedParameter& p : parameters(model))
      tensors.tensors.push_back({prefix + p.name, p.value()});
    return tensors;
  };
  const auto said = [&](const TensorFile& tensors, const Parameters& into) -> std::string {
    save_tensors(file.path, tensors);
    try {
      load_parameters(file.path, into);
    } catch (const FileError& error) {
      return error.what();
    }
    return "loaded";
  };
  const std::string begin = fmt::format(
      "[load_parameters] {} does not fit this model, nothing was loaded: ", file.path.string());
  for (const std::string prefix : {"module.", "_orig_mod.", "module._orig_mod.", "net.0."}) {
    CHECK(said(renamed(prefix), parameters(model)) ==
          begin + "all names in the file begin with " + prefix +
              " but none in the model does: TensorFile::remove_prefix(\"" + prefix +
              "\") takes it off");
    TensorFile loaded = load_tensors(file.path);
    loaded.remove_prefix(prefix);
    load_parameters(loaded, parameters(model));
    CHECK_THROWS_WITH_AS(
        loaded.remove_prefix(prefix),
        fmt::format("[TensorFile] embed.weight does not begin with {}: nothing was renamed", prefix)
            .c_str(),
        UsageError);
  }
  // Something more or less in the file changes nothing.
  TensorFile more = renamed("module.");
  more.tensors.push_back({"module.step", Tensor::scalar(1)});
  more.tensors.erase(more.tensors.begin());
  CHECK(said(more, parameters(model))
            .starts_with(begin + "all names in the file begin with module. "));
  Parameters inside;
  for (const NamedParameter& p : parameters(model)) inside.push_back({"inner." + p.name, p});
  CHECK(said(renamed(""), inside) ==
        begin +
            "all names in the model begin with inner. but none in the file does: load into that "
            "part of the model");
}

TEST_CASE("save_load: of thousands of tensors that do not fit, the first few and a count") {
  const TemporaryFile file;
  TensorFile many;
  for (int i = 0; i < 20'000; ++i)
    many.tensors.push_back({"t" + std::to_string(i), Tensor::zeros({2})});
  many.tensors.push_back({std::string(5000, 'n'), Tensor::zeros({2})});
  save_tensors(file.path, many);
  CharLM model = char_lm(1);
  const auto said = [](auto load) -> std::string {
    try {
      load();
    } catch (const Error& error) {
      return error.what();
    }
    return "loaded";
  };
  // Those that are named and those that are counted.
  const auto problems = [](const std::string& message) {
    const std::size_t last = message.rfind("; and ");
    REQUIRE(message.ends_with(" more"));
    return std::ranges::count(message, ';') + std::stol(message.substr(last + 6));
  };
  const std::string strict = said([&] { load_parameters(file.path, parameters(model)); });
  CHECK(strict.size() < 4000);
  CHECK(strict.find("missing embed.weight, float32 (5, 2); ") != std::string::npos);
  CHECK(problems(strict) == 11 + 20'001);
  const std::string state =
      said([&] { load_state(file.path, [&](Archive& a) { a("model", parameters(model)); }); });
  CHECK(state.size() < 4000);
  CHECK(problems(state) == 1 + 11 + 20'001);
  Parameters list;
  for (const NamedTensor& t : many.tensors) list.push_back({t.name, Parameter(t.tensor)});
  const std::string copied = said([&] { parameters(model).copy_values(list); });
  CHECK(copied.size() < 4000);
  CHECK(problems(copied) == 11 + 20'001);
}

TEST_CASE("save_load: a tensor of another dtype is named with it") {
  const TemporaryFile file;
  const std::string header = R"({"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                             R"("steps":{"dtype":"I64","shape":[],"data_offsets":[4,12]}})";
  spill(file.path, file_of(header, std::string("\0\x3c\0\xc0", 4) + std::string(8, '\0')));
  const Parameter w(Tensor::zeros({2}));
  CHECK_THROWS_WITH_AS(
      load_parameters(file.path, {{"w", w}}),
      fmt::format(
          "[load_parameters] {} does not fit this model, nothing was loaded: w is F16 (2) in "
          "the file but float32 (2) in the model; unexpected steps, I64 ()",
          file.path.string())
          .c_str(),
      FileError);
  TensorFile loaded = load_tensors(file.path, {.widen_half = true});
  CHECK(loaded.tensor("w").at(0) == 1);
  CHECK(loaded.tensor("w").at(1) == -2);
  load_parameters(TensorFile{{{"w", loaded.tensor("w")}}, {}}, {{"w", w}});
  CHECK(w.value().at(1) == -2);
}

TEST_CASE("save_load: a truncated file loads nothing, at whatever byte it ends") {
  const TemporaryFile file;
  CharLM a = char_lm(1);
  save_parameters(file.path, parameters(a));
  std::ifstream in(file.path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  CharLM b = char_lm(2);
  CharLM untouched = char_lm(2);
  for (std::size_t size = 0; size < bytes.size(); size += 41) {
    std::ofstream(file.path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(size));
    CHECK_THROWS_AS(load_parameters(file.path, parameters(b)), FileError);
  }
  CHECK(same_bits(parameters(b), parameters(untouched)));
}
