#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "blind_bugs_others.h"
#include "blind_bugs_recurrent.h"

/// Mistakes in backward passes, planted by an author who had not read the diagnosis that is to name
/// them, in models of his own. Expectations were written before the first run and follow the cause:
/// a step that is missing is `time`, even where the numbers alone cannot tell. Classes: zero,
/// factor, sign, doubled, transpose, gates, time, mask, value, part, other.
namespace tapegrad::testing::blind {

struct Wrong {
  std::string_view block;
  std::string_view classes;  ///< the expected class; `a|b` where the definitions fit both
};

struct Case {
  std::string_view bug;  ///< as backward() of the model compares it; empty: a correct model
  std::unique_ptr<Model> (*make)();
  std::vector<Wrong> wrong;  ///< all blocks whose gradient is wrong
  std::string_view why;
};

template <class M>
std::unique_ptr<Model> make() {
  return std::make_unique<M>();
}

inline std::vector<Case> correct() {
  return {{"", make<ProjectedLSTM>, {}, "LSTM with peepholes and projection"},
          {"", make<ResetBeforeGRU>, {}, "GRU, reset before the product, lengths"},
          {"", make<Bidirectional>, {}, "bidirectional Elman network"},
          {"", make<TiedLM>, {}, "language model with tied embedding"},
          {"", make<NormClassifier>, {}, "classifier with layer norm"},
          {"", make<AttentionPooling>, {}, "attention pooling with lengths"},
          {"", make<Highway>, {}, "highway layer"},
          {"", make<ChainCRF>, {}, "linear-chain CRF"}};
}

inline std::vector<Case> planted() {
  return {
      {"lstm: output peephole not followed into the cell",
       make<ProjectedLSTM>,
       {{"W", "other"},
        {"U", "other"},
        {"b", "other"},
        {"peephole", "other"},
        {"V", "other"},
        {"c0", "other"},
        {"r0", "other"}},
       "one term of dc is missing at each step, and all that is upstream of it is wrong"},
      {"lstm: output peephole on the old cell",
       make<ProjectedLSTM>,
       {{"peephole", "part"}},
       "i and f look at the old cell, o at the new one: only gate o is wrong"},
      {"lstm: gates in the order of another library",
       make<ProjectedLSTM>,
       {{"W", "gates"}, {"U", "gates"}, {"b", "gates"}},
       "i, f, o, g instead of i, f, g, o"},
      {"lstm: recurrent gradient turned in each gate",
       make<ProjectedLSTM>,
       {{"U", "transpose"}},
       "h da^T instead of da h^T, which fits because H = P"},
      {"lstm: cell state detached",
       make<ProjectedLSTM>,
       {{"W", "time"},
        {"U", "time"},
        {"b", "time"},
        {"peephole", "time"},
        {"V", "time"},
        {"c0", "zero"},
        {"r0", "time"}},
       "a detach() too many: c is cut at each step, and c0 hears nothing"},

      {"gru: mean over the batch forgotten",
       make<ResetBeforeGRU>,
       {{"W", "factor"}, {"U", "factor"}, {"b", "factor"}, {"x", "factor"}, {"h0", "factor"}},
       "all gradients B times too large"},
      {"gru: padded rows keep the gates' gradient of the row before",
       make<ResetBeforeGRU>,
       {{"x", "mask"}, {"U", "part"}, {"b", "other"}},
       "a buffer not cleared; W is saved by padding of zeros, gate n of U by r h = 0"},
      {"gru: update gate the other way round",
       make<ResetBeforeGRU>,
       {{"W", "other"}, {"U", "other"}, {"b", "other"}, {"x", "other"}, {"h0", "other"}},
       "papers differ in z or 1 - z: the sign of dz, which then spreads through dh"},
      {"gru: reset gate forgotten in dU",
       make<ResetBeforeGRU>,
       {{"U", "part"}},
       "da_n h^T instead of da_n (r h)^T: only gate n is wrong"},
      {"gru: initial state forgotten",
       make<ResetBeforeGRU>,
       {{"h0", "zero"}},
       "dh is left in the loop"},

      {"birnn: output weights assigned at each step",
       make<Bidirectional>,
       {{"V", "time"}},
       "= instead of +=: the last step's share alone"},
      {"birnn: forward loop ends before the first step",
       make<Bidirectional>,
       {{"W", "time"}, {"b", "time"}, {"x", "time|part"}},
       "t > 0 instead of t >= 0; U does not notice, as h is 0 before"},
      {"birnn: dx of the reverse direction not turned back",
       make<Bidirectional>,
       {{"x", "time"}},
       "the reverse direction's half of dx is written in the order of its loop"},
      {"birnn: dU of the reverse direction with the step before",
       make<Bidirectional>,
       {{"U_reverse", "time"}},
       "copied from the forward direction: h of t - 1 instead of t + 1"},
      {"birnn: both directions add to the forward bias",
       make<Bidirectional>,
       {{"b", "other"}, {"b_reverse", "zero"}},
       "copied and not renamed"},

      {"tied: mean over the batch, not over the steps",
       make<TiedLM>,
       {{"E", "factor"}, {"W", "factor"}, {"U", "factor"}, {"b", "factor"}, {"c", "factor"}},
       "all gradients T times too large"},
      {"tied: log-likelihood instead of loss",
       make<TiedLM>,
       {{"E", "sign"}, {"W", "sign"}, {"U", "sign"}, {"b", "sign"}, {"c", "sign"}},
       "target - p instead of p - target"},
      {"tied: share of the output forgotten",
       make<TiedLM>,
       {{"E", "other"}},
       "the matrix is used twice, and one use is missing from every row"},
      {"tied: repeated tokens overwrite each other",
       make<TiedLM>,
       {{"E", "part"}},
       "scatter with = instead of +=: rows 1 and 2 are wrong, their tokens come more than once"},
      {"tied: row of the padding token cleared",
       make<TiedLM>,
       {{"E", "mask|part"}},
       "right for an embedding alone, wrong where it is the output matrix too"},
      {"tied: weight decay in the gradient",
       make<TiedLM>,
       {{"W", "value"}, {"U", "value"}},
       "0.01 W added, which the loss does not have"},
      {"tied: checked after clipping the norm",
       make<TiedLM>,
       {{"E", "factor"}, {"W", "factor"}, {"U", "factor"}, {"b", "factor"}, {"c", "factor"}},
       "one factor for all blocks, that is no size"},

      {"norm: mean and variance taken as constants",
       make<NormClassifier>,
       {{"W1", "other"}, {"b1", "other"}},
       "two terms of the layer norm's backward are missing"},
      {"norm: dgamma with the raw values",
       make<NormClassifier>,
       {{"gamma", "other"}},
       "before, not after, the normalization"},
      {"norm: output bias assigned at each row",
       make<NormClassifier>,
       {{"b2", "other"}},
       "= instead of +=: the last row's share alone"},
      {"norm: output weights kept as (in, out)",
       make<NormClassifier>,
       {{"W2", "transpose"}},
       "the same number of entries in the other order"},
      {"norm: tail of the vector loop left out",
       make<NormClassifier>,
       {{"W2", "part|mask"}},
       "column 4 of 5 is zero: lanes of 4"},
      {"norm: gradients of two passes summed",
       make<NormClassifier>,
       {{"W1", "doubled|factor"},
        {"b1", "doubled|factor"},
        {"gamma", "doubled|factor"},
        {"beta", "doubled|factor"},
        {"W2", "doubled|factor"},
        {"b2", "doubled|factor"}},
       "zero_grad forgotten"},
      {"norm: dbeta added to the values",
       make<NormClassifier>,
       {{"beta", "value"}},
       "the gradient's buffer began as a copy of beta"},

      {"attention: softmax taken entry by entry",
       make<AttentionPooling>,
       {{"h", "other"}, {"A", "other"}, {"v", "other"}},
       "a (1 - a) instead of diag a - a a^T"},
      {"attention: only the scores lead back to h",
       make<AttentionPooling>,
       {{"h", "other"}},
       "h is used twice, and a da is missing"},
      {"attention: context's gradient given to padded steps",
       make<AttentionPooling>,
       {{"h", "mask"}},
       "the mask is applied to the scores, not to dh"},

      {"highway: gate's gradient x - n",
       make<Highway>,
       {{"W_s", "sign"}, {"b_s", "sign"}, {"x", "other"}},
       "y = s n + (1 - s) x: the minus taken from the wrong side; x has other paths"},
      {"highway: sigmoid' of the value before",
       make<Highway>,
       {{"W_s", "other"}, {"b_s", "other"}, {"x", "other"}},
       "a (1 - a) of the argument, not of the sigmoid"},
      {"highway: tanh' without the square",
       make<Highway>,
       {{"W_n", "other"}, {"b_n", "other"}, {"x", "other"}},
       "1 - n instead of 1 - n^2"},
      {"highway: carry leads nowhere",
       make<Highway>,
       {{"x", "other"}},
       "x is used three times, and one use is missing"},
      {"highway: gate's bias added twice",
       make<Highway>,
       {{"b_s", "doubled|factor"}},
       "once with the weights, once by itself"},

      {"crf: transitions from and to exchanged",
       make<ChainCRF>,
       {{"transitions", "transpose"}},
       "(to, from) is as common as (from, to)"},
      {"crf: emissions one step late",
       make<ChainCRF>,
       {{"emissions", "time"}},
       "counted from a start token that the emissions do not have"},
      {"crf: labels not subtracted",
       make<ChainCRF>,
       {{"emissions", "other"}},
       "marginals alone: one entry of each step is wrong by 1"},
  };
}

}  // namespace tapegrad::testing::blind
