#pragma once

#include "../../layers/embedding.h"
#include "../../layers/linear.h"
#include "../../layers/recurrent/lstm.h"

namespace tapegrad::testing {

/// The model of README.md.
struct CharLM {
  Embedding embed;
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("embed", embed), v("lstm", lstm), v("head", head); }
};

/// The same for sequences of numbers.
struct SequenceModel {
  LSTM lstm;
  Linear head;
  void visit(auto&& v) { v("lstm", lstm), v("head", head); }
};

}  // namespace tapegrad::testing
