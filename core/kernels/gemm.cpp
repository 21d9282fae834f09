#include "gemm.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../flush_subnormals-inl.h"
#include "../scratch-inl.h"
#include "../simd/product-inl.h"
#include "../threads.h"
#include "gemm-inl.h"
#include "openblas-inl.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {
namespace {

template <class T>
Strided<T> strided(Transpose t, const T* data, std::size_t stride) {
  return t == Transpose::yes ? Strided<T>{data, 1, stride} : Strided<T>{data, stride, 1};
}

void check_stride(std::string_view name, std::size_t stride, std::size_t columns) {
  if (stride < columns) {
    fail<ShapeError>("gemm", "{} = {} but a stored row has {} elements: it must be at least that",
                     name, stride, columns);
  }
}

/// C = beta C; C is not read for beta = 0.
template <class T>
void scale_rows(std::size_t m, std::size_t n, T beta, T* c, std::size_t ldc) {
  if (beta == T{1}) return;
  for (std::size_t i = 0; i < m; ++i, c += ldc) {
    if (beta == T{0}) {
      std::fill_n(c, n, T{0});
    } else {
      for (std::size_t j = 0; j < n; ++j) c[j] *= beta;
    }
  }
}

constexpr double least_operations = 4e6;  // below, waking a thread costs more than it saves

double operations(std::size_t m, std::size_t n, std::size_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

/// Number of rows (or columns, if C is wider than high) one block of C has; a function of the sizes
/// alone.
std::size_t block_length(std::size_t m, std::size_t n, std::size_t k) {
  constexpr std::size_t least_length = 256;
  constexpr std::size_t most_blocks = 8;
  constexpr std::size_t tile = 64;  // a multiple of the tiles of all of OpenBLAS's kernels
  const std::size_t length = std::max(m, n);
  if (operations(m, n, k) < least_operations) return length;
  const std::size_t even = std::max(least_length, (length + most_blocks - 1) / most_blocks);
  return (even + tile - 1) / tile * tile;
}

/// Number of products of a stack that one thread makes at a time.
std::size_t products_per_block(std::size_t m, std::size_t n, std::size_t k) {
  return 1 + static_cast<std::size_t>(least_operations / std::max(1.0, operations(m, n, k)));
}

/// Tests whether a product is left to OpenBLAS, by its sizes alone, all of which OpenBLAS can take.
template <class T>
bool suits_openblas(std::size_t m, std::size_t n, std::size_t k) {
  constexpr std::size_t largest = std::numeric_limits<std::int32_t>::max();
  return operations(m, n, k) >= least_openblas_operations && std::max({m, n, k}) <= largest &&
         k <= most_terms<T>;
}

template <class T>
void multiply(Large large, Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k,
              T alpha, const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c,
              std::size_t ldc) {
  const FlushSubnormals guard;
  check_stride("lda", lda, ta == Transpose::yes ? m : k);
  check_stride("ldb", ldb, tb == Transpose::yes ? k : n);
  check_stride("ldc", ldc, n);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale_rows(m, n, beta, c, ldc);

  // A sum of runs of k, which are added in double: the error is that of one run, whatever k is.
  const std::size_t run = k > most_terms<T> ? most_terms<T> / 4 : k;
  const bool direct = run == k && alpha == T{1} && (beta == T{0} || beta == T{1});
  const Scratch<T> parts(direct ? 0 : m * n);  // may throw: before anything is written
  const Scratch<double> totals(direct ? 0 : m * n);
  T* const to = direct ? c : parts.get();
  const std::size_t to_stride = direct ? ldc : n;
  const bool by_openblas = direct && large == Large::openblas && suits_openblas<T>(m, n, k);
  if (by_openblas) prepare_openblas();
  const std::size_t length = std::max(m, n), block = block_length(m, n, k);
  const std::size_t blocks = (length + block - 1) / block;

  for (std::size_t k0 = 0; k0 < k; k0 += run) {
    const std::size_t depth = std::min(run, k - k0);
    const Strided<T> left = strided(ta, a, lda).from(0, k0);
    const Strided<T> right = strided(tb, b, ldb).from(k0, 0);
    std::optional<Packed<T>> packed;
    if (!by_openblas) packed.emplace(depth, n, right);
    parallel_tasks(blocks, [&](std::size_t i) {
      const std::size_t begin = i * block, size = std::min(block, length - begin);
      const bool add = direct && beta == T{1};
      if (by_openblas) {
        const std::size_t row = m >= n ? begin : 0, column = m >= n ? 0 : begin;
        openblas_product<T>(ta, tb, m >= n ? size : m, m >= n ? n : size, k, left.from(row, 0).data,
                            lda, right.from(0, column).data, ldb, beta,
                            to + row * to_stride + column, to_stride);
      } else if (m >= n) {
        packed->multiply(size, left.from(begin, 0), add, to + begin * to_stride, to_stride);
      } else {
        const std::size_t first = packed->panels() * i / blocks;
        const std::size_t end = packed->panels() * (i + 1) / blocks;
        packed->multiply(m, left, first, end - first, add, to, to_stride);
      }
    });
    for_blocks(direct ? 0 : m * n, cheap_block, [&](std::size_t begin, std::size_t end) {
      for (std::size_t e = begin; e < end; ++e) {
        totals[e] = (k0 > 0 ? totals[e] : 0.0) + static_cast<double>(parts[e]);
      }
    });
  }
  for (std::size_t i = 0; !direct && i < m; ++i, c += ldc) {
    for (std::size_t j = 0; j < n; ++j) {
      const T product = alpha * static_cast<T>(totals[i * n + j]);
      c[j] = beta == T{0} ? product : product + beta * c[j];
    }
  }
}

}  // namespace

template <class T>
void gemm(Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k, T alpha,
          const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c, std::size_t ldc) {
  multiply<T>(Large::ours, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template void gemm<float>(Transpose, Transpose, std::size_t, std::size_t, std::size_t, float,
                          const float*, std::size_t, const float*, std::size_t, float, float*,
                          std::size_t);
template void gemm<double>(Transpose, Transpose, std::size_t, std::size_t, std::size_t, double,
                           const double*, std::size_t, const double*, std::size_t, double, double*,
                           std::size_t);

void gemm(Transpose ta, Transpose tb, double alpha, const Tensor& a, const Tensor& b, double beta,
          Tensor& c, Large large) {
  if (c.numel() == 0) return;
  const std::size_t row = c.rank() - 2, column = c.rank() - 1;
  const std::size_t m = c.size(row), n = c.size(column);
  const std::size_t k = a.size(ta == Transpose::yes ? row : column);
  const std::size_t products = product(c.shape().dims().first(row));
  dispatch_float(c.dtype(), [&]<class T>(T) {
    const T* left = a.data<T>();
    const T* right = b.data<T>();
    T* to = c.mutable_data<T>();
    for_blocks(products, products_per_block(m, n, k), [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        multiply<T>(large, ta, tb, m, n, k, static_cast<T>(alpha), left + i * m * k, a.size(column),
                    right + i * k * n, b.size(column), static_cast<T>(beta), to + i * m * n, n);
      }
    });
  });
}

Tensor matmul(const Tensor& a, const Tensor& b, Transpose ta, Transpose tb) {
  const std::size_t row = a.rank() - 2, column = a.rank() - 1;
  const std::size_t m = a.size(ta == Transpose::yes ? column : row);
  const std::size_t n = b.size(tb == Transpose::yes ? row : column);
  // The columns first: (..., m, m), on the other way there, may be too large to exist.
  Tensor c = Tensor::empty(a.shape().with(column, n).with(row, m), a.dtype());
  gemm(ta, tb, 1, a, b, 0, c, Large::openblas);
  return c;
}

}  // namespace tapegrad::kernels
