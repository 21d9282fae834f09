#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/machine.cpp"  // Highway includes it for each target
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tapegrad::HWY_NAMESPACE {
namespace {

const char* target() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace tapegrad::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <string_view>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "kernels/openblas-inl.h"
#include "machine.h"
#include "threads.h"

namespace tapegrad {
namespace {

HWY_EXPORT(target);

/// The brand string of CPUID.
std::string processor() {
#if defined(__x86_64__) || defined(__i386__)
  constexpr unsigned first = 0x80000002, last = 0x80000004;
  std::array<unsigned, 12> words{};
  for (unsigned leaf = first; leaf <= last; ++leaf) {
    unsigned* const w = &words[4 * (leaf - first)];
    if (__get_cpuid(leaf, &w[0], &w[1], &w[2], &w[3]) == 0) return "unknown";
  }
  std::array<char, sizeof words + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof words);
  const std::string_view brand(text.data());  // padded with blanks, on either side
  const std::size_t begin = brand.find_first_not_of(' ');
  if (begin == std::string_view::npos) return "unknown";
  return std::string(brand.substr(begin, brand.find_last_not_of(' ') + 1 - begin));
#else
  return "unknown";
#endif
}

std::string instruction_set() {
  const std::string_view name = HWY_DYNAMIC_DISPATCH(target)();
  return name.starts_with("AVX3") ? fmt::format("AVX-512 ({})", name) : std::string(name);
}

/// Tests whether these are the kernels that OpenBLAS takes for a processor newer than itself, and
/// slow on it.
bool is_fallback([[maybe_unused]] std::string_view core) {
#if HWY_ARCH_X86
  constexpr std::string_view fallbacks[] = {"Prescott", "Nehalem", "Barcelona"};
  // Not hwy::SupportedTargets(): in Highway 1.0.3 that undoes a choice of targets.
  return __builtin_cpu_supports("avx2") != 0 &&
         std::ranges::find(fallbacks, core) != std::end(fallbacks);
#else
  return false;
#endif
}

std::string counted(std::size_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

}  // namespace

std::string describe_machine() {
  const kernels::OpenblasBuild openblas = kernels::openblas_build();
  const std::string large =
      fmt::format("matmul of at least {:g}e9 operations", kernels::least_openblas_operations / 1e9);
  return fmt::format(
      "CPU: {}, {} for this process, {}\n"
      "tapegrad's kernels: {}, all but {}\n"
      "OpenBLAS: {}, kernels for {}{}, {}, one thread for each block\n",
      processor(), counted(detail::cores(), "core"), counted(threads(), "thread"),
      instruction_set(), large, openblas.version, openblas.core,
      is_fallback(openblas.core) ? " (it does not know this CPU)" : "", large);
}

}  // namespace tapegrad
#endif
