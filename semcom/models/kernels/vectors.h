// Vectors of 16 floats and what is done with them, which all the C++ here shares.

#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#ifdef __SSE__
#include <immintrin.h>
#endif

namespace {

constexpr int64_t LANES = 16;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));

struct bfloat16 { uint16_t bits; };

inline Floats all(float x) { return x - Floats{}; }

template <typename To, typename From>
inline To copied(const From* from) {
    To x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline Floats load(const float* from) { return copied<Floats>(from); }
inline void store(float* to, Floats x) { std::memcpy(to, &x, sizeof x); }

// Of each function here the first form is what AVX-512 has single instructions for, which compilers do not find by themselves.
#ifdef __AVX512F__
inline Floats load(const bfloat16* from) { return (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(copied<__m256i>(from)), 16); }
inline Floats larger(Floats a, Floats b) { return _mm512_max_ps(b, a); }
inline Floats nearest(Floats x) { return _mm512_roundscale_ps(x, 0); }
inline Floats times_2_to(Floats x, Floats k) { return _mm512_scalef_ps(x, k); }
#else
inline Floats load(const bfloat16* from) { return (Floats)(__builtin_convertvector(copied<Halves>(from), Words) << 16); }
inline Floats larger(Floats a, Floats b) { return a < b ? b : a; }  // a where either is not a number
inline Floats nearest(Floats x) { return (x + 12582912.0f) - 12582912.0f; }  // 1.5 * 2^23, beside which no fraction has room
inline Floats times_2_to(Floats x, Floats k) { return x == x ? (Floats)((Words)x + ((Words)(k + 12582912.0f) << 23)) : x; }
#endif

#ifdef __AVX512BF16__
inline void store(bfloat16* to, Floats x) {
    const __m256bh h = _mm512_cvtneps_pbh(x);
    std::memcpy(to, &h, sizeof h);
}
#else
inline void store(bfloat16* to, Floats x) {  // to the nearest, ties to even; a NaN stays one
    const Words w = (Words)x, rounded = (w + 0x7fffu + ((w >> 16) & 1u)) >> 16;
    const Halves h = __builtin_convertvector(x == x ? rounded : (w >> 16) | 0x40u, Halves);
    std::memcpy(to, &h, sizeof h);
}
#endif

inline float value(const float* from) { return *from; }

inline float value(const bfloat16* from) {
    const uint32_t w = (uint32_t)from->bits << 16;
    float x;
    std::memcpy(&x, &w, sizeof x);
    return x;
}

template <typename T>
inline void put(T* to, float x) {
    T whole[LANES];
    store(whole, all(x));
    *to = whole[0];
}

// Vectors of a row of ``n`` numbers, the last of which may be short: what it lacks is read as 0, and not written.
template <typename T>
inline Floats load_some(const T* from, int64_t n) {
    if (n >= LANES) return load(from);
    T whole[LANES] = {};
    std::copy(from, from + n, whole);
    return load(whole);
}

template <typename T>
inline void store_some(T* to, Floats x, int64_t n) {
    if (n >= LANES) return store(to, x);
    T whole[LANES];
    store(whole, x);
    std::copy(whole, whole + n, to);
}

constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f, FLOOR = -86.0f;
constexpr float LOWEST = -3.40282347e38f;  // beside which -inf, a piece that cannot be, is no NaN

// 2^x for x not above 1/2, to 3e-7 of itself where that counts: 2^k times a minimax polynomial. 2^FLOOR stands for what is below, so that
// nothing here is ever subnormal, which processors are slow at. NaN stays NaN.
inline Floats exp2_of(Floats x) {
    x = larger(x, all(FLOOR));
    const Floats k = nearest(x), f = x - k;
    Floats y = f * 1.32029818e-3f + 9.67495237e-3f;
    y = y * f + 5.55104725e-2f;
    y = y * f + 2.40221664e-1f;
    y = y * f + 6.93146586e-1f;
    y = y * f + 1.0f;
    return times_2_to(y, k);
}

// LANES of the 2 * LANES numbers of a and b, by place.
#ifdef __clang__
#define CHOSEN(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CHOSEN(a, b, ...) __builtin_shuffle(a, b, Ints{__VA_ARGS__})
#endif

// The 16 by 16 block at ``rows``, ``stride`` apart, turned, to ``to``, ``to_stride`` apart.
inline void turn(const float* rows, int64_t stride, float* to, int64_t to_stride) {
    Floats x[LANES], y[LANES];
    for (int64_t i = 0; i < LANES; i++) x[i] = load(rows + i * stride);
    // Row and column are the eight bits of a place. Each round rotates them by one, so four exchange the two.
    for (int round = 0; round < 4; round++) {
        for (int64_t i = 0; i < LANES / 2; i++) {
            y[2 * i] = CHOSEN(x[i], x[i + LANES / 2], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            y[2 * i + 1] = CHOSEN(x[i], x[i + LANES / 2], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        std::copy(y, y + LANES, x);
    }
    for (int64_t i = 0; i < LANES; i++) store(to + i * to_stride, x[i]);
}

// What is thrown by threads: it must leave neither a parallel region nor what Python calls, or the process ends.
struct Thrown {
    std::atomic<bool> any{false};

    template <typename Work>
    void by(Work work) {
        try {
            work();
        } catch (...) {
            any = true;
        }
    }

    void on() const {
        if (any) throw std::bad_alloc();
    }
};

// 1 where ``work`` lacked memory, else 0: what the functions that Python calls return.
template <typename Work>
inline int failed(Work work) {
    Thrown thrown;
    thrown.by(work);
    return thrown.any;
}

// While it lives, what would be subnormal is 0 in this thread: processors are slow at such numbers.
struct NoSubnormals {
#ifdef __SSE__
    const unsigned before = _mm_getcsr();
    NoSubnormals() { _mm_setcsr(before | 0x8040); }
    ~NoSubnormals() { _mm_setcsr(before); }
#endif
};

}  // namespace
