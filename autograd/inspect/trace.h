#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "../parameters.h"
#include "../tape.h"
#include "observer.h"

namespace tapegrad {

/// Writes a pass as it flows: a line for every value recorded, and, while a sweep runs, a line for
/// every gradient that is complete.
///
///     Trace trace(tape, [](std::string_view line) { std::puts(std::string(line).c_str()); });
///     const Var y = trace.name("y", tanh(x));     #1 = tanh(x) = [0.76, 0.96]
///     tape.backward(sum(y));                      dy = [1, 1]
///
/// For small examples: it formats every number it shows.
class Trace : public Observer {
 public:
  using Line = std::function<void(std::string_view line)>;

  /// Shows what happens on `tape` from now on. `elements`: how many numbers of a
  /// tensor are shown.
  Trace(Tape& tape, Line line, std::size_t elements = 6);
  /// Calls a value by a name from now on; returns it. Constants have no line, so no name either.
  Var name(const std::string& name, const Var& v);
  /// Calls the leaves of Parameters by their names from now on.
  void name(const Parameters& parameters);

  void on_value(const NodeView& node, std::size_t number, const Var& value) override;
  void on_gradient(const NodeView& node, std::size_t number, const Var& gradient) override;

 private:
  std::string called(std::size_t number) const;
  std::string numbers(const Var& v) const;

  Line line_;
  std::size_t elements_;
  std::map<std::size_t, std::string> names_;
  std::map<const ParameterData*, std::string> parameters_;
};

}  // namespace tapegrad
