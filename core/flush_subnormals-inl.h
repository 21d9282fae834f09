#pragma once

#include <atomic>
#include <cstdint>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#pragma GCC visibility push(hidden)

namespace tapegrad {

/// Guard: while one lives, this thread's arithmetic reads subnormal numbers as 0 and writes 0 for
/// them. Gradients that vanish through time become subnormal, and each operation on such a number
/// costs Intel processors about 150 cycles.
///
/// Only these two bits of the control register change (x86: FTZ and DAZ of MXCSR; ARM: FZ of FPCR)
/// and come back in the destructor, also while an exception passes. Rounding mode and exception
/// masks are not touched. Sticky exception flags neither: those that were set stay set, and those
/// that the arithmetic in between raises remain afterwards, as without the guard.
///
/// Guards nest; an inner one costs a read of the register. parallel_tasks() runs its tasks with the
/// caller's control register, so one guard around the call covers all threads. A kernel makes its
/// guard before it looks at its options, so that a subnormal option counts as 0 throughout.
class FlushSubnormals {
 public:
  FlushSubnormals() noexcept : before_(read()) {
    if ((before_ & bits) != bits) write(before_ | bits);
  }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;
  ~FlushSubnormals() {
    if ((before_ & bits) != bits) write((read() & ~bits) | (before_ & bits));
  }

 private:
#if defined(__SSE__)
  using Register = std::uint32_t;
  static constexpr Register bits = 0x8040;  // FTZ, DAZ
  static Register read() noexcept { return _mm_getcsr(); }
  static void set(Register value) noexcept { _mm_setcsr(value); }
#elif defined(__aarch64__)
  using Register = std::uint64_t;
  static constexpr Register bits = std::uint64_t{1} << 24;  // FZ
  static Register read() noexcept {
    Register value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void set(Register value) noexcept { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else  // subnormal numbers are computed with, and may be slow
  using Register = unsigned;
  static constexpr Register bits = 0;
  static Register read() noexcept { return 0; }
  static void set(Register) noexcept {}
#endif

  /// The fences keep the compiler from moving loads and stores, and with them the arithmetic in
  /// between, across the change.
  static void write(Register value) noexcept {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    set(value);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  Register before_;
};

}  // namespace tapegrad

#pragma GCC visibility pop
