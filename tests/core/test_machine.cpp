#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <cfenv>
#include <cstddef>
#include <cstring>
#include <regex>
#include <string>

#include "../../core/machine.h"
#include "../../core/pool.h"
#include "../../core/threads.h"
#include "../support/for_targets.h"
#include "../support/threads.h"

TEST_SUITE_BEGIN("numerics");

using namespace tapegrad;
using namespace tapegrad::testing;

TEST_CASE("describe_machine: three lines, what computes and who does what") {
  const Threads three(3);
  const std::string text = describe_machine();
  INFO(text);
  const std::regex form(
      R"(CPU: \S.*\S, [1-9]\d* cores? for this process, 3 threads\n)"
      R"(tapegrad's kernels: \S+( \(\w+\))?, all but matmul of at least 2e9 operations\n)"
      R"(OpenBLAS: \d+\.\d+\.\d+[\w.]*, kernels for \w+( \(it does not know this CPU\))?, )"
      R"(matmul of at least 2e9 operations, one thread for each block\n)");
  CHECK(std::regex_match(text, form));
  const std::string cores = std::to_string(detail::cores()) + " core";
  CHECK(text.find(", " + cores) != std::string::npos);
  set_threads(1);
  CHECK(describe_machine().find(", 1 thread\n") != std::string::npos);
}

TEST_CASE("describe_machine: the instruction set is the one that kernels take") {
  for_targets([](const std::string& target) {
    const std::string shown = target.starts_with("AVX3") ? "AVX-512 (" + target + ")" : target;
    const std::string text = describe_machine();
    CAPTURE(text);
    CHECK(text.find("\ntapegrad's kernels: " + shown + ", ") != std::string::npos);
  });
}

TEST_CASE("describe_machine: changes nothing") {
  describe_machine();  // as any kernel, the first call lets Highway choose its instruction set
  std::fenv_t before, after;
  std::fegetenv(&before);
  const std::string first = describe_machine();
  const auto target = hwy::GetChosenTarget().GetIndex();
  const std::size_t in_use = pool::usage().in_use, count = threads();
  CHECK(describe_machine() == first);
  std::fegetenv(&after);
  CHECK(std::memcmp(&before, &after, sizeof before) == 0);
  CHECK(hwy::GetChosenTarget().GetIndex() == target);
  CHECK(pool::usage().in_use == in_use);
  CHECK(threads() == count);
}

TEST_SUITE_END();
