// The one .cpp of a program that holds the checker itself. That the declarations have been read
// before does not matter.
#include <tapegrad/gradcheck.hpp>
#define TAPEGRAD_GRADCHECK_IMPLEMENTATION
#include <tapegrad/gradcheck.hpp>

// Names that it uses inside are free for the program, even here.
struct Check {};
struct Part {};
struct Plan {};
struct Random {};
namespace stencil {
struct Line {};
}  // namespace stencil
using namespace tapegrad;
static_assert(sizeof(Check) + sizeof(Part) + sizeof(Plan) + sizeof(Random) + sizeof(stencil::Line) >
              0);
