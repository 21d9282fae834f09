// Tells the language of a family name, from its letters.
//
//   command:            build/release/short_names FOLDER     with a file for each language, a name a line
//   expected last line: accuracy 0.84

#include <fmt/core.h>
#include <tapegrad/tapegrad.h>

#include <sstream>

using namespace tapegrad;

struct Classifier {
  Embedding embed;
  GRU gru;
  Linear head;
  Dropout dropout{0.4};
  void visit(auto&& v) { v("embed", embed), v("gru", gru), v("head", head), v("dropout", dropout); }
  Var operator()(Tape& tape, const PaddedSequences& x) const {
    const Var letters = dropout(tape, embed(tape, x.values, x.lengths));
    const auto [y, last] = gru(tape, letters, gru.zero_state(letters.size(1)), x.lengths);
    return head(tape, dropout(tape, gru.last_output(last)));
  }
};

int main(int /*argc*/, char** argv) {
  const auto [names, languages] = read_labelled_lines(argv[1]);
}
