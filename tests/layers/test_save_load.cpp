#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "../../autograd/parameters.h"
#include "../../core/error.h"
#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/model/module.h"
#include "../../layers/recurrent/lstm.h"
#include "../support/char_lm.h"
#include "../support/model_cases.h"
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
