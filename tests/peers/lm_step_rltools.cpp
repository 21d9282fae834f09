// lm_step.cpp in RLtools: the same cell, numbers, options and output; an embedding, a GRU and a head,
// Adam. Gradients are not clipped here: they are too small for the bound that ours has, so that the
// losses are the same. compare.py compiles it against headers of RLtools, with OpenBLAS.

// In this order:
// clang-format off
#include <rl_tools/operations/cpu_mux.h>
#include <rl_tools/random/operations_generic.h>
#include <rl_tools/nn/optimizers/adam/instance/operations_generic.h>
#include <rl_tools/nn/layers/embedding/operations_generic.h>
#include <rl_tools/nn/layers/gru/operations_generic.h>
#include <rl_tools/nn/operations_cpu_mux.h>
#include <rl_tools/nn/loss_functions/categorical_cross_entropy/operations_generic.h>
#include <rl_tools/nn_models/sequential/operations_generic.h>
#include <rl_tools/nn/optimizers/adam/operations_generic.h>
// clang-format on

#include <cmath>

#include "../bench/bench.h"

// RLtools declares what is in cblas.h itself, but for this.
extern "C" void openblas_set_num_threads(int threads);

namespace rlt = rl_tools;

namespace {

using Device = rlt::devices::DEVICE_FACTORY<rlt::devices::cpu::Specification<
    rlt::devices::math::CPU, rlt::devices::random::Generic<rlt::devices::math::CPU>,
    rlt::LOGGER_FACTORY<>>>;
using TI = Device::index_t;
using Policy = rlt::numeric_types::Policy<float>;

/// byte-lm of bench.h: RLtools' sizes are known when this is compiled.
constexpr TI T = 64, B = 32, I = 32, H = 64, V = 256;

template <class Content, class Next = rlt::nn_models::sequential::OutputModule>
using Module = rlt::nn_models::sequential::Module<Content, Next>;
namespace layers = rlt::nn::layers;
using Embedding =
    layers::embedding::BindConfiguration<layers::embedding::Configuration<Policy, TI, V, I>>;
using Gru = layers::gru::BindConfiguration<
    layers::gru::Configuration<Policy, TI, H, rlt::nn::parameters::groups::Normal, true>>;
using Head = layers::dense::BindConfiguration<layers::dense::Configuration<
    Policy, TI, V, rlt::nn::activation_functions::IDENTITY,
    layers::dense::DefaultInitializer<Policy, TI>, rlt::nn::parameters::groups::Normal>>;
using Input = rlt::tensor::Shape<TI, T, B, 1>;
using Model =
    rlt::nn_models::sequential::Build<rlt::nn::capability::Gradient<rlt::nn::parameters::Adam>,
                                      Module<Embedding, Module<Gru, Module<Head>>>, Input>;
struct AdamOptions : rlt::nn::optimizers::adam::DEFAULT_PARAMETERS_PYTORCH<Policy> {
  static constexpr float EPSILON_SQRT = 0;  // its default stands under the root, too
};
using Adam =
    rlt::nn::optimizers::Adam<rlt::nn::optimizers::adam::Specification<Policy, TI, AdamOptions>>;

void measure(const bench::Options& options, const bench::Cell& c) {
  if (c.steps != T || c.batch != B || c.input != I || c.hidden != H || c.layers != 1 || c.head != V)
    bench::fail("no model of that size: " + c.name);
  Device device;
  Device::SPEC::RANDOM::ENGINE<> rng;
  rlt::init(device);
  rlt::init(device, rng, 0);
  Model model;
  Model::Buffer<> buffer;
  Adam adam;
  rlt::Tensor<rlt::tensor::Specification<float, TI, Input>> input, target;
  rlt::Tensor<rlt::tensor::Specification<float, TI, Model::OUTPUT_SHAPE>> d_output;
  rlt::malloc(device, model);
  rlt::malloc(device, buffer);
  rlt::malloc(device, adam);
  rlt::malloc(device, input);
  rlt::malloc(device, target);
  rlt::malloc(device, d_output);
  rlt::init_weights(device, model, rng);
  rlt::init(device, adam);
  rlt::reset_optimizer_state(device, adam, model);

  std::uint32_t n = bench::first_parameter;
  const auto set = [&](auto& tensor, std::size_t count) {
    const auto values = bench::numbers(n++, count, 1 / std::sqrt(double(H)));
    for (std::size_t k = 0; k < count; ++k) rlt::data(tensor)[k] = float(values[k]);
  };
  auto& embedding = model.content;
  auto& gru = model.next_module.content;
  auto& head = model.next_module.next_module.content;
  set(embedding.weights.parameters, V * I);
  set(gru.weights_input.parameters, 3 * H * I);
  set(gru.weights_hidden.parameters, 3 * H * H);
  set(gru.biases_input.parameters, 3 * H);
  set(gru.biases_hidden.parameters, 3 * H);
  set(head.weights.parameters, V * H);
  set(head.biases.parameters, V);
  const auto ids = bench::ids(bench::input_tensor, T * B, V);
  const auto targets = bench::ids(bench::target_tensor, T * B, V);
  for (std::size_t k = 0; k < T * B; ++k) {
    rlt::data(input)[k] = float(ids[k]);
    rlt::data(target)[k] = float(targets[k]);
  }

  auto output = rlt::output(device, model);
  const auto logits = rlt::matrix_view(device, output);
  const auto classes = rlt::matrix_view(device, target);
  const auto d_logits = rlt::matrix_view(device, d_output);
  const auto infer = [&] {
    rlt::forward(device, model, input, buffer, rng);
    return double(rlt::get(logits, 0, 0));
  };
  const auto train = [&] {
    namespace cross_entropy = rlt::nn::loss_functions::categorical_cross_entropy;
    rlt::forward(device, model, input, buffer, rng);
    const double loss = options.losses ? cross_entropy::evaluate(device, logits, classes) : 0;
    cross_entropy::gradient_tiled(device, logits, classes, d_logits);
    rlt::zero_gradient(device, model);
    rlt::backward(device, model, input, d_output, buffer);
    rlt::step(device, adam, model);
    return loss;
  };
  bench::measure(options, c, infer, train);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Options options = bench::options(argc, argv, bench::lm_cells, {"gru"});
  openblas_set_num_threads(static_cast<int>(options.threads));
  bench::print_head(options);
  for (const bench::Cell& c : options.cells) measure(options, c);
}
