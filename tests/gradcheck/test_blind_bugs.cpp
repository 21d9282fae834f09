#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "../../autograd/gradcheck/gradcheck.h"
#include "../support/is_one_of.h"
#include "blind_bugs.h"

TEST_SUITE_BEGIN("gradients");

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

GradcheckReport check(const blind::Case& c) {
  const auto model = c.make();
  model->bug = c.bug;
  model->loss();
  model->backward();
  std::vector<GradBlock> blocks;
  for (blind::Block* b : model->blocks) {
    blocks.push_back(grad_block(b->name, b->value.v, b->gradient.v, b->shape));
    blocks.back().gates = b->gates;
  }
  GradcheckOptions options;
  for (const blind::Size& s : model->sizes) options.sizes.push_back({s.name, s.size});
  return gradcheck([&] { return model->loss(); }, blocks, options);
}

}  // namespace

TEST_CASE("gradcheck: correct models of the blind bugs pass") {
  for (const blind::Case& c : blind::correct()) {
    const GradcheckReport report = check(c);
    CHECK_MESSAGE(report, c.why, "\n", report.text());
  }
}

TEST_CASE("gradcheck: bugs planted without knowing the diagnosis are found, in the right blocks") {
  // What the diagnosis calls them is reported only: neither was written for the other.
  std::string table;
  std::size_t cases = 0, cases_named = 0, blocks = 0, blocks_named = 0;
  for (const blind::Case& c : blind::planted()) {
    const GradcheckReport report = check(c);
    REQUIRE_MESSAGE(report.verdict == Verdict::fail, c.bug, ": ", c.why, "\n", report.text());
    std::size_t named = 0;
    std::string row;
    for (const GradBlockSummary& b : report.blocks) {
      const auto wrong = std::find_if(c.wrong.begin(), c.wrong.end(), [&](const blind::Wrong& w) {
        return w.block == b.block.name;
      });
      REQUIRE_MESSAGE((b.failed > 0) == (wrong != c.wrong.end()), c.bug, ": ", c.why, "\n",
                      report.text());
      if (wrong == c.wrong.end()) continue;
      const std::string word = b.diagnosis.substr(0, b.diagnosis.find(':'));
      const bool right = is_one_of(wrong->classes, word);
      named += right;
      row += fmt::format("{}{} {}{}", row.empty() ? "" : ", ", b.block.name, word,
                         right ? "" : fmt::format(" (expected {})", wrong->classes));
    }
    table += fmt::format("\n{} {}: {}", named == c.wrong.size() ? '+' : '-', c.bug, row);
    cases += 1, cases_named += named == c.wrong.size();
    blocks += c.wrong.size(), blocks_named += named;
  }
  MESSAGE(cases, " bugs in ", blocks, " blocks, all found; class as expected in ", blocks_named,
          " blocks, and in all blocks of ", cases_named, " bugs", table);
}

TEST_SUITE_END();
