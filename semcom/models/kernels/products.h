// Products of rows with packed weights, their sums in registers.
//
// Weights of a product lie in panels of PANEL outputs, each [inputs, PANEL], zeros beyond the last output: what a step of the inner loop
// reads is one after the other.

#pragma once

#include "vectors.h"

namespace {

constexpr int64_t PANEL = 64;
#ifdef __AVX512F__
constexpr int VECTORS = 4, TOGETHER = 6;  // outputs in vectors, and rows, whose sums are in the 32 registers at once
#else
constexpr int VECTORS = 1, TOGETHER = 5;  // in 16 of half the size
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

inline int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Of ROWS rows of x, ``stride`` apart, and one panel: take(row, first output, sums [VECTORS]). Every row is summed in the same order, however
// many there are.
template <int ROWS, typename Take>
inline void multiply(const float* x, int64_t stride, const float* panel, int64_t inputs, Take take) {
    for (int64_t at = 0; at < PANEL; at += AT_ONCE) {
        Floats sums[ROWS][VECTORS] = {};
        for (int64_t i = 0; i < inputs; i++) {
            Floats weights[VECTORS];
            for (int k = 0; k < VECTORS; k++) weights[k] = load(panel + i * PANEL + at + k * LANES);
            for (int r = 0; r < ROWS; r++) {
                const Floats value = all(x[r * stride + i]);
                for (int k = 0; k < VECTORS; k++) sums[r][k] += value * weights[k];
            }
        }
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
