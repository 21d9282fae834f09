#pragma once

/// Small models of plain arrays with their backward by hand, and the ways in which such code goes
/// wrong: what a gradient checker must find, and say where. Needs the standard library only.
///
/// A new bug is an `if (bug("its name"))` in a model and a line of the catalogue in
/// planted_bugs.cpp; the tests do the rest.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tapegrad::testing::planted {

using Vector = std::vector<double>;

/// Values beside what backward() claims of them; row-major.
struct Array {
  std::string name;
  std::vector<std::size_t> shape;
  std::vector<std::string> gates;  ///< names of the equal parts of the first axis, or none
  Vector value, gradient;
};

class Model {
 public:
  virtual ~Model() = default;
  virtual double loss() = 0;
  /// Sets all gradients, with that bug; "": right.
  void backward(std::string_view bug);

  /// All arrays, one after the other.
  Vector values() const;
  void set_values(std::span<const double> x);
  Vector gradient() const;

  std::deque<Array> arrays;
  std::vector<std::pair<std::string, std::size_t>> sizes;  ///< {"T", 5}, ...

 protected:
  virtual void differentiate() = 0;
  /// Whether backward() has this bug.
  bool bug(std::string_view name) const { return bug_ == name; }
  Array& array(const char* name, std::vector<std::size_t> shape, std::uint32_t seed,
               double amplitude, std::vector<std::string> gates = {});

 private:
  std::string bug_;
};

std::unique_ptr<Model> make_lstm();                ///< T 5, B 2, I 3, H 4, dropout of x
std::unique_ptr<Model> make_gru();                 ///< T 5, B 2, I 3, H 4
std::unique_ptr<Model> make_bidirectional();       ///< tanh, T 4, B 2, I 3, H 2
std::unique_ptr<Model> make_softmax_classifier();  ///< cross entropy, B 6, V 5, one row ignored
std::unique_ptr<Model> make_layer_norm();          ///< B 6, D 5
std::unique_ptr<Model> make_embedding();           ///< T 4, B 2, V 7, D 3
std::unique_ptr<Model> make_attention();           ///< one head, causal, T 4, D 3
std::unique_ptr<Model> make_mean_over_time();      ///< T 5, B 3, D 2, V 4, lengths 5, 3, 4

struct ModelCase {
  std::string name;
  std::unique_ptr<Model> (*make)();
};
const std::vector<ModelCase>& models();

/// A bug, which blocks it makes wrong, and what is wrong there, as a class of
/// autograd/gradcheck/diagnosis-inl.h; where two describe it equally well, both: "part|mask".
struct Bug {
  std::string model;
  std::string name;
  std::vector<std::pair<std::string, std::string>> wrong;
};
const std::vector<Bug>& bugs();

/// Uniform in [-amplitude, amplitude).
Vector noise(std::size_t size, std::uint32_t seed, double amplitude);

}  // namespace tapegrad::testing::planted
