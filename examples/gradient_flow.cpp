// What vanishes and what explodes: the norms of dL/dh_t and dL/dc_t in plain tanh networks and in
// LSTMs, from the last step back to the initial state, as the tape finds them. The networks are
// untrained, made of primitive operations; their recurrent matrices are rotations times a scale, so
// that every singular value of them is that scale. docs/bptt.md tells what the numbers mean.
//
//   command:            build/release/gradient_flow
//   expected last line: result {"program":"gradient_flow", ..., "rnn":[{"scale":0.5,"dh_ratio":...
//   exit status:        1 if a gradient is not finite

#include <fmt/format.h>
#include <tapegrad/tapegrad.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "program.h"

using namespace tapegrad;

namespace {

struct Options {
  std::size_t steps = 50, batch = 8, inputs = 4, hidden = 32;
  std::vector<double> scales{0.5, 1, 3}, forget{0, 1, 5};
  double lstm_scale = 1;
  std::string svg;
  examples::CommonOptions common;
};

/// Norms k steps back from the last: of the state t = T - k, so the last one is of the initial
/// state.
struct Flow {
  std::string name;
  std::vector<double> dh;
  std::vector<double> dc;       // an LSTM's
  std::vector<double> through;  // dc_T times all forget gates since: what the cell alone passes on
};

double norm_of(const Var& v) { return std::sqrt(sum(square(v.detach())).item()); }

/// The last state's elements, weighted so that dL/dh_T has norm 1 from the loss itself.
Var loss_of(const Var& h) {
  return sum(h) * (1 / std::sqrt(static_cast<double>(h.shape().numel())));
}

/// `blocks` random rotations of (H, H) below each other, times `scale`.
Tensor rotations(std::size_t blocks, std::size_t hidden, double scale, Rng& rng) {
  Vars parts;
  for (std::size_t k = 0; k < blocks; ++k)
    parts.push_back(scale * Var(init::orthogonal({hidden, hidden}, rng, DType::float64)));
  return concat(parts, 0).value();
}

/// h_t = tanh(W_ih x_t + W_hh h_{t-1})
Flow rnn(const Options& o, const Tensor& x, double scale) {
  Rng rng(o.common.seed, "rnn");
  const Var ih = init::xavier_uniform({o.hidden, o.inputs}, rng, DType::float64);
  const Var hh = rotations(1, o.hidden, scale, rng);
  Tape tape;
  Vars h{tape.leaf(Tensor::zeros({o.batch, o.hidden}, DType::float64))};
  for (const Var& x_t : unbind(x)) h.push_back(tanh(linear(x_t, ih) + linear(h.back(), hh)));
  const Vars dh = tape.gradient(loss_of(h.back()), h);
  Flow flow{.name = fmt::format("RNN {}", scale)};
  for (std::size_t t = o.steps + 1; t-- > 0;) flow.dh.push_back(norm_of(dh[t]));
  return flow;
}

/// The LSTM of autograd/ops/lstm_cell.cpp, its forget gates kept. The bias is 0 but for them.
Flow lstm(const Options& o, const Tensor& x, double forget_bias) {
  Rng rng(o.common.seed, "lstm");
  const Var ih = init::xavier_uniform({4 * o.hidden, o.inputs}, rng, DType::float64);
  const Var hh = rotations(4, o.hidden, o.lstm_scale, rng);
  Tensor bias = Tensor::zeros({4 * o.hidden}, DType::float64);
  bias.slice(o.hidden, 2 * o.hidden).fill(forget_bias);

  Tape tape;
  const Tensor zero = Tensor::zeros({o.batch, o.hidden}, DType::float64);
  Vars h{tape.leaf(zero)}, c{tape.leaf(zero)}, f{Var(zero)};  // f[t] leads from c[t-1] to c[t]
  for (const Var& x_t : unbind(x)) {
    const auto [ai, af, ag, ao] = split<4>(linear(x_t, ih, bias) + linear(h.back(), hh), 1);
    f.push_back(sigmoid(af));
    c.push_back(f.back() * c.back() + sigmoid(ai) * tanh(ag));
    h.push_back(sigmoid(ao) * tanh(c.back()));
  }
  const Var loss = loss_of(h.back());
  const Vars dh = tape.gradient(loss, h, {.retain = true});
  const Vars dc = tape.gradient(loss, c);
  Flow flow{.name = fmt::format("LSTM, forget bias {}", forget_bias)};
  Var through = dc.back();
  for (std::size_t t = o.steps + 1; t-- > 0;) {
    flow.dh.push_back(norm_of(dh[t]));
    flow.dc.push_back(norm_of(dc[t]));
    flow.through.push_back(norm_of(through));
    through = through * f[t].detach();
  }
  return flow;
}

// ---- the picture --------------------------------------------------------------------------------

constexpr std::array<const char*, 4> colours = {"#c2410c", "#1d4ed8", "#047857", "#7c3aed"};

/// Norms on a logarithmic axis over the steps back.
struct Panel {
  static constexpr double width = 330, height = 400, top = 78;
  double left, steps, lowest, highest;  // the last two are decades

  double x(double back) const { return left + width * back / steps; }
  double y(double norm) const {
    const double part = (highest - std::log10(std::max(norm, 1e-300))) / (highest - lowest);
    return top + height * std::clamp(part, 0.0, 1.0);
  }

  std::string curve(const std::vector<double>& norms, const std::string& style) const {
    std::string path;
    for (std::size_t k = 0; k < norms.size(); ++k)
      path += fmt::format("{}{:.1f},{:.1f}", k == 0 ? "M" : " ", x(static_cast<double>(k)),
                          y(norms[k]));
    return fmt::format("<path d=\"{}\" fill=\"none\" {}/>\n", path, style);
  }

  std::string axes(const std::string& title) const {
    constexpr const char* fine = R"(stroke="#e7e5e4")";
    const double bottom = top + height, middle = left + width / 2;
    std::string svg;
    for (double d = lowest; d <= highest; d += 4) {
      const double y_d = y(std::pow(10, d));
      svg += svg::line(left, y_d, left + width, y_d, fine) +
             svg::text(left - 8, y_d + 4, R"(text-anchor="end" fill="#44403c")",
                       svg::power_of_ten(static_cast<int>(d)));
    }
    for (int k = 0; k <= 5; ++k) {
      const double back = std::round(steps * k / 5);
      svg += svg::text(x(back), bottom + 20, R"(text-anchor="middle" fill="#44403c")",
                       fmt::format("{}", back));
    }
    svg += fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#57534e\"/>\n",
        left, top, width, height);
    svg += svg::text(middle, bottom + 44, R"(text-anchor="middle")", "steps back, k");
    return svg + svg::text(middle, top - 14, R"(text-anchor="middle" font-weight="bold")", title);
  }
};

/// Tanh networks on the left, LSTMs on the right; a name at the end of each curve.
std::string picture(const std::vector<Flow>& flows, double steps) {
  double least = 1, most = 1;
  for (const Flow& flow : flows) {
    for (const std::vector<double>* norms : {&flow.dh, &flow.dc, &flow.through}) {
      for (const double norm : *norms) {
        if (norm > 0) least = std::min(least, norm), most = std::max(most, norm);
      }
    }
  }
  const double lowest = std::max(4 * std::floor(std::log10(least) / 4), -100.0);
  const double highest = std::min(4 * std::ceil(std::log10(most) / 4), 100.0);
  const std::array<Panel, 2> panels{Panel{80, steps, lowest, highest},
                                    Panel{560, steps, lowest, highest}};
  std::string svg = svg::text(80, 32, R"(font-size="17" font-weight="bold")",
                              "How large a gradient still is, k steps back from the loss") +
                    panels[0].axes("tanh networks: norm of dL/dh") +
                    panels[1].axes("LSTMs: norm of dL/dc; dashed: what the cell alone passes on");
  std::array<std::size_t, 2> drawn{};
  for (const Flow& flow : flows) {
    const bool lstm = !flow.dc.empty();
    const Panel& panel = panels[lstm ? 1 : 0];
    const char* colour = colours[drawn[lstm ? 1 : 0]++ % colours.size()];
    const std::vector<double>& norms = lstm ? flow.dc : flow.dh;
    const std::string stroke = fmt::format(R"(stroke="{}" stroke-width="1.8")", colour);
    svg += panel.curve(norms, stroke);
    if (lstm) svg += panel.curve(flow.through, stroke + R"( stroke-dasharray="5 4")");
    svg += svg::text(panel.left + Panel::width + 8, panel.y(norms.back()) + 4,
                     fmt::format(R"(fill="{}")", colour),
                     lstm ? flow.name.substr(flow.name.find("forget")) : flow.name);
  }
  return svg::picture(1030, 540, svg);
}

// ---- the table ----------------------------------------------------------------------------------

/// What is left of a gradient at the initial state.
double left(const std::vector<double>& norms) { return norms.back() / norms.front(); }

int show(const Options& o) {
  set_threads(o.common.threads);
  const Tensor x =
      Rng(o.common.seed, "x").normal({o.steps, o.batch, o.inputs}, 0, 1, DType::float64);
  std::vector<Flow> flows;
  std::vector<examples::Json> rnns, lstms;
  std::string head = fmt::format("{:>5}", "back"), letters = fmt::format("{:>5}", "");
  for (const double scale : o.scales) {
    flows.push_back(rnn(o, x, scale));
    rnns.emplace_back(
        examples::Json::Fields{{"scale", scale}, {"dh_ratio", left(flows.back().dh)}});
    head += fmt::format(" |{:>9}", flows.back().name);
    letters += fmt::format(" |{:>9}", "dh");
  }
  for (const double bias : o.forget) {
    flows.push_back(lstm(o, x, bias));
    const Flow& flow = flows.back();
    lstms.emplace_back(examples::Json::Fields{{"forget_bias", bias},
                                              {"dh_ratio", left(flow.dh)},
                                              {"dc_ratio", left(flow.dc)},
                                              {"through_ratio", left(flow.through)}});
    head += fmt::format(" |{:>27}", flow.name);
    letters += fmt::format(" |{:>9}{:>9}{:>9}", "dh", "dc", "through");
  }

  examples::print(fmt::format("{}\n{}\n", head, letters));
  bool finite = true;
  for (std::size_t k = 0; k <= o.steps; ++k) {
    std::string line = fmt::format("{:>5}", k);
    for (const Flow& flow : flows) {
      line += " |";
      for (const std::vector<double>* norms : {&flow.dh, &flow.dc, &flow.through}) {
        if (norms->empty()) continue;
        line += fmt::format("{:>9.1e}", (*norms)[k]);
        finite = finite && std::isfinite((*norms)[k]);
      }
    }
    examples::print(fmt::format("{}\n", line));
  }
  if (finite && !o.svg.empty())
    write_file_atomically(o.svg, picture(flows, static_cast<double>(o.steps)));
  if (!finite) examples::print("a gradient is not finite\n");
  examples::print_result({{"program", "gradient_flow"},
                          {"steps", o.steps},
                          {"batch", o.batch},
                          {"inputs", o.inputs},
                          {"hidden", o.hidden},
                          {"seed", o.common.seed},
                          {"rnn", rnns},
                          {"lstm_scale", o.lstm_scale},
                          {"lstm", lstms}});
  return finite ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  examples::CommandLine line(
      "Prints how large the gradients of earlier states are, in tanh networks and LSTMs.",
      "gradient_flow");
  line.footer("Example: gradient_flow --steps 100 --scale 0.9 1.1 --forget 1 3 --svg flow.svg");
  line.option("--steps", options.steps, "Length of the sequence, T", 1, 1000);
  line.option("--batch", options.batch, "Sequences side by side, B", 1, 100);
  line.option("--inputs", options.inputs, "Numbers in a step, I", 1, 100);
  line.option("--hidden", options.hidden, "Hidden units, H", 1, 200);
  line.option("--scale", options.scales, "Tanh networks: singular values of W_hh, one network each",
              examples::not_negative());
  line.option("--forget", options.forget, "LSTMs: bias of the forget gate, one LSTM each",
              examples::between(-100, 100));
  line.option("--lstm-scale", options.lstm_scale,
              "LSTMs: singular values of each gate's block of W_hh", examples::not_negative());
  line.output("--svg", options.svg, "File for the picture (SVG)");
  line.options(options.common);
  return line.run(argc, argv, [&] { return show(options); });
}
