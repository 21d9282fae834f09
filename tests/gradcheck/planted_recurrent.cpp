#include <cmath>

#include "planted_bugs.h"

namespace tapegrad::testing::planted {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// One layer, gates r, z, n: h = (1 - z) n + z h', n = tanh(W_n x + b_n + r (U_n h' + c_n)), as
/// cuDNN; loss = sum of (h - y)^2 / 2 divided by T B.
class Gru final : public Model {
 public:
  Gru() { sizes = {{"T", T}, {"B", B}, {"I", I}, {"H", H}}; }

  double loss() override {
    h_.assign(h0_.value.begin(), h0_.value.end()), h_.resize((T + 1) * B * H);
    double sum = 0;
    for (std::size_t n = 0; n < T * B; ++n) {
      double *a = &gates_[n * G], *u = &hidden_[n * G];
      for (std::size_t r = 0; r < G; ++r) {
        a[r] = b_ih_.value[r], u[r] = b_hh_.value[r];
        for (std::size_t k = 0; k < I; ++k) a[r] += w_ih_.value[r * I + k] * x_.value[n * I + k];
        for (std::size_t k = 0; k < H; ++k) u[r] += w_hh_.value[r * H + k] * h_[n * H + k];
      }
      for (std::size_t j = 0, s = n * H; j < H; ++j, ++s) {
        for (const std::size_t r : {j, H + j}) a[r] = sigmoid(a[r] + u[r]);
        double& c = a[2 * H + j];
        c = std::tanh(c + a[j] * u[2 * H + j]);
        const double z = a[H + j], h = h_[s + B * H] = (1 - z) * c + z * h_[s];
        sum += (h - y_[s]) * (h - y_[s]) / 2;
      }
    }
    return sum / (T * B);
  }

 private:
  static constexpr std::size_t T = 5, B = 2, I = 3, H = 4, G = 3 * H;

  void differentiate() override {
    loss();
    Vector dh(B * H);
    for (std::size_t n = T * B; n-- > 0;) step(n, &dh[n % B * H]);
    h0_.gradient = dh;
    if (bug("reset and update gates exchanged")) {
      for (std::size_t k = 0; k < H * H; ++k) {
        std::swap(w_hh_.gradient[k], w_hh_.gradient[H * H + k]);
      }
    }
  }

  void step(std::size_t n, double* dh) {
    Vector da(G), du(G);
    for (std::size_t j = 0, s = n * H; j < H; ++j, ++s) {
      const double* a = &gates_[n * G + j];
      const double r = a[0], z = a[H], c = a[2 * H], u = hidden_[n * G + 2 * H + j];
      dh[j] += (h_[s + B * H] - y_[s]) / (T * B);
      const double dn = dh[j] * (bug("z for 1 - z at the candidate") ? z : 1 - z) * (1 - c * c);
      const double dr = bug("nothing through the reset gate") ? 0 : dn * u * r * (1 - r);
      const double dz =
          dh[j] * (bug("sign of the update gate") ? c - h_[s] : h_[s] - c) * z * (1 - z);
      da[j] = du[j] = dr;
      da[H + j] = du[H + j] = dz;
      da[2 * H + j] = dn;
      du[2 * H + j] = bug("carry without the reset gate") ? dn : dn * r;
      dh[j] =
          bug("no direct carry z dh") ? 0 : dh[j] * (bug("1 - z for z in the carry") ? 1 - z : z);
    }
    for (std::size_t q = 0; q < G; ++q) {
      const bool last = q >= 2 * H;
      const double dw = last && bug("reset gate not in dU_n") ? da[q] : du[q];
      b_ih_.gradient[q] += da[q];
      b_hh_.gradient[q] += last && bug("reset gate not in db_hh") ? da[q] : du[q];
      for (std::size_t k = 0; k < I; ++k) {
        double& to = w_ih_.gradient[q * I + k];
        to = (bug("dW_ih overwritten") ? 0 : to) + da[q] * x_.value[n * I + k];
        x_.gradient[n * I + k] += da[q] * w_ih_.value[q * I + k];
      }
      for (std::size_t k = 0; k < H; ++k) {
        w_hh_.gradient[q * H + k] += dw * h_[n * H + k];
        if (!bug("no carry through the gates")) dh[k] += du[q] * w_hh_.value[q * H + k];
      }
    }
  }

  Array& w_ih_ = array("weight_ih", {G, I}, 17, 0.6, {"r", "z", "n"});
  Array& w_hh_ = array("weight_hh", {G, H}, 23, 0.6, {"r", "z", "n"});
  Array& b_ih_ = array("bias_ih", {G}, 9, 0.3, {"r", "z", "n"});
  Array& b_hh_ = array("bias_hh", {G}, 4, 0.3, {"r", "z", "n"});
  Array& x_ = array("x", {T, B, I}, 11, 1.0);
  Array& h0_ = array("h0", {B, H}, 13, 0.4);
  const Vector y_ = noise(T * B * H, 7, 0.8);
  Vector gates_ = Vector(T * B * G), hidden_ = Vector(T * B * G), h_;
};

/// h = tanh(W x + U h') from left to right, and with weights of its own from right to left; loss =
/// sum of (h - y)^2 / 2 over both, divided by T B.
class Bidirectional final : public Model {
 public:
  Bidirectional() { sizes = {{"T", T}, {"B", B}, {"I", I}, {"H", H}}; }

  double loss() override {
    double sum = 0;
    for (const Direction* d : {&left_, &right_}) {
      Vector& h = d == &left_ ? h_left_ : h_right_;
      h.assign((T + 1) * B * H, 0);  // slot s is the state before its step s
      for (std::size_t s = 0; s < T; ++s) {
        for (std::size_t k = 0; k < B * H; ++k) {
          const std::size_t b = k / H, j = k % H, n = step(d, s) * B + b;
          double z = 0;
          for (std::size_t i = 0; i < I; ++i) z += d->w.value[j * I + i] * x_.value[n * I + i];
          for (std::size_t i = 0; i < H; ++i) {
            z += d->u.value[j * H + i] * h[(s * B + b) * H + i];
          }
          const double y = y_[n * H + j] * (d == &left_ ? 1 : -0.6);
          const double v = h[((s + 1) * B + b) * H + j] = std::tanh(z);
          sum += (v - y) * (v - y) / 2;
        }
      }
    }
    return sum / (T * B);
  }

 private:
  static constexpr std::size_t T = 4, B = 2, I = 3, H = 2;
  struct Direction {
    Array &w, &u;
  };

  std::size_t step(const Direction* d, std::size_t s) const { return d == &left_ ? s : T - 1 - s; }

  void differentiate() override {
    loss();
    for (const Direction* d : {&left_, &right_}) backward(*d, d == &left_ ? h_left_ : h_right_);
    if (bug("reverse gradients not added (mlpack 1742)")) {
      right_.w.gradient.assign(H * I, 0);
      right_.u.gradient.assign(H * H, 0);
    }
    if (bug("reverse weights get the forward gradient")) {
      right_.w.gradient = left_.w.gradient;
      right_.u.gradient = left_.u.gradient;
    }
  }

  void backward(const Direction& d, const Vector& h) {
    const bool reverse = &d == &right_;
    Vector dh(B * H);
    for (std::size_t s = T; s-- > 0;) {
      Vector dz(B * H);
      for (std::size_t k = 0; k < B * H; ++k) {
        const std::size_t n = step(&d, s) * B + k / H;
        const double v = h[(s + 1) * B * H + k], y = y_[n * H + k % H] * (reverse ? -0.6 : 1);
        dz[k] = (dh[k] + (v - y) / (T * B)) * (1 - v * v);
        dh[k] = 0;
      }
      for (std::size_t k = 0; k < B * H; ++k) {
        const std::size_t b = k / H, j = k % H;
        const std::size_t to = reverse && bug("reverse dx not turned round") ? s : step(&d, s);
        const std::size_t n = step(&d, s) * B + b;
        for (std::size_t i = 0; i < I; ++i) {
          d.w.gradient[j * I + i] += dz[k] * x_.value[n * I + i];
          if (reverse && bug("reverse dx not added")) continue;
          x_.gradient[(to * B + b) * I + i] += dz[k] * d.w.value[j * I + i];
        }
        for (std::size_t i = 0; i < H; ++i) {
          d.u.gradient[j * H + i] += dz[k] * h[(s * B + b) * H + i];
          if (!(reverse && bug("no carry in the reverse direction"))) {
            dh[b * H + i] += dz[k] * d.u.value[j * H + i];
          }
        }
      }
    }
  }

  Direction left_ = {array("weight_ih", {H, I}, 17, 0.6), array("weight_hh", {H, H}, 23, 0.6)};
  Direction right_ = {array("weight_ih_reverse", {H, I}, 12, 0.6),
                      array("weight_hh_reverse", {H, H}, 8, 0.6)};
  Array& x_ = array("x", {T, B, I}, 11, 1.0);
  const Vector y_ = noise(T * B * H, 7, 0.8);
  Vector h_left_, h_right_;
};

}  // namespace

std::unique_ptr<Model> make_gru() { return std::make_unique<Gru>(); }
std::unique_ptr<Model> make_bidirectional() { return std::make_unique<Bidirectional>(); }

}  // namespace tapegrad::testing::planted
