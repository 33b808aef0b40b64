// Matrix products whose sums stay in registers, in float and in bfloat16, from which larger ones are made.
//
// Both are sums over words of 32 bits: one float, or two bfloat16 that follow each other along the summed dimension.

#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "vectors.h"

namespace {

template <typename T>
constexpr int64_t IN_WORD = 4 / sizeof(T);  // numbers of a word

inline int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// sum += a word, for all lanes, times a vector of words.
inline Floats add_product(const float* word, const float* words, Floats sum, float) { return sum + *word * load(words); }

#ifdef __AVX512BF16__
inline Floats add_product(const float* word, const float* words, Floats sum, bfloat16) {
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(*word), (__m512bh)_mm512_loadu_ps(words));
}
#else
inline Floats add_product(const float* word, const float* words, Floats sum, bfloat16) {
    const Words pairs = copied<Words>(words), high = {0};
    uint32_t pair;
    std::memcpy(&pair, word, sizeof pair);
    const Words both = pair + high;
    sum += (Floats)(both << 16) * (Floats)(pairs << 16);
    return sum + (Floats)(both & 0xffff0000u) * (Floats)(pairs & 0xffff0000u);
}
#endif

// sums [R][N] += sums over ``steps`` words of a, R words ``DOWN`` apart, times b, N vectors ``across`` apart. A step goes on by ``ON``
// words of a and ``wide`` of b. R * N is to be 24: with what they are made of, sums fill 32 registers, and are enough to keep units busy.
template <typename T, int R, int N, int64_t DOWN, int64_t ON>
[[gnu::always_inline]] inline void add_products(const float* a, const float* b, int64_t wide, int64_t steps, Floats (&sums)[R][N]) {
    for (int64_t step = 0; step < steps; step++, a += ON, b += wide)
#pragma GCC unroll 24
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int i = 0; i < N; i++) sums[r][i] = add_product(a + r * DOWN, b + i * LANES, sums[r][i], T());
}

// Memory in whole cache lines that nobody has written to.
template <typename T>
class Ground {
    T* const memory;

  public:
    explicit Ground(int64_t n) : memory((T*)std::aligned_alloc(64, up_to(n * sizeof(T) + 64, 64))) {
        if (!memory) throw std::bad_alloc();
    }
    ~Ground() { std::free(memory); }
    Ground(const Ground&) = delete;
    T* at(int64_t i = 0) const { return memory + i; }
};

}  // namespace
