// Commits one fault on purpose, so that .ci/run can see that a sanitizer stops it. Built in
// sanitizer builds only. usage: canary address|undefined|none

#include <climits>
#include <cstdio>
#include <string_view>
#include <vector>

int main(int argc, char** argv) {
  const std::string_view fault = argc == 2 ? argv[1] : "";
  // volatile and argc keep the compiler from seeing the fault, or from removing it.
  volatile int sink = argc;
  if (fault == "address") {
    const std::vector<int> heap(4, argc);
    sink = heap.data()[sink + 2];  // argc is 2: one past the end
  } else if (fault == "undefined") {
    sink = INT_MAX - 1 + sink;
  } else if (fault != "none") {
    std::fputs("usage: canary address|undefined|none\n", stderr);
    return 2;
  }
  return 0;
}
