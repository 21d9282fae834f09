#include <algorithm>

#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/gather.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/shape.h"
#include "program.h"

// What works along axes: reductions, shapes, picking by index.

namespace tapegrad::search {
namespace {

Op whole(std::string name, Var (*f)(const Var&), Nature nature) {
  return {std::move(name), nature, [f](Chooser& choose) {
            return Call{.inputs = {choose.any()},
                        .run = [f](const Arguments& a) { return Vars{f(a.x[0])}; }};
          }};
}

Op along(std::string name, Var (*f)(const Var&, Axis), Nature nature) {
  return {std::move(name), nature, [f](Chooser& choose) {
            const std::size_t x = choose.any(1);
            const Axis axis = choose.axis(choose.shape_of(x).rank());
            return Call{.inputs = {x},
                        .run = [=](const Arguments& a) { return Vars{f(a.x[0], axis)}; }};
          }};
}

/// An axis, and the size there; 0 where it does not exist.
struct Along {
  std::size_t x;
  Axis axis;
  std::size_t size;
};
Along choose_along(Chooser& choose, std::size_t lowest_rank = 1, std::size_t highest_rank = 4) {
  const std::size_t x = choose.any(lowest_rank, highest_rank);
  const Shape shape = choose.shape_of(x);
  const Axis axis = choose.axis(shape.rank());
  const auto n = static_cast<std::ptrdiff_t>(shape.rank());
  return {x, axis, axis.number >= -n && axis.number < n ? shape[axis] : 0};
}

Shape with(const Chooser& choose, const Along& along, std::size_t size) {
  const Shape shape = choose.shape_of(along.x);
  const auto n = static_cast<std::ptrdiff_t>(shape.rank());
  return along.axis.number >= -n && along.axis.number < n ? shape.with(along.axis, size) : shape;
}

/// A shape of as many elements.
Shape reshaped(Chooser& choose, const Shape& shape) {
  std::vector<std::size_t> dims(shape.dims().begin(), shape.dims().end());
  std::ranges::reverse(dims);
  if (dims.size() > 1 && choose.chance(2)) {
    dims[1] *= dims[0];
    dims.erase(dims.begin());
  } else if (dims.size() < 4) {
    dims.insert(dims.begin() + static_cast<std::ptrdiff_t>(choose.below(dims.size() + 1)), 1);
  }
  if (choose.chance(40)) dims.push_back(2);
  if (dims.size() > 4) dims.resize(4);
  return Shape(dims);
}

Shape suffix(Chooser& choose, const Shape& shape) {
  return Shape(std::span(shape.dims()).subspan(choose.below(shape.rank() + 1)));
}

template <bool several>
Op join(std::string name, Var (*f)(const Vars&, Axis)) {
  return {std::move(name), Nature::exact, [f](Chooser& choose) {
            const Along a = choose_along(choose, several ? 1 : 0, several ? 4 : 3);
            const std::size_t rank = choose.shape_of(a.x).rank();
            const Axis axis = several ? a.axis : choose.axis(rank + 1);
            std::vector<std::size_t> parts = {a.x};
            for (std::size_t k = choose.below(3); k > 0; --k) {
              parts.push_back(
                  choose.like(several ? with(choose, a, choose.size()) : choose.shape_of(a.x)));
            }
            return Call{.inputs = parts,
                        .run = [=](const Arguments& args) { return Vars{f(args.x, axis)}; }};
          }};
}

std::vector<Op> reductions() {
  using enum Nature;
  return {
      whole("sum", sum, rounds),
      along("sum of an axis", sum, rounds),
      whole("mean", mean, rounds),
      along("mean of an axis", mean, rounds),
      whole("max", max, exact),
      along("max of an axis", max, exact),
      whole("min", min, exact),
      along("min of an axis", min, exact),
      whole("norm", norm, rounds),
      along("norm of an axis", norm, rounds),
      along(
          "argmax", [](const Var& x, Axis axis) { return Var(argmax(x, axis)); }, exact),
      along(
          "argmin", [](const Var& x, Axis axis) { return Var(argmin(x, axis)); }, exact),
      {"topk", exact,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         const std::size_t k = choose.chance(30) ? a.size + 1 : choose.below(a.size + 1);
         return Call{.inputs = {a.x},
                     .run = [=, largest = choose.chance(2)](const Arguments& args) {
                       const TopK top = topk(args.x[0], k, a.axis, largest);
                       return Vars{top.values, top.indices};
                     }};
       }},
      {"cumsum", rounds,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         return Call{.inputs = {a.x},
                     .run = [=, reverse = choose.chance(2)](const Arguments& args) {
                       return Vars{cumsum(args.x[0], a.axis, reverse)};
                     }};
       }},
      {"sum_to", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any();
         const Shape shape =
             choose.chance(40) ? choose.shape(0, 2) : suffix(choose, choose.shape_of(x));
         return Call{.inputs = {x},
                     .run = [=](const Arguments& a) { return Vars{sum_to(a.x[0], shape)}; }};
       }},
      {"broadcast_to", exact,
       [](Chooser& choose) {
         const std::size_t x = choose.any(0, 3);
         Shape shape = choose.shape_of(x);
         while (shape.rank() < 4 && choose.chance(2)) shape = shape.inserted(0, choose.size());
         if (choose.chance(40)) shape = choose.shape(0, 2);
         return Call{.inputs = {x},
                     .run = [=](const Arguments& a) { return Vars{broadcast_to(a.x[0], shape)}; }};
       }},
      {"repeat", exact,
       [](Chooser& choose) {
         const std::size_t x = choose.any(0, choose.chance(20) ? 4 : 3);
         const Axis axis = choose.axis(choose.shape_of(x).rank() + 1);
         return Call{.inputs = {x}, .run = [=, size = choose.size()](const Arguments& a) {
                       return Vars{repeat(a.x[0], axis, size)};
                     }};
       }},
  };
}

std::vector<Op> shapes() {
  using enum Nature;
  return {
      {"reshape", exact,
       [](Chooser& choose) {
         const std::size_t x = choose.any();
         const Shape shape = reshaped(choose, choose.shape_of(x));
         return Call{.inputs = {x},
                     .run = [=](const Arguments& a) { return Vars{reshape(a.x[0], shape)}; }};
       }},
      {"transpose", exact,
       [](Chooser& choose) {
         const std::size_t x = choose.any(1);
         const std::size_t rank = choose.shape_of(x).rank();
         const Axis first = choose.axis(rank), second = choose.axis(rank);
         return Call{.inputs = {x},
                     .run = [=, plain = rank == 2 || choose.chance(40)](const Arguments& a) {
                       return Vars{plain ? transpose(a.x[0]) : transpose(a.x[0], first, second)};
                     }};
       }},
      {"slice", exact,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         std::size_t begin = choose.below(a.size + 1), end = choose.below(a.size + 1);
         if (begin > end && !choose.chance(10)) std::swap(begin, end);
         return Call{.inputs = {a.x}, .run = [=](const Arguments& args) {
                       return Vars{slice(args.x[0], a.axis, begin, end)};
                     }};
       }},
      {"pad", exact,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         const std::size_t begin = choose.below(3);
         const std::size_t size = begin + a.size + choose.below(3) - (choose.chance(20) ? 1 : 0);
         return Call{.inputs = {a.x}, .run = [=](const Arguments& args) {
                       return Vars{pad(args.x[0], a.axis, begin, size)};
                     }};
       }},
      join<true>("concat", concat),
      join<false>("stack", stack),
      {"unbind", exact,
       [](Chooser& choose) {
         return Call{.inputs = {choose.any(1)},
                     .run = [](const Arguments& a) { return unbind(a.x[0]); }};
       }},
      {"split", exact,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         std::vector<std::size_t> sizes;
         for (std::size_t left = a.size; left > 0 || sizes.empty(); left -= sizes.back()) {
           sizes.push_back(choose.below(left + 1));
           if (sizes.size() == 3) sizes.back() = left;
         }
         if (choose.chance(30)) sizes.push_back(1);
         const bool equal = choose.chance(3);
         return Call{.inputs = {a.x}, .run = [=](const Arguments& args) {
                       if (!equal) return split(args.x[0], sizes, a.axis);
                       const auto halves = split<2>(args.x[0], a.axis);
                       return Vars{halves[0], halves[1]};
                     }};
       }},
  };
}

std::vector<Op> picks() {
  using enum Nature;
  return {
      {"gather", exact,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         const Tensor index = choose.ids(with(choose, a, choose.size()), a.size);
         return Call{.inputs = {a.x}, .run = [=](const Arguments& args) {
                       return Vars{gather(args.x[0], a.axis, index)};
                     }};
       }},
      {"index_select", exact,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         const Tensor ids = choose.ids({choose.size()}, a.size);
         return Call{.inputs = {a.x}, .run = [=](const Arguments& args) {
                       return Vars{index_select(args.x[0], a.axis, ids)};
                     }};
       }},
      {"scatter_add", rounds,
       [](Chooser& choose) {
         const Along a = choose_along(choose);
         const std::size_t size = choose.size();
         const Tensor index = choose.ids(choose.shape_of(a.x), size);
         return Call{.inputs = {a.x}, .run = [=](const Arguments& args) {
                       return Vars{scatter_add(args.x[0], a.axis, index, size)};
                     }};
       }},
      {"embedding", exact,
       [](Chooser& choose) {
         const std::size_t table = choose.any(2, 2);
         const Tensor ids =
             choose.ids(choose.shape(0, choose.chance(20) ? 4 : 2), choose.shape_of(table)[0]);
         return Call{.inputs = {table},
                     .run = [=](const Arguments& a) { return Vars{embedding(a.x[0], ids)}; }};
       }},
      {"scatter_rows", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any(1), rows = choose.size();
         const Shape shape = choose.shape_of(x);
         const Tensor ids = choose.ids(shape.without(-1), rows);
         return Call{.inputs = {x}, .run = [=](const Arguments& a) {
                       return Vars{scatter_rows(a.x[0], ids, rows)};
                     }};
       }},
  };
}

}  // namespace

std::vector<Op> axis_ops() {
  std::vector<Op> ops = reductions();
  for (auto family : {shapes, picks}) {
    for (Op& op : family()) ops.push_back(std::move(op));
  }
  return ops;
}

}  // namespace tapegrad::search
