#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../autograd/ops/scan.h"
#include "../../autograd/tape.h"
#include "state.h"

namespace tapegrad {

/// The state that a cell carries from step to step: what its zero_state() returns.
template <class Cell>
using StateOf = std::remove_cvref_t<decltype(std::declval<const Cell&>().zero_state(1))>;

namespace detail {

/// Returns what a cell shows of a step: its output(x, next state), else the h of its state, or the
/// state itself.
template <class Cell, class State>
Var output_of(const Cell& cell, const Var& x, const State& next) requires requires {
  cell.output(x, next);
} || requires {
  next.h;
} || std::same_as<State, Var> {
  if constexpr (requires { cell.output(x, next); }) {
    return cell.output(x, next);
  } else if constexpr (requires { next.h; }) {
    return next.h;
  } else {
    return next;
  }
}

/// Returns a cell's first_state(), if it has one, else zeros.
template <class Cell>
StateOf<Cell> first_state_of(const Cell& cell, Tape& tape, std::size_t batch) {
  if constexpr (requires { cell.first_state(tape, batch); }) {
    return cell.first_state(tape, batch);
  } else {
    return cell.zero_state(batch);
  }
}

}  // namespace detail

/// A step of a recurrent layer, anything that has
///
///   cell(tape, x, state)     x (B, I), state -> the next state, parts of the same shapes; const
///   cell.zero_state(batch)   the state to begin with, parts (B, ...); its type is that of all states
///
/// and may have
///
///   cell.output(x, state)        what is shown of a step, (B, H), from its input and its new state;
///                                without it state.h, or the state if it is a Var
///   cell.first_state(tape, batch)   a first state that is trained, in place of zeros
///
/// Each row is computed for itself: which other rows there are may differ from step to step. (What a
/// layer calls `initial_state` and `step` elsewhere is a call and zero_state() here, as in all modules.)
template <class Cell>
concept RecurrentCell = requires(const Cell& cell, Tape& tape, const Var& x,
                                 const StateOf<Cell>& state) {
  { cell(tape, x, state) } -> std::same_as<StateOf<Cell>>;
  detail::output_of(cell, x, state);
};

/// A cell whose recurrence is linear in its state and does not mix it,
///
///   h_t = a_t * h_{t-1} + b_t,     a_t and b_t functions of x_t alone,
///
/// and which says so: coefficients(tape, x) maps x (..., I) to a and b (..., H). Then all steps' are
/// computed at once, and scan() does the rest.
template <class Cell>
concept ScannedCell = RecurrentCell<Cell> && std::same_as<StateOf<Cell>, Var> &&
    requires(const Cell& cell, Tape& tape, const Var& x) {
  { cell.coefficients(tape, x) } -> std::same_as<ScanCoefficients>;
};

namespace detail {

using StepFunction = std::function<Vars(const Var& x, const Vars& state)>;
using OutputFunction = std::function<Var(const Var& x, const Vars& state)>;
using CoefficientsFunction = std::function<ScanCoefficients(const Var& x)>;

/// Runs a step over a sequence, for a state whose parts have these names.
Unrolled<Vars> run_steps(Tape& tape, const Var& x, const Vars& state,
                         const std::vector<std::string>& names, const Steps& steps,
                         const StepFunction& step, const OutputFunction& output);
/// Runs scan() over the coefficients of a sequence.
Unrolled<Var> run_scan(Tape& tape, const Var& x, const Var& h, const Steps& steps,
                       const CoefficientsFunction& coefficients);
/// Checks x; returns B.
std::size_t batch_of(const Var& x);
/// Returns x + h, which have equal sizes.
Var residual(const Var& x, const Var& h);

}  // namespace detail

/// Any cell over whole sequences, step by step; of a ScannedCell all steps at once.
///
///   struct Average {                                     // a running mean, with a learned rate
///     Parameter rate;                                    // (I)
///     Var zero_state(std::size_t batch) const { return Tensor::zeros({batch, rate.value().numel()}); }
///     Var operator()(Tape& tape, const Var& x, const Var& h) const {
///       return h + sigmoid(tape.leaf(rate)) * (x - h);
///     }
///     void visit(auto&& v) { v("rate", rate); }
///   };
///   Recurrent average(Average{...});
///   auto [y, last] = average(tape, x);
template <RecurrentCell Cell>
class Recurrent {
 public:
  using State = StateOf<Cell>;
  Cell cell;

  Recurrent() = default;
  explicit Recurrent(Cell c) : cell(std::move(c)) {}

  /// Maps x (T, B, I), state (parts (B, ...)) to y (T, B, H) and the last state. What is behind a
  /// sequence's end is neither read nor computed: the cell is given the rows that go on. Throws
  /// ShapeError, for T = 0 and B = 0 too, and for a cell that changes the shape of its state or
  /// shows another number of rows; DtypeError; UsageError for Vars of another tape, undefined ones,
  /// and a length out of range.
  Unrolled<State> operator()(Tape& tape, const Var& x, const State& state,
                             const Steps& steps = {}) const {
    if constexpr (ScannedCell<Cell>) {
      return detail::run_scan(tape, x, state, steps,
                              [&](const Var& all) { return cell.coefficients(tape, all); });
    } else {
      return composed(tape, x, state, steps);
    }
  }
  /// Runs from the first state.
  Unrolled<State> operator()(Tape& tape, const Var& x, const Steps& steps = {}) const {
    return (*this)(tape, x, first_state(tape, detail::batch_of(x)), steps);
  }
  /// Computes the same step by step, whatever the cell is.
  Unrolled<State> composed(Tape& tape, const Var& x, const State& state,
                           const Steps& steps = {}) const {
    std::vector<std::string> names;
    State named = state;
    for_each_part(named, [&](const std::string& name, Var&) { names.push_back(name); });
    const auto as_state = [&](const Vars& parts) { return detail::with_parts(state, parts); };
    const Unrolled<Vars> r = detail::run_steps(
        tape, x, detail::parts_of(state), names, steps,
        [&](const Var& x_t, const Vars& s) {
          return detail::parts_of(cell(tape, x_t, as_state(s)));
        },
        [&](const Var& x_t, const Vars& s) { return detail::output_of(cell, x_t, as_state(s)); });
    return {r.y, as_state(r.last)};
  }

  State zero_state(std::size_t batch) const { return cell.zero_state(batch); }
  /// Returns the cell's first_state(), if it has one, else zeros.
  State first_state(Tape& tape, std::size_t batch) const {
    return detail::first_state_of(cell, tape, batch);
  }
  /// Returns the state after x, from `state` on, as a constant: a first state that is better than
  /// zeros. Throws as operator() does.
  State burn_in(Tape& tape, const Var& x, const State& state, const Steps& steps = {}) const {
    const Tape::Guard paused = tape.pause();
    return detached((*this)(tape, x, state, steps).last);
  }
  void visit(auto&& v) { v("cell", cell); }
};

/// A cell with its input added to its output, y = x + h: both have the same size (He et al. 2016; in
/// stacks Wu et al. 2016, section 3.1). The state is the cell's.
///
///   StackedCells cells(LSTMCell(...), Residual(LSTMCell(...)));
template <RecurrentCell Cell>
class Residual {
 public:
  Cell cell;

  Residual() = default;
  explicit Residual(Cell c) : cell(std::move(c)) {}

  StateOf<Cell> operator()(Tape& tape, const Var& x, const StateOf<Cell>& state) const {
    return cell(tape, x, state);
  }
  /// Throws ShapeError, which names both sizes, unless they are equal.
  Var output(const Var& x, const StateOf<Cell>& next) const {
    return detail::residual(x, detail::output_of(cell, x, next));
  }
  StateOf<Cell> zero_state(std::size_t batch) const { return cell.zero_state(batch); }
  StateOf<Cell> first_state(Tape& tape, std::size_t batch) const {
    return detail::first_state_of(cell, tape, batch);
  }
  void visit(auto&& v) { v("cell", cell); }
};

/// Several cells as one: each is given what the one before shows. The state is the tuple of theirs.
template <RecurrentCell... Cells>
class StackedCells {
 public:
  using State = std::tuple<StateOf<Cells>...>;
  std::tuple<Cells...> cells;

  StackedCells() = default;
  explicit StackedCells(Cells... all) : cells(std::move(all)...) {}

  State operator()(Tape& tape, const Var& x, const State& state) const {
    State next;
    Var y = x;
    for_each_cell([&]<std::size_t n>(const auto& cell) {
      std::get<n>(next) = cell(tape, y, std::get<n>(state));
      y = detail::output_of(cell, y, std::get<n>(next));
    });
    return next;
  }
  /// Returns what the last cell shows.
  Var output(const Var& x, const State& next) const {
    Var y = x;
    for_each_cell([&]<std::size_t n>(const auto& cell) {
      y = detail::output_of(cell, y, std::get<n>(next));
    });
    return y;
  }
  State zero_state(std::size_t batch) const {
    return std::apply([&](const auto&... cell) { return State(cell.zero_state(batch)...); }, cells);
  }
  State first_state(Tape& tape, std::size_t batch) const {
    return std::apply(
        [&](const auto&... cell) { return State{detail::first_state_of(cell, tape, batch)...}; },
        cells);
  }
  /// Names the cells "0", "1", ...
  void visit(auto&& v) {
    std::size_t n = 0;
    std::apply([&](auto&... cell) { (v(std::to_string(n++), cell), ...); }, cells);
  }

 private:
  template <class F>
  void for_each_cell(const F& f) const {
    [&]<std::size_t... n>(std::index_sequence<n...>) {
      (f.template operator()<n>(std::get<n>(cells)), ...);
    }
    (std::index_sequence_for<Cells...>());
  }
};

}  // namespace tapegrad
