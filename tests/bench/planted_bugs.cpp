// The planted bugs for callers from other languages: planted_bugs_torch.py compiles this file with
// tests/gradcheck/planted_*.cpp to a shared library. Models and bugs go by their number; values and gradients
// are all arrays of the model one after the other.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>

#include "../gradcheck/planted_bugs.h"

using namespace tapegrad::testing;

namespace {

planted::Model& model_of(const std::string& name) {
  static std::string current;
  static std::unique_ptr<planted::Model> model;
  if (name == current) return *model;
  for (const planted::ModelCase& m : planted::models()) {
    if (m.name == name) model = m.make();
  }
  current = name;
  return *model;
}

}  // namespace

extern "C" {

std::size_t planted_bug_count() { return planted::bugs().size(); }
const char* planted_bug_model(std::size_t bug) { return planted::bugs()[bug].model.c_str(); }
const char* planted_bug_name(std::size_t bug) { return planted::bugs()[bug].name.c_str(); }

std::size_t planted_array_count(const char* model) { return model_of(model).arrays.size(); }
std::size_t planted_array_size(const char* model, std::size_t k) {
  return model_of(model).arrays[k].value.size();
}

void planted_values(const char* model, double* x) {
  std::ranges::copy(model_of(model).values(), x);
}
double planted_loss(const char* model, const double* x) {
  model_of(model).set_values({x, model_of(model).values().size()});
  return model_of(model).loss();
}
/// bug "": right.
void planted_gradient(const char* model, const char* bug, const double* x, double* gradient) {
  planted_loss(model, x);
  model_of(model).backward(bug);
  std::ranges::copy(model_of(model).gradient(), gradient);
}
}
