#include "../../autograd/ops/elementwise.h"
#include "../../autograd/ops/layer_norm.h"
#include "../../autograd/ops/loss.h"
#include "../../autograd/ops/matrix.h"
#include "../../autograd/ops/reduce.h"
#include "../../autograd/ops/softmax.h"
#include "program.h"

// Products, rows of the last axis, losses.

namespace tapegrad::search {
namespace {

Op of_rows(std::string name, Var (*f)(const Var&)) {
  return {std::move(name), Nature::rounds, [f](Chooser& choose) {
            return Call{.inputs = {choose.any(choose.chance(30) ? 0 : 1)},
                        .run = [f](const Arguments& a) { return Vars{f(a.x[0])}; }};
          }};
}

/// A loss of a prediction and a target of its shape, with weights.
template <class F>
Op of_pairs(std::string name, F f) {
  return {std::move(name), Nature::rounds, [f](Chooser& choose) {
            const std::size_t x = choose.any();
            const Shape shape = choose.shape_of(x);
            const Tensor weights = choose.weights(shape);
            const double number = choose.chance(3) ? choose.number() : choose.number(0.1, 3);
            return Call{.inputs = {x, choose.like(shape)}, .run = [=](const Arguments& a) {
                          return Vars{f(a.x[0], a.x[1], number, LossOptions{weights})};
                        }};
          }};
}

CrossEntropyOptions cross_entropy_options(Chooser& choose, const Shape& rows, std::size_t classes) {
  return {.ignore_index = choose.chance(3) ? 0 : -100,
          .label_smoothing = choose.chance(2) ? 0 : choose.number(0, 0.9),
          .class_weights = choose.weights({classes}),
          .weights = choose.weights(rows)};
}

Shape rows_of(const Shape& shape) { return shape.rank() == 0 ? shape : shape.without(-1); }
std::size_t columns_of(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[-1]; }

template <class F>
Op of_classes(std::string name, F f, F twin) {
  return {std::move(name), Nature::rounds, [f, twin](Chooser& choose) {
            const std::size_t x = choose.any(1);
            const Shape shape = choose.shape_of(x);
            const Tensor ids = choose.ids(rows_of(shape), columns_of(shape));
            const auto options = cross_entropy_options(choose, rows_of(shape), columns_of(shape));
            return Call{
                .inputs = {x},
                .run = [=](const Arguments& a) { return Vars{f(a.x[0], ids, options)}; },
                .twin = [=](const Arguments& a) { return Vars{twin(a.x[0], ids, options)}; }};
          }};
}

template <class F>
Op of_linear_classes(std::string name, F f, F twin) {
  return {std::move(name), Nature::flushes, [f, twin](Chooser& choose) {
            const std::size_t x = choose.any(1), classes = choose.size();
            const Shape shape = choose.shape_of(x), rows = rows_of(shape);
            const std::size_t weight = choose.like({classes, columns_of(shape)});
            const std::size_t bias = choose.chance(3) ? absent : choose.like({classes});
            const Tensor ids = choose.ids(rows, classes);
            const auto options = cross_entropy_options(choose, rows, classes);
            const auto call = [=](F function) {
              return [=](const Arguments& a) {
                return Vars{function(a.x[0], a.x[1], a.x[2], ids, options)};
              };
            };
            return Call{.inputs = {x, weight, bias}, .run = call(f), .twin = call(twin)};
          }};
}

Op of_layer_norm(std::string name, Var (*f)(const Var&, const Var&, const Var&, double)) {
  return {std::move(name), Nature::rounds, [f](Chooser& choose) {
            const std::size_t x = choose.any(choose.chance(30) ? 0 : 1);
            const Shape features{columns_of(choose.shape_of(x))};
            const double epsilon = choose.chance(2) ? 1e-5 : choose.number(1e-8, 2);
            const auto call = [=](auto* function) {
              return [=](const Arguments& a) {
                return Vars{function(a.x[0], a.x[1], a.x[2], epsilon)};
              };
            };
            return Call{.inputs = {x, choose.chance(3) ? absent : choose.like(features),
                                   choose.chance(3) ? absent : choose.like(features)},
                        .run = call(f),
                        .twin = call(layer_norm_composed)};
          }};
}

/// A number to make `rank` axes of it.
Shape leading(const Shape& shape, std::size_t cut) {
  return Shape(std::span(shape.dims()).first(shape.rank() - cut));
}
Shape matrix_behind(Shape shape, std::size_t rows, std::size_t columns) {
  return shape.inserted(shape.rank(), rows).inserted(shape.rank() + 1, columns);
}

}  // namespace

std::vector<Op> matrix_ops() {
  using enum Nature;
  return {
      {"matmul", flushes,
       [](Chooser& choose) {
         const std::size_t a = choose.any(2);
         const Shape shape = choose.shape_of(a);
         const Transpose ta = choose.chance(3) ? Transpose::yes : Transpose::no;
         const Transpose tb = choose.chance(3) ? Transpose::yes : Transpose::no;
         const std::size_t k = shape[ta == Transpose::yes ? -2 : -1], n = choose.size();
         const Shape front = choose.chance(2) ? Shape{} : leading(shape, 2);
         const std::size_t b = choose.like(tb == Transpose::yes ? matrix_behind(front, n, k)
                                                                : matrix_behind(front, k, n));
         return Call{.inputs = {a, b}, .run = [=](const Arguments& args) {
                       return Vars{matmul(args.x[0], args.x[1], ta, tb)};
                     }};
       }},
      {"outer", flushes,
       [](Chooser& choose) {
         const std::size_t a = choose.any(1, 1);
         return Call{.inputs = {a, choose.like({choose.size()})}, .run = [](const Arguments& args) {
                       return Vars{outer(args.x[0], args.x[1])};
                     }};
       }},
      {"linear", flushes,
       [](Chooser& choose) {
         const std::size_t x = choose.any(1), n = choose.size();
         const std::size_t weight = choose.like({n, columns_of(choose.shape_of(x))});
         return Call{
             .inputs = {x, weight, choose.chance(3) ? absent : choose.like({n})},
             .run = [](const Arguments& a) { return Vars{linear(a.x[0], a.x[1], a.x[2])}; }};
       }},
      of_rows("softmax", softmax),
      of_rows("log_softmax", log_softmax),
      of_rows("logsumexp", logsumexp),
      of_layer_norm("layer_norm", layer_norm),
      of_layer_norm("layer_norm_composed",
                    [](const Var& x, const Var& gamma, const Var& beta, double epsilon) {
                      // x has several uses inside, whose sum may cancel: by itself, in any order
                      return layer_norm_composed(scale(x, 1), gamma, beta, epsilon);
                    }),
  };
}

std::vector<Op> loss_ops() {
  using enum Nature;
  using Options = const LossOptions&;
  return {
      of_pairs("l1", [](const Var& x, const Var& t, double, Options o) { return l1(x, t, o); }),
      of_pairs("mse", [](const Var& x, const Var& t, double, Options o) { return mse(x, t, o); }),
      of_pairs("huber",
               [](const Var& x, const Var& t, double d, Options o) { return huber(x, t, d, o); }),
      {"bce_with_logits", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any();
         const Shape shape = choose.shape_of(x);
         const std::size_t t = choose.chance(20) ? choose.like(shape) : choose.within(shape, 0, 1);
         const BCEOptions options{
             choose.weights(shape),
             choose.weights(choose.chance(2) ? Shape{} : Shape{columns_of(shape)})};
         return Call{
             .inputs = {x, t},
             .run =
                 [=](const Arguments& a) { return Vars{bce_with_logits(a.x[0], a.x[1], options)}; },
             .bounded = 1};
       }},
      {"gaussian_nll", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any();
         const Shape shape = choose.shape_of(x);
         const std::size_t variance =
             choose.chance(10) ? choose.like(shape) : choose.within(shape, 0, 2);
         const GaussianNLLOptions options{choose.weights(shape),
                                          choose.chance(2) ? 1e-6 : choose.number(1e-3, 1),
                                          choose.chance(2)};
         return Call{.inputs = {x, variance, choose.like(shape)}, .run = [=](const Arguments& a) {
                       return Vars{gaussian_nll(a.x[0], a.x[1], a.x[2], options)};
                     }};
       }},
      {"quantile_loss", rounds,
       [](Chooser& choose) {
         const std::size_t target = choose.any(0, 3);
         const Shape shape = choose.shape_of(target);
         std::vector<double> quantiles(1 + choose.below(3));
         for (double& q : quantiles) {
           q = static_cast<double>(choose.below(choose.chance(20) ? 9 : 7) + 1) / 8;
         }
         const LossOptions options{choose.weights(shape)};
         const Function run = [=](const Arguments& a) {
           return Vars{quantile_loss(a.x[0], a.x[1], quantiles, options)};
         };
         return Call{
             .inputs = {choose.like(shape.inserted(shape.rank(), quantiles.size())), target},
             .run = run,
             .twin = run};  // a target's gradients cancel
       }},
      {"esr_loss", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any(choose.chance(30) ? 0 : 1);
         const Shape shape = choose.shape_of(x);
         const ESRLossOptions options{choose.weights(shape), choose.chance(2) ? 0 : 0.85,
                                      choose.chance(2) ? 0 : choose.number(0.1, 2),
                                      choose.chance(2) ? 0 : choose.number(1e-3, 1)};
         const Function run = [=](const Arguments& a) {
           return Vars{esr_loss(a.x[0], a.x[1], options)};
         };
         // The target's gradients cancel.
         return Call{.inputs = {x, choose.like(shape)}, .run = run, .twin = run};
       }},
      {"masked_mean", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any();
         const Tensor mask = choose.chance(2) ? choose.mask(choose.shape_of(x))
                                              : choose.weights(choose.shape_of(x));
         return Call{.inputs = {x},
                     .run = [=](const Arguments& a) { return Vars{masked_mean(a.x[0], mask)}; }};
       }},
      {"nll", rounds,
       [](Chooser& choose) {
         const std::size_t x = choose.any(1);
         const Shape shape = choose.shape_of(x);
         const Tensor ids = choose.ids(rows_of(shape), columns_of(shape));
         const NLLOptions options{choose.chance(3) ? 0 : -100, choose.weights({columns_of(shape)}),
                                  choose.weights(rows_of(shape))};
         return Call{.inputs = {x},
                     .run = [=](const Arguments& a) { return Vars{nll(a.x[0], ids, options)}; }};
       }},
      of_classes("cross_entropy", cross_entropy, cross_entropy_composed),
      of_classes("cross_entropy_composed", cross_entropy_composed, cross_entropy_composed),
      of_linear_classes<Var (*)(const Var&, const Var&, const Var&, const Tensor&,
                                const CrossEntropyOptions&)>(
          "linear_cross_entropy", linear_cross_entropy, linear_cross_entropy_composed),
      of_linear_classes<Var (*)(const Var&, const Var&, const Var&, const Tensor&,
                                const CrossEntropyOptions&)>("linear_cross_entropy_composed",
                                                             linear_cross_entropy_composed,
                                                             linear_cross_entropy_composed),
  };
}

}  // namespace tapegrad::search
