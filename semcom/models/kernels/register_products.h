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

// A number that the compiler knows.
template <int64_t N>
struct Fixed {
    constexpr operator int64_t() const { return N; }
};

template <int R, int N, typename Work>
[[gnu::always_inline]] inline void each(Work work) {
#pragma GCC unroll 24
    for (int r = 0; r < R; r++)
#pragma GCC unroll 24
        for (int i = 0; i < N; i++) work(r, i);
}

// sums [R][N] += sums over ``steps`` words of a, R words ``down`` apart, times b, N vectors of words. A step goes on by ``on`` words of a
// and ``wide`` of b. Beside what they are made of, R * N sums are to fit into 32 registers, and to be enough to keep units busy: 16 to 24.
template <typename T, int R, int N, typename Down, typename Wide, typename On = Fixed<1>>
[[gnu::always_inline]] inline void add_products(
    const float* a, Down down, const float* b, Wide wide, int64_t steps, Floats (&sums)[R][N], On on = On()
) {
    Floats held[R][N];  // which nothing else points to, so that it lies in registers
    each<R, N>([&](int r, int i) __attribute__((always_inline)) { held[r][i] = sums[r][i]; });
    for (int64_t step = 0; step < steps; step++, a += on, b += wide)
        each<R, N>([&](int r, int i) __attribute__((always_inline)) { held[r][i] = add_product(a + r * down, b + i * LANES, held[r][i], T()); });
    each<R, N>([&](int r, int i) __attribute__((always_inline)) { sums[r][i] = held[r][i]; });
}

// A word of a number of each of two vectors that stand one above the other; of the first alone where a word is one number.
template <typename T>
inline Floats word_of(Floats even, Floats odd) {
    if (IN_WORD<T> == 1) return even;
    bfloat16 low[LANES], high[LANES];
    store(low, even), store(high, odd);
    return (Floats)((Words)load(high) | ((Words)load(low) >> 16));
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
