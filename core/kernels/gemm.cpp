#include "gemm.h"

#include <cblas.h>
#include <algorithm>
#include <concepts>
#include <limits>
#include <string_view>

#include "../dispatch-inl.h"
#include "../fail-inl.h"
#include "../flush_subnormals-inl.h"
#include "../scratch-inl.h"
#include "../threads.h"
#include "parallel-inl.h"

namespace tapegrad::kernels {
namespace {

/// A matrix as it lies in memory, and whether it is read transposed.
template <class T>
struct Operand {
  Transpose transpose;
  const T* data;
  std::size_t stride;  // between stored rows

  /// The rows, or columns, of op(X) from `index` on.
  const T* from_row(std::size_t index) const {
    return data + (transpose == Transpose::yes ? index : index * stride);
  }
  const T* from_column(std::size_t index) const {
    return data + (transpose == Transpose::yes ? index * stride : index);
  }
};

CBLAS_TRANSPOSE to_cblas(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }

// Runs of k that are summed in float32, see sum_of_runs(). A small result has short ones, because it
// may be made by a kernel that adds one term after the other.
constexpr std::size_t small_result = 4096;  // elements of C
constexpr std::size_t small_run = 256;
constexpr std::size_t large_run = 16384;

/// OpenBLAS takes sizes as `blasint`, 32 bits as a rule, and would compute with what is left of a
/// larger one.
blasint to_blas(std::string_view name, std::size_t size) {
  constexpr auto largest = static_cast<std::size_t>(std::numeric_limits<blasint>::max());
  if (size > largest) {
    fail<ShapeError>("gemm", "{} = {} but a size is at most {}: split the product", name, size,
                     largest);
  }
  return static_cast<blasint>(size);
}

/// OpenBLAS would print a line and leave C as it is.
void check_stride(std::string_view name, std::size_t stride, std::size_t columns) {
  if (stride < columns) {
    fail<ShapeError>("gemm", "{} = {} but a stored row has {} elements: it must be at least that",
                     name, stride, columns);
  }
}

/// One thread inside OpenBLAS: how it splits the work would depend on the number of its threads,
/// and the bits of the result on that.
void make_openblas_serial() {
  [[maybe_unused]] static const bool once = (openblas_set_num_threads(1), true);
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

/// One block of C on this thread.
template <class T>
void block_product(std::size_t m, std::size_t n, std::size_t k, T alpha, const Operand<T>& a,
                   const Operand<T>& b, T beta, T* c, std::size_t ldc) {
  const auto call = [&](auto* cblas_gemm) {
    cblas_gemm(CblasRowMajor, to_cblas(a.transpose), to_cblas(b.transpose), to_blas("m", m),
               to_blas("n", n), to_blas("k", k), alpha, a.data, to_blas("lda", a.stride), b.data,
               to_blas("ldb", b.stride), beta, c, to_blas("ldc", ldc));
  };
  if constexpr (std::same_as<T, float>) {
    call(cblas_sgemm);
  } else {
    call(cblas_dgemm);
  }
}

/// True if k terms are more than float32 adds up well. OpenBLAS keeps sums of some hundred terms in
/// registers and adds them to C one after the other; its kernels for small products (SkylakeX) add
/// all terms one after the other. 10^6 equal terms were wrong by 6e-5 and by 1e-2 of their sum.
template <class T>
bool needs_runs(std::size_t m, std::size_t n, std::size_t k) {
  return sizeof(T) == 4 && k > (m * n <= small_result ? 4 * small_run : 4 * large_run);
}

/// The same block as a sum of products over runs of k, which are added in double: the error is that
/// of one run, whatever k is. `parts` and `totals`: (m, n) each, scratch.
template <class T>
void sum_of_runs(std::size_t m, std::size_t n, std::size_t k, std::size_t run, T alpha,
                 const Operand<T>& a, const Operand<T>& b, T beta, T* c, std::size_t ldc, T* parts,
                 double* totals) {
  std::fill_n(totals, m * n, 0.0);
  for (std::size_t begin = 0; begin < k; begin += run) {
    block_product<T>(m, n, std::min(run, k - begin), 1,
                     {a.transpose, a.from_column(begin), a.stride},
                     {b.transpose, b.from_row(begin), b.stride}, 0, parts, n);
    for (std::size_t i = 0; i < m * n; ++i) totals[i] += static_cast<double>(parts[i]);
  }
  for (std::size_t i = 0; i < m; ++i, c += ldc) {
    for (std::size_t j = 0; j < n; ++j) {
      const T product = alpha * static_cast<T>(totals[i * n + j]);
      c[j] = beta == T{0} ? product : product + beta * c[j];
    }
  }
}

constexpr double least_operations = 4e6;  // below, waking a thread costs more than it saves

double operations(std::size_t m, std::size_t n, std::size_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

/// How many rows (or columns, if C is wider than high) one block of C has. A function of the sizes
/// alone. Every block packs the whole other operand anew, so blocks are no smaller than
/// `least_length`.
std::size_t block_length(std::size_t m, std::size_t n, std::size_t k) {
  constexpr std::size_t least_length = 256;
  constexpr std::size_t most_blocks = 8;
  constexpr std::size_t tile = 64;  // a multiple of the tiles of all of OpenBLAS's kernels
  const std::size_t length = std::max(m, n);
  if (operations(m, n, k) < least_operations) return length;
  const std::size_t even = std::max(least_length, (length + most_blocks - 1) / most_blocks);
  return (even + tile - 1) / tile * tile;
}

/// How many products of a stack one thread makes at a time.
std::size_t products_per_block(std::size_t m, std::size_t n, std::size_t k) {
  return 1 + static_cast<std::size_t>(least_operations / std::max(1.0, operations(m, n, k)));
}

/// True where OpenBLAS would write elsewhere: its kernel for small products C = A^T B (0.3.21,
/// SkylakeX) counts the elements between the rows of C in 32 bits. Never for a C without gaps,
/// whose product is not small then.
bool rows_too_far_apart(std::size_t m, std::size_t n, std::size_t k, std::size_t ldc) {
  constexpr std::size_t far = std::size_t{1} << 25;  // 64 rows of a tile times this are 2^31
  constexpr double small = 1e7;  // OpenBLAS takes products of up to 1e6 for small
  return m > 1 && ldc >= far &&
         static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) <= small;
}

}  // namespace

template <class T>
void gemm(Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k, T alpha,
          const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c, std::size_t ldc) {
  const FlushSubnormals guard;
  check_stride("lda", lda, ta == Transpose::yes ? m : k);
  check_stride("ldb", ldb, tb == Transpose::yes ? k : n);
  check_stride("ldc", ldc, n);
  if (m == 0 || n == 0) return;
  if (k == 0) return scale_rows(m, n, beta, c, ldc);
  // All sizes now, not in a block: nothing is to be half-written.
  to_blas("m", m), to_blas("n", n), to_blas("k", k);
  to_blas("lda", lda), to_blas("ldb", ldb), to_blas("ldc", ldc);
  make_openblas_serial();

  const Operand<T> left{ta, a, lda};
  const Operand<T> right{tb, b, ldb};
  if (rows_too_far_apart(m, n, k, ldc)) {
    for (std::size_t i = 0; i < m; ++i) {
      gemm<T>(ta, tb, 1, n, k, alpha, left.from_row(i), lda, b, ldb, beta, c + i * ldc, n);
    }
    return;
  }
  const std::size_t length = std::max(m, n);
  const std::size_t block = block_length(m, n, k);
  const bool in_runs = needs_runs<T>(m, n, k);
  const std::size_t run = m * n <= small_result ? small_run : large_run;
  const Scratch<T> parts(in_runs ? m * n : 0);  // may throw: before anything is written
  const Scratch<double> totals(in_runs ? m * n : 0);
  T* const part = parts.get();
  double* const total = totals.get();
  // `offset`: where the block's scratch begins.
  const auto product = [&](std::size_t rows, std::size_t columns, const Operand<T>& x,
                           const Operand<T>& y, T* to, std::size_t offset) {
    if (!in_runs) return block_product(rows, columns, k, alpha, x, y, beta, to, ldc);
    sum_of_runs(rows, columns, k, run, alpha, x, y, beta, to, ldc, part + offset, total + offset);
  };
  parallel_tasks((length + block - 1) / block, [&](std::size_t i) {
    const std::size_t begin = i * block;
    const std::size_t size = std::min(block, length - begin);
    if (m >= n) {
      product(size, n, {ta, left.from_row(begin), lda}, right, c + begin * ldc, begin * n);
    } else {
      product(m, size, left, {tb, right.from_column(begin), ldb}, c + begin, begin * m);
    }
  });
}

template void gemm<float>(Transpose, Transpose, std::size_t, std::size_t, std::size_t, float,
                          const float*, std::size_t, const float*, std::size_t, float, float*,
                          std::size_t);
template void gemm<double>(Transpose, Transpose, std::size_t, std::size_t, std::size_t, double,
                           const double*, std::size_t, const double*, std::size_t, double, double*,
                           std::size_t);

void gemm(Transpose ta, Transpose tb, double alpha, const Tensor& a, const Tensor& b, double beta,
          Tensor& c) {
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
        gemm<T>(ta, tb, m, n, k, static_cast<T>(alpha), left + i * m * k, a.size(column),
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
  gemm(ta, tb, 1, a, b, 0, c);
  return c;
}

}  // namespace tapegrad::kernels
