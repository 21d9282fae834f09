// Commits one fault on purpose, so that .ci/run can see that the tool for it is on and stops it.
// usage: canary address|undefined|cast|leak|assertion|thread|unwritten|none

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
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
  } else if (fault == "cast") {
    const volatile double large = 1e10;
    sink = static_cast<int>(large);
  } else if (fault == "leak") {
    for (int i = 0; i < 16; ++i) sink = *new int(argc);  // one may be left in a register
  } else if (fault == "assertion") {
    const std::vector<int> heap(2, argc);
    sink = heap[static_cast<std::size_t>(argc)];
  } else if (fault == "thread") {
    int shared = 0;
    std::thread other([&] { shared = argc; });
    shared = sink;
    other.join();
    sink = shared;
  } else if (fault == "unwritten") {
    int* const volatile raw = static_cast<int*>(std::malloc(4 * sizeof(int)));
    if (raw[argc] > 0) sink = 0;
    std::free(raw);
  } else if (fault != "none") {
    std::fputs("usage: canary address|undefined|cast|leak|assertion|thread|unwritten|none\n",
               stderr);
    return 2;
  }
  return 0;
}
