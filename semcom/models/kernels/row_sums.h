// What losses of a row of logits are made of, found piece by piece: maxima and sums at once (Milakov and Gimelshein 2018, arXiv 1805.02867).

#pragma once

#include "vectors.h"

namespace {

// Of LANES rows, with s and t the logits of student and teacher, and T the temperature. top: largest s; t_top: largest t;
// x = (s - top) log2(e) and y = (t - t_top) log2(e) / T, so that p, the sum of 2^x, is that of e^(s - top); q: sum of 2^(x / T);
// r: of 2^y; apart: of 2^y (y - x / T).
struct Sums {
    Floats top = all(LOWEST), p{}, q{}, t_top = all(LOWEST), r{}, apart{};

    // Relative to new maxima, which are not below the old ones. cold: 1 / T.
    template <bool distils>
    void rebase(Floats new_top, Floats new_t_top, Floats cold) {
        const Floats down = top > LOWEST ? (top - new_top) * LOG2_E : Floats{};
        p *= exp2_of(down);
        top = new_top;
        if (distils) {
            const Floats t_down = t_top > LOWEST ? (t_top - new_t_top) * (LOG2_E * cold) : Floats{}, keep = exp2_of(t_down);
            q *= exp2_of(down * cold);
            apart = t_down < FLOOR ? Floats{} : keep * (apart + r * (t_down - down * cold));
            r *= keep;
            t_top = new_t_top;
        }
    }

    template <bool distils>
    void add(Sums other, Floats cold) {
        const Floats new_top = larger(top, other.top), new_t_top = larger(t_top, other.t_top);
        rebase<distils>(new_top, new_t_top, cold);
        other.rebase<distils>(new_top, new_t_top, cold);
        p += other.p, q += other.q, r += other.r, apart += other.apart;
    }
};

// k where every one of ``n`` temperatures is 2^k, up to 8, else -1.
inline int squares_of(const float* temperature, int64_t n) {
    int exponent;
    const float first = n ? temperature[0] : 1;
    const bool power = std::frexp(first, &exponent) == 0.5f && 1 <= exponent && exponent <= 4;
    return power && std::all_of(temperature, temperature + n, [&](float t) { return t == first; }) ? exponent - 1 : -1;
}

}  // namespace
