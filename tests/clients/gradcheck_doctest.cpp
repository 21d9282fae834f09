// The checker in doctest: the second test case fails.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "gradcheck_lstm.h"

TEST_CASE("right") {
  Lstm net(false);
  CHECK(check(net));
}

TEST_CASE("wrong") {
  Lstm net(true);
  CHECK(check(net));
}
