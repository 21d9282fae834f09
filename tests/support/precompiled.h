// No #pragma once: g++ compiles this file by itself and warns of one.
#ifndef TAPEGRAD_TESTS_PRECOMPILED_H
#define TAPEGRAD_TESTS_PRECOMPILED_H

/// Parsed once for all tests: what most of them include, to save the time of parsing. A test includes what it uses
/// all the same. gradcheck/ is missing on purpose, because some tests include gradcheck.hpp in its place.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "../../autograd/node.h"
#include "../../core/error.h"
#include "../../core/rng.h"

#endif
