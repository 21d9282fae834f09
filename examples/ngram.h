#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace examples {

/// What counting alone can do: the losses that a recurrent model has to beat.
///
/// Mean loss of `valid` in nats per id under interpolated n-gram models of orders 1, 2, ...,
/// `max_order` counted on `train`. With h the ids before c, and h' the same without the oldest,
///
///     P_k(c | h) = (count(h, c) + types(h) P_{k-1}(c | h')) / (count(h) + types(h)),
///     P_0(c) = 1 / vocabulary,
///
/// where count(h) is how often h was followed by anything and types(h) by how many different ids
/// (Witten and Bell 1991, method C). A history that was never seen leaves all to P_{k-1}.
///
/// `valid` is the text that follows `train`: its first ids have the last ids of `train` as history.
/// Sequences that fit into 64 bits are counted exactly; longer ones (order 6 from 1025 ids on) are
/// hashed to 64 bits, and the odds that any two of n collide are below n^2 / 2^65.
///
/// Throws UsageError if a text is empty or an id is outside of [0, vocabulary).
std::vector<double> ngram_losses(std::span<const std::int32_t> train,
                                 std::span<const std::int32_t> valid, std::size_t vocabulary,
                                 std::size_t max_order);

}  // namespace examples
