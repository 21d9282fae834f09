// A language model of the words of the Penn Treebank, which trains for two minutes. Stopped by Ctrl-C
// and started again, it goes on where it was.
//
//   command:            build/release/short_ptb ptb.train.txt ptb.test.txt
//   expected last line: perplexity 140

#include <fmt/core.h>
#include <tapegrad/tapegrad.h>

using namespace tapegrad;

struct WordLM {
  Embedding embed;
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("embed", embed), v("lstm", lstm), v("head", head); }
};

int main(int argc, char** argv) {
  if (argc != 3) return fmt::print(stderr, "short_ptb TRAIN TEST\n"), 2;
  const auto words = split_at_spaces(read_text_file(argv[1]), "<eos>");
  const auto test = split_at_spaces(read_text_file(argv[2]), "<eos>");
  const WordVocabulary vocabulary({&words, 1});

  const std::size_t V = vocabulary.size(), H = 200, B = 20, T = 20;
  Rng rng(1);
  WordLM model{{V, H, rng}, {{.input = H, .hidden = H}, rng}, {H, V, rng}};
  Adam adam(parameters(model), {.lr = 4e-3});
  const auto run = [&](Tape& tape, const Tensor& ids, const LSTMState& state) {
    return model.lstm(tape, model.embed, ids, state);
  };
  const auto loss_of = [&](Tape& tape, auto& stream, const Window& window) {
    return linear_cross_entropy(tape, model.head, stream(tape, run, window), window.targets);
  };
  TruncatedBPTT stream(model.lstm.zero_state(B), {.k1 = T});
  const auto train = [&](const Window& window) {
    Tape tape;
    const Var loss = loss_of(tape, stream, window);
    adam.zero_grad();
    tape.backward(loss);
    adam.step({.clip_norm = 1});
    return loss.item();
  };

  TrainingLoop loop;
  TimeLimit limit(120);
  LearningRate lr(adam, schedule::polynomial(1), ScheduleTime::share);
  Checkpoint checkpoint("ptb.state", [&](Archive& a) {
    a("loop", loop), a("model", parameters(model)), a("adam", adam), a("stream", stream);
    a("lr", lr), a("limit", limit);
  });
  checkpoint.resume();
  loop.run(100, StreamWindows(vocabulary.encode(words), T, B), train, lr, limit, Progress(),
           SignalGuard(), checkpoint);

  Perplexity perplexity;
  TruncatedBPTT reader(model.lstm.zero_state(1), {.k1 = 1000});
  Tape tape = Tape::inference();
  for (const Window& window : StreamWindows(vocabulary.encode(test), 1000, 1))
    perplexity.add(loss_of(tape, reader, window).item(), window.targets.numel());
  fmt::print("perplexity {:.1f}\n", perplexity.value());
}
