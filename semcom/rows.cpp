// Cross-entropy, distillation and their gradient over a chunk of logits, in two passes. rows.py compiles this; fused._row_losses
// has the same values in torch.
//
// Logits are [V, n]: pieces down, rows (target tokens) across. A vector holds one piece of LANES rows, so no sum runs across a
// vector. The first pass finds maxima and sums at once (Milakov and Gimelshein 2018, arXiv 1805.02867), tile by tile: sums
// of tiles' sums keep float32 exact over many pieces. Any NaN reaches its row's losses.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

constexpr int64_t LANES = 16, TILE = 64;

// rows is a multiple of LANES; rows from ``real`` on are padding, of weights 0 and temperature 1.
struct Chunk {
    void* logits;                                      // [V, n]; become the gradient
    const void* teacher;                               // [V, n], or null
    const float *bias, *teacher_bias;                  // [V], not in the logits yet
    const float *temperature, *ce_weight, *kd_weight;  // [n]
    const int64_t* targets;                            // [n]
    float* to_bias;                                    // [V]; the gradient's sum over rows is added
    double* sums;                                      // [3]: of the weighted loss, CE, KD
    int64_t pieces, rows, real, threads;
};

namespace {

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

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
inline Floats times_2_to(Floats x, Floats k) { return (Floats)((Ints)x + ((Ints)(k + 12582912.0f) << 23)); }
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

template <typename T, bool distils>
struct Work {
    const Chunk& c;
    T* logits = (T*)c.logits;
    const T* teacher = (const T*)c.teacher;

    Floats student_at(int64_t v, int64_t j) const { return load(logits + v * c.rows + j) + c.bias[v]; }
    Floats teacher_at(int64_t v, int64_t j) const { return load(teacher + v * c.rows + j) + c.teacher_bias[v]; }

    void sum(int64_t from, int64_t to, Sums* groups) const {
        for (int64_t v0 = from; v0 < to; v0 += TILE) {
            const int64_t v1 = std::min(to, v0 + TILE);
            for (int64_t j = 0; j < c.rows; j += LANES) {
                Sums& s = groups[j / LANES];
                const Floats cold = 1.0f / load(c.temperature + j);
                Floats top = s.top, t_top = s.t_top;
                for (int64_t v = v0; v < v1; v++) {
                    top = larger(top, student_at(v, j));
                    if (distils) t_top = larger(t_top, teacher_at(v, j));
                }
                s.rebase<distils>(top, t_top, cold);
                Floats p{}, q{}, r{}, apart{};
                for (int64_t v = v0; v < v1; v++) {
                    const Floats x = (student_at(v, j) - top) * LOG2_E;
                    p += exp2_of(x);
                    if (distils) {
                        const Floats soft = x * cold, y = (teacher_at(v, j) - t_top) * (LOG2_E * cold), e = exp2_of(y);
                        q += exp2_of(soft);
                        r += e;
                        apart += y < FLOOR ? Floats{} : e * (y - soft);  // not the floor's value times a distance without bounds
                    }
                }
                s.p += p, s.q += q, s.r += r, s.apart += apart;
            }
        }
    }

    // Adds losses to c.sums; to_target [real]: the gradient at each row's target, its only element that is not a plain difference.
    void lose(const std::vector<Sums>& groups, std::vector<float>& to_target) const {
        for (int64_t j = 0; j < c.real; j++) {
            const Sums& s = groups[j / LANES];
            const int64_t lane = j % LANES, v = c.targets[j], at = v * c.rows + j;
            const float heat = c.temperature[j], x = value(logits + at) + c.bias[v] - s.top[lane];
            const float ce = std::log(s.p[lane]) - x;
            float kd = 0, gradient = c.ce_weight[j] * (std::exp(x) / s.p[lane] - 1);
            if (distils) {
                const float y = (value(teacher + at) + c.teacher_bias[v] - s.t_top[lane]) / heat;
                kd = heat * heat * (LN_2 * s.apart[lane] / s.r[lane] + std::log(s.q[lane] / s.r[lane]));
                gradient += c.kd_weight[j] * heat * (std::exp(x / heat) / s.q[lane] - std::exp(y) / s.r[lane]);
            }
            to_target[j] = gradient;
            c.sums[0] += (double)c.ce_weight[j] * ce + (distils ? (double)c.kd_weight[j] * kd : 0.0);
            c.sums[1] += ce;
            c.sums[2] += kd;
        }
    }

    void differentiate(int64_t from, int64_t to, const Sums* groups) const {
        for (int64_t v0 = from; v0 < to; v0 += TILE) {
            const int64_t v1 = std::min(to, v0 + TILE);
            Floats over_rows[TILE] = {};
            for (int64_t j = 0; j < c.rows; j += LANES) {
                const Sums& s = groups[j / LANES];
                const Floats heat = load(c.temperature + j), cold = 1.0f / heat, top = s.top, t_top = s.t_top;
                const Floats of_p = load(c.ce_weight + j) / s.p, soft = load(c.kd_weight + j) * heat, of_q = soft / s.q, of_r = soft / s.r;
                for (int64_t v = v0; v < v1; v++) {
                    const Floats x = (student_at(v, j) - top) * LOG2_E;
                    Floats g = exp2_of(x) * of_p;
                    if (distils) g += exp2_of(x * cold) * of_q - exp2_of((teacher_at(v, j) - t_top) * (LOG2_E * cold)) * of_r;
                    store(logits + v * c.rows + j, g);
                    over_rows[v - v0] += g;
                }
            }
            for (int64_t v = v0; v < v1; v++)
                for (int64_t lane = 0; lane < LANES; lane++) c.to_bias[v] += over_rows[v - v0][lane];
        }
    }

    void run() const {
        const int64_t threads = c.threads, share = (c.pieces + threads - 1) / threads;
        std::vector<std::vector<Sums>> found(threads, std::vector<Sums>(c.rows / LANES));
        std::vector<float> to_target(c.real);
#pragma omp parallel num_threads(threads)
        {
#pragma omp for schedule(static, 1)
            for (int64_t i = 0; i < threads; i++) sum(std::min(c.pieces, i * share), std::min(c.pieces, (i + 1) * share), found[i].data());
#pragma omp single
            {
                for (int64_t i = 1; i < threads; i++)
                    for (size_t g = 0; g < found[0].size(); g++) found[0][g].template add<distils>(found[i][g], 1.0f / load(c.temperature + g * LANES));
                lose(found[0], to_target);
            }
#pragma omp for schedule(static, 1)
            for (int64_t i = 0; i < threads; i++) differentiate(std::min(c.pieces, i * share), std::min(c.pieces, (i + 1) * share), found[0].data());
        }
        for (int64_t j = 0; j < c.real; j++) {
            put(logits + c.targets[j] * c.rows + j, to_target[j]);
            c.to_bias[c.targets[j]] -= c.ce_weight[j];
        }
    }
};

template <typename T>
void run(const Chunk& c) {
    if (c.teacher) Work<T, true>{c}.run();
    else Work<T, false>{c}.run();
}

}  // namespace

extern "C" void row_losses_float32(const Chunk* c) { run<float>(*c); }
extern "C" void row_losses_bfloat16(const Chunk* c) { run<bfloat16>(*c); }
