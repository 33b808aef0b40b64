// Products of rows with packed weights, their sums in registers.
//
// Weights of a product lie in panels of PACKED outputs, each [inputs, PACKED], zeros beyond the last output: what a step of the inner loop
// reads is one after the other.

#pragma once

#include "register_products.h"

namespace {

constexpr int64_t PACKED = 64;
#ifdef __AVX512F__
constexpr int VECTORS = 4, TOGETHER = 6;  // outputs in vectors, and rows, whose sums are in the 32 registers at once
#else
constexpr int VECTORS = 1, TOGETHER = 6;  // in 16 of half the size
typedef float Half __attribute__((vector_size(2 * LANES)));
#endif
constexpr int64_t AT_ONCE = VECTORS * LANES;

#ifdef __AVX512F__
inline float across(Floats x) { return _mm512_reduce_add_ps(x); }
#else
inline float across(Floats x) {
    float sum = 0;
    for (int64_t i = 0; i < LANES; i++) sum += x[i];
    return sum;
}
#endif

// Of ROWS rows of x, ``stride`` apart, and one panel: take(row, first output, sums [VECTORS]). Every row is summed in the same order, however
// many there are.
template <int ROWS, typename Take>
inline void multiply(const float* x, int64_t stride, const float* panel, int64_t inputs, Take take) {
    for (int64_t at = 0; at < PACKED; at += AT_ONCE) {
        Floats sums[ROWS][VECTORS] = {};
#ifdef __AVX512F__
        add_products<float>(x, stride, panel + at, Fixed<PACKED>(), inputs, sums);
#else  // compilers keep what is longer than registers in memory
        Half halves[ROWS][2] = {};
        for (int64_t i = 0; i < inputs; i++)
            each<ROWS, 2>([&](int r, int k) __attribute__((always_inline)) {
                halves[r][k] += x[r * stride + i] * copied<Half>(panel + i * PACKED + at + k * LANES / 2);
            });
        std::memcpy(sums, halves, sizeof sums);
#endif
        for (int r = 0; r < ROWS; r++) take(r, at, sums[r]);
    }
}

// work(number of rows at once, first row) for all of ``rows``: TOGETHER at a time, and at last those that are left.
template <int ROWS>
struct Rows { static constexpr int number = ROWS; };

template <int ROWS = TOGETHER, typename Work>
inline void in_groups(int64_t rows, int64_t first, Work work) {
    for (; rows - first >= ROWS; first += ROWS) work(Rows<ROWS>{}, first);
    if constexpr (ROWS > 1) in_groups<ROWS - 1>(rows, first, work);
}

}  // namespace
