// The likeliest next pieces of many rows, without ever holding all their logits. next_pieces.py runs this; screening.py and decoding.py
// have the same values in torch.
//
// Letters: N rows, V pieces, D width of their states. Pieces are taken a panel at a time, each for all rows of a share, whose states stay in
// cache. A row is computed by one thread, from its own numbers alone and always in the same order.

#include "products.h"

struct Likeliest {
    const float* states;                          // [N, D], rows ``states_stride`` apart
    const float *weights, *bias;                  // packed, and [V up to PACKED]: -inf beyond the last piece
    float *logits, *total;                        // [N, count] the largest logits, falling; [N] log of the sum of e^logit over all
    int64_t* pieces;                              // [N, count]: whose they are; of equal ones the lowest first
    int64_t rows, width, size, states_stride, count, threads;
};

struct MostProbable {
    const float* states;                          // [N, D], rows ``states_stride`` apart
    // Screening: weights in steps of ``steps``, 128 added, [panels, D4 / 4, PACKED, 4] with D up to D4, a multiple of 4; [V up to PACKED];
    // of each panel the largest |w|, and the largest |w - w'| for the rounded w'.
    const uint8_t* codes;
    const float *steps, *bias, *norms, *errors;
    const float *weight, *exact_bias;             // [V, D], [V]
    int64_t* pieces;                              // [N]; ``none`` for a row that is not a number
    int64_t rows, width, size, states_stride, none, threads;
};

namespace {

constexpr int64_t SHARE = 264;                    // rows, at most, that each panel is multiplied with at a time
const Ints COUNT = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

#ifdef __AVX512F__
inline float largest(Floats x) { return _mm512_reduce_max_ps(x); }
inline uint32_t not_below(Floats x, float limit) { return _mm512_cmp_ps_mask(x, all(limit), _CMP_GE_OQ); }
#else
inline float largest(Floats x) {
    float top = x[0];
    for (int64_t i = 1; i < LANES; i++) top = x[i] > top ? x[i] : top;
    return top;
}
inline uint32_t not_below(Floats x, float limit) {
    uint32_t lanes = 0;
    for (int64_t i = 0; i < LANES; i++) lanes |= (uint32_t)(x[i] >= limit) << i;
    return lanes;
}
#endif

// work(first lane that is set) and so on.
template <typename Work>
inline void each_lane(uint32_t lanes, Work work) {
    for (; lanes; lanes &= lanes - 1) work(__builtin_ctz(lanes));
}

// work(first row, rows) for shares of all rows, as many and about as large for each thread.
template <typename Work>
inline void in_shares(int64_t rows, int64_t threads, Work work) {
    const int64_t most = threads * SHARE, shares = std::max<int64_t>(1, up_to(rows, most) / most) * threads;
    const int64_t share = std::max<int64_t>(TOGETHER, up_to((rows + shares - 1) / shares, TOGETHER));
    Thrown thrown;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t first = 0; first < rows; first += share) {
        const NoSubnormals quick;
        thrown.by([&] { work(first, std::min(share, rows - first)); });
    }
    thrown.on();
}

// The largest logits of a row so far, and the sum of e^(logit - largest).
struct Best {
    float *logits;
    int64_t* pieces;
    int64_t count;
    float top = LOWEST, least = -INFINITY;        // the largest; the least of those that are kept
    Floats sum{};

    void note(float logit, int64_t piece) {
        int64_t place = count - 1;
        for (; place > 0 && logits[place - 1] < logit; place--) logits[place] = logits[place - 1], pieces[place] = pieces[place - 1];
        logits[place] = logit, pieces[place] = piece;
        least = logits[count - 1];
        if (logit > top) sum *= exp2_of(all((top - logit) * LOG2_E)), top = logit;
    }
};

void likeliest(const Likeliest& c, int64_t first, int64_t rows) {
    std::vector<Best> best;
    for (int64_t row = first; row < first + rows; row++) {
        best.push_back({c.logits + row * c.count, c.pieces + row * c.count, c.count});
        std::fill_n(best.back().logits, c.count, -INFINITY);
        std::fill_n(best.back().pieces, c.count, 0);
    }
    const float* states = c.states + first * c.states_stride;
    for (int64_t panel = 0; panel < c.size; panel += PACKED)
        in_groups(rows, 0, [&](auto number, int64_t group) {
            const float* x = states + group * c.states_stride;
            multiply<decltype(number)::number>(x, c.states_stride, c.weights + panel * c.width, c.width, [&](int row, int64_t at, const Floats* sums) {
                Best& its = best[group + row];
                const int64_t piece = panel + at;
                Floats logits[VECTORS], top = all(-INFINITY);
                for (int k = 0; k < VECTORS; k++) {
                    logits[k] = sums[k] + load(c.bias + piece + k * LANES);
                    top = larger(top, logits[k]);
                }
                if (not_below(top, its.least))
                    for (int k = 0; k < VECTORS; k++)
                        each_lane(not_below(logits[k], its.least), [&](int lane) {
                            if (logits[k][lane] > its.least) its.note(logits[k][lane], piece + k * LANES + lane);
                        });
                if (c.total)
                    for (int k = 0; k < VECTORS; k++) its.sum += exp2_of((logits[k] - its.top) * LOG2_E);
            });
        });
    for (int64_t row = 0; row < rows && c.total; row++) c.total[first + row] = best[row].top + std::log(across(best[row].sum));
}

#ifdef __AVX512VNNI__
// sums += of each lane the four products of codes and numbers.
inline Ints with_products(Ints sums, Ints codes, Ints numbers) { return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)codes, (__m512i)numbers); }
#else
inline Ints with_products(Ints sums, Ints codes, Ints numbers) {
    for (int byte = 0; byte < 4; byte++) sums += (codes >> (8 * byte) & 255) * (numbers << (24 - 8 * byte) >> 24);
    return sums;
}
#endif

// A row in whole steps, and what that leaves out.
struct Rounded {
    const float* x;
    float step, norm, error;                      // error: |x - x'| and some, for what is rounded in float
    int32_t start = 0;                            // takes back what the 128 in the codes add
    float least = -INFINITY;                      // the most probable piece has no smaller logit
    std::vector<std::pair<float, int64_t>> found = {};  // what may be most probable, as screened

    Rounded(const float* x, int8_t* numbers, int64_t width) : x(x) {
        float top = 0, square = 0, left = 0;
        for (int64_t i = 0; i < width; i++) top = std::max(top, std::fabs(x[i])), square += x[i] * x[i];
        step = top / 127;
        for (int64_t i = 0; i < width; i++) {
            numbers[i] = top > 0 && std::isfinite(square) ? (int8_t)std::lrint(x[i] / step) : 0;
            start -= 128 * numbers[i];
            const float rest = x[i] - numbers[i] * step;
            left += rest * rest;
        }
        norm = std::sqrt(square), error = std::sqrt(left) + 1e-5f * norm;
    }

    static float rounding(float logit) { return 1e-6f * std::fabs(logit); }

    // How far a screened logit of this panel is from the right one, at most: |wx - w'x'| <= |w - w'||x| + |w'||x - x'|, and rounding.
    float margin(const MostProbable& c, int64_t panel) const {
        return c.errors[panel] * norm + c.norms[panel] * error + (least > -INFINITY ? rounding(least) : 0);
    }

    void note(float logit, int64_t piece, float margin) {
        found.push_back({logit, piece});
        least = std::max(least, logit - margin - rounding(logit));
    }

    int64_t most_probable(const MostProbable& c) const {
        int64_t best = c.none;
        float top = -INFINITY;
        for (const auto& [screened, piece] : found) {
            if (screened + margin(c, piece / PACKED) < least) continue;
            const float logit = exact(c.weight + piece * c.width, c.width) + c.exact_bias[piece];
            if (logit > top) top = logit, best = piece;
        }
        return best;
    }

    float exact(const float* weight, int64_t width) const {
        Floats sums{};
        int64_t i = 0;
        for (; i + LANES <= width; i += LANES) sums += load(x + i) * load(weight + i);
        float sum = across(sums);
        for (; i < width; i++) sum += x[i] * weight[i];
        return sum;
    }
};

// Screened logits of ROWS rows and a panel.
template <int ROWS>
inline void screen(const MostProbable& c, int64_t panel, int64_t fours, const int8_t* numbers, Rounded* rows) {
    constexpr int VECTORS_OF_PANEL = PACKED / LANES;
    const uint8_t* codes = c.codes + panel * fours * 4 * PACKED;
    for (int part = 0; part < VECTORS_OF_PANEL; part += VECTORS) {
        Ints sums[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int k = 0; k < VECTORS; k++) sums[r][k] = Ints{} + rows[r].start;
        for (int64_t i = 0; i < fours; i++) {
            Ints weights[VECTORS];
            for (int k = 0; k < VECTORS; k++) weights[k] = copied<Ints>(codes + (i * VECTORS_OF_PANEL + part + k) * sizeof(Ints));
            for (int r = 0; r < ROWS; r++) {
                const Ints four = Ints{} + copied<int32_t>(numbers + 4 * (r * fours + i));
                for (int k = 0; k < VECTORS; k++) sums[r][k] = with_products(sums[r][k], weights[k], four);
            }
        }
        for (int r = 0; r < ROWS; r++) {
            Rounded& row = rows[r];
            const float margin = row.margin(c, panel);
            const int64_t piece = panel * PACKED + part * LANES;
            Floats logits[VECTORS], top = all(-INFINITY);
            for (int k = 0; k < VECTORS; k++) {
                logits[k] = __builtin_convertvector(sums[r][k], Floats) * (load(c.steps + piece + k * LANES) * row.step) + load(c.bias + piece + k * LANES);
                top = larger(top, logits[k]);
            }
            if (not_below(top, row.least - margin))
                for (int k = 0; k < VECTORS; k++)
                    each_lane(not_below(logits[k], row.least - margin), [&](int lane) {
                        const int64_t its = piece + k * LANES + lane;
                        if (its < c.size) row.note(logits[k][lane], its, margin);
                    });
        }
    }
}

void most_probable(const MostProbable& c, int64_t first, int64_t number) {
    const int64_t fours = (c.width + 3) / 4, panels = (c.size + PACKED - 1) / PACKED;
    std::vector<int8_t> numbers(number * fours * 4);
    std::vector<Rounded> rows;
    rows.reserve(number);
    for (int64_t row = 0; row < number; row++) rows.emplace_back(c.states + (first + row) * c.states_stride, numbers.data() + row * fours * 4, c.width);
    for (int64_t panel = 0; panel < panels; panel++)
        in_groups(number, 0, [&](auto together, int64_t group) { screen<decltype(together)::number>(c, panel, fours, numbers.data() + group * fours * 4, rows.data() + group); });
    for (int64_t row = 0; row < number; row++) c.pieces[first + row] = rows[row].most_probable(c);
}

}  // namespace

extern "C" int likeliest_float32(const Likeliest* c) {
    return failed([&] { in_shares(c->rows, c->threads, [&](int64_t first, int64_t rows) { likeliest(*c, first, rows); }); });
}

extern "C" int most_probable_float32(const MostProbable* c) {
    return failed([&] { in_shares(c->rows, c->threads, [&](int64_t first, int64_t rows) { most_probable(*c, first, rows); }); });
}
