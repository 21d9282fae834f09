#pragma once

// Ends the compilation in one line: a file that is not there is fatal, after #error hundreds of
// lines would follow.
#if __cplusplus <= 201703L
#define TAPEGRAD_LANGUAGE "#error tapegrad needs C++20: compile with -std=c++20"
#include TAPEGRAD_LANGUAGE
#endif
