// Tells the language of a family name from its letters.
//
//   command:            build/release/short_names FOLDER    with Arabic.txt, ..., a name a line
//   expected last line: accuracy 0.84

#include <fmt/core.h>
#include <tapegrad/tapegrad.h>

using namespace tapegrad;

struct Classifier {
  Embedding embed;
  GRU gru;
  Linear head;
  Dropout dropout{0.4};
  void visit(auto&& v) { v("embed", embed), v("gru", gru), v("head", head), v("drop", dropout); }
  Var operator()(Tape& tape, const PaddedSequences& names) const {
    const Var x = dropout(tape, embed(tape, names.values, names.lengths));
    const auto [y, last] = gru(tape, x, gru.zero_state(x.size(1)), names.lengths);
    return head(tape, dropout(tape, gru.last_output(last)));
  }
};

int main(int argc, char** argv) {
  if (argc != 2) return fmt::print(stderr, "short_names FOLDER\n"), 2;
  const LabelledTexts all = read_class_files(argv[1]);
  const auto parts = split_stratified(all.labels, {0.7, 0.3}, 1);
  const LabelledTexts train = all.subset(parts[0]), test = all.subset(parts[1]);
  const CharVocabulary letters(train.texts, TextUnit::characters, {.unknown = true});

  Rng rng(1);
  Classifier model{{letters.size(), 64, rng},
                   {{.input = 64, .hidden = 128, .bidirectional = true}, rng},
                   {256, all.classes.size(), rng}};
  Adam adam(parameters(model), {.lr = 3e-3});
  LearningRate lr(adam, schedule::polynomial(1), ScheduleTime::share);
  Batches batches(train.size(), 64, {.shuffle = 1});
  TrainingLoop loop;
  const auto step = [&](const auto& places) {
    const LabelledTexts names = train.subset(places);
    Tape tape = Tape::training({.pass = loop.step()});
    const Var logits = model(tape, letters.encode_batch(names.texts));
    const Var loss = cross_entropy(logits, names.labels, {.label_smoothing = 0.1});
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = 1});
    return loss.item();
  };
  loop.run(12, batches, step, lr, Progress());

  Tape tape = Tape::inference();
  Accuracy accuracy;
  accuracy.add(model(tape, letters.encode_batch(test.texts)).value(), test.labels);
  fmt::print("accuracy {:.4f}\n", accuracy.value());
}
