#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "../../autograd/ops/embedding.h"
#include "../../autograd/ops/shape.h"
#include "../../autograd/tape.h"
#include "../../core/error.h"
#include "../../core/kernels/gemm.h"
#include "../../core/kernels/indexing.h"
#include "../../core/pool.h"
#include "../../core/recurrent/lstm.h"
#include "../../core/rng.h"
#include "../support/extended.h"

TEST_SUITE_BEGIN("long runs");

// Tensors of more than 2^31 elements, of which only a few pages are touched: an index that was 32
// bits wide anywhere on the way would hit another element, or none.

using namespace tapegrad;
using namespace tapegrad::testing;

namespace {

constexpr std::size_t giga = std::size_t{1} << 30;

/// The system does not lend as much address space as a test needs.
struct NotLent {};

class Loan {
 public:
  explicit Loan(std::size_t floats)
      : bytes_(floats * sizeof(float) + (1 << 20)),  // and what the heap adds
        at_(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (at_ == MAP_FAILED) throw NotLent();
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  ~Loan() { ::munmap(at_, bytes_); }

 private:
  std::size_t bytes_;
  void* at_;
};

/// Takes memory for so many floats, several times at once, and gives it back; or throws NotLent.
void must_lend(std::size_t floats, int times = 1) {
  std::deque<Loan> loans;
  for (int i = 0; i < times; ++i) loans.emplace_back(floats);
}

/// Runs `test`; where the system does not lend so much address space, it is skipped by name. A
/// std::bad_alloc is a failure: it may be the fault that is looked for.
template <class F>
void with_address_space(const std::string& name, F&& test) {
  pool::trim();
  if (sanitized) {
    MESSAGE("skipped: ", name, ": a sanitizer touches an eighth of every block");
    return;
  }
  try {
    test();
  } catch (const NotLent&) {
    MESSAGE("skipped: ", name, ": the system refuses that much address space");
  }
  pool::trim();
}

float& element(Tensor& t, std::size_t index) { return t.mutable_data<float>()[index]; }

#ifdef MFD_CLOEXEC

/// Address space for `count` floats behind which the same 64 MiB of memory lie again and again:
/// what was written last is there, what was written long ago is not.
class Repeated {
 public:
  explicit Repeated(std::initializer_list<std::size_t> parts) {
    for (const std::size_t count : parts) bytes_ += whole(count);
    void* const at = ::mmap(nullptr, bytes_ + 2 * guard, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw NotLent();
    base_ = static_cast<std::byte*>(at) + guard;
    std::byte* end = base_;
    for (const std::size_t count : parts) end = map_part(end, whole(count));
  }
  Repeated(const Repeated&) = delete;
  Repeated& operator=(const Repeated&) = delete;
  ~Repeated() { ::munmap(base_ - guard, bytes_ + 2 * guard); }
  float* get() const { return reinterpret_cast<float*>(base_); }

 private:
  static constexpr std::size_t period = std::size_t{1} << 26;
  /// Before and behind nothing may be touched: an index cut to 32 bits leads there.
  static constexpr std::size_t guard = std::size_t{1} << 34;
  /// A part begins where the one before it ends, so that they are what one array would be.
  static std::size_t whole(std::size_t count) {
    REQUIRE(count * sizeof(float) % period == 0);
    return count * sizeof(float);
  }
  static std::byte* map_part(std::byte* at, std::size_t bytes) {
    const int file = ::memfd_create("tapegrad-test", MFD_CLOEXEC);
    if (file < 0 || ::ftruncate(file, period) != 0) throw NotLent();
    for (std::byte* const end = at + bytes; at < end; at += period) {
      REQUIRE(::mmap(at, period, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == at);
    }
    ::close(file);
    return at;
  }

  std::size_t bytes_ = 0;
  std::byte* base_ = nullptr;
};

#endif

}  // namespace

TEST_CASE("large: elements, rows and slices beyond 2^31") {
  with_address_space("elements, rows and slices", [] {
    must_lend(3 * giga);
    Tensor t = Tensor::empty({3 * giga / 1024, 1024});
    const std::size_t rows = t.size(0), last = t.numel() - 1;
    CHECK(t.numel() == 3 * giga);
    for (const std::size_t row : {std::size_t{0}, giga / 1024, 2 * giga / 1024, rows - 1}) {
      element(t, row * 1024 + 5) = static_cast<float>(row);
    }
    CHECK(t.at(2 * giga + 5) == 2 * giga / 1024);
    CHECK(t.row(rows - 1).at(5) == static_cast<double>(rows - 1));
    CHECK(t.slice(giga / 1024, rows).row(giga / 1024).at(5) == 2 * giga / 1024);
    CHECK(t.reshape({3, giga}).row(2).at(5) == 2 * giga / 1024);
    const Tensor last_row = t.row(rows - 1);
    CHECK(last_row.data<float>() == t.data<float>() + 3 * giga - 1024);
    t.slice(rows - 1, rows).fill(7);
    CHECK(t.at(last) == 7);
    t.row(2 * giga / 1024).copy_from(t.row(rows - 1));
    CHECK(t.at(2 * giga) == 7);
    CHECK(t.values<float>().size() == 3 * giga);
    CHECK_THROWS_AS(t.at(3 * giga), UsageError);
  });
}

TEST_CASE("large: rows of a table and runs along an axis beyond 2^31") {
  with_address_space("rows and runs", [] {
    constexpr std::size_t columns = 1024;
    must_lend(3 * giga);
    Tensor table = Tensor::empty({3 * giga / columns, columns});
    const auto last = static_cast<std::int32_t>(table.size(0) - 1), middle = last - 1234;
    for (const std::int32_t id : {0, middle, last}) {
      table.row(static_cast<std::size_t>(id)).fill(static_cast<double>(id % 1000));
    }
    const std::vector<std::int32_t> numbers{last, 0, middle, last};
    const Tensor ids = Tensor::from<std::int32_t>({2, 2}, numbers);
    Tensor taken = embedding(Var(table), ids).value();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      CHECK(taken.at((i + 1) * columns - 1) == numbers[i] % 1000);
    }
    kernels::add_rows(table, ids, Tensor::full({2, 2, columns}, 1));
    CHECK(table.at(table.numel() - 1) == last % 1000 + 2);
    CHECK(table.at(static_cast<std::size_t>(middle) * columns + 3) == middle % 1000 + 1);
    CHECK(table.at(3) == 1);

    // (3, 2^30): a run of each row. What lies before and after it must stay.
    const Tensor wide = table.reshape({3, giga});
    Tensor t = wide;
    constexpr std::size_t begin = giga - 100;
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t k = 0; k < 100; ++k) {
        element(t, r * giga + begin + k) = static_cast<float>(1000 * r + k);
      }
    }
    const Tensor part = slice(Var(wide), 1, begin + 10, begin + 12).value();
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(part.at(i) == static_cast<double>(1000 * (i / 2) + 10 + i % 2));
    }
    kernels::add_slice(t, part, 1, begin + 10);
    CHECK(t.at(2 * giga + begin + 9) == 2009);
    CHECK(t.at(2 * giga + begin + 10) == 4020);
    CHECK(t.at(2 * giga + begin + 11) == 4022);
    CHECK(t.at(2 * giga + begin + 12) == 2012);
  });
}

TEST_CASE("large: products of matrices whose rows lie 2^29 elements apart") {
  with_address_space("products", [] {
    constexpr std::size_t n = 6, stride = giga / 2 + 64;
    constexpr std::size_t size = (n - 1) * stride + n;
    must_lend(size, 3);
    const auto make = [] { return Tensor::empty({size}); };
    Tensor a = make(), b = make(), c = make();
    const auto value = [](std::size_t i, std::size_t j) {
      return static_cast<float>(i * n + j) - 11;
    };
    for (const Transpose ta : {Transpose::no, Transpose::yes}) {
      for (const Transpose tb : {Transpose::no, Transpose::yes}) {
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t j = 0; j < n; ++j) {
            element(a, i * stride + j) = value(i, j);
            element(b, i * stride + j) = value(j, i);
            element(c, i * stride + j) = 5;
          }
        }
        kernels::gemm<float>(ta, tb, n, n, n, 1, a.data<float>(), stride, b.data<float>(), stride,
                             2, c.mutable_data<float>(), stride);
        for (std::size_t i = 0; i < n; ++i) {
          for (std::size_t j = 0; j < n; ++j) {
            float wanted = 10;
            for (std::size_t k = 0; k < n; ++k) {
              const float left = ta == Transpose::no ? value(i, k) : value(k, i);
              wanted += left * (tb == Transpose::no ? value(j, k) : value(k, j));
            }
            CHECK(c.at(i * stride + j) == wanted);
          }
        }
      }
    }
  });
}

TEST_CASE("large: sizes that no memory has are refused, and none wraps around") {
  constexpr std::size_t most = std::size_t{PTRDIFF_MAX} / 8;
  CHECK_THROWS_AS(Shape({most + 1}), ShapeError);
  CHECK_THROWS_AS(Shape({std::size_t{1} << 32, std::size_t{1} << 32}), ShapeError);
  CHECK_THROWS_AS(Shape({std::size_t{1} << 62, 4, 1}), ShapeError);
  const Tensor x = Tensor::zeros({2, 3});
  CHECK_THROWS_AS(pad(Var(x), 1, 0, most), ShapeError);
  CHECK_THROWS_AS(x.shape().with(1, most), ShapeError);
  CHECK_THROWS_AS(x.shape().inserted(0, most), ShapeError);
  if (sanitized) return;  // it ends the program for a request that no memory has
  // The largest shapes there are: their bytes are counted without wrapping, and refused.
  for (const DType dtype : {DType::float32, DType::float64, DType::int32}) {
    CHECK_THROWS_AS(Tensor::empty({most}, dtype), std::bad_alloc);
    CHECK_THROWS_AS(Tensor::zeros({most / 3, 3}, dtype), std::bad_alloc);
  }
  CHECK_THROWS_AS(pool::Vector<double>(most + 1), std::exception);
  CHECK_THROWS_AS(pool::Allocator<double>().allocate(std::numeric_limits<std::size_t>::max() / 4),
                  std::bad_alloc);
}

TEST_CASE("large: rows and memory of an LSTM beyond 2^31 are counted in full") {
  const kernels::lstm::Shape shape{
      .sequence = {.steps = 1 << 20, .batch = 1 << 10}, .input = 1, .hidden = 1 << 9};
  CHECK(kernels::rows(shape.sequence) == giga);
  CHECK(kernels::lstm::reserve_size(shape) == 6 * 512 * giga);
  const std::array<std::size_t, 2> active{3 * giga, 2 * giga};
  const kernels::lstm::Shape packed{
      .sequence = {.steps = 2, .batch = 3 * giga, .active = active.data()},
      .input = 1,
      .hidden = 1 << 9};
  CHECK(kernels::rows(packed.sequence) == 5 * giga);
  CHECK(kernels::lstm::reserve_size(packed) == 6 * 512 * 5 * giga);
}

#ifdef MFD_CLOEXEC

TEST_CASE("large: an LSTM with more than 2^31 gates" * doctest::skip()) {  // long tier
  with_address_space("an LSTM", [] {
    // The input never changes, so the states come to rest, and the gates of all late steps are the
    // same: then it does no harm that those of early steps lie in the same memory.
    constexpr std::size_t T = 1280, B = 1 << 15, H = 16, N = T * B;
    static_assert(N * 4 * H > 2 * giga);
    Rng rng(1);
    const auto random = [&](const Shape& shape) { return rng.normal(shape, 0, 0.5); };
    const Tensor w_ih = random({4 * H, 1}), w_hh = random({4 * H, H});
    const Tensor zero = Tensor::zeros({B, H}), x = Tensor::full({N, 1}, 1);
    const auto forward = [&](kernels::lstm::Shape shape, float* y, float* h, float* c,
                             float* reserve) {
      kernels::lstm::forward<float>({.shape = shape,
                                     .weights = {w_ih.data<float>(), w_hh.data<float>()},
                                     .variant = {},
                                     .x = x.data<float>(),
                                     .h0 = zero.data<float>(),
                                     .c0 = zero.data<float>(),
                                     .y = y,
                                     .h_last = h,
                                     .c_last = c,
                                     .reserve = reserve});
    };
    const kernels::lstm::Shape one{.sequence = {.steps = T, .batch = 1}, .input = 1, .hidden = H};
    std::vector<float> y1(T * H), h1(H), c1(H), reserve1(kernels::lstm::reserve_size(one));
    forward(one, y1.data(), h1.data(), c1.data(), reserve1.data());

    const kernels::lstm::Shape many{.sequence = {.steps = T, .batch = B}, .input = 1, .hidden = H};
    const Repeated y({N * H}), reserve({N * 4 * H, N * H, N * H});
    std::vector<float> h(B * H), c(B * H);
    forward(many, y.get(), h.data(), c.data(), reserve.get());
    const auto close = [](float got, float wanted) { return std::abs(got - wanted) < 1e-5F; };
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < B * H; ++i) {
      const bool good = close(h[i], h1[i % H]) && close(c[i], c1[i % H]) &&
                        close(y.get()[(N - B) * H + i], h1[i % H]);
      if (!good) ++wrong;
    }
    for (std::size_t i = 0; i < B * 4 * H; ++i) {
      const float gate = reserve.get()[(N - B) * 4 * H + i];
      if (!close(gate, reserve1[(T - 1) * 4 * H + i % (4 * H)])) ++wrong;
    }
    CHECK(wrong == 0);

    // Backward, from dy = 1: at rest too, far from the end.
    const Tensor h0 = Tensor::empty({B, H}), c0 = Tensor::empty({B, H});
    for (std::size_t b = 0; b < B; ++b) {
      h0.row(b).copy_from(Tensor::from<float>({H}, h1));
      c0.row(b).copy_from(Tensor::from<float>({H}, c1));
    }
    const auto backward = [&](kernels::lstm::Shape shape, const float* outputs, float* kept,
                              const float* dy, float* da, float* dx) {
      kernels::lstm::backward<float>({.shape = shape,
                                      .weights = {w_ih.data<float>(), w_hh.data<float>()},
                                      .variant = {},
                                      .x = x.data<float>(),
                                      .h0 = h0.data<float>(),
                                      .c0 = c0.data<float>(),
                                      .y = outputs,
                                      .reserve = kept,
                                      .may_overwrite_reserve = false,
                                      .dy = dy,
                                      .dx = dx,
                                      .dgates = da});
    };
    const Repeated dy({N * H}), da({N * 4 * H});
    std::fill_n(dy.get(), (std::size_t{1} << 26) / sizeof(float), 1.0F);
    std::vector<float> da1(T * 4 * H), dx1(T), dx(N);
    backward(one, y1.data(), reserve1.data(), dy.get(), da1.data(), dx1.data());
    backward(many, y.get(), reserve.get(), dy.get(), da.get(), dx.data());
    const float rest = dx1[T / 2];
    CHECK(std::abs(rest) > 0.01F);
    CHECK(std::ranges::all_of(dx, [&](float d) { return std::abs(d - rest) < 1e-4F; }));
  });
}

#endif

TEST_SUITE_END();
