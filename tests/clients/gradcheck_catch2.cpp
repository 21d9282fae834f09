// The checker in Catch2, version 2 or 3: the second test case fails.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>  // linked with Catch2Main
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif

#include "gradcheck_lstm.h"

TEST_CASE("right") {
  Lstm net(false);
  CHECK(check(net));
}

TEST_CASE("wrong") {
  Lstm net(true);
  CHECK(check(net));
}
