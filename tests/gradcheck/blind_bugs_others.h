#pragma once

#include <array>

#include "blind_bugs_base.h"

/// Models of language, classes, attention and labels in plain loops, with a backward pass written
/// by hand and mistakes in it.
namespace tapegrad::testing::blind {

/// Language model, h = tanh(W e + U h + b), whose embedding is its output matrix too (Press and
/// Wolf 2017); mean cross-entropy. Token 0 pads; here it is only ever a wrong answer.
struct TiedLM : Model {
  static constexpr size_t T = 4, B = 3, V = 6, D = 3;
  static constexpr std::array<size_t, T * B> id{1, 2, 3, 1, 1, 2, 4, 1, 2, 5, 2, 1};
  static constexpr std::array<size_t, T * B> target{1, 1, 2, 4, 1, 2, 5, 2, 1, 3, 3, 4};
  Block E{"E", {V, D}, 31, 0.9}, W{"W", {D, D}, 32, 0.9}, U{"U", {D, D}, 33, 0.9};
  Block b{"b", {D}, 34, 0.5}, c{"c", {V}, 35, 0.5};
  Rows h{(T + 1) * B, D}, logit{T * B, V};

  TiedLM() {
    blocks = {&E, &W, &U, &b, &c};
    sizes = {{"T", T}, {"B", B}};
  }
  double loss() override {
    double sum = 0;
    for (size_t n = 0; n < T * B; ++n) {
      const View next = h[n + B];
      std::copy(b.value.v.begin(), b.value.v.end(), next.begin());
      add_product(next, W.value, E.value[id[n]]);
      add_product(next, U.value, h[n]);
      for (double& v : next) v = std::tanh(v);
      std::copy(c.value.v.begin(), c.value.v.end(), logit[n].begin());
      add_product(logit[n], E.value, next);
      sum += log_sum(logit[n]) - logit[n][target[n]];
    }
    return sum / (T * B);
  }
  void backward() override {
    Rows dh{B, D}, share{V, D};  // share: of E as the input
    for (size_t n = T * B; n-- > 0;) {
      const size_t k = n % B;
      Numbers d(V);
      for (size_t j = 0; j < V; ++j) {
        d[j] = std::exp(logit[n][j] - log_sum(logit[n])) - (j == target[n] ? 1 : 0);
        d[j] /= bug == "tied: mean over the batch, not over the steps" ? 1.0 * B : 1.0 * T * B;
        if (bug == "tied: log-likelihood instead of loss") d[j] = -d[j];
      }
      if (bug != "tied: share of the output forgotten") add_outer(E.gradient, d, h[n + B]);
      add(c.gradient[0], d);
      add_transposed(dh[k], E.value, d);
      for (size_t j = 0; j < D; ++j) dh[k][j] *= 1 - h[n + B][j] * h[n + B][j];
      const Numbers da(dh[k].begin(), dh[k].end());
      add_outer(W.gradient, da, E.value[id[n]]);
      add_outer(U.gradient, da, h[n]);
      add(b.gradient[0], da);
      if (bug == "tied: repeated tokens overwrite each other") {
        std::fill(share[id[n]].begin(), share[id[n]].end(), 0.0);
      }
      add_transposed(share[id[n]], W.value, da);
      std::fill(dh[k].begin(), dh[k].end(), 0.0);
      add_transposed(dh[k], U.value, da);
    }
    add(E.gradient.v, share.v);
    if (bug == "tied: row of the padding token cleared") {
      std::fill(E.gradient[0].begin(), E.gradient[0].end(), 0.0);
    }
    if (bug == "tied: weight decay in the gradient") {
      for (Block* block : {&W, &U}) add(block->gradient.v, block->value.v, 0.01);
    }
    if (bug == "tied: checked after clipping the norm") {
      double square = 0;
      for (const Block* block : blocks) square += dot(block->gradient.v, block->gradient.v);
      for (Block* block : blocks) {
        for (double& g : block->gradient.v) g *= 0.1 / std::sqrt(square);
      }
    }
  }
};

/// Classifier: linear, layer norm (Ba, Kiros and Hinton 2016), tanh, linear; mean cross-entropy.
struct NormClassifier : Model {
  static constexpr size_t B = 4, I = 3, H = 5, K = 3;
  static constexpr std::array<size_t, B> label{2, 0, 1, 2};
  Block W1{"W1", {H, I}, 41, 0.9}, b1{"b1", {H}, 42, 0.5}, gamma{"gamma", {H}, 43, 1};
  Block beta{"beta", {H}, 44, 0.5}, W2{"W2", {K, H}, 45, 0.9}, b2{"b2", {K}, 46, 0.5};
  Rows x{B, I}, raw{B, H}, norm{B, H}, act{B, H}, logit{B, K}, width{B, 1};

  NormClassifier() {
    blocks = {&W1, &b1, &gamma, &beta, &W2, &b2};
    sizes = {{"B", B}};
    fill(x, 47, 1);
  }
  double loss() override {
    double sum = 0;
    for (size_t n = 0; n < B; ++n) {
      std::copy(b1.value.v.begin(), b1.value.v.end(), raw[n].begin());
      add_product(raw[n], W1.value, x[n]);
      double mean = 0, square = 0;
      for (const double v : raw[n]) mean += v / H;
      for (const double v : raw[n]) square += (v - mean) * (v - mean) / H;
      width[n][0] = std::sqrt(square + 1e-5);
      for (size_t j = 0; j < H; ++j) {
        norm[n][j] = (raw[n][j] - mean) / width[n][0];
        act[n][j] = std::tanh(gamma.value[0][j] * norm[n][j] + beta.value[0][j]);
      }
      std::copy(b2.value.v.begin(), b2.value.v.end(), logit[n].begin());
      add_product(logit[n], W2.value, act[n]);
      sum += log_sum(logit[n]) - logit[n][label[n]];
    }
    return sum / B;
  }
  void backward() override {
    for (size_t n = 0; n < B; ++n) {
      Numbers d(K), da(H), dz(H);
      for (size_t j = 0; j < K; ++j) {
        d[j] = (std::exp(logit[n][j] - log_sum(logit[n])) - (j == label[n] ? 1 : 0)) / B;
      }
      add_outer(W2.gradient, d, act[n]);
      if (bug == "norm: tail of the vector loop left out") {
        for (size_t j = 0; j < K; ++j) W2.gradient[j][H - 1] = 0;  // H = 4 + 1
      }
      if (bug == "norm: output bias assigned at each row") b2.gradient = Rows(1, K);
      add(b2.gradient[0], d);
      add_transposed(da, W2.value, d);
      double mean = 0, along = 0;
      for (size_t j = 0; j < H; ++j) {
        da[j] *= 1 - act[n][j] * act[n][j];
        dz[j] = da[j] * gamma.value[0][j];
        gamma.gradient[0][j] +=
            da[j] * (bug == "norm: dgamma with the raw values" ? raw : norm)[n][j];
        mean += dz[j] / H;
        along += dz[j] * norm[n][j] / H;
      }
      add(beta.gradient[0], da);
      for (size_t j = 0; j < H; ++j) {
        if (bug != "norm: mean and variance taken as constants") dz[j] -= mean + norm[n][j] * along;
        dz[j] /= width[n][0];
      }
      add_outer(W1.gradient, dz, x[n]);
      add(b1.gradient[0], dz);
    }
    if (bug == "norm: output weights kept as (in, out)") {
      const Rows right = W2.gradient;
      for (size_t i = 0; i < K; ++i) {
        for (size_t j = 0; j < H; ++j) W2.gradient.v[j * K + i] = right[i][j];
      }
    }
    if (bug == "norm: gradients of two passes summed") {
      for (Block* block : blocks) add(block->gradient.v, Numbers(block->gradient.v));
    }
    if (bug == "norm: dbeta added to the values") add(beta.gradient[0], beta.value[0]);
  }
};

/// Additive attention over the valid steps (Bahdanau et al. 2015): s = v tanh(A h), a = softmax s,
/// y = w sum a h; squares, mean over the batch.
struct AttentionPooling : Model {
  static constexpr size_t T = 5, B = 2, H = 3, D = 4;
  static constexpr std::array<size_t, B> length{5, 3};
  Block h{"h", {T, B, H}, 51, 1}, A{"A", {D, H}, 52, 0.9}, v{"v", {D}, 53, 0.9};
  Block w{"w", {H}, 54, 0.9};
  Rows u{T * B, D}, context{B, H}, weight{B, T}, y{B, 1}, target{B, 1};

  AttentionPooling() {
    blocks = {&h, &A, &v, &w};
    sizes = {{"T", T}, {"B", B}};
    fill(target, 55, 2);
  }
  double loss() override {
    double sum = 0;
    for (size_t k = 0; k < B; ++k) {
      Numbers score(length[k]);
      context[k][0] = context[k][1] = context[k][2] = 0;
      for (size_t t = 0; t < T; ++t) {
        const View q = u[t * B + k];
        std::fill(q.begin(), q.end(), 0.0);
        add_product(q, A.value, h.value[t * B + k]);
        for (double& e : q) e = std::tanh(e);
        if (t < length[k]) score[t] = dot(v.value[0], q);
      }
      for (size_t t = 0; t < length[k]; ++t) {
        weight[k][t] = std::exp(score[t] - log_sum(score));
        add(context[k], h.value[t * B + k], weight[k][t]);
      }
      y[k][0] = dot(w.value[0], context[k]);
      sum += half_square(y[k], target[k]);
    }
    return sum / B;
  }
  void backward() override {
    for (size_t k = 0; k < B; ++k) {
      const double dy = (y[k][0] - target[k][0]) / B;
      add(w.gradient[0], context[k], dy);
      Numbers dweight(T);
      double mean = 0;
      for (size_t t = 0; t < length[k]; ++t) {
        dweight[t] = dy * dot(w.value[0], h.value[t * B + k]);
        mean += weight[k][t] * dweight[t];
      }
      // What lies past the length still has a weight, if the mask is forgotten here: that of step
      // 0.
      const bool unmasked = bug == "attention: context's gradient given to padded steps";
      for (size_t t = 0; t < (unmasked ? T : length[k]); ++t) {
        const size_t n = t * B + k;
        if (bug != "attention: only the scores lead back to h") {
          add(h.gradient[n], w.value[0], dy * weight[k][t < length[k] ? t : 0]);
        }
        if (t >= length[k]) continue;
        double ds = weight[k][t] * (dweight[t] - mean);
        if (bug == "attention: softmax taken entry by entry") {
          ds = weight[k][t] * (1 - weight[k][t]) * dweight[t];
        }
        add(v.gradient[0], u[n], ds);
        Numbers da(D);
        for (size_t j = 0; j < D; ++j) da[j] = ds * v.value[0][j] * (1 - u[n][j] * u[n][j]);
        add_outer(A.gradient, da, h.value[n]);
        add_transposed(h.gradient[n], A.value, da);
      }
    }
  }
};

/// Highway layer, y = s n + (1 - s) x with n = tanh, s = sigmoid (Srivastava et al. 2015); log
/// cosh.
struct Highway : Model {
  static constexpr size_t B = 3, D = 4;
  Block x{"x", {B, D}, 61, 1}, Wn{"W_n", {D, D}, 62, 0.9}, bn{"b_n", {D}, 63, 0.5};
  Block Ws{"W_s", {D, D}, 64, 0.9}, bs{"b_s", {D}, 65, 0.5};
  Rows n{B, D}, s{B, D}, raw{B, D}, y{B, D};

  Highway() {
    blocks = {&x, &Wn, &bn, &Ws, &bs};
    sizes = {{"B", B}};
  }
  double loss() override {
    double sum = 0;
    for (size_t k = 0; k < B; ++k) {
      std::copy(bn.value.v.begin(), bn.value.v.end(), n[k].begin());
      std::copy(bs.value.v.begin(), bs.value.v.end(), raw[k].begin());
      add_product(n[k], Wn.value, x.value[k]);
      add_product(raw[k], Ws.value, x.value[k]);
      for (size_t j = 0; j < D; ++j) {
        n[k][j] = std::tanh(n[k][j]);
        s[k][j] = sigmoid(raw[k][j]);
        y[k][j] = s[k][j] * n[k][j] + (1 - s[k][j]) * x.value[k][j];
        sum += std::log(std::cosh(y[k][j]));
      }
    }
    return sum;
  }
  void backward() override {
    for (size_t k = 0; k < B; ++k) {
      Numbers dn(D), ds(D);
      for (size_t j = 0; j < D; ++j) {
        const double dy = std::tanh(y[k][j]), xj = x.value[k][j];
        const double sj = s[k][j], nj = n[k][j];
        ds[j] = dy * (bug == "highway: gate's gradient x - n" ? xj - nj : nj - xj) * sj * (1 - sj);
        if (bug == "highway: sigmoid' of the value before") {
          ds[j] = dy * (nj - xj) * raw[k][j] * (1 - raw[k][j]);
        }
        dn[j] = dy * sj * (bug == "highway: tanh' without the square" ? 1 - nj : 1 - nj * nj);
        if (bug != "highway: carry leads nowhere") x.gradient[k][j] += dy * (1 - sj);
      }
      add_outer(Wn.gradient, dn, x.value[k]);
      add_outer(Ws.gradient, ds, x.value[k]);
      add(bn.gradient[0], dn);
      add(bs.gradient[0], ds, bug == "highway: gate's bias added twice" ? 2 : 1);
      add_transposed(x.gradient[k], Wn.value, dn);
      add_transposed(x.gradient[k], Ws.value, ds);
    }
  }
};

/// Linear-chain CRF (Lafferty et al. 2001): log Z - score of the labels; gradient: marginals of the
/// forward-backward algorithm minus the labels. trans(i, j): from i to j.
struct ChainCRF : Model {
  static constexpr size_t T = 6, K = 3;
  static constexpr std::array<size_t, T> label{0, 2, 1, 1, 2, 1};
  Block emit{"emissions", {T, K}, 71, 1}, trans{"transitions", {K, K}, 72, 1};
  Rows alpha{T, K};

  ChainCRF() {
    blocks = {&emit, &trans};
    sizes = {{"T", T}};
  }
  double loss() override {
    double score = 0;
    for (size_t t = 0; t < T; ++t) {
      for (size_t j = 0; j < K; ++j) {
        Numbers path(K);
        for (size_t i = 0; i < K && t > 0; ++i) path[i] = alpha[t - 1][i] + trans.value[i][j];
        alpha[t][j] = emit.value[t][j] + (t > 0 ? log_sum(path) : 0);
      }
      score += emit.value[t][label[t]] + (t > 0 ? trans.value[label[t - 1]][label[t]] : 0);
    }
    return log_sum(alpha[T - 1]) - score;
  }
  void backward() override {
    const double log_z = log_sum(alpha[T - 1]);
    const bool late = bug == "crf: emissions one step late";
    Rows beta{T, K};
    for (size_t t = T; t-- > 0;) {
      for (size_t i = 0; i < K; ++i) {
        Numbers path(K);
        for (size_t j = 0; j < K && t + 1 < T; ++j) {
          path[j] = trans.value[i][j] + emit.value[t + 1][j] + beta[t + 1][j];
          const double p = std::exp(alpha[t][i] + path[j] - log_z);
          const double d = p - (label[t] == i && label[t + 1] == j ? 1 : 0);
          (bug == "crf: transitions from and to exchanged" ? trans.gradient[j][i]
                                                           : trans.gradient[i][j]) += d;
        }
        beta[t][i] = t + 1 < T ? log_sum(path) : 0;
        const double d = std::exp(alpha[t][i] + beta[t][i] - log_z) - (label[t] == i ? 1 : 0);
        if (!late || t + 1 < T) emit.gradient[t + (late ? 1 : 0)][i] = d;
        if (bug == "crf: labels not subtracted") emit.gradient[t][i] += label[t] == i ? 1 : 0;
      }
    }
  }
};

}  // namespace tapegrad::testing::blind
