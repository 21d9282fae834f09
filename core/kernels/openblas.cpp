#include <cblas.h>
#include <sys/mman.h>

#include <algorithm>
#include <concepts>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <new>
#include <string_view>

#include "../fork-inl.h"
#include "openblas-inl.h"

namespace tapegrad::kernels {
namespace {

CBLAS_TRANSPOSE to_cblas(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }

/// Room for what OpenBLAS takes of memory. It works in a buffer of 128 MiB for each call under way,
/// keeps it for later calls, and while it gets none it asks again, for ever (0.3.21). So a call for which
/// there is no room waits until another one leaves its buffer.
class Buffers {
 public:
  /// Has OpenBLAS take its first one.
  void require_one() {
    const std::lock_guard lock(mutex());
    if (count_ > 0) return;
    if (!is_room()) throw std::bad_alloc();
    // How it splits the work would depend on the number of its threads, and the bits on that.
    openblas_set_num_threads(1);
    const float one = 1;
    float product = 0;  // not by gemm, which needs no buffer for so little
    cblas_ssymm(CblasRowMajor, CblasLeft, CblasUpper, 1, 1, 1, &one, 1, &one, 1, 0, &product, 1);
    count_ = 1;
  }

  void acquire() {
    std::unique_lock lock(mutex());
    if (used_ == count_ && is_room()) ++count_;
    released_.wait(lock, [this] { return used_ < count_; });
    ++used_;
  }
  void release() {
    const std::lock_guard lock(mutex());
    --used_;
    released_.notify_one();
  }

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static bool is_room() {
    constexpr std::size_t size = std::size_t{144} << 20;  // a buffer and some more
    void* const p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    munmap(p, size);
    return true;
  }

  const bool held_in_fork_ = hold_in_fork<mutex>();
  std::condition_variable released_;
  std::size_t count_ = 0, used_ = 0;
};

/// Never destroyed: products may be made until the process ends.
Buffers& buffers() {
  static Buffers& b = *new Buffers;
  return b;
}

}  // namespace

void prepare_openblas() { buffers().require_one(); }

template <class T>
void openblas_product(Transpose ta, Transpose tb, std::size_t m, std::size_t n, std::size_t k,
                      const T* a, std::size_t lda, const T* b, std::size_t ldb, T beta, T* c,
                      std::size_t ldc) {
  struct Buffer {
    Buffer() { buffers().acquire(); }
    ~Buffer() { buffers().release(); }
  } const buffer;
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
