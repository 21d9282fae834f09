// A language model of the Penn Treebank's words in 50 lines. It trains for two minutes; stopped (Ctrl-C) and started again, it goes
// on where it was.
//
//   command:            build/release/short_ptb FOLDER      with ptb.train.txt, ptb.valid.txt and ptb.test.txt
//   expected last line: perplexity 140 of 82430 words

#include <fmt/core.h>
#include <tapegrad/tapegrad.h>

#include <sstream>

using namespace tapegrad;

std::vector<std::string> words(const std::string& path) {
  std::vector<std::string> words;
  std::istringstream lines(read_text_file(path));
  for (std::string line, word; std::getline(lines, line); words.emplace_back("<eos>"))
    for (std::istringstream in(line); in >> word;) words.push_back(word);
  return words;
}

struct WordLM {
  Embedding embed;
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("embed", embed), v("lstm", lstm), v("head", head); }
};

int main(int, char** argv) {
  const std::vector<std::vector<std::string>> train{words(argv[1] + std::string("/ptb.train.txt"))};
  const WordVocabulary vocabulary(train);
  const std::size_t V = vocabulary.size(), H = 200, B = 20, T = 20;
  Rng rng(1);
  WordLM model{{V, H, rng}, {{.input = H, .hidden = H}, rng}, {H, V, rng}};
  Adam adam(parameters(model), {.lr = 4e-3});
  const auto run = [&](Tape& tape, const Tensor& ids, const LSTMState& state) {
    return model.lstm(tape, model.embed, ids, state);
  };
  TruncatedBPTT bptt(model.lstm.zero_state(B), {.k1 = T});
  TrainingLoop loop;
  TimeLimit limit(120);
  Progress progress;
  SignalGuard guard;
  Checkpoint checkpoint("ptb.state", [&](Archive& a) {
    a("loop", loop), a("model", parameters(model)), a("adam", adam), a("bptt", bptt), a("limit", limit);
  });
  checkpoint.resume();
  loop.run(100, StreamWindows(vocabulary.encode(train[0]), T, B), [&](const Window& window) {
    if (window.first) bptt.start(model.lstm.zero_state(B));
    Tape tape;
    const Var loss = linear_cross_entropy(tape, model.head, bptt(tape, run, window.inputs), window.targets);
    adam.zero_grad();
    tape.backward(loss);
    adam.set_learning_rate(4e-3 * (1 - limit.used()));
    adam.step({.clip_norm = 1});
    return loss.item();
  }, limit, progress, guard, checkpoint);

  Perplexity perplexity;
  const std::vector<std::string> test = words(argv[1] + std::string("/ptb.test.txt"));
  LSTMState state = model.lstm.zero_state(1);
  for (const auto& [ids, targets, first] : StreamWindows(vocabulary.encode(test), 1000, 1)) {
    Tape tape = Tape::inference();
    const auto [y, next] = run(tape, ids, state);
    perplexity.add(linear_cross_entropy(tape, model.head, y, targets).item(), targets.numel());
    state = next;
  }
  fmt::print("test perplexity {:.1f}\n", perplexity.value());
}
