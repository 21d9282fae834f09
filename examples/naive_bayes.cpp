#include "naive_bayes.h"

#include <algorithm>
#include <cmath>

namespace examples {

using namespace tapegrad;

std::vector<std::string> ngrams(const std::vector<std::string>& symbols, std::size_t order) {
  std::vector<std::string> marked{"^"}, features;
  marked.insert(marked.end(), symbols.begin(), symbols.end());
  marked.emplace_back("$");
  for (std::size_t begin = 0; begin < marked.size(); ++begin) {
    std::string run;
    for (std::size_t k = begin; k < std::min(begin + order, marked.size()); ++k) {
      run += marked[k] + '\n';
      features.push_back(run);
    }
  }
  return features;
}

NaiveBayes::NaiveBayes(const Texts& texts, const Tensor& labels, std::size_t classes, double alpha)
    : alpha_(alpha), log_prior_(classes), total_(classes) {
  const auto ids = labels.values<std::int32_t>();
  std::vector<double> texts_of(classes);
  for (std::size_t n = 0; n < texts.size(); ++n) {
    const auto c = static_cast<std::size_t>(ids[n]);
    ++texts_of[c];
    for (const std::string& feature : texts[n]) {
      ++counts_.try_emplace(feature, classes).first->second[c];
      ++total_[c];
    }
  }
  const auto all = static_cast<double>(texts.size() + classes);
  for (std::size_t c = 0; c < classes; ++c) log_prior_[c] = std::log((texts_of[c] + 1) / all);
}

Tensor NaiveBayes::classify(const Texts& texts) const {
  Tensor ids = Tensor::empty({texts.size()}, DType::int32);
  const double spread = alpha_ * static_cast<double>(counts_.size());
  for (std::size_t n = 0; n < texts.size(); ++n) {
    std::vector<double> score = log_prior_;
    for (const std::string& feature : texts[n]) {
      const auto found = counts_.find(feature);
      if (found == counts_.end()) continue;
      for (std::size_t c = 0; c < score.size(); ++c)
        score[c] += std::log((found->second[c] + alpha_) / (total_[c] + spread));
    }
    ids.mutable_data<std::int32_t>()[n] =
        static_cast<std::int32_t>(std::ranges::max_element(score) - score.begin());
  }
  return ids;
}

}  // namespace examples
