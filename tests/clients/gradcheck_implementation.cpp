// The one .cpp of a program that holds the checker itself. That the declarations have been read
// before does not matter.
#include <tapegrad/gradcheck.hpp>
#define TAPEGRAD_GRADCHECK_IMPLEMENTATION
#include <tapegrad/gradcheck.hpp>
