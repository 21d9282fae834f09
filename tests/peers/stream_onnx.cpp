// stream_step.cpp in ONNX Runtime's C API: the same cells, numbers, options and output. A pass is 64
// runs of one sample each, whose state goes from run to run in bound buffers. compare.py compiles it
// against a release of ONNX Runtime.

#include <onnxruntime_c_api.h>

#include <array>
#include <cmath>
#include <string>

#include "../bench/bench.h"

namespace {

const OrtApi& ort = *OrtGetApiBase()->GetApi(ORT_API_VERSION);
const OrtModelEditorApi& editor = *ort.GetModelEditorApi();

void check(OrtStatus* status) {
  if (status != nullptr) bench::fail(ort.GetErrorMessage(status));
}

/// What `create(arguments...)` of the C API makes; kept until the process ends.
template <class T>
T* made(auto create, auto... arguments) {
  T* x = nullptr;
  check(create(arguments..., &x));
  return x;
}

using Shape = std::vector<std::int64_t>;

float* data(OrtValue* x) { return static_cast<float*>(made<void>(ort.GetTensorMutableData, x)); }

/// A tensor that owns its elements.
OrtValue* tensor(const Shape& shape, const std::vector<float>& values) {
  auto* allocator = made<OrtAllocator>(ort.GetAllocatorWithDefaultOptions);
  auto* x = made<OrtValue>(ort.CreateTensorAsOrtValue, allocator, shape.data(), shape.size(),
                           ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);
  std::ranges::copy(values, data(x));
  return x;
}

/// An input or output of the graph.
OrtValueInfo* value(const char* name, const Shape& shape) {
  auto* info = made<OrtTensorTypeAndShapeInfo>(ort.CreateTensorTypeAndShapeInfo);
  check(ort.SetTensorElementType(info, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
  check(ort.SetDimensions(info, shape.data(), shape.size()));
  return made<OrtValueInfo>(editor.CreateValueInfo, name,
                            made<OrtTypeInfo>(editor.CreateTensorTypeInfo, info));
}

OrtOpAttr* attribute(const char* name, std::int64_t x) {
  return made<OrtOpAttr>(ort.CreateOpAttr, name, &x, 1, ORT_OP_ATTR_INT);
}

void add_node(OrtGraph* graph, const char* op, std::vector<const char*> in,
              std::vector<const char*> out, std::vector<OrtOpAttr*> attributes = {}) {
  check(editor.AddNodeToGraph(
      graph, made<OrtNode>(editor.CreateNode, op, "", op, in.data(), in.size(), out.data(),
                           out.size(), attributes.data(), attributes.size())));
}

/// Rows of gates i, f, g, o in ONNX's order i, o, f, g.
std::vector<float> onnx_gates(const std::vector<double>& x) {
  const auto quarter = std::ptrdiff_t(x.size() / 4);
  std::vector<float> y;
  for (const std::ptrdiff_t gate : {0, 3, 1, 2}) {
    y.insert(y.end(), x.begin() + gate * quarter, x.begin() + (gate + 1) * quarter);
  }
  return y;
}

/// A session of LSTM(1 -> H) and Linear(H -> 1), from x, h, c to y, h', c'.
OrtSession* session(const bench::Options& options, const bench::Cell& c) {
  std::uint32_t n = bench::first_parameter;
  const auto parameter = [&](std::size_t count) {
    return bench::numbers(n++, count, 1 / std::sqrt(double(c.hidden)));
  };
  const auto H = std::int64_t(c.hidden);
  auto* graph = made<OrtGraph>(editor.CreateGraph);
  const auto add = [&](const char* name, const Shape& shape, const std::vector<float>& values) {
    check(editor.AddInitializerToGraph(graph, name, tensor(shape, values), false));
  };
  add("W", {1, 4 * H, 1}, onnx_gates(parameter(4 * c.hidden)));
  add("R", {1, 4 * H, H}, onnx_gates(parameter(4 * c.hidden * c.hidden)));
  std::vector<float> biases = onnx_gates(parameter(4 * c.hidden));
  for (const float b : onnx_gates(parameter(4 * c.hidden))) biases.push_back(b);
  add("B", {1, 8 * H}, biases);
  const std::vector<double> weight = parameter(c.hidden), bias = parameter(1);
  add("weight", {H, 1}, {weight.begin(), weight.end()});
  add("bias", {1}, {bias.begin(), bias.end()});

  const Shape state = {1, 1, H};
  std::array in = {value("x", {1, 1, 1}), value("h", state), value("c", state)};
  std::array out = {value("y", {1, 1}), value("h'", state), value("c'", state)};
  check(editor.SetGraphInputs(graph, in.data(), in.size()));
  check(editor.SetGraphOutputs(graph, out.data(), out.size()));
  add_node(graph, "LSTM", {"x", "W", "R", "B", "", "h", "c"}, {"", "h'", "c'"},
           {attribute("hidden_size", H)});
  add_node(graph, "Flatten", {"h'"}, {"row"}, {attribute("axis", 2)});
  add_node(graph, "Gemm", {"row", "weight", "bias"}, {"y"});  // faster than MatMul and Add

  const char* domain = "";
  const int opset = 17;
  auto* model = made<OrtModel>(editor.CreateModel, &domain, &opset, std::size_t(1));
  check(editor.AddGraphToModel(model, graph));
  auto* settings = made<OrtSessionOptions>(ort.CreateSessionOptions);
  check(ort.SetIntraOpNumThreads(settings, int(options.threads)));
  check(ort.DisableCpuMemArena(settings));  // 10 % faster
  check(ort.SetSessionGraphOptimizationLevel(settings, ORT_ENABLE_ALL));
  check(ort.AddSessionConfigEntry(settings, "session.set_denormal_as_zero", "1"));
  static auto* const env = made<OrtEnv>(ort.CreateEnv, ORT_LOGGING_LEVEL_WARNING, "stream");
  return made<OrtSession>(editor.CreateSessionFromModel, env, model, settings);
}

void measure(const bench::Options& options, const bench::Cell& c) {
  if (options.float64) bench::fail("ONNX Runtime has no LSTM in float64");
  if (c.batch != 1 || c.input != 1 || c.layers != 1) bench::fail("not a stream: " + c.name);
  OrtSession* const lstm = session(options, c);
  OrtValue *const x = tensor({1, 1, 1}, {0}), *const y = tensor({1, 1}, {0});
  const auto zero = [&] {
    return tensor({1, 1, std::int64_t(c.hidden)}, std::vector<float>(c.hidden));
  };
  const std::array h = {zero(), zero()}, cell = {zero(), zero()};
  std::array<OrtIoBinding*, 2> bindings;  // from the first state to the second, and back
  for (const std::size_t k : {0, 1}) {
    OrtIoBinding* const b = bindings[k] = made<OrtIoBinding>(ort.CreateIoBinding, lstm);
    check(ort.BindInput(b, "x", x));
    check(ort.BindInput(b, "h", h[k]));
    check(ort.BindInput(b, "c", cell[k]));
    check(ort.BindOutput(b, "y", y));
    check(ort.BindOutput(b, "h'", h[1 - k]));
    check(ort.BindOutput(b, "c'", cell[1 - k]));
  }
  auto* run = made<OrtRunOptions>(ort.CreateRunOptions);

  constexpr std::size_t blocks = 64;
  const std::vector<double> numbers = bench::numbers(bench::input_tensor, blocks * c.steps, 1);
  const std::vector<float> samples(numbers.begin(), numbers.end());
  float *const in = data(x), *const out = data(y);
  std::size_t sample = 0;
  bench::measure(options, c, [&] {
    float squares = 0;
    for (std::size_t t = 0; t < c.steps; ++t) {
      *in = samples[sample % samples.size()];
      check(ort.RunWithBinding(lstm, run, bindings[sample++ % 2]));
      squares += *out * *out;
    }
    return double(squares) / double(c.steps);
  });
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options = bench::options(argc, argv, bench::stream_cells);
  options.mode = bench::Mode::forward;
  bench::print_head(options);
  for (const bench::Cell& c : options.cells) measure(options, c);
}
