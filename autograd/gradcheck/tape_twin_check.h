#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "tape_gradcheck.h"

namespace tapegrad {

/// Difference between the float32 gradient of one Parameter and its twin's.
struct TwinBlock {
  std::string name;
  double error = 0;       ///< largest |float32 - float64|
  double bound = 0;       ///< allowed
  double scale = 0;       ///< largest |float64|
  std::size_t entry = 0;  ///< flat index of the largest error
};

/// Result of a twin check, worst block first. True if the formula passed and every block is within its
/// bound.
struct TwinReport {
  GradcheckReport formula;     ///< of the float64 twin
  std::size_t operations = 0;  ///< elements computed on the tape of the float32 model
  double loss_error = 0, loss_bound = 0;
  std::vector<TwinBlock> blocks;

  explicit operator bool() const;
  std::string text() const;
  friend std::ostream& operator<<(std::ostream& out, const TwinReport& report);
};

/// Checks a float32 model, which differences cannot: the formula in float64, on a twin of the same
/// weights, by gradcheck(); then the loss and the gradients of the float32 model against those of
/// the twin.
///
///     const Model twin = to(model, DType::float64);
///     CHECK(twin_check([&](Tape& t) { return loss(t, model, x); }, parameters(model),
///                      [&](Tape& t) { return loss(t, twin, x.to(DType::float64)); },
///                      parameters(twin)));
///
/// Rounding: each of the n elements on the tape is rounded, by up to eps/2 of its size (eps =
/// 2^-23), forward and again backward. These errors are independent of each other, so their sum
/// grows as sqrt(n) (Higham & Mary 2019, "A new approach to probabilistic rounding error
/// analysis"):
///
///     bound = eps (8 + sqrt(n)) sqrt(s S) + 8 p
///
/// with s = max |float64 gradient| of the block and S that of all blocks, because a slope 1 - y^2
/// of a saturated gate, which makes s small, has an error that is not small with it; and p the
/// largest change of a gradient in the block when all of the twin's weights are rounded at random
/// by up to eps/2, over four draws: what an ill-conditioned model makes of rounding. For the loss,
/// |loss| stands for sqrt(s S). The constants are ours. What is beyond a bound is wrong in float32
/// alone; a relative error of 1e-4 is beyond it in blocks that are not much smaller than the
/// largest, up to some 10^5 elements.
///
/// Both functions get training tapes of the same stream, so dropout masks are the same. Throws
/// DtypeError unless the Parameters are float32 and float64, UsageError unless they agree in names,
/// shapes, values and being frozen (frozen ones are not compared).
TwinReport twin_check(const std::function<Var(Tape&)>& single, const Parameters& single_parameters,
                      const std::function<Var(Tape&)>& twin, const Parameters& twin_parameters,
                      const GradcheckOptions& options = {});

}  // namespace tapegrad
