#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "../../core/rng.h"
#include "../oracles/naive_lstm.h"

/// Problems for the LSTM kernel: option sets, layouts of the batch, random numbers.
namespace tapegrad::testing {

inline const char* const input_names[] = {"x",    "h0",   "c0",   "w_ih",
                                          "w_hh", "b_ih", "b_hh", "peephole"};

/// The case in words.
inline std::string describe(const NaiveCase& c) {
  std::string s = "T=" + std::to_string(c.T) + " B=" + std::to_string(c.B) +
                  " H=" + std::to_string(c.H) + " lengths=";
  for (const std::size_t l : c.lengths) s += std::to_string(l) + ",";
  const std::pair<const char*, bool> on[] = {
      {" reverse", c.reverse},     {" no-bias", !c.biases},
      {" null-state", !c.initial}, {" mask", c.mask},
      {" peephole", c.peephole},   {" zoneout", c.zoneout},
      {" clip", c.cell_clip > 0},  {" gradient-clip", c.gradient_clip > 0}};
  for (const auto& [name, is_on] : on) s += is_on ? name : "";
  const char* const losses[] = {" y", " h_T", " c_T", " all"};
  return s + " loss=" + losses[static_cast<std::size_t>(c.loss)];
}

/// The option sets; the last one has all of them.
inline std::vector<NaiveCase> option_sets() {
  return {
      {},
      {.biases = false, .initial = false},
      {.mask = true},
      {.peephole = true},
      {.zoneout = true},
      {.cell_clip = 0.5},
      {.gradient_clip = 0.2},
      {.peephole = true, .zoneout = true, .mask = true, .cell_clip = 0.7, .gradient_clip = 0.2}};
}

/// Full, packed, packed with an empty sequence, with steps that no sequence reaches; each both
/// ways.
inline std::vector<NaiveCase> layouts(NaiveCase c) {
  std::vector<std::vector<std::size_t>> lengths(4, std::vector<std::size_t>(c.B, c.T));
  for (std::size_t r = 0; r < c.B; ++r) {
    lengths[1][r] = c.T - c.T * r / (c.B + 1);
    lengths[2][r] = r == c.B - 1 ? 0 : lengths[1][r];
    lengths[3][r] = lengths[1][r] - 1;
  }
  lengths[0] = {};
  std::vector<NaiveCase> r;
  for (const auto& l : lengths) {
    for (const bool reverse : {false, true}) {
      c.lengths = l;
      c.reverse = reverse;
      r.push_back(c);
    }
  }
  return r;
}

/// Random numbers for a case.
inline NaiveData numbers_for(const NaiveCase& c) {
  NaiveData d;
  Rng rng(c.seed, "lstm kernel");
  const auto normal = [&](std::size_t n, double deviation, bool on = true) {
    Values<double> v(on ? n : 0);  // rounded, so that float problems are the same problems
    for (double& x : v) x = static_cast<double>(static_cast<float>(deviation * rng.normal()));
    return v;
  };
  const double scale = 0.7 / std::sqrt(static_cast<double>(c.H));
  const std::size_t N = c.rows(), BH = c.B * c.H;
  d.in = {normal(N * c.I, 1),
          normal(BH, 0.5, c.initial),
          normal(BH, 1, c.initial),
          normal(4 * c.H * c.I, 0.7),
          normal(4 * c.H * c.H, scale),
          normal(4 * c.H, 0.5, c.biases),
          normal(4 * c.H, 0.5, c.biases),
          normal(3 * c.H, 0.5, c.peephole)};
  d.mask = normal(BH, 1, c.mask);
  for (double& m : d.mask) m = m > -0.3 ? 1.5 : 0;
  d.zoneout_h = normal(N * c.H, 1, c.zoneout);
  d.zoneout_c = normal(N * c.H, 1, c.zoneout);
  for (auto* zoneout : {&d.zoneout_h, &d.zoneout_c}) {  // kept, updated, and inference's mixture
    for (double& z : *zoneout) z = z > 0.7 ? 1 : z > -0.3 ? 0 : 0.25;
  }
  d.dy = normal(N * c.H, 1, c.loss == Loss::y || c.loss == Loss::all);
  d.dh_last = normal(BH, 1, c.loss == Loss::h || c.loss == Loss::all);
  d.dc_last = normal(BH, 1, c.loss == Loss::c || c.loss == Loss::all);
  return d;
}

}  // namespace tapegrad::testing
