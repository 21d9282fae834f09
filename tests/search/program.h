#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "../../autograd/parameter.h"
#include "../../autograd/tape.h"
#include "../../core/rng.h"

/// Random programs of public functions: how they are written down, and how they are executed.
namespace tapegrad::search {

/// A fault that was found: thrown, and reported with the program's seed.
struct Fault {
  std::string check;  // "value", "gradient", "threads", ...
  std::string op;     // of the call it was seen at, if it was one
  std::string detail;
};

/// Arguments of a call: values on a tape, and the Parameters that some of them are leaves of.
struct Arguments {
  Tape& tape;
  Vars x;                                    // undefined where absent
  std::vector<const Parameter*> parameters;  // null where it is none
};
using Function = std::function<Vars(const Arguments&)>;

/// y, dy/da and dy/db of a function of single elements, in long double. `round` rounds what the op
/// computes on the way, as its dtype does, or does nothing: a result may be near either.
using Rounding = long double (*)(long double);
using Pointwise =
    std::function<std::array<long double, 3>(long double a, long double b, Rounding round)>;

constexpr std::size_t absent = SIZE_MAX;

struct Call {
  std::vector<std::size_t> inputs;  // places of values, or `absent`
  Function run;
  Function twin = {};  // the same of other ops, or of the same where what is inside may cancel
  std::size_t bounded = absent;  // input that may not move away from 0: its values are checked
  std::size_t sites = 0;         // unnamed sites of random numbers
  Pointwise pointwise = {};
};

class Chooser;

enum class Nature : std::uint8_t {
  rounds,
  exact,    // values are chosen or moved, not computed
  flushes,  // counts subnormal numbers as 0
};

struct Op {
  std::string name;
  Nature nature;
  std::function<Call(Chooser&)> choose;
};
/// All public functions that make values. tests/checks/op_coverage.py compares them with the headers.
const std::vector<Op>& all_ops();
const Op& find_op(std::string_view name);
std::vector<Op> elementwise_ops();
std::vector<Op> axis_ops();
std::vector<Op> matrix_ops();
std::vector<Op> loss_ops();
std::vector<Op> recurrent_ops();
std::vector<Op> sequence_ops();

enum class Kind : std::uint8_t { parameter, frozen, leaf, constant };

/// An instruction: a leaf with its value, or a call.
struct Item {
  Kind kind = Kind::constant;
  Tensor value;

  const Op* op = nullptr;  // null for a leaf
  Call call = {};
  std::size_t sites_before = 0;        // `absent`: unknown, as a call with sites was refused
  std::size_t first = 0, outputs = 1;  // the places it fills
  std::string error = {};              // what it throws; then it fills none
};

struct Program {
  std::vector<Item> items;
  std::size_t places = 0;
  std::size_t loss = absent;  // the place of one number, if it depends on a leaf
};

/// Which way a program is executed.
enum class Way : std::uint8_t { plain, watched, paused, evaluation, inference };

/// One execution of a program, with Parameters of its own.
class Run {
 public:
  explicit Run(Way way = Way::plain);

  /// Executes an item. The first time what it threw and how many values it made are noted in it,
  /// later both must be so again.
  void first_time(Item& item);
  void again(const Item& item);

  mutable Tape tape;  // a Run stays what it is while it is differentiated
  std::vector<Var> places;
  std::vector<std::shared_ptr<Parameter>> parameters;  // of each place, null where it is none

 private:
  void add_leaf(const Item& item);
  Vars call(const Item& item, std::string& error);
  std::string bits() const;

  Way way_;
  std::vector<std::shared_ptr<void>> watchers_;
};

/// Chooses the arguments of a call, mostly legal ones.
class Chooser {
 public:
  Chooser(Program& program, Run& run, Rng& random, bool wild)
      : rng(random), program_(program), run_(run), wild_(wild) {}

  bool chance(std::size_t n) { return rng.below(n) == 0; }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(rng.below(n)); }
  /// Draws a size: mostly 2 to 5, sometimes 0, 1, or many.
  std::size_t size();
  Shape shape(std::size_t lowest_rank, std::size_t highest_rank);
  /// Draws a number of either sign, now and then an extreme one; float32 has it exactly.
  double number();
  double number(double low, double high);
  /// Draws an axis of this rank, or now and then one that does not exist.
  Axis axis(std::size_t rank);
  /// Draws int32 in [0, rows), or now and then something else.
  Tensor ids(const Shape& shape, std::size_t rows);
  Tensor mask(const Shape& shape);
  /// Draws weights of elements, undefined in half of the cases.
  Tensor weights(const Shape& shape);

  /// Returns a value of such a rank, there already or new; its dtype is that of the call.
  std::size_t any(std::size_t lowest_rank = 0, std::size_t highest_rank = 4);
  /// Returns a value of this shape, there already or new.
  std::size_t like(const Shape& shape);
  std::size_t parameter(const Shape& shape);
  /// Makes a new leaf in [low, high).
  std::size_t within(const Shape& shape, double low, double high);
  std::size_t add(Tensor value, Kind kind);

  const Shape& shape_of(std::size_t place) const { return run_.places[place].shape(); }
  DType dtype() const { return dtype_; }
  std::size_t places() const { return run_.places.size(); }

  Rng& rng;

 private:
  template <class F>
  std::size_t find(F&& fits);
  Kind kind();

  Program& program_;
  Run& run_;
  bool wild_;
  DType dtype_ = DType::float32;
};

/// Draws the elements of a tensor: ordinary numbers, or wild ones: zeros, subnormal numbers, the
/// largest one, infinities, NaN.
Tensor draw(Rng& rng, const Shape& shape, DType dtype, bool wild);

/// Writes the program of this seed while it is executed. `steps`: which ones are kept; `only`: the op
/// of the first one, or null.
Program write_program(std::uint64_t seed, const std::vector<std::size_t>& steps, const Op* only,
                      Run& run);
std::size_t steps_of(std::uint64_t seed);

/// Whether both have the same bits; NaNs are equal.
bool same(const Tensor& a, const Tensor& b);
std::string describe(const Program& program);

/// Gradients of the loss for each place, undefined where there is none.
using Gradients = std::vector<Tensor>;
Gradients gradients_of(const Program& program, const Run& run,
                       Tape::Options options = {.retain = true});

/// Throws the Fault of a call that differs from float64, or of a gradient that is not the sum of what
/// its users make of theirs.
void judge(const Program& program, const Run& run, const Gradients& gradients);
/// Throws the Fault of a promise that needs no tolerance: the same bits whichever way a program runs.
void check_invariants(const Program& program, const Run& plain, const Gradients& gradients,
                      std::uint64_t seed);
/// A random life of an optimizer against its formula in long double.
void search_optimizer(std::uint64_t seed);

/// Returns whether `message` has the form of core/error.h.
bool is_message(std::string_view message);

}  // namespace tapegrad::search
