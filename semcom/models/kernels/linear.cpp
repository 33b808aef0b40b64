// Linear maps of rows, with ReLU where it follows, and their gradient. linear.py runs this; torch's have the same values.
//
// Rows are taken a block at a time, which with what is made of it stays in the second cache. Letters: N rows, K inputs, O outputs.

#include "register_products.h"

struct Linear {
    const void* x;                // [N, K], float where ``x_float``, else T
    const float *weight, *bias;   // [O, K], [O]
    void* y;                      // T [N, O], with ReLU where ``relu``
    const void* to_y;             // T [N, O]: gradient, or null
    void* to_x;                   // [N, K], as x is; null where not wanted, and so
    float *to_weight, *to_bias;   // [O, K], [O]
    int64_t rows, inputs, outputs, x_float, relu, threads;
};

namespace {

constexpr int64_t ROWS = 6, ACROSS = 4, WIDE = ACROSS * LANES;  // rows by outputs whose sums are in registers at once
constexpr int64_t TALL = 8, NARROW = 2 * LANES;                 // of a weight's gradient
constexpr int64_t BLOCK = 192;                                  // rows; whole pairs and whole ROWS

// to [up_to(n, 2 * LANES) / IN_WORD]: ``n`` numbers as words, zeros behind them.
template <typename T, typename From>
inline void to_words(const From* from, int64_t n, float* to) {
    for (int64_t i = 0; i < up_to(n, 2 * LANES); i += LANES) store((T*)to + i, i < n ? load_some(from + i, n - i) : Floats{});
}

template <typename T, typename X>
struct Maps {
    const Linear& c;
    const int64_t inputs = up_to(c.inputs, 2 * LANES), outputs = up_to(c.outputs, 2 * LANES);  // padded
    const int64_t deep = inputs / IN_WORD<T>, back_deep = outputs / IN_WORD<T>;                // in words
    const int64_t panels = up_to(c.outputs, WIDE) / WIDE, back_panels = up_to(c.inputs, WIDE) / WIDE;
    // The weights: in words of two inputs, [panels, deep, WIDE], or, for the way back, of two outputs, [back_panels, back_deep, WIDE].
    const Ground<float> weights{(c.to_y ? back_panels * back_deep : panels * deep) * WIDE};

    void take_weights() const {
        const Ground<float> rows(LANES * deep);
        for (int64_t o = 0; o < panels * WIDE; o += LANES) {
            for (int64_t i = 0; i < LANES; i++)
                if (o + i < c.outputs) to_words<T>(c.weight + (o + i) * c.inputs, c.inputs, rows.at(i * deep));
                else std::fill(rows.at(i * deep), rows.at((i + 1) * deep), 0.0f);
            for (int64_t k = 0; k < deep; k += LANES) turn(rows.at(k), deep, weights.at((o / WIDE * deep + k) * WIDE + o % WIDE), WIDE);
        }
    }

    void take_weights_back() const {
        const auto some = [&](int64_t o, int64_t k) {
            return o < c.outputs && k < c.inputs ? load_some(c.weight + o * c.inputs + k, c.inputs - k) : Floats{};
        };
        for (int64_t o = 0; o < outputs; o += IN_WORD<T>)
            for (int64_t k = 0; k < back_panels * WIDE; k += LANES)
                store(weights.at((k / WIDE * back_deep + o / IN_WORD<T>) * WIDE + k % WIDE), word_of<T>(some(o, k), some(o + 1, k)));
    }

    // take(row, place, sums [ROWS][ACROSS]) for products of ``n`` rows of words, ``deep`` each, with every panel, plus bias where there is one.
    template <bool relu, typename To>
    void multiply(const float* rows, int64_t n, int64_t deep, const float* bias, To* to, int64_t width) const {
        for (int64_t o = 0; o < width; o += WIDE) {
            Floats start[ACROSS] = {};
            for (int64_t q = 0; q < ACROSS && bias && o + q * LANES < width; q++) start[q] = load_some(bias + o + q * LANES, width - o - q * LANES);
            for (int64_t j = 0; j < n; j += ROWS) {
                To* const at = to + j * width + o;
                for (int64_t r = 0; r < std::min(ROWS, n - j); r++)
                    for (int64_t i = 0; i < WIDE; i += 64 / (int64_t)sizeof(To)) __builtin_prefetch(at + r * width + i, 1);
                Floats sums[ROWS][ACROSS];
                each<ROWS, ACROSS>([&](int r, int q) __attribute__((always_inline)) { sums[r][q] = start[q]; });
                add_products<T>(rows + j * deep, deep, weights.at(o * deep), Fixed<WIDE>(), deep, sums);
                if (relu) each<ROWS, ACROSS>([&](int r, int q) __attribute__((always_inline)) { sums[r][q] = larger(sums[r][q], Floats{}); });
                if (j + ROWS <= n && o + WIDE <= width)
                    each<ROWS, ACROSS>([&](int r, int q) __attribute__((always_inline)) { store(at + r * width + q * LANES, sums[r][q]); });
                else put_some(at, sums, width, n - j, width - o);
            }
        }
    }

    // What there is of sums: rows and numbers of each.
    template <typename To>
    [[gnu::noinline]] static void put_some(To* to, Floats (&sums)[ROWS][ACROSS], int64_t width, int64_t rows, int64_t numbers) {
        for (int64_t r = 0; r < std::min(ROWS, rows); r++)
            for (int64_t q = 0; q < ACROSS && q * LANES < numbers; q++) store_some(to + r * width + q * LANES, sums[r][q], numbers - q * LANES);
    }

    void forward(int64_t from, int64_t to, float* words) const {
        const int64_t n = to - from;
        for (int64_t j = 0; j < up_to(n, ROWS); j++)
            if (j < n) to_words<T>((const X*)c.x + (from + j) * c.inputs, c.inputs, words + j * deep);
            else std::fill(words + j * deep, words + (j + 1) * deep, 0.0f);
        T* const y = (T*)c.y + from * c.outputs;
        c.relu ? multiply<true>(words, n, deep, c.bias, y, c.outputs) : multiply<false>(words, n, deep, c.bias, y, c.outputs);
    }

    // What a thread works in, and what it finds.
    struct Place {
        const Ground<float> gradient;       // [BLOCK, back_deep], words of two outputs
        const Ground<float> pairs, inputs;  // [outputs / LANES, BLOCK, LANES] and [inputs / NARROW, BLOCK, NARROW], words of two rows
        const Ground<float> to_weight, to_bias;

        explicit Place(const Maps& m)
            : gradient(BLOCK * m.back_deep), pairs(m.c.to_weight ? BLOCK * m.outputs : 0), inputs(m.c.to_weight ? BLOCK * m.inputs : 0),
              to_weight(m.c.to_weight ? m.outputs * m.inputs : 0), to_bias(m.outputs) {}
    };

    // LANES of the gradient of a row's outputs before ReLU, or of its inputs; zeros where there are none.
    template <bool whole>
    Floats before(int64_t row, int64_t end, int64_t o) const {
        const int64_t at = row * c.outputs + o, left = whole ? LANES : row < end ? c.outputs - o : 0;
        if (left <= 0) return Floats{};
        const Floats g = load_some((const T*)c.to_y + at, left);
        return c.relu ? (load_some((const T*)c.y + at, left) > 0.0f ? g : Floats{}) : g;
    }

    template <bool whole>
    Floats input(int64_t row, int64_t end, int64_t k) const {
        const int64_t left = whole ? LANES : row < end ? c.inputs - k : 0;
        return left > 0 ? load_some((const X*)c.x + row * c.inputs + k, left) : Floats{};
    }

    // Two rows from ``row`` on, which stand ``j`` rows from the block's first, as words; ``steps`` words are as many as the block is tall.
    template <bool whole>
    void take_rows(int64_t row, int64_t end, int64_t j, int64_t steps, const Place& place) const {
        const int64_t pair = IN_WORD<T>;
        for (int64_t o = 0; o < outputs; o += LANES) {
            const Floats even = before<whole>(row, end, o), odd = before<whole>(row + 1, end, o);
            store((T*)place.gradient.at(j * back_deep) + o, even);
            store((T*)place.gradient.at((j + 1) * back_deep) + o, odd);
            store(place.to_bias.at(o), load(place.to_bias.at(o)) + (even + odd));
            if (!c.to_weight) continue;
            float* const to = place.pairs.at(o * steps + j / pair * LANES);
            store(to, word_of<T>(even, odd));
            if (pair == 1) store(to + LANES, odd);
        }
        for (int64_t k = 0; c.to_weight && k < inputs; k += LANES) {
            const Floats even = input<whole>(row, end, k), odd = input<whole>(row + 1, end, k);
            float* const to = place.inputs.at(k / NARROW * NARROW * steps + j / pair * NARROW + k % NARROW);
            store(to, word_of<T>(even, odd));
            if (pair == 1) store(to + NARROW, odd);
        }
    }

    void backward(int64_t from, int64_t to, const Place& place) const {
        const int64_t n = up_to(to - from, ROWS), steps = n / IN_WORD<T>;
        const bool whole = inputs == c.inputs && outputs == c.outputs;
        for (int64_t j = 0; j < n; j += 2)
            whole && from + j + 2 <= to ? take_rows<true>(from + j, to, j, steps, place) : take_rows<false>(from + j, to, j, steps, place);
        if (c.to_weight) add_to_weight(steps, place);
        if (c.to_x) multiply<false>(place.gradient.at(), to - from, back_deep, nullptr, (X*)c.to_x + from * c.inputs, c.inputs);
    }

    void add_to_weight(int64_t steps, const Place& place) const {
        for (int64_t k = 0; k < inputs; k += NARROW)
            for (int64_t o = 0; o < outputs; o += TALL) {
                Floats sums[TALL][2];
                float* const at = place.to_weight.at(o * inputs + k);
                each<TALL, 2>([&](int r, int q) __attribute__((always_inline)) { sums[r][q] = load(at + r * inputs + q * LANES); });
                add_products<T>(place.pairs.at(o / LANES * LANES * steps + o % LANES), Fixed<1>(), place.inputs.at(k * steps), Fixed<NARROW>(),
                                steps, sums, Fixed<LANES>());
                each<TALL, 2>([&](int r, int q) __attribute__((always_inline)) { store(at + r * inputs + q * LANES, sums[r][q]); });
            }
    }

    // work(first row, row after the last, thread) for blocks of the rows of each thread.
    template <typename Work>
    void blockwise(Work work) const {
        const int64_t share = up_to((c.rows + c.threads - 1) / c.threads, ROWS);
#pragma omp parallel for num_threads(c.threads) schedule(static, 1)
        for (int64_t i = 0; i < c.threads; i++) {
            const NoSubnormals quick;
            const int64_t end = std::min(c.rows, (i + 1) * share);
            for (int64_t from = i * share; from < end; from += BLOCK) work(from, std::min(end, from + BLOCK), i);
        }
    }

    void run() const {
        if (!c.to_y) {
            take_weights();
            std::vector<std::unique_ptr<Ground<float>>> words;
            for (int64_t i = 0; i < c.threads; i++) words.emplace_back(new Ground<float>(BLOCK * deep));
            return blockwise([&](int64_t from, int64_t to, int64_t i) { forward(from, to, words[i]->at()); });
        }
        if (c.to_x) take_weights_back();
        std::vector<std::unique_ptr<Place>> places;
        for (int64_t i = 0; i < c.threads; i++) places.emplace_back(new Place(*this));
#pragma omp parallel for num_threads(c.threads) schedule(static, 1)
        for (int64_t i = 0; i < c.threads; i++) {
            std::fill(places[i]->to_bias.at(), places[i]->to_bias.at(outputs), 0.0f);
            if (c.to_weight) std::fill(places[i]->to_weight.at(), places[i]->to_weight.at(outputs * inputs), 0.0f);
        }
        blockwise([&](int64_t from, int64_t to, int64_t i) { backward(from, to, *places[i]); });
#pragma omp parallel for num_threads(c.threads) schedule(static)
        for (int64_t o = 0; o < c.outputs; o++) {
            float sum = 0;
            for (const auto& place : places) sum += *place->to_bias.at(o);
            if (c.to_bias) c.to_bias[o] = sum;
            for (int64_t k = 0; c.to_weight && k < c.inputs; k += LANES) {
                Floats made{};
                for (const auto& place : places) made += load(place->to_weight.at(o * inputs + k));
                store_some(c.to_weight + o * c.inputs + k, made, c.inputs - k);
            }
        }
    }
};

}  // namespace

extern "C" int linear_float32(const Linear* c) { return failed([&] { Maps<float, float>{*c}.run(); }); }
extern "C" int linear_bfloat16(const Linear* c) {
    return failed([&] { c->x_float ? Maps<bfloat16, float>{*c}.run() : Maps<bfloat16, bfloat16>{*c}.run(); });
}

// Whether this machine multiplies by vectors that these products are made for, and has no unit for matrices, which torch uses.
extern "C" int64_t products_pay_float32() {
#ifdef __AVX512F__
    return 1;
#else
    return 0;
#endif
}

extern "C" int64_t products_pay_bfloat16() {
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
    return 1;
#else
    return 0;
#endif
}
