#include "stream.h"

#include <fmt/core.h>

#include <algorithm>
#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string_view>

#include "../../core/check-inl.h"
#include "../../core/fail-inl.h"
#include "../../core/flush_subnormals-inl.h"
#include "../../core/pool.h"
#include "../../core/recurrent/stream-inl.h"
#include "../../core/write-inl.h"

namespace tapegrad {
namespace {

using Handle = std::shared_ptr<ParameterData>;

template <class T>
const T* data_or_null(const Handle& parameter) {
  return parameter != nullptr ? parameter->value().data<T>() : nullptr;
}

/// Calls act(), for a caller that may not throw: an Error ends the program with its message.
template <class Act>
void without_throwing(Act&& act) noexcept {
  try {
    act();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();
  }
}

void check_size(std::string_view name, std::size_t size, std::string_view letters,
                const Shape& shape) {
  if (size == shape.numel()) return;
  fail<ShapeError>("Stream",
                   "{} has {} elements: it must have {}, {} = {}; StreamOptions has n and B", name,
                   size, shape.numel(), letters, shape);
}

/// Returns what the kernel knows a layer by; none is the LSTM.
std::optional<kernels::cells::Cell> cell_of(const LSTM&) { return {}; }
std::optional<kernels::cells::Cell> cell_of(const GRU&) { return kernels::cells::Cell::gru; }
std::optional<kernels::cells::Cell> cell_of(const RNN& rnn) {
  return rnn.nonlinearity() == RNNNonlinearity::relu ? kernels::cells::Cell::rnn_relu
                                                     : kernels::cells::Cell::rnn_tanh;
}

/// One layer of the stack, and where its weights come from.
template <class T>
struct Layer {
  Handle weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, peephole;
  kernels::stream::Stream<T> kernel;

  template <class R>
  Layer(const R& stack, std::size_t n, const StreamOptions& options)
      : weight_ih(stack.layers[n].weight_ih.data()),
        weight_hh(stack.layers[n].weight_hh.data()),
        bias_ih(stack.layers[n].bias_ih.data()),
        bias_hh(stack.layers[n].bias_hh.data()),
        h0(stack.layers[n].h0.data()),
        c0(of_lstm(stack.layers[n], &LSTMParameters::c0)),
        peephole(of_lstm(stack.layers[n], &LSTMParameters::peephole)),
        kernel(cell_of(stack),
               {.steps = options.block,
                .batch = options.sessions,
                .input = weight_ih->value().size(1),
                .hidden = weight_hh->value().size(1)},
               weights(), variant(stack.settings().variant)) {}
  kernels::stream::Weights<T> weights() const {
    return {.cell = {.weight_ih = data_or_null<T>(weight_ih),
                     .weight_hh = data_or_null<T>(weight_hh),
                     .bias_ih = data_or_null<T>(bias_ih),
                     .bias_hh = data_or_null<T>(bias_hh),
                     .peephole = data_or_null<T>(peephole)},
            .h0 = data_or_null<T>(h0),
            .c0 = data_or_null<T>(c0)};
  }

 private:
  static Handle of_lstm(const LSTMParameters& p, Parameter LSTMParameters::*member) {
    return (p.*member).data();
  }
  static Handle of_lstm(const RecurrentParameters&, Parameter LSTMParameters::*) { return {}; }
  static kernels::stream::Variant<T> variant(const StackVariant& v) {
    return {.zoneout_h = static_cast<T>(v.zoneout_h),
            .zoneout_c = static_cast<T>(v.zoneout_c),
            .cell_clip = static_cast<T>(v.cell_clip),
            .gradient_clip = static_cast<T>(v.gradient_clip)};
  }
};

/// Linear as its op computes it: products are added to the bias.
template <class T>
struct Head {
  Handle weight, bias;
  kernels::Packed<T> packed;
  pool::Vector<T> bias_copy;  // (O); empty without bias

  explicit Head(const Linear& head)
      : weight(head.weight.data()),
        bias(head.bias.data()),
        packed(head.weight.value().size(1), head.weight.value().size(0), matrix()),
        bias_copy(bias != nullptr ? packed.units() : 0) {
    load();
  }
  kernels::Strided<T> matrix() const {
    return {data_or_null<T>(weight), 1, weight->value().size(1)};
  }
  void load() noexcept {
    packed.pack(matrix());
    std::copy_n(data_or_null<T>(bias), bias_copy.size(), bias_copy.begin());
  }
  /// x (rows, H) -> y (rows, O).
  void run(std::size_t rows, const kernels::Strided<T>& x, T* y) const noexcept {
    const std::size_t O = packed.units(), biased = std::min(bias_copy.size(), O * rows);
    std::copy_n(bias_copy.begin(), biased, y);
    for (std::size_t n = biased; n > 0 && n < O * rows; n *= 2)  // rows of biases, twice as many
      std::copy_n(y, std::min(n, O * rows - n), y + n);
    // Panel by panel, as several together may want memory for a copy of x.
    for (std::size_t panel = 0; panel < packed.panels(); ++panel)
      packed.multiply(rows, x, panel, 1, biased > 0, y, O);
  }
};

/// A copy of an Embedding, and the rows that are looked up in it.
template <class T>
struct Table {
  Handle weight;
  std::size_t features;  // E
  pool::Vector<T> rows;  // (V, E)
  pool::Vector<T> x;     // (n B, E)

  Table(const Embedding& embedding, const StreamOptions& options)
      : weight(embedding.weight.data()),
        features(weight->value().size(1)),
        rows(weight->value().numel()),
        x(options.block * options.sessions * features) {
    load();
  }
  void load() noexcept { std::copy_n(data_or_null<T>(weight), rows.size(), rows.begin()); }
  const T* look_up(std::span<const std::int32_t> ids) {
    const std::size_t V = rows.size() / features;
    auto to = x.begin();
    for (const std::int32_t id : ids) {
      const auto row = static_cast<std::size_t>(id);  // a negative one is large
      if (row >= V)
        fail<UsageError>("Stream", "id {} does not exist: it must be in [0, {})", id, V);
      to = std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(row * features), features, to);
    }
    return x.data();
  }
};

/// Runs the model once, on zeros: what it refuses is refused here. Returns y (1, 1, O).
template <class R>
Tensor sample(const Embedding* embedding, const R& layers, const Linear* head) {
  Tape tape = Tape::inference();
  Var x;
  if (embedding != nullptr) {
    x = (*embedding)(tape, Tensor::zeros({1, 1}, DType::int32));
  } else {
    const Tensor& weight = layers.layers.front().weight_ih.value();
    x = Tensor::zeros({1, 1, weight.size(1)}, weight.dtype());
  }
  const Var y = layers(tape, x).y;
  return head != nullptr ? (*head)(tape, y).value() : y.value();
}

void check_options(const StreamOptions& options, std::size_t hidden) {
  for (const auto& [name, value] :
       {std::pair("sessions", options.sessions), std::pair("block", options.block)}) {
    if (value == 0) fail<UsageError>("Stream", "{} is 0: it must be at least 1", name);
  }
  Shape({options.block, options.sessions, 8 * (hidden + 64)});  // throws if it could not be kept
}

void check_directions(const StackSettings& settings) {
  if (!settings.bidirectional) return;
  fail<UsageError>("Stream",
                   "the layer is bidirectional: its other direction begins at the end of the "
                   "sequence, and a stream has none");
}

}  // namespace

// --- a model of one dtype ------------------------------------------------------------------------

template <class T>
struct Stream::Engine {
  Shape x_shape, y_shape;  // (n, B, I), (n, B, O)
  std::deque<Layer<T>> layers;
  std::optional<Table<T>> table;
  std::optional<Head<T>> head;

  template <class R>
  Engine(const Embedding* embedding, const R& stack, const Linear* linear, std::size_t outputs,
         const StreamOptions& options)
      : x_shape{options.block, options.sessions, stack.layers.front().weight_ih.value().size(1)},
        y_shape{options.block, options.sessions, outputs} {
    const FlushSubnormals guard;
    for (std::size_t n = 0; n < stack.layers.size(); ++n) layers.emplace_back(stack, n, options);
    if (embedding != nullptr) table.emplace(*embedding, options);
    if (linear != nullptr) head.emplace(*linear);
  }

  void step(std::span<const T> x, std::span<T> y) {
    if (table) {
      fail<DtypeError>("Stream", "step() was given {} numbers: a model with an Embedding takes ids",
                       dtype_of<T>);
    }
    check_size("x", x.size(), "(n, B, I)", x_shape);
    run(x.data(), y);
  }
  void step(std::span<const std::int32_t> ids, std::span<T> y) {
    if (!table) {
      fail<DtypeError>("Stream", "step() was given ids: a model without Embedding takes {} numbers",
                       dtype_of<T>);
    }
    check_size("ids", ids.size(), "(n, B, 1)", x_shape.with(2, 1));
    run(table->look_up(ids), y);
  }
  void run(const T* x, std::span<T> y) {
    check_size("y", y.size(), "(n, B, O)", y_shape);
    const FlushSubnormals guard;
    kernels::Strided<T> h{x, x_shape[2], 1};
    for (Layer<T>& layer : layers) h = {layer.kernel.run(h), layer.kernel.row_size(), 1};
    const std::size_t rows = x_shape[0] * x_shape[1], outputs = y_shape[2];
    if (head) return head->run(rows, h, y.data());
    for (std::size_t i = 0; i < rows; ++i) {
      std::copy_n(h.data + i * h.row, outputs, y.data() + i * outputs);
    }
  }

  using Kernel = kernels::stream::Stream<T>;
  using Part = T* (Kernel::*)() const;  // h or c

  bool has_c() const { return layers.front().kernel.c() != nullptr; }
  Shape state_shape() const {
    return {layers.size(), x_shape[1], layers.front().weight_hh->value().size(1)};
  }
  /// Calls use(row of the part, place in (L, B, H), H) for all layers and sessions.
  template <class Use>
  void for_states(Part part, Use&& use) {
    std::size_t place = 0;
    for (Layer<T>& layer : layers) {
      const std::size_t H = layer.weight_hh->value().size(1);
      for (std::size_t b = 0; b < x_shape[1]; ++b, place += H) {
        use((layer.kernel.*part)() + b * layer.kernel.row_size(), place, H);
      }
    }
  }
  LSTMState state() {
    const auto copy = [this](Part part) {
      Tensor all = Tensor::empty(state_shape(), dtype_of<T>);
      T* const to = detail::write<T>(all);
      for_states(part, [&](const T* row, std::size_t place, std::size_t H) {
        std::copy_n(row, H, to + place);
      });
      return all;
    };
    return {copy(&Kernel::h), has_c() ? Var(copy(&Kernel::c)) : Var()};
  }
  void set_state(const LSTMState& state) {
    if (!has_c() && state.c.defined()) {
      fail<UsageError>("Stream", "state.c is given but the model has no LSTM: leave it undefined");
    }
    struct Source {
      const char* name;
      const Var* value;
      Part part;
    };
    const Source sources[] = {{"state.h", &state.h, &Kernel::h}, {"state.c", &state.c, &Kernel::c}};
    const auto used = std::span(sources).first(has_c() ? 2 : 1);
    for (const auto& [name, value, part] : used) {
      check::defined("Stream", {{name, *value}});
      if (value->shape() != state_shape()) {
        check::wrong_shape("Stream", name, value->shape(),
                           fmt::format("(L, B, H) = {}, as state() is", to_string(state_shape())));
      }
      if (value->dtype() != dtype_of<T>) {
        fail<DtypeError>("Stream", "{} is {} but the model is {}: convert one with to()", name,
                         value->dtype(), dtype_of<T>);
      }
    }
    for (const auto& [name, value, part] : used) {
      const Tensor from = value->value();
      for_states(part, [&](T* row, std::size_t place, std::size_t H) {
        std::copy_n(from.data<T>() + place, H, row);
      });
    }
  }

  void reset() noexcept {
    for (Layer<T>& layer : layers) layer.kernel.reset();
  }
  void refresh() noexcept {
    const FlushSubnormals guard;
    for (Layer<T>& layer : layers) layer.kernel.load(layer.weights());
    if (table) table->load();
    if (head) head->load();
  }
};

// --- Stream --------------------------------------------------------------------------------------

template <class R>
Stream::Stream(const Embedding* embedding, const R& layers, const Linear* head,
               const StreamOptions& options) {
  check_options(options, layers.hidden());
  check_directions(layers.settings());
  const Tensor y = sample(embedding, layers, head);
  if (y.dtype() == DType::float32) {
    float32_ = std::make_unique<Engine<float>>(embedding, layers, head, y.size(2), options);
  } else {
    float64_ = std::make_unique<Engine<double>>(embedding, layers, head, y.size(2), options);
  }
}

template <Streamable R>
Stream::Stream(const R& layers, const StreamOptions& options)
    : Stream(nullptr, layers, nullptr, options) {}
template <Streamable R>
Stream::Stream(const R& layers, const Linear& head, const StreamOptions& options)
    : Stream(nullptr, layers, &head, options) {}
template <Streamable R>
Stream::Stream(const Embedding& embedding, const R& layers, const StreamOptions& options)
    : Stream(&embedding, layers, nullptr, options) {}
template <Streamable R>
Stream::Stream(const Embedding& embedding, const R& layers, const Linear& head,
               const StreamOptions& options)
    : Stream(&embedding, layers, &head, options) {}

template Stream::Stream(const LSTM&, const StreamOptions&);
template Stream::Stream(const LSTM&, const Linear&, const StreamOptions&);
template Stream::Stream(const Embedding&, const LSTM&, const StreamOptions&);
template Stream::Stream(const Embedding&, const LSTM&, const Linear&, const StreamOptions&);
template Stream::Stream(const GRU&, const StreamOptions&);
template Stream::Stream(const GRU&, const Linear&, const StreamOptions&);
template Stream::Stream(const Embedding&, const GRU&, const StreamOptions&);
template Stream::Stream(const Embedding&, const GRU&, const Linear&, const StreamOptions&);
template Stream::Stream(const RNN&, const StreamOptions&);
template Stream::Stream(const RNN&, const Linear&, const StreamOptions&);
template Stream::Stream(const Embedding&, const RNN&, const StreamOptions&);
template Stream::Stream(const Embedding&, const RNN&, const Linear&, const StreamOptions&);

Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

/// Calls use(engine) with the one that there is.
template <class Use>
decltype(auto) Stream::with_engine(Use&& use) const {
  if (float32_ != nullptr) return use(*float32_);
  if (float64_ != nullptr) return use(*float64_);
  fail<UsageError>("Stream", "this Stream was moved from: use the one that it was moved to");
}

template <class In, class T>
void Stream::step_with(std::span<const In> x, std::span<T> y) const noexcept {
  without_throwing([&] {
    with_engine([&]<class E>(Engine<E>& engine) {
      if constexpr (std::same_as<E, T>) {
        engine.step(x, y);
      } else {
        fail<DtypeError>("Stream", "y is {} but the model is {}: step() takes spans of the model's",
                         dtype_of<T>, dtype_of<E>);
      }
    });
  });
}
void Stream::step(std::span<const float> x, std::span<float> y) noexcept { step_with(x, y); }
void Stream::step(std::span<const double> x, std::span<double> y) noexcept { step_with(x, y); }
void Stream::step(std::span<const std::int32_t> ids, std::span<float> y) noexcept {
  step_with(ids, y);
}
void Stream::step(std::span<const std::int32_t> ids, std::span<double> y) noexcept {
  step_with(ids, y);
}

void Stream::reset() noexcept {
  without_throwing([this] { with_engine([](auto& engine) { engine.reset(); }); });
}
LSTMState Stream::state() const {
  return with_engine([](auto& engine) { return engine.state(); });
}
void Stream::set_state(const LSTMState& state) {
  with_engine([&](auto& engine) { engine.set_state(state); });
}
void Stream::refresh() noexcept {
  without_throwing([this] { with_engine([](auto& engine) { engine.refresh(); }); });
}

}  // namespace tapegrad
