#include <algorithm>
#include <cmath>
#include <span>

#include "planted_bugs.h"

namespace tapegrad::testing::planted {
namespace {

constexpr std::size_t T = 5, B = 2, I = 3, H = 4, G = 4 * H;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// One layer, gates i, f, g, o; dropout of x; loss = sum of (h - y)^2 / 2 over (T, B, H), divided
/// by T B. All states have T + 1 slots.
class Lstm final : public Model {
 public:
  Lstm() { sizes = {{"T", T}, {"B", B}, {"I", I}, {"H", H}}; }

  double loss() override {
    h_.assign(h0_.value.begin(), h0_.value.end()), h_.resize((T + 1) * B * H);
    c_.assign(c0_.value.begin(), c0_.value.end()), c_.resize((T + 1) * B * H);
    double sum = 0;
    for (std::size_t n = 0; n < T * B; ++n) {  // n = t B + b
      double* a = &gates_[n * G];
      for (std::size_t r = 0; r < G; ++r) {
        double z = bias_.value[r];
        for (std::size_t k = 0; k < I; ++k) z += w_ih_.value[r * I + k] * dropped(n * I + k);
        for (std::size_t k = 0; k < H; ++k) z += w_hh_.value[r * H + k] * h_[n * H + k];
        a[r] = r / H == 2 ? std::tanh(z) : sigmoid(z);
      }
      for (std::size_t j = 0, s = n * H, next = (n + B) * H; j < H; ++j, ++s, ++next) {
        c_[next] = a[H + j] * c_[s] + a[j] * a[2 * H + j];
        h_[next] = a[3 * H + j] * std::tanh(c_[next]);
        sum += (h_[next] - y_[s]) * (h_[next] - y_[s]) / 2;
      }
    }
    return sum / (T * B);
  }

 private:
  double dropped(std::size_t k) const { return x_.value[k] * mask_[k]; }

  void differentiate() override {
    loss();
    const std::size_t stop = bug("stops two steps early") ? 2 : 0;
    Vector dh(B * H, bug("carry not set to zero before (mxnet 17086)") ? 0.05 : 0), dc(B * H);
    for (std::size_t t = T; t-- > stop;) {
      Vector dz(B * G);
      for (std::size_t b = 0; b < B; ++b) gates(t, b, &dh[b * H], &dc[b * H], &dz[b * G]);
      for (std::size_t b = 0; b < B; ++b) products(t, b, &dz[b * G], &dh[b * H]);
      if (bug("no carry of h (mlpack 3859)")) dh.assign(B * H, 0);
      if (bug("no carry of c")) dc.assign(B * H, 0);
      if (bug("truncated every two steps") && t % 2 == 0 && t > 0) {
        dh.assign(B * H, 0);
        dc.assign(B * H, 0);
      }
    }
    h0_.gradient = dh;
    c0_.gradient = dc;
    afterwards();
  }

  /// dz of one row from dh and dc, which it replaces by dh = 0 and dc of the step before.
  void gates(std::size_t t, std::size_t b, double* dh, double* dc, double* dz) {
    for (std::size_t j = 0; j < H; ++j) {
      const std::size_t s = (t * B + b) * H + j, next = s + B * H;
      const double* a = &gates_[(t * B + b) * G + j];
      const double i = a[0], f = a[H], g = a[2 * H], o = a[3 * H], u = std::tanh(c_[next]);
      const double error = bug("sign of the loss") ? y_[s] - h_[next] : h_[next] - y_[s];
      if (!bug("loss of the last step only") || t + 1 == T) dh[j] += error / (T * B);
      dc[j] += dh[j] * o * (bug("1 - tanh^2 dropped") ? 1 : 1 - u * u);
      dz[j] = dc[j] * g * i * (1 - i);
      dz[H + j] = dc[j] * (bug("c_t for c_t-1") ? c_[next] : c_[s]) * f * (1 - f);
      dz[2 * H + j] = dc[j] * i * (bug("g as a sigmoid") ? g * (1 - g) : 1 - g * g);
      dz[3 * H + j] = dh[j] * (bug("c for tanh c in gate o") ? c_[next] : u) * o *
                      (bug("o as a tanh") ? 1 + o : 1) * (1 - o);
      if (bug("i without its own slope")) dz[j] = dc[j] * g;
      if (!bug("carry of c without f")) dc[j] *= f;
      dh[j] = 0;
    }
  }

  /// What dz of one row gives weights, bias, x and the step before.
  void products(std::size_t t, std::size_t b, const double* dz, double* dh) {
    const std::size_t n = t * B + b;
    for (std::size_t r = 0; r < G; ++r) {
      if (bug("bias overwritten at each step")) bias_.gradient[r] = 0;
      if (!bug("bias not summed over the batch") || b == 0) bias_.gradient[r] += dz[r];
      for (std::size_t k = 0; k < I; ++k) {
        const std::size_t e = n * I + k;
        w_ih_.gradient[r * I + k] +=
            dz[r] * (bug("x before dropout in dW_ih") ? x_.value[e] : dropped(e));
        x_.gradient[e] += dz[r] * w_ih_.value[r * I + k];
      }
      for (std::size_t k = 0; k < H; ++k) {
        const double h = h_[(bug("h_t for h_t-1") ? n + B : n) * H + k];
        const bool skipped = bug("last step missing in dW_hh") && t + 1 == T;
        const bool other = bug("dW_hh overwritten at each step") && t > 0;
        if (!skipped && !other) w_hh_.gradient[r * H + k] += dz[r] * h;
        const std::size_t gate = r / H * H;
        const std::size_t w = bug("W_hh not transposed in dh") ? (gate + k) * H + r % H : r * H + k;
        if (bug("gate o not in the carry") && gate == 3 * H) continue;
        dh[k] += dz[r] * w_hh_.value[w] * (bug("carry of h twice") ? 2 : 1);
      }
    }
  }

  void afterwards();

  Array& w_ih_ = array("weight_ih", {G, I}, 17, 0.5, {"i", "f", "g", "o"});
  Array& w_hh_ = array("weight_hh", {G, H}, 23, 0.5, {"i", "f", "g", "o"});
  Array& bias_ = array("bias", {G}, 9, 0.3, {"i", "f", "g", "o"});
  Array& x_ = array("x", {T, B, I}, 11, 1.0);
  Array& h0_ = array("h0", {B, H}, 13, 0.4);
  Array& c0_ = array("c0", {B, H}, 6, 0.7);
  const Vector y_ = noise(T * B * H, 7, 0.8);
  const Vector mask_ = [] {  // p = 0.3
    Vector mask(T * B * I, 1 / 0.7);
    for (const std::size_t k : {1u, 4u, 9u, 11u, 14u, 17u, 20u, 24u, 28u}) mask[k] = 0;
    return mask;
  }();
  Vector gates_ = Vector(T * B * G), h_, c_;
};

void scale(std::span<double> gradient, double factor) {
  for (double& d : gradient) d *= factor;
}

/// Gate q's part.
std::span<double> gate(Array& a, std::size_t q) {
  const std::size_t part = a.gradient.size() / 4;
  return std::span(a.gradient).subspan(q * part, part);
}

void transpose(std::span<double> square) {
  for (std::size_t r = 0; r < H; ++r) {
    for (std::size_t k = 0; k < r; ++k) std::swap(square[r * H + k], square[k * H + r]);
  }
}

/// Bugs in what is done with right gradients.
void Lstm::afterwards() {
  Vector& dx = x_.gradient;
  const bool scaleless = bug("dropout scale forgotten in dx");
  for (std::size_t k = 0; k < dx.size(); ++k) {
    if (bug("dropout ignored in dx")) break;
    const double m = bug("another mask in dx") ? mask_[(k + 1) % dx.size()] : mask_[k];
    dx[k] *= scaleless && m != 0 ? 1 : m;
  }
  const Vector copy = dx;
  for (std::size_t k = 0; k < dx.size(); ++k) {
    const std::size_t row = B * I, t = k / row;
    if (bug("dx reversed in time")) dx[k] = copy[(T - 1 - t) * row + k % row];
    if (bug("dx one step late")) dx[k] = t == 0 ? 0 : copy[k - row];
    if (bug("dx one step early")) dx[k] = t + 1 == T ? 0 : copy[k + row];
    if (bug("batch rows of dx exchanged")) dx[k] = copy[t * row + (k % row + I) % row];
    if (bug("dx batch first")) dx[(k / I % B * T + t) * I + k % I] = copy[k];
  }
  if (bug("dx summed over later steps")) {
    for (std::size_t k = dx.size() - B * I; k-- > 0;) dx[k] += dx[k + B * I];
  }
  if (bug("gate f of the bias zeroed")) scale(gate(bias_, 1), 0);
  if (bug("one bias entry zeroed")) bias_.gradient[H + 1] = 0;
  if (bug("gate f of dW_ih x 1.001")) scale(gate(w_ih_, 1), 1.001);
  if (bug("gate f of dW_ih x 1.01")) scale(gate(w_ih_, 1), 1.01);
  if (bug("sign of gate g in dW_hh")) scale(gate(w_hh_, 2), -1);
  for (const std::size_t q : {0u, 1u, 2u, 3u}) {
    if (bug("dW_hh transposed")) transpose(gate(w_hh_, q));
    if (bug("gate f of dW_hh transposed") && q == 1) transpose(gate(w_hh_, q));
  }
  for (Array& a : arrays) {
    if (bug("everything / T")) scale(a.gradient, 1.0 / T);
    if (bug("everything / B")) scale(a.gradient, 1.0 / B);
    if (bug("everything / (T B)")) scale(a.gradient, 1.0 / (T * B));
  }
  if (bug("dW_ih twice")) scale(w_ih_.gradient, 2);
  if (bug("half of dW_hh")) scale(w_hh_.gradient, 0.5);
  if (bug("gates g and o exchanged")) {
    std::ranges::swap_ranges(gate(w_ih_, 2), gate(w_ih_, 3));
  }
  for (Array* a : {&w_ih_, &w_hh_, &bias_}) {
    if (bug("gates i and f exchanged")) std::ranges::swap_ranges(gate(*a, 0), gate(*a, 1));
    if (!bug("weight decay") || a == &bias_) continue;
    for (std::size_t k = 0; k < a->value.size(); ++k) a->gradient[k] += 1e-2 * a->value[k];
  }
  if (bug("dh0 forgotten")) scale(h0_.gradient, 0);
  if (bug("dc0 is dh0")) c0_.gradient = h0_.gradient;
  for (double& d : w_hh_.gradient) {
    if (bug("dW_hh clipped")) d = std::clamp(d, -0.005, 0.005);
    if (bug("|dW_hh|")) d = std::abs(d);
    if (bug("dW_hh rounded")) d = std::nearbyint(d * 0x1p25) * 0x1p-25;
    if (bug("noise of 1e-3 in dW_hh")) d += 1e-3 * std::sin(1e4 * d + 1);
  }
  if (bug("column of dW_ih zeroed")) {
    for (std::size_t r = 0; r < G; ++r) w_ih_.gradient[r * I + 1] = 0;
  }
  if (bug("dW_ih column by column")) {
    const Vector right = w_ih_.gradient;
    for (std::size_t k = 0; k < right.size(); ++k) w_ih_.gradient[k % I * G + k / I] = right[k];
  }
}

}  // namespace

std::unique_ptr<Model> make_lstm() { return std::make_unique<Lstm>(); }

}  // namespace tapegrad::testing::planted
