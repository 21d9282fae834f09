#include <algorithm>
#include <array>
#include <cmath>

#include "planted_bugs.h"

namespace tapegrad::testing::planted {
namespace {

/// Mean over the rows that are not ignored of -log softmax(h W^T + b)[target].
class SoftmaxClassifier final : public Model {
 public:
  SoftmaxClassifier() { sizes = {{"B", B}, {"V", V}, {"H", H}}; }

  double loss() override {
    double sum = 0;
    for (std::size_t n = 0; n < B; ++n) {
      double total = 0, *p = &p_[n * V];
      for (std::size_t v = 0; v < V; ++v) {
        double z = b_.value[v];
        for (std::size_t k = 0; k < H; ++k) z += h_.value[n * H + k] * w_.value[v * H + k];
        total += p[v] = std::exp(z);
      }
      for (std::size_t v = 0; v < V; ++v) p[v] /= total;
      if (n != ignored) sum -= std::log(p[target(n)]);
    }
    return sum / (B - 1);
  }

 private:
  static constexpr std::size_t B = 6, V = 5, H = 4, ignored = 3;
  static std::size_t target(std::size_t n) { return (2 * n + n / 3) % V; }

  void differentiate() override {
    loss();
    double valid = B - 1;
    if (bug("sum for mean")) valid = 1;
    if (bug("ignored row counted")) valid = B;
    for (std::size_t n = 0; n < B; ++n) {
      if (n == ignored && !bug("ignored row has a gradient")) continue;
      for (std::size_t v = 0; v < V; ++v) {
        const double p = p_[n * V + v];
        const std::size_t hit = target(n) + bug("target off by one");
        double dz = (p - (v == hit % V && !bug("target not subtracted"))) / valid;
        if (bug("sign")) dz = -dz;
        if (bug("slope of a sigmoid besides")) dz *= p * (1 - p);
        b_.gradient[v] += bug("bias of the target only") && v != target(n) ? 0 : dz;
        for (std::size_t k = 0; k < H; ++k) {
          w_.gradient[v * H + k] += dz * h_.value[n * H + k];
          const std::size_t w = bug("W transposed in dh") ? k * V + v : v * H + k;
          h_.gradient[n * H + k] += dz * w_.value[w];
        }
      }
    }
  }

  Array& h_ = array("h", {B, H}, 11, 1.0);
  Array& w_ = array("weight", {V, H}, 17, 0.8);
  Array& b_ = array("bias", {V}, 9, 0.3);
  Vector p_ = Vector(B * V);
};

/// y = gamma xhat + beta; loss = sum of (y - t)^2 / 2 divided by B.
class LayerNorm final : public Model {
 public:
  LayerNorm() { sizes = {{"B", B}, {"D", D}}; }

  double loss() override {
    double sum = 0;
    for (std::size_t n = 0; n < B; ++n) {
      const double* x = &x_.value[n * D];
      double mean = 0, squares = 0;
      for (std::size_t k = 0; k < D; ++k) mean += x[k] / D;
      for (std::size_t k = 0; k < D; ++k) squares += (x[k] - mean) * (x[k] - mean) / D;
      sigma_[n] = std::sqrt(squares + 1e-5);
      for (std::size_t k = 0; k < D; ++k) {
        xhat_[n * D + k] = (x[k] - mean) / sigma_[n];
        const double e = gamma_.value[k] * xhat_[n * D + k] + beta_.value[k] - t_[n * D + k];
        sum += e * e / 2;
      }
    }
    return sum / B;
  }

 private:
  static constexpr std::size_t B = 6, D = 5;

  void differentiate() override {
    loss();
    for (std::size_t n = 0; n < B; ++n) {
      const double* xhat = &xhat_[n * D];
      std::array<double, D> dy, d;
      double sum = 0, along = 0;
      for (std::size_t k = 0; k < D; ++k) {
        dy[k] = (gamma_.value[k] * xhat[k] + beta_.value[k] - t_[n * D + k]) / B;
        d[k] = bug("gamma missing in dx") ? dy[k] : dy[k] * gamma_.value[k];
        sum += d[k] / D;
        along += d[k] * xhat[k] / D;
      }
      if (bug("mean term missing")) sum = 0;
      if (bug("variance term missing")) along = 0;
      if (bug("variance over D - 1")) along *= D / (D - 1.0);
      for (std::size_t k = 0; k < D; ++k) {
        double& dgamma = gamma_.gradient[k];
        dgamma = (bug("gamma of the last row only") ? 0 : dgamma) +
                 dy[k] * (bug("x for xhat in dgamma") ? x_.value[n * D + k] : xhat[k]);
        if (!bug("beta of the first row only") || n == 0) beta_.gradient[k] += dy[k];
        const double s = bug("1 / sigma missing")    ? 1
                         : bug("variance for sigma") ? sigma_[n] * sigma_[n]
                                                     : sigma_[n];
        x_.gradient[n * D + k] = (d[k] - sum - xhat[k] * along) / s;
      }
    }
    if (bug("beta has gamma's gradient")) beta_.gradient = gamma_.gradient;
  }

  Array& x_ = array("x", {B, D}, 11, 1.0);
  Array& gamma_ = array("gamma", {D}, 17, 0.8);
  Array& beta_ = array("beta", {D}, 9, 0.3);
  const Vector t_ = noise(B * D, 7, 0.8);
  Vector xhat_ = Vector(B * D), sigma_ = Vector(B);
};

/// Rows of a table, id 1 three times, ids 4 and 6 never; loss = sum of (tanh row - y)^2 / 2 divided
/// by T B.
class Embedding final : public Model {
 public:
  Embedding() { sizes = {{"T", T}, {"B", B}, {"V", V}, {"D", D}}; }

  double loss() override {
    double sum = 0;
    for (std::size_t k = 0; k < T * B * D; ++k) {
      const double e = std::tanh(table_.value[ids[k / D] * D + k % D]) - y_[k];
      sum += e * e / 2;
    }
    return sum / (T * B);
  }

 private:
  static constexpr std::size_t T = 4, B = 2, V = 7, D = 3;
  static constexpr std::array<std::size_t, T* B> ids = {1, 3, 1, 0, 5, 3, 1, 2};

  void differentiate() override {
    Vector& d = table_.gradient;
    for (std::size_t k = 0; k < T * B * D; ++k) {
      const std::size_t n = k / D, from = bug("ids read batch first") ? n % T * B + n / T : n;
      const double y = std::tanh(table_.value[ids[n] * D + k % D]);
      const double dy = (y - y_[k]) * (1 - y * y) / (T * B);
      const auto uses = static_cast<double>(std::ranges::count(ids, ids[n]));
      double& to = d[(ids[from] + bug("row off by one")) % V * D + k % D];
      if (bug("duplicates overwritten")) to = 0;
      to += bug("divided by the number of uses") ? dy / uses : dy;
    }
    if (bug("row 0 taken for padding")) std::fill_n(d.begin(), D, 0.0);
    for (std::size_t k = 0; k < V * D && bug("weight decay of all rows"); ++k) {
      d[k] += 0.01 * table_.value[k];
    }
    if (bug("unused rows not zero")) std::fill_n(d.begin() + 4 * D, D, 0.01);
  }

  Array& table_ = array("table", {V, D}, 11, 1.0);
  const Vector y_ = noise(T * B * D, 7, 0.8);
};

/// softmax(Q K^T / sqrt(D)) V, position t sees s <= t; loss = sum of (out - y)^2 / 2 divided by T.
class Attention final : public Model {
 public:
  Attention() { sizes = {{"T", T}, {"D", D}}; }

  double loss() override {
    double sum = 0;
    for (std::size_t t = 0; t < T; ++t) {
      double total = 0, *p = &p_[t * T];
      for (std::size_t s = 0; s <= t; ++s) total += p[s] = std::exp(score(t, s));
      for (std::size_t s = 0; s <= t; ++s) p[s] /= total;
      for (std::size_t k = 0; k < D; ++k) {
        double out = 0;
        for (std::size_t s = 0; s <= t; ++s) out += p[s] * v_.value[s * D + k];
        error_[t * D + k] = out - y_[t * D + k];
        sum += error_[t * D + k] * error_[t * D + k] / 2;
      }
    }
    return sum / T;
  }

 private:
  static constexpr std::size_t T = 4, D = 3;

  double score(std::size_t t, std::size_t s) const {
    double dot = 0;
    for (std::size_t k = 0; k < D; ++k) dot += q_.value[t * D + k] * k_.value[s * D + k];
    return dot / std::sqrt(D);
  }

  void differentiate() override {
    loss();
    double scale = 1 / std::sqrt(D);
    if (bug("scale missing")) scale = 1;
    if (bug("scale twice")) scale *= scale;
    for (std::size_t t = 0; t < T; ++t) {
      std::array<double, T> dp{};
      double sum = 0;
      for (std::size_t s = 0; s <= t; ++s) {
        for (std::size_t k = 0; k < D; ++k) dp[s] += error_[t * D + k] / T * v_.value[s * D + k];
        sum += p_[t * T + s] * dp[s];
      }
      if (bug("sum missing in the softmax")) sum = 0;
      const std::size_t seen = bug("mask ignored") ? T : t + 1;
      for (std::size_t s = 0; s < seen; ++s) {
        const double p = s > t ? std::exp(score(t, s)) / T : p_[t * T + s];
        const double ds = p * (dp[s] - sum) * scale;
        for (std::size_t k = 0; k < D; ++k) {
          q_.gradient[t * D + k] += ds * k_.value[s * D + k];
          k_.gradient[s * D + k] += ds * q_.value[t * D + k];
          const std::size_t to = bug("P not transposed in dV") ? t : s;
          const std::size_t from = bug("P not transposed in dV") ? s : t;
          if (s <= t) v_.gradient[to * D + k] += p * error_[from * D + k] / T;
        }
      }
    }
    if (bug("dQ and dK exchanged")) std::swap(q_.gradient, k_.gradient);
    if (bug("K detached")) k_.gradient.assign(T * D, 0);
  }

  Array& q_ = array("Q", {T, D}, 11, 1.0);
  Array& k_ = array("K", {T, D}, 17, 0.9);
  Array& v_ = array("V", {T, D}, 9, 0.8);
  const Vector y_ = noise(T * D, 7, 0.8);
  Vector p_ = Vector(T * T), error_ = Vector(T * D);
};

/// Mean of x over the steps that a row has, then tanh(W mean + b); loss = sum of (... - y)^2 / 2
/// divided by B.
class MeanOverTime final : public Model {
 public:
  MeanOverTime() { sizes = {{"T", T}, {"B", B}, {"D", D}, {"V", V}}; }

  double loss() override {
    double sum = 0;
    for (std::size_t b = 0; b < B; ++b) {
      for (std::size_t k = 0; k < D; ++k) {
        double& m = mean_[b * D + k] = 0;
        for (std::size_t t = 0; t < lengths[b]; ++t) {
          m += x_.value[(t * B + b) * D + k] / static_cast<double>(lengths[b]);
        }
      }
      for (std::size_t v = 0; v < V; ++v) {
        double z = b_.value[v];
        for (std::size_t k = 0; k < D; ++k) z += w_.value[v * D + k] * mean_[b * D + k];
        out_[b * V + v] = std::tanh(z);
        sum += (out_[b * V + v] - y_[b * V + v]) * (out_[b * V + v] - y_[b * V + v]) / 2;
      }
    }
    return sum / B;
  }

 private:
  static constexpr std::size_t T = 5, B = 3, D = 2, V = 4;
  static constexpr std::array<std::size_t, B> lengths = {5, 3, 4};

  void differentiate() override {
    loss();
    for (std::size_t b = 0; b < B; ++b) {
      for (std::size_t v = 0; v < V; ++v) {
        const double y = out_[b * V + v], dz = (y - y_[b * V + v]) * (1 - y * y) / B;
        b_.gradient[v] += dz;
        auto length = static_cast<double>(lengths[b]);
        if (bug("divided by T")) length = T;
        if (bug("sum for mean in dx")) length = 1;
        for (std::size_t k = 0; k < D; ++k) {
          w_.gradient[v * D + k] +=
              dz * (bug("last x for the mean") ? x_.value[((lengths[b] - 1) * B + b) * D + k]
                                               : mean_[b * D + k]);
          const std::size_t last = bug("padding not masked") ? T : lengths[b];
          for (std::size_t t = bug("last step only") ? last - 1 : 0; t < last; ++t) {
            x_.gradient[(t * B + b) * D + k] += dz * w_.value[v * D + k] / length;
          }
        }
      }
    }
  }

  Array& x_ = array("x", {T, B, D}, 11, 1.0);
  Array& w_ = array("weight", {V, D}, 17, 0.9);
  Array& b_ = array("bias", {V}, 9, 0.3);
  const Vector y_ = noise(B * V, 7, 0.8);
  Vector mean_ = Vector(B * D), out_ = Vector(B * V);
};

}  // namespace

std::unique_ptr<Model> make_softmax_classifier() { return std::make_unique<SoftmaxClassifier>(); }
std::unique_ptr<Model> make_layer_norm() { return std::make_unique<LayerNorm>(); }
std::unique_ptr<Model> make_embedding() { return std::make_unique<Embedding>(); }
std::unique_ptr<Model> make_attention() { return std::make_unique<Attention>(); }
std::unique_ptr<Model> make_mean_over_time() { return std::make_unique<MeanOverTime>(); }

}  // namespace tapegrad::testing::planted
