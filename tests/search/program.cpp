#include "program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <regex>
#include <utility>

#include "../../autograd/inspect/hooks.h"
#include "../../autograd/inspect/observer.h"
#include "../../autograd/inspect/scope.h"
#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/reduce.h"
#include "../../core/error.h"

namespace tapegrad::search {

bool is_message(std::string_view message) {
  static const std::regex form(R"(\[\w+(::\w+)*\] [^]+)");
  return std::regex_match(message.begin(), message.end(), form);
}

bool same(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  for (std::size_t i = 0; i < a.numel(); ++i) {
    const double x = a.at(i), y = b.at(i);
    if (!(x == y && std::signbit(x) == std::signbit(y)) && !(std::isnan(x) && std::isnan(y))) {
      return false;
    }
  }
  return true;
}

const std::vector<Op>& all_ops() {
  static const std::vector<Op> ops = [] {
    std::vector<Op> all;
    for (auto family :
         {elementwise_ops, axis_ops, matrix_ops, loss_ops, recurrent_ops, sequence_ops}) {
      for (Op& op : family()) all.push_back(std::move(op));
    }
    return all;
  }();
  return ops;
}

const Op& find_op(std::string_view name) {
  for (const Op& op : all_ops()) {
    if (op.name == name) return op;
  }
  throw std::invalid_argument("no op is called " + std::string(name));
}

// --- executing ---

namespace {

Tape tape_for(Way way) {
  constexpr Tape::Stream stream{.seed = 1, .pass = 2};
  return way == Way::evaluation  ? Tape::evaluation()
         : way == Way::inference ? Tape::inference()
                                 : Tape::training(stream);
}

}  // namespace

Run::Run(Way way) : tape(tape_for(way)), way_(way) {
  if (way != Way::watched) return;
  auto observer = std::make_shared<Observer>();
  observe(tape, *observer);
  watchers_.push_back(observer);
  watchers_.push_back(std::make_shared<Scope>(tape, "watched"));
}

void Run::add_leaf(const Item& item) {
  std::shared_ptr<Parameter> parameter;
  Var v = item.value;
  if (item.kind == Kind::parameter || item.kind == Kind::frozen) {
    parameter = std::make_shared<Parameter>(item.value.clone());
    parameter->set_requires_grad(item.kind == Kind::parameter);
    v = tape.leaf(*parameter);
  } else if (item.kind == Kind::leaf) {
    v = tape.leaf(item.value);
  }
  const bool learns = item.kind == Kind::parameter || item.kind == Kind::leaf;
  if (v.recorded() != (learns && tape.recording())) throw Fault{"a leaf", "", "recorded or not"};
  places.push_back(v);
  parameters.push_back(parameter);
}

std::string Run::bits() const {
  std::string all;
  const auto append = [&](const Tensor& t) {
    if (!t.defined()) return;
    const auto bytes = [&]<class T>(std::span<const T> values) {
      all.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
    };
    t.dtype() == DType::float32 ? bytes(t.values<float>()) : bytes(t.values<double>());
  };
  for (const auto& p : parameters) {
    if (p != nullptr) append(p->value()), append(p->grad());
  }
  return all;
}

Vars Run::call(const Item& item, std::string& error) {
  Arguments arguments{tape, {}, {}};
  for (const std::size_t place : item.call.inputs) {
    arguments.x.push_back(place == absent ? Var() : places[place]);
    arguments.parameters.push_back(place == absent ? nullptr : parameters[place].get());
  }
  const std::string before = bits();
  std::shared_ptr<void> guard;
  if (way_ == Way::paused) guard = std::shared_ptr<Tape::Guard>(new Tape::Guard(tape.pause()));
  Vars outputs;
  try {
    outputs = item.call.run(arguments);
  } catch (const Error& e) {
    error = e.what();
    if (!is_message(error)) throw Fault{"message", item.op->name, error};
  } catch (const std::exception& e) {
    throw Fault{"untyped error", item.op->name, e.what()};
  }
  // One output may be made of another, as h of c: the gradients of their own uses need their own nodes.
  for (Var& y : outputs) {
    if (outputs.size() > 1 && y.recorded()) y = scale(y, 1);
  }
  if (bits() != before) throw Fault{"a call changed a Parameter", item.op->name, error};
  if (way_ == Way::watched) {
    for (const Var& y : outputs) {
      if (!y.recorded()) continue;
      hook(y, [](const Var&) { return Var(); });
      retain_grad(y);
    }
  }
  return outputs;
}

void Run::first_time(Item& item) {
  item.first = places.size();
  if (item.op == nullptr) return add_leaf(item);
  const std::size_t nodes = tape.size();
  Vars outputs = call(item, item.error);
  const bool alias = tape.size() == nodes && std::ranges::any_of(outputs, &Var::recorded);
  if (alias) outputs.clear();  // an input itself, as of dropout with p = 0
  item.outputs = outputs.size();
  places.insert(places.end(), outputs.begin(), outputs.end());
  parameters.resize(places.size());
}

void Run::again(const Item& item) {
  if (item.op == nullptr) return add_leaf(item);
  std::string error;
  const Vars outputs = call(item, error);
  // A watched one names its scope as well, at its end.
  const auto words = [](const std::string& message) {
    return message.substr(0, message.find(" (in "));
  };
  if (words(error) != words(item.error)) {
    throw Fault{"another error", item.op->name, fmt::format("'{}', not '{}'", error, item.error)};
  }
  for (std::size_t k = 0; k < item.outputs; ++k) places.push_back(outputs[k]);
  parameters.resize(places.size());
}

// --- choosing ---

namespace {

template <class T>
double extreme(Rng& rng) {
  using Limits = std::numeric_limits<T>;
  const std::array numbers = {T{0},
                              Limits::denorm_min(),
                              Limits::min() / 2,
                              Limits::min(),
                              T(1e-30),
                              T(1e-10),
                              T(0.5),
                              T(1),
                              T(9),
                              T(20),
                              T(60),
                              T(100),
                              T(1e10),
                              T(1e18),
                              T(1e30),
                              Limits::max(),
                              Limits::infinity(),
                              Limits::quiet_NaN()};
  const T x = numbers[rng.below(numbers.size())];
  return static_cast<double>(rng.below(2) == 0 ? x : -x);
}

double extreme(Rng& rng, DType dtype) {
  return dtype == DType::float64 && rng.below(2) == 0 ? extreme<double>(rng) : extreme<float>(rng);
}

}  // namespace

Tensor draw(Rng& rng, const Shape& shape, DType dtype, bool wild) {
  const std::uint64_t style = wild ? rng.below(4) : 0;
  const double scale = style == 1 ? std::pow(10.0, std::floor(rng.uniform(-38, 39))) : 1;
  Tensor t = rng.normal(shape, 0, 1, DType::float64);
  for (double& x : t.mutable_values<double>()) {
    if (style == 2 || (style == 3 && rng.below(8) == 0))
      x = extreme(rng, dtype);
    else if (rng.below(30) == 0)
      x = 0;
    else
      x *= scale;
  }
  return t.to(dtype);
}

std::size_t Chooser::size() {
  if (chance(40)) return 0;
  if (chance(5)) return 1;
  if (chance(60)) return 17 + below(60);
  return 2 + below(4);
}

Shape Chooser::shape(std::size_t lowest_rank, std::size_t highest_rank) {
  std::vector<std::size_t> dims(lowest_rank + below(highest_rank - lowest_rank + 1));
  std::size_t numel = 1;
  for (std::size_t& n : dims) {
    n = size();
    if (numel * n > 4096) n = 2;
    numel *= n;
  }
  return Shape(dims);
}

double Chooser::number() {
  const double x = wild_ && chance(3) ? extreme<float>(rng) : 2 * rng.normal();
  return static_cast<double>(static_cast<float>(x));
}

double Chooser::number(double low, double high) {
  if (chance(40)) return number();
  return static_cast<double>(static_cast<float>(rng.uniform(low, high)));
}

Axis Chooser::axis(std::size_t rank) {
  const auto n = static_cast<std::ptrdiff_t>(rank);
  if (n == 0 || chance(40)) return n + (chance(2) ? 0 : -2 * n - 1);
  return static_cast<std::ptrdiff_t>(below(2 * rank)) - n;
}

Tensor Chooser::ids(const Shape& shape, std::size_t rows) {
  if (chance(100)) return {};
  if (chance(100)) return draw(rng, shape, dtype_, wild_);
  Tensor t = Tensor::zeros(shape, DType::int32);
  for (std::int32_t& id : t.mutable_values<std::int32_t>()) {
    id = static_cast<std::int32_t>(below(rows > 0 ? rows : 1));
    if (chance(400)) id = chance(2) ? -1 : static_cast<std::int32_t>(rows);
  }
  return t;
}

Tensor Chooser::mask(const Shape& shape) {
  Tensor t = Tensor::zeros(shape, chance(60) ? dtype_ : DType::int32);
  if (t.dtype() != DType::int32) return t;
  for (std::int32_t& x : t.mutable_values<std::int32_t>()) x = static_cast<std::int32_t>(below(2));
  return t;
}

Tensor Chooser::weights(const Shape& shape) {
  if (chance(2)) return {};
  Tensor t = rng.uniform(shape, 0, 2, chance(2) ? DType::float64 : DType::float32);
  t = t.to(DType::float32);
  for (float& w : t.mutable_values<float>()) {
    if (chance(6)) w = 0;
    if (chance(200)) w = static_cast<float>(number());
  }
  return t;
}

Kind Chooser::kind() {
  const std::size_t n = below(10);
  return n < 6 ? Kind::parameter : n < 8 ? Kind::leaf : n < 9 ? Kind::constant : Kind::frozen;
}

std::size_t Chooser::add(Tensor value, Kind kind) {
  Item item{.kind = kind, .value = std::move(value)};
  run_.first_time(item);
  program_.items.push_back(item);
  return item.first;
}

/// One of the last eight values that fit, or absent; now and then absent though there are some.
template <class F>
std::size_t Chooser::find(F&& fits) {
  if (chance(4)) return absent;
  std::vector<std::size_t> found;
  for (std::size_t i = places(); i-- > 0 && found.size() < 8;) {
    if (run_.places[i].dtype() != DType::int32 && fits(i)) found.push_back(i);
  }
  return found.empty() ? absent : found[below(found.size())];
}

std::size_t Chooser::any(std::size_t lowest_rank, std::size_t highest_rank) {
  std::size_t place = find([&](std::size_t i) {
    const std::size_t rank = shape_of(i).rank();
    return rank >= lowest_rank && rank <= highest_rank;
  });
  if (place == absent) {
    const DType dtype = chance(6) ? DType::float64 : DType::float32;
    place = add(draw(rng, shape(lowest_rank, highest_rank), dtype, wild_), kind());
  }
  dtype_ = run_.places[place].dtype();
  return place;
}

std::size_t Chooser::like(const Shape& shape) {
  const std::size_t place =
      find([&](std::size_t i) { return shape_of(i) == shape && run_.places[i].dtype() == dtype_; });
  return place != absent ? place : add(draw(rng, shape, dtype_, wild_), kind());
}

std::size_t Chooser::parameter(const Shape& shape) {
  const std::size_t place = find([&](std::size_t i) {
    return run_.parameters[i] != nullptr && shape_of(i) == shape &&
           run_.places[i].dtype() == dtype_;
  });
  if (place != absent) return place;
  return add(draw(rng, shape, dtype_, wild_ && chance(3)),
             chance(8) ? Kind::frozen : Kind::parameter);
}

std::size_t Chooser::within(const Shape& shape, double low, double high) {
  Tensor t = rng.uniform(shape, low, high, DType::float32);
  for (float& x : t.mutable_values<float>()) {
    if (chance(8)) x = static_cast<float>(chance(2) ? low : high);
  }
  return add(t.to(dtype_), kind());
}

// --- writing ---

namespace {

bool is_wild(std::uint64_t seed) { return Rng(seed, "wild").below(2) == 0; }

/// Makes an argument a wrong one: absent, or any other value.
void spoil(Call& call, Chooser& choose) {
  if (call.inputs.empty()) return;
  std::size_t& input = call.inputs[choose.below(call.inputs.size())];
  const std::size_t place = choose.below(choose.places() + 2);
  input = place < choose.places() ? place
          : place == choose.places()
              ? absent
              : choose.add(Tensor::zeros(choose.shape(0, 3), DType::int32), Kind::constant);
}

}  // namespace

/// Long programs of wild numbers are soon nothing but NaN.
std::size_t steps_of(std::uint64_t seed) {
  return 1 + static_cast<std::size_t>(Rng(seed, "steps").below(is_wild(seed) ? 3 : 9));
}

Program write_program(std::uint64_t seed, const std::vector<std::size_t>& steps, const Op* only,
                      Run& run) {
  Program program;
  std::size_t sites = 0;
  const auto execute = [&](const Op& op, Call call) {
    Item item{.op = &op, .call = std::move(call), .sites_before = sites};
    program.items.push_back(item);
    run.first_time(program.items.back());
    const bool refused = !program.items.back().error.empty();
    if (sites != absent) sites = refused && item.call.sites > 0 ? absent : sites + item.call.sites;
    return run.places.size() - 1;
  };
  for (const std::size_t step : steps) {
    Rng rng(seed, fmt::format("step {}", step));
    Chooser choose(program, run, rng, is_wild(seed));
    const Op& op = step == 0 && only != nullptr ? *only : all_ops()[choose.below(all_ops().size())];
    Call call = op.choose(choose);
    if (choose.chance(40)) spoil(call, choose);
    execute(op, std::move(call));
  }
  // The loss: the last values of one dtype, each with weights of its own.
  Rng rng(seed, "loss");
  Chooser choose(program, run, rng, false);
  std::size_t taken = 0;
  for (std::size_t i = run.places.size(); i-- > 0 && taken < 4;) {
    if (run.places[i].dtype() == DType::int32) continue;
    const auto one = [](Var (*f)(const Var&)) {
      return [f](const Arguments& a) { return Vars{f(a.x[0])}; };
    };
    const auto two = [](Var (*f)(const Var&, const Var&)) {
      return [f](const Arguments& a) { return Vars{f(a.x[0], a.x[1])}; };
    };
    if (program.loss != absent && run.places[i].dtype() != run.places[program.loss].dtype())
      continue;
    const Tensor weights =
        draw(rng, run.places[i].shape(), run.places[i].dtype(), is_wild(seed) && rng.below(4) == 0);
    const std::size_t w = choose.add(weights, Kind::constant);
    const std::size_t weighted = execute(find_op("mul"), {{i, w}, two(operator*)});
    const std::size_t part = execute(find_op("sum"), {{weighted}, one(sum)});
    program.loss = program.loss == absent
                       ? part
                       : execute(find_op("add"), {{program.loss, part}, two(operator+)});
    ++taken;
  }
  program.places = run.places.size();
  if (program.loss != absent && !run.places[program.loss].recorded()) program.loss = absent;
  return program;
}

Gradients gradients_of(const Program& program, const Run& run, Tape::Options options) {
  Gradients gradients(program.places);
  if (program.loss == absent) return gradients;
  Vars targets;
  for (const Var& v : run.places) {
    if (v.recorded()) targets.push_back(v);
  }
  const Vars g = run.tape.gradient(run.places[program.loss], targets, options);
  for (std::size_t place = 0, next = 0; place < program.places; ++place) {
    if (run.places[place].recorded()) gradients[place] = g[next++].value();
  }
  return gradients;
}

std::string describe(const Program& program) {
  std::string text;
  for (const Item& item : program.items) {
    if (item.op == nullptr) {
      constexpr const char* kinds[] = {"parameter", "frozen", "leaf", "constant"};
      text += fmt::format("  {} = {} {}\n", item.first, kinds[static_cast<int>(item.kind)],
                          to_string(item.value));
      continue;
    }
    std::string inputs;
    for (const std::size_t i : item.call.inputs) {
      inputs += (inputs.empty() ? "" : ", ") + (i == absent ? std::string("-") : std::to_string(i));
    }
    text += fmt::format("  {} = {}({}) -> {} values{}\n", item.first, item.op->name, inputs,
                        item.outputs, item.error.empty() ? "" : ": " + item.error);
  }
  return text;
}

}  // namespace tapegrad::search
