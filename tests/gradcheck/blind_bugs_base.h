#pragma once

/// What the models of blind_bugs.h are made of: rows of numbers, four products, and a
/// Model. Needs the standard library only.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tapegrad::testing::blind {

using std::size_t;
using View = std::span<double>;
using Const = std::span<const double>;
using Numbers = std::vector<double>;

/// Rows of n numbers.
struct Rows {
  size_t n = 0;
  Numbers v;

  Rows(size_t rows, size_t width) : n(width), v(rows * width) {}
  View operator[](size_t r) { return View(v).subspan(r * n, n); }
  Const operator[](size_t r) const { return Const(v).subspan(r * n, n); }
  size_t rows() const { return v.size() / n; }
};

/// The same numbers for everybody: minstd_rand is fixed by the standard. In [-scale, scale).
inline void fill(Rows& rows, unsigned seed, double scale) {
  std::minstd_rand draw(seed);
  draw.discard(10);
  for (double& v : rows.v) v = scale * (2 * static_cast<double>(draw()) / 2147483647.0 - 1);
}

inline double sigmoid(double a) { return 1 / (1 + std::exp(-a)); }

inline double dot(Const a, Const b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// y += s x
inline void add(View y, Const x, double s = 1) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += s * x[i];
}

/// y += W x, with the rows of W from `first` on
inline void add_product(View y, const Rows& W, Const x, size_t first = 0) {
  for (size_t i = 0; i < y.size(); ++i) y[i] += dot(W[first + i], x);
}

/// x += W^T y
inline void add_transposed(View x, const Rows& W, Const y, size_t first = 0) {
  for (size_t i = 0; i < y.size(); ++i) add(x, W[first + i], y[i]);
}

/// dW += y x^T
inline void add_outer(Rows& dW, Const y, Const x, size_t first = 0) {
  for (size_t i = 0; i < y.size(); ++i) add(dW[first + i], x, y[i]);
}

/// log sum exp
inline double log_sum(Const a) {
  double sum = 0;
  for (const double v : a) sum += std::exp(v);
  return std::log(sum);
}

inline double half_square(Const y, Const target) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += (y[i] - target[i]) * (y[i] - target[i]) / 2;
  return sum;
}

struct Block {
  std::string name;
  std::vector<size_t> shape;
  std::vector<std::string> gates;
  Rows value, gradient;

  Block(std::string name_, std::vector<size_t> shape_, unsigned seed, double scale,
        std::vector<std::string> gates_ = {})
      : name(std::move(name_)),
        shape(std::move(shape_)),
        gates(std::move(gates_)),
        value(size_of(shape) / shape.back(), shape.back()),
        gradient(value) {
    fill(value, seed, scale);
    std::fill(gradient.v.begin(), gradient.v.end(), 0.0);
  }
  static size_t size_of(const std::vector<size_t>& shape) {
    size_t n = 1;
    for (const size_t s : shape) n *= s;
    return n;
  }
};

struct Size {
  std::string name;
  size_t size;
};

/// loss() keeps what backward() needs; backward() makes the mistake named `bug`, if it has one.
struct Model {
  std::string_view bug;
  std::vector<Block*> blocks;
  std::vector<Size> sizes;

  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;
  virtual double loss() = 0;
  virtual void backward() = 0;
};

}  // namespace tapegrad::testing::blind
