// No #pragma once: g++ compiles this file by itself and warns of one.
#ifndef TAPEGRAD_AUTOGRAD_PRECOMPILED_INL_H
#define TAPEGRAD_AUTOGRAD_PRECOMPILED_INL_H

/// Parsed once for all files of the library, to save the time of parsing. A file includes what it uses all the same; who
/// builds with -Db_pch=false finds out.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "node.h"

#endif
