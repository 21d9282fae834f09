// The checker in GoogleTest, linked with gtest_main: the second test fails.
#include <gtest/gtest.h>

#include "gradcheck_lstm.h"

TEST(Lstm, Right) {
  Lstm net(false);
  const auto report = check(net);
  EXPECT_TRUE(report) << report;
}

TEST(Lstm, Wrong) {
  Lstm net(true);
  const auto report = check(net);
  EXPECT_TRUE(report) << report;
}
