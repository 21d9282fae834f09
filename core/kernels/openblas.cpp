#include <cblas.h>

#include <algorithm>
#include <concepts>
#include <string_view>

#include "openblas-inl.h"

namespace tapegrad::kernels {
namespace {

CBLAS_TRANSPOSE to_cblas(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }

/// One thread inside OpenBLAS: how it splits the work would depend on the number of its threads,
/// and the bits of the result on that.
void make_openblas_serial() {
  [[maybe_unused]] static const bool once = (openblas_set_num_threads(1), true);
}

}  // namespace

template <class T>
void openblas_product(Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k,
                      const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c,
                      std::size_t ldc) {
  make_openblas_serial();
  const auto size = [](std::size_t count) { return static_cast<blasint>(count); };
  const auto call = [&](auto* cblas_gemm) {
    cblas_gemm(CblasRowMajor, to_cblas(ta), to_cblas(tb), size(m), size(n), size(k), T{1}, a,
               size(lda), b, size(ldb), beta, c, size(ldc));
  };
  if constexpr (std::same_as<T, float>) {
    call(cblas_sgemm);
  } else {
    call(cblas_dgemm);
  }
}

template void openblas_product(Transpose, Transpose, std::size_t, std::size_t, std::size_t,
                               const float*, std::size_t, const float*, std::size_t, float, float*,
                               std::size_t);
template void openblas_product(Transpose, Transpose, std::size_t, std::size_t, std::size_t,
                               const double*, std::size_t, const double*, std::size_t, double,
                               double*, std::size_t);

OpenblasBuild openblas_build() {
  std::string_view version =
      openblas_get_config();  // "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ..."
  version.remove_prefix(std::min(version.size(), version.find(' ') + 1));
  return {std::string(version.substr(0, version.find(' '))), openblas_get_corename()};
}

}  // namespace tapegrad::kernels
