#pragma once

#include "cxx20.h"

#include <string>

namespace tapegrad {

/// Returns what computes here, three lines for the head of a log or a report: the processor and the
/// threads, the instruction set of tapegrad's own kernels (Highway's name), the OpenBLAS that the
/// program is linked with, and what either of them computes. Changes nothing.
///
///     CPU: AMD EPYC 9R14, 2 cores for this process, 2 threads
///     tapegrad's kernels: AVX-512 (AVX3), all but matmul of at least 2e9 operations
///     OpenBLAS: 0.3.21, kernels for Zen, matmul of at least 2e9 operations, one thread for each block
///
/// The processor is "unknown" where CPUID does not name it. The kernels of OpenBLAS are followed by
/// "(it does not know this CPU)" if they are those that it takes for an unknown processor, on one
/// that has AVX2; OPENBLAS_CORETYPE=Haswell in the environment, or SkylakeX with AVX-512, is the cure.
std::string describe_machine();

}  // namespace tapegrad
