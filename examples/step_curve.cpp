// Which step, and how many points? The error of difference quotients with 2, 4 and 6 points against
// the exact gradient of one weight of an LSTM, over steps h = 2^-1 ... 2^-40, with the loss in
// float64 and in float32: the V-curve. On its right side the error is what the formula leaves out
// (h^2, h^4, h^6), on its left the rounding of the loss divided by h. docs/gradient_testing.md says
// what follows from it. `--svg` draws it.
//
//   command:            build/release/step_curve
//   expected last line: result {"program":"step_curve", ..., "float64":[{"points":2,"log2_h":...
//   exit status:        1 unless in float64 six points are better than two

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "program.h"

using namespace tapegrad;

namespace {

constexpr std::size_t batch = 2, inputs = 3;
constexpr int last_exponent = 40;                              // h = 2^-1 ... 2^-40
constexpr std::array<const char*, 3> names = {"2", "4", "6"};  // points
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

struct Options {
  std::size_t steps = 50, hidden = 8;
  std::optional<std::size_t> weight;  // the one of the largest gradient
  std::string svg;
  examples::CommonOptions common;
};

struct Model {
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("lstm", lstm), v("head", head); }
};

/// The loss as a function of one weight, all of it in one dtype.
class LossOfWeight {
 public:
  LossOfWeight(const Model& model, const Tensor& x, const Tensor& y, std::size_t index, DType dtype)
      : model_(to(model, dtype)),
        x_(x.to(dtype)),
        y_(y.to(dtype)),
        weights_(parameters(model_).find("lstm.weight_hh_l0")),
        index_(index) {}

  /// Writes the weight and returns what was stored.
  double set(double w) {
    Tensor value = weights_.value();
    if (value.dtype() == DType::float64) return value.mutable_data<double>()[index_] = w;
    return value.mutable_data<float>()[index_] = static_cast<float>(w);
  }
  double get() const { return weights_.value().at(index_); }

  double loss() const {
    Tape tape = Tape::inference();
    return loss(tape).item();
  }
  /// For all recurrent weights.
  Tensor gradient() const {
    Tape tape;
    return tape.gradient(loss(tape), {tape.leaf(weights_)})[0].value();
  }

 private:
  Var loss(Tape& tape) const { return mse(model_.head(tape, model_.lstm(tape, x_).y), y_); }

  Model model_;
  Tensor x_, y_;
  NamedParameter weights_;
  std::size_t index_;
};

std::size_t largest(const Tensor& t) {
  const auto values = t.values<double>();
  const auto most = std::ranges::max_element(values, {}, [](double v) { return std::abs(v); });
  return static_cast<std::size_t>(most - values.begin());
}

/// Relative errors of 2, 4 and 6 points at one step; NaN where w + h is w.
using Errors = std::array<double, 3>;

Errors errors_at(LossOfWeight& f, double h, double gradient) {
  const double w = f.get();
  std::array<double, 3> s;  // difference quotients over 2h, 4h, 6h, with the steps that were stored
  for (int k = 1; k <= 3; ++k) {
    const double above = f.set(w + k * h), f_above = f.loss();
    const double below = f.set(w - k * h), f_below = f.loss();
    s[static_cast<std::size_t>(k - 1)] =
        above == below ? not_a_number : (f_above - f_below) / (above - below);
  }
  f.set(w);
  const std::array<double, 3> numeric = {s[0], (4 * s[0] - s[1]) / 3,
                                         1.5 * s[0] - 0.6 * s[1] + 0.1 * s[2]};  // Fornberg 1988
  Errors errors;
  for (std::size_t p = 0; p < 3; ++p) errors[p] = std::abs(numeric[p] / gradient - 1);
  return errors;
}

struct Best {
  int log2_h = 0;
  double error = std::numeric_limits<double>::infinity();
};

struct Curve {
  DType dtype;
  double rounding;             // eps |loss| / |gradient|: divided by h, the error from rounding
  std::vector<Errors> errors;  // at h = 2^-1, 2^-2, ...
  std::array<Best, 3> best;
};

/// A single error may be small by luck: a step is judged by the worst of itself and its neighbours.
Best best_of(const std::vector<Errors>& errors, std::size_t p) {
  Best best;
  for (std::size_t k = 1; k + 1 < errors.size(); ++k) {
    const double error = std::max({errors[k - 1][p], errors[k][p], errors[k + 1][p]});
    const bool known = !std::isnan(errors[k - 1][p] + errors[k][p] + errors[k + 1][p]);
    if (known && error < best.error) best = {-static_cast<int>(k + 1), error};
  }
  return best;
}

Curve curve_of(LossOfWeight f, DType dtype, double gradient) {
  const double eps = dtype == DType::float64 ? std::numeric_limits<double>::epsilon()
                                             : std::numeric_limits<float>::epsilon();
  Curve curve{dtype, eps * std::abs(f.loss() / gradient), {}, {}};
  for (int k = 1; k <= last_exponent; ++k)
    curve.errors.push_back(errors_at(f, std::ldexp(1.0, -k), gradient));
  for (std::size_t p = 0; p < 3; ++p) curve.best[p] = best_of(curve.errors, p);
  return curve;
}

// ---- the picture --------------------------------------------------------------------------------

// Dark enough for print; the markers tell the curves apart without colours.
constexpr std::array<const char*, 3> colours = {"#c2410c", "#1d4ed8", "#047857"};

/// Circle, square, triangle.
std::string marker(std::size_t p, double x, double y, bool filled) {
  const double r = filled ? 4 : 2.2;
  std::string shape;
  if (p == 0) shape = fmt::format(R"(circle cx="{:.1f}" cy="{:.1f}" r="{}")", x, y, r);
  if (p == 1) {
    shape = fmt::format(R"(rect x="{:.1f}" y="{:.1f}" width="{}" height="{}")", x - r, y - r, 2 * r,
                        2 * r);
  }
  if (p == 2) {
    shape = fmt::format(R"(path d="M{:.1f},{:.1f} l{:.1f},{:.1f} h-{:.1f} z")", x, y - 1.3 * r,
                        1.3 * r, 2.2 * r, 2.6 * r);
  }
  return fmt::format("<{} fill=\"{}\" stroke=\"{}\" stroke-width=\"1.3\"/>\n", shape,
                     filled ? colours[p] : "#ffffff", colours[p]);
}

/// Decades of both axes, and where they lie.
struct Panel {
  static constexpr double width = 400, height = 400, top = 116, first = -12.5, last = 0.3;
  double left;
  int lowest, highest;

  double x(double log10_h) const { return left + width * (log10_h - first) / (last - first); }
  double y(double log10_error) const {
    const double part = (highest - log10_error) / (highest - lowest);
    return top + height * std::clamp(part, 0.0, 1.0);
  }
};

std::string axes(const Panel& at, DType dtype, bool numbered) {
  constexpr const char* fine = R"(stroke="#f0eeec")";
  constexpr const char* strong = R"(stroke="#d6d3d1")";
  constexpr const char* number = R"(text-anchor="middle" fill="#44403c")";
  const double bottom = Panel::top + Panel::height, right = at.left + Panel::width;
  std::string svg;
  for (int d = -12; d <= 0; ++d)
    svg += svg::line(at.x(d), Panel::top, at.x(d), bottom, d % 3 == 0 ? strong : fine);
  for (int d = at.lowest; d <= at.highest; ++d)
    svg += svg::line(at.left, at.y(d), right, at.y(d), d % 3 == 0 ? strong : fine);
  for (int d = -12; d <= 0; d += 3)
    svg += svg::text(at.x(d), bottom + 20, number, svg::power_of_ten(d));
  for (int d = at.lowest; numbered && d <= at.highest; ++d) {
    if (d % 3 == 0)
      svg += svg::text(at.left - 9, at.y(d) + 4, R"(text-anchor="end" fill="#44403c")",
                       svg::power_of_ten(d));
  }
  svg += fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#57534e\"/>\n",
      at.left, Panel::top, Panel::width, Panel::height);
  const double middle = at.left + Panel::width / 2;
  svg += svg::text(middle, Panel::top - 12, R"(text-anchor="middle" font-weight="bold")",
                   fmt::format("loss in {}", to_string(dtype)));
  return svg + svg::text(middle, bottom + 44, R"(text-anchor="middle")", "step h");
}

std::string curves_of(const Panel& at, const Curve& curve) {
  const auto log10_h = [](std::size_t k) { return -static_cast<double>(k + 1) * std::log10(2.0); };
  std::string svg;
  const double rounding = std::log10(curve.rounding);
  const double from = std::max(Panel::first, rounding - at.highest);
  const double to = std::min(Panel::last, rounding - at.lowest);
  svg += svg::line(at.x(from), at.y(rounding - from), at.x(to), at.y(rounding - to),
                   R"(stroke="#78716c" stroke-width="1.3" stroke-dasharray="5 4")");
  const auto lost = static_cast<std::size_t>(
      std::ranges::find_if(curve.errors, [](const Errors& e) { return std::isnan(e[0]); }) -
      curve.errors.begin());
  if (lost < curve.errors.size()) {
    const double edge = at.x(log10_h(lost) + std::log10(2.0) / 2);
    svg +=
        fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"#f5f5f4\"/>\n",
                    at.left + 0.5, Panel::top + 0.5, edge - at.left - 0.5, Panel::height - 1);
    svg += svg::text((at.left + edge) / 2, Panel::top + Panel::height / 2,
                     R"(text-anchor="middle" fill="#57534e")",
                     fmt::format("w + h = w in {}", to_string(curve.dtype)));
  }
  std::string best;  // above all curves
  for (std::size_t p = 0; p < 3; ++p) {
    std::string path, markers;
    for (std::size_t k = 0; k < lost; ++k) {
      const double x = at.x(log10_h(k)), y = at.y(std::log10(std::max(curve.errors[k][p], 1e-300)));
      path += fmt::format("{}{:.1f},{:.1f}", k == 0 ? "M" : " ", x, y);
      markers += marker(p, x, y, false);
      if (curve.best[p].log2_h == -static_cast<int>(k + 1)) best += marker(p, x, y, true);
    }
    svg += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\"/>\n{}",
                       path, colours[p], markers);
  }
  return svg + best;
}

std::string legend() {
  std::string svg;
  for (std::size_t p = 0; p < 3; ++p) {
    const double x = 100 + 175 * static_cast<double>(p);
    svg += svg::line(x - 14, 66, x + 14, 66,
                     fmt::format(R"(stroke="{}" stroke-width="1.6")", colours[p]));
    svg += marker(p, x, 66, false);
    svg += svg::text(x + 22, 70, "",
                     fmt::format("{} points: error ~ h{}", names[p], svg::superscript(names[p])));
  }
  svg +=
      svg::line(612, 66, 640, 66, R"(stroke="#78716c" stroke-width="1.3" stroke-dasharray="5 4")");
  return svg + svg::text(648, 70, "", "rounding: ε |loss| / (h |gradient|)");
}

std::string picture(const std::vector<Curve>& curves, const std::string& title) {
  double least = 1, most = 1;
  for (const Curve& curve : curves) {
    for (const Errors& errors : curve.errors) {
      for (const double e : errors) {
        if (e > 0) least = std::min(least, e), most = std::max(most, e);  // and not NaN
      }
    }
  }
  const int lowest = std::max(static_cast<int>(std::floor(std::log10(least))), -16);
  const int highest = static_cast<int>(std::ceil(std::log10(most)));
  std::string svg;
  svg += svg::text(86, 36, R"(font-size="17" font-weight="bold")", title) + legend();
  svg += svg::text(0, 0, "text-anchor=\"middle\" transform=\"translate(32 316) rotate(-90)\"",
                   "relative error of the numeric gradient (filled: best step)");
  for (std::size_t c = 0; c < curves.size(); ++c) {
    const Panel panel{86 + 436 * static_cast<double>(c), lowest, highest};
    svg += axes(panel, curves[c].dtype, c == 0) + curves_of(panel, curves[c]);
  }
  return svg::picture(960, 580, svg);
}

// ---- the table ----------------------------------------------------------------------------------

std::string cell(double error) {
  return std::isnan(error) ? fmt::format("{:>9}", "-") : fmt::format("{:>9.1e}", error);
}

examples::Json json_of(const Curve& curve) {
  std::vector<examples::Json> list;
  for (std::size_t p = 0; p < 3; ++p)
    list.emplace_back(examples::Json::Fields{
        {"points", 2 * p + 2}, {"log2_h", curve.best[p].log2_h}, {"error", curve.best[p].error}});
  return list;
}

int show(const Options& o) {
  set_threads(o.common.threads);
  if (o.weight.value_or(0) >= 4 * o.hidden * o.hidden)
    throw examples::WrongUse(fmt::format("--weight {}: there are {} recurrent weights, from 0 on",
                                         *o.weight, 4 * o.hidden * o.hidden));
  // Made in float32, so that both losses are those of the same numbers.
  Rng rng(o.common.seed);
  const Model model{{{.input = inputs, .hidden = o.hidden}, rng}, {o.hidden, 1, rng}};
  const Tensor x = rng.normal({o.steps, batch, inputs}, 0, 1),
               y = rng.normal({o.steps, batch, 1}, 0, 1);
  const auto loss_of = [&](std::size_t weight, DType dtype) {
    return LossOfWeight(model, x, y, weight, dtype);
  };
  const Tensor gradients = loss_of(0, DType::float64).gradient();
  const std::size_t weight = o.weight.value_or(largest(gradients));
  const LossOfWeight exact = loss_of(weight, DType::float64);
  const double gradient = gradients.at(weight);
  if (gradient == 0) throw examples::WrongUse("--weight: the loss does not depend on this weight");
  examples::print(fmt::format(
      "LSTM, T = {}, H = {}; weight_hh_l0[{}, {}] = {:.4f}, loss {:.4f}, gradient {:.6f}\n\n",
      o.steps, o.hidden, weight / o.hidden, weight % o.hidden, exact.get(), exact.loss(),
      gradient));
  std::vector<Curve> curves;
  for (const DType dtype : {DType::float64, DType::float32})
    curves.push_back(curve_of(loss_of(weight, dtype), dtype, gradient));

  examples::print(
      fmt::format("relative error of   {:<27} | {}\n", "loss in float64", "loss in float32"));
  examples::print(fmt::format("{:>16}", "points"));
  for (std::size_t c = 0; c < 2; ++c)
    examples::print(
        fmt::format("{}{:>9}{:>9}{:>9}", c == 0 ? "  " : " |", names[0], names[1], names[2]));
  examples::print("\n");
  for (std::size_t k = 0; k < curves[0].errors.size(); ++k) {
    std::string line = fmt::format("{:>16}", fmt::format("h = 2^-{}", k + 1));
    for (const Curve& curve : curves) {
      line += &curve == curves.data() ? "  " : " |";
      for (const double error : curve.errors[k]) line += cell(error);
    }
    examples::print(fmt::format("{}\n", line));
  }
  examples::print("\nbest step and worst error there and one step beside it\n");
  for (std::size_t p = 0; p < 3; ++p) {
    std::string line = fmt::format("{:>8} points", names[p]);
    for (const Curve& curve : curves)
      line += fmt::format("   {}: h = 2^{:<3} {:.1e}", to_string(curve.dtype), curve.best[p].log2_h,
                          curve.best[p].error);
    examples::print(fmt::format("{}\n", line));
  }
  if (!o.svg.empty())
    write_file_atomically(
        o.svg,
        picture(curves,
                fmt::format("How wrong is a numeric gradient? One weight of an LSTM over {} steps",
                            o.steps)));
  examples::print_result({{"program", "step_curve"},
                          {"steps", o.steps},
                          {"hidden", o.hidden},
                          {"weight", weight},
                          {"seed", o.common.seed},
                          {"gradient", gradient},
                          {"float64", json_of(curves[0])},
                          {"float32", json_of(curves[1])}});
  const auto& best = curves[0].best;
  return best[2].error < best[0].error ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line(
      "Prints how wrong difference quotients are, by step and number of points, in float64 and "
      "float32.",
      "step_curve");
  line.footer("Example: step_curve --steps 300 --svg v_curve.svg");
  line.option("--steps", options.steps, "Length of the sequence, T", 2, 1000);
  line.option("--hidden", options.hidden, "Hidden units, H", 1, 100);
  line.option(
      "--weight", options.weight,
      "Recurrent weight to look at, counted row by row; without it, that of the largest gradient");
  line.output("--svg", options.svg, "File for the picture (SVG)");
  line.options(options.common);
  return line.run(argc, argv, [&] { return show(options); });
}
