#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <deque>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <variant>

#include "../../core/error.h"
#include "../../layers/model/clone.h"
#include "../../layers/recurrent/lstm_cell.h"
#include "../support/model_cases.h"
#include "../support/temp_folder.h"

// What visit forgets, and what cannot be a member of a module.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

Rng rng(1);
Linear linear_layer() { return Linear(3, 2, rng); }
LSTM lstm_layer() { return LSTM({.input = 3, .hidden = 2}, rng); }
template <class T>
std::vector<T> one(T element) {
  std::vector<T> all;
  all.push_back(std::move(element));
  return all;
}

/// Forgets a member: as a plain struct, and as a class with a constructor.
template <class Member>
struct Plain {
  Linear known;
  Member forgotten;
  double rate = 0.5;
  void visit(auto&& v) { v("known", known), v("rate", rate); }
};
template <class Member>
class Made {
 public:
  explicit Made(Member m) : known_(linear_layer()), forgotten_(std::move(m)) {}
  void visit(auto&& v) { v("known", known_); }

 private:
  Linear known_;
  Member forgotten_;
};
template <class Member>
struct Nested {
  std::vector<Plain<Member>> parts;
  void visit(auto&& v) { v("parts", parts); }
};

/// Its first member is no Parameter.
struct Block {
  Dropout dropout;
  Linear layer;
  void visit(auto&& v) { v("dropout", dropout), v("layer", layer); }
};
struct Encoder {
  std::vector<LSTM> stack;
  void visit(auto&& v) { v("stack", stack); }
};

/// Returns "refused" if the message is whole.
std::string refused_with(const std::string& said) {
  const bool whole = said.starts_with("[parameters] visit of ") &&
                     said.find("Parameter of shape") != std::string::npos &&
                     said.ends_with(
                         "name the member in visit, or say v.skip(\"name\", member) "
                         "if that is meant");
  return whole ? "refused" : said;
}
template <class Model>
std::string refusal(const Model& model) {
  try {
    (void)parameters(model);
    return "accepted";
  } catch (const UsageError& e) {
    return refused_with(e.what());
  }
}

/// Checks in one place: a CHECK in a lambda for forty types is compiled forty times.
void check_all(std::initializer_list<std::string> refusals, const char* expected) {
  for (const std::string& r : refusals) CHECK(r == expected);
}

struct Derived : Linear {
  Linear own;
  void visit(auto&& v) { v("own", own); }
};
struct TwoBases : Linear, Dropout {
  Linear own;
  void visit(auto&& v) {
    Linear::visit(v);
    Dropout::visit(v);
    v("own", own);
  }
};
struct Polymorphic {
  Linear a, b;
  Polymorphic() = default;
  Polymorphic(Polymorphic&&) = default;
  virtual ~Polymorphic() = default;
  void visit(auto&& v) { v("a", a); }
};
struct Raw {
  Parameter forgotten[3];
  Linear known;
  void visit(auto&& v) { v("known", known); }
};
struct WithBits {
  int a : 4 = 1;
  int b : 5 = 2;
  std::vector<Linear> forgotten;
  Linear known;
  void visit(auto&& v) { v("known", known); }
};
struct Overaligned {
  double rate = 1;
  alignas(64) std::vector<LSTM> forgotten;
  Linear known;
  void visit(auto&& v) { v("known", known); }
};
struct TiedTwice {
  Linear known;
  Parameter again;
  void visit(auto&& v) { v("known", known); }
};
struct Skips {
  Linear known;
  Linear teacher;
  std::unique_ptr<int> cache = std::make_unique<int>(3);
  void visit(auto&& v) {
    v("known", known);
    v.skip("teacher", teacher);
    v.skip("cache", cache);
  }
};

}  // namespace

TEST_CASE("forgotten: a Parameter in the bytes of any class is refused") {
  const auto refused = [](const auto& make) {
    using Member = decltype(make());
    check_all({refusal(Plain<Member>{linear_layer(), make()}), refusal(Made<Member>(make())),
               refusal(Nested<Member>{one(Plain<Member>{linear_layer(), make()})})},
              "refused");
  };
  refused([] { return Parameter(Tensor::zeros({2})); });
  refused([] { return linear_layer(); });
  refused([] { return lstm_layer(); });
  refused([] { return LSTMCell({.input = 1, .hidden = 2}, rng); });
  refused([] { return std::array<Linear, 2>{Linear(), linear_layer()}; });
  refused([] { return std::optional<Linear>(linear_layer()); });
  refused([] { return std::pair<int, Linear>(1, linear_layer()); });
  refused([] { return std::tuple<int, Linear>(1, linear_layer()); });
  refused([] { return std::variant<int, Linear>(linear_layer()); });
  refused([] { return Block{{0.5}, linear_layer()}; });
  refused([] { return one(linear_layer()); });
  refused([] { return std::make_unique<Linear>(linear_layer()); });
}

TEST_CASE("forgotten: a Parameter that a plain struct holds at any depth is refused") {
  const auto refused = [](const auto& make) {
    using Member = decltype(make());
    check_all({refusal(Plain<Member>{linear_layer(), make()}),
               refusal(Nested<Member>{one(Plain<Member>{linear_layer(), make()})})},
              "refused");
  };
  refused([] { return one(lstm_layer()); });
  refused([] { return one(Block{{0.5}, linear_layer()}); });
  refused([] { return one(one(linear_layer())); });
  refused([] { return Encoder{one(lstm_layer())}; });
  refused([] { return std::make_unique<LSTM>(lstm_layer()); });
  refused([] { return one(std::make_unique<Encoder>(Encoder{one(lstm_layer())})); });
  refused([] {
    std::list<LSTM> all;
    all.push_back(lstm_layer());
    return all;
  });
  refused([] {
    std::map<std::string, Linear> all;
    all.emplace("a", linear_layer());
    return all;
  });
}

TEST_CASE("forgotten: bases, polymorphic modules, arrays") {
  CHECK(refusal(Derived{linear_layer(), linear_layer()}) == "refused");
  CHECK(parameters(TwoBases{linear_layer(), {0.5}, linear_layer()}).size() == 4);
  Polymorphic p;
  p.a = linear_layer();
  CHECK(parameters(p).size() == 2);
  p.b = linear_layer();
  CHECK(refusal(p) == "refused");
  CHECK_THROWS_AS(clone(p), UsageError);
  Raw raw;
  raw.known = linear_layer();
  CHECK(parameters(raw).size() == 2);
  raw.forgotten[2] = Parameter(Tensor::zeros({1}));
  CHECK(refusal(raw) == "refused");
}

TEST_CASE("forgotten: the message names type, place and shape; nothing is saved") {
  const Nested<Linear> m{one(Plain<Linear>{linear_layer(), linear_layer()})};
  const TempFolder folder;
  CHECK_THROWS_WITH_AS(
      save_parameters(folder / "model", parameters(m)),
      fmt::format("[parameters] visit of (anonymous namespace)::Plain<tapegrad::Linear> names no "
                  "member for {} bytes of parts.0 after parts.0.known, which hold or point to a "
                  "Parameter of shape (2, 3): it would be neither trained nor saved; name the "
                  "member in visit, or say v.skip(\"name\", member) if that is meant",
                  sizeof(Linear))
          .c_str(),
      UsageError);
  CHECK_FALSE(std::filesystem::exists(folder / "model"));
}

TEST_CASE("forgotten: what holds no Parameter that is missing still trains") {
  const auto accepted = [](const auto& make) {
    using Member = decltype(make());
    check_all({refusal(Plain<Member>{linear_layer(), make()}), refusal(Made<Member>(make()))},
              "accepted");
  };
  accepted([] { return 0.5; });
  accepted([] { return std::string("a name that does not fit in place"); });
  accepted([] { return std::vector<double>{1, 2, 3}; });
  accepted([] { return std::map<int, int>{{1, 2}, {2, 3}, {3, 4}}; });
  accepted([] { return std::function<int()>([] { return 1; }); });
  accepted([] { return std::make_shared<int>(1); });
  accepted([] { return Linear(); });  // never constructed
  accepted([] { return LSTM(); });
  accepted([] { return std::vector<Linear>(2); });
  accepted([] { return std::optional<Linear>(); });
  accepted([] { return std::unique_ptr<LSTM>(); });
  accepted([] {
    Linear taken = linear_layer();
    (void)Linear(std::move(taken));
    return taken;  // NOLINT(bugprone-use-after-move): the point
  });
  accepted([] {
    std::optional<std::vector<Linear>> emptied = one(linear_layer());
    emptied.reset();
    return emptied;
  });
  TiedTwice tied{linear_layer(), {}};
  tied.again = tied.known.weight.share();
  CHECK(parameters(tied).size() == 2);
}

TEST_CASE("forgotten: what a Parameter leaves behind or links to is no Parameter") {
  const Linear other = linear_layer();  // neighbours in the list of what is alive
  Raw raw;
  const Linear another = linear_layer();
  raw.known = linear_layer();
  CHECK(parameters(raw).size() == 2);
  Made<std::optional<Linear>> emptied{std::optional<Linear>()};
  const Linear third = linear_layer();
  for (int i = 0; i < 3; ++i) {
    std::optional<Linear> full = linear_layer();
    const Linear fourth = linear_layer();
    full.reset();
    emptied = Made<std::optional<Linear>>(std::move(full));
    CHECK(parameters(emptied).size() == 2);
  }
}

TEST_CASE("forgotten: layouts that a plain struct need not have lead nowhere") {
  CHECK(parameters(WithBits{.forgotten = {}, .known = linear_layer()}).size() == 2);
  CHECK(parameters(Overaligned{.forgotten = {}, .known = linear_layer()}).size() == 2);
  WithBits bits{.forgotten = one(linear_layer()), .known = linear_layer()};
  CHECK(refusal(bits) == "refused");
}

TEST_CASE("forgotten: skip is for what is known, and neither listed nor copied") {
  Skips m{linear_layer(), linear_layer()};
  CHECK(names(parameters(m)) == std::vector<std::string>{"known.weight", "known.bias"});
  const Skips copy = clone(m);
  CHECK(same_bits(parameters(copy), parameters(m)));
  CHECK_FALSE(copy.teacher.weight.defined());
  CHECK(*copy.cache == 3);  // as a new model has it
}

// --- what cannot be a member ---

namespace {

struct State {
  int age;
  Var value;
};
struct Deep {
  std::optional<std::string> name;
  std::function<int()> function;
  std::array<State, 2> states;
};
struct Settings {
  int a = 1;
  std::string s;
  std::optional<int> o;
  std::map<std::string, int> m;
  char text[100] = "";
};
struct Tree {
  int x = 0;
  std::vector<Tree> branches;
};
struct HoldsLayer {
  int a = 0;
  Linear layer;
};

template <class... T>
constexpr bool all_shared = (detail::is_shared<T>() && ...);
template <class... T>
constexpr bool none_shared = (!detail::is_shared<T>() && ...);
template <class... T>
constexpr bool all_learned = (detail::any_part<detail::Learned, T>() && ...);

}  // namespace

TEST_CASE("forgotten: a member that refers to something is known as such, wherever it is") {
  static_assert(all_shared<Var, Tensor, LSTMState, LSTMResult, Vars, NamedParameter, Parameters>);
  static_assert(all_shared<std::vector<Var>, std::pair<int, Var>, std::tuple<int, LSTMState>,
                           std::optional<Var>, std::variant<int, Tensor>, std::array<Tensor, 3>,
                           Tensor[3], std::map<std::string, Tensor>, std::deque<Tensor>>);
  static_assert(all_shared<State, Deep, std::vector<std::optional<State>>>);
  static_assert(all_shared<std::unique_ptr<Linear>, std::shared_ptr<Linear>, std::weak_ptr<int>,
                           std::vector<std::unique_ptr<Linear>>, Linear*, const char*, void*,
                           std::vector<Linear*>, std::reference_wrapper<Linear>>);
  static_assert(
      all_shared<std::span<float>, std::span<Linear>, std::string_view, std::vector<int>::iterator,
                 std::list<int>::const_iterator, std::initializer_list<int>>);
  static_assert(
      none_shared<int, double, std::string, std::vector<bool>, std::vector<std::vector<double>>,
                  std::filesystem::path, Settings, Tree, Rng, Shape, DType, std::complex<double>,
                  std::chrono::seconds, std::bitset<4>, std::tuple<>, int[3], int Settings::*>);
  static_assert(none_shared<std::function<int(int)>, Var (*)(const Var&), std::optional<int>,
                            std::variant<int, std::string>, std::map<int, std::set<int>>>);
  static_assert(none_shared<Linear, LSTM, Model, Skips>);  // modules answer for themselves
  static_assert(all_learned<std::map<int, Linear>, std::optional<Linear>, HoldsLayer,
                            std::variant<int, Parameter>, std::vector<std::pair<int, Linear>>>);
  static_assert(!all_learned<Settings> && !all_learned<Tree>);
  CHECK(true);
}
