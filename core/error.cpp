#include "error.h"

#include <cstdio>
#include <cstdlib>

namespace tapegrad {

void broken_invariant(std::string_view what) {
  std::fprintf(stderr,
               "tapegrad: broken invariant: %.*s. This is a bug of tapegrad; please report it.\n",
               static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace tapegrad
