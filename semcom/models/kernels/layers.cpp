// Attention among the tokens of each sentence, and residual with dropout and LayerNorm, forward and backward, over sentences laid end
// to end without padding. attention.py and residual.py run this; models/layers.py has the same values in torch.
//
// Letters: N queries, M keys (tokens of all sentences), D model width, H heads, d = D/H. Where tensors are T they are float or
// bfloat16; everything is computed in float. Any NaN reaches what is computed from it; scores that are all -inf count as equal.

#include "register_products.h"

struct Attention {
    const void *query, *key, *value;              // T, rows of D, ``*_stride`` elements apart
    void* mixed;                                  // T [N, D]
    float *tops, *shares;                         // [N, H]: largest score, 1 / sum of e^(score - largest), for the backward pass; or null
    const void* to_mixed;                         // T [N, D]: gradient, or null
    void *to_query, *to_key, *to_value;           // T [N, D], [M, D], [M, D]: gradients
    const int64_t *query_starts, *key_starts;     // [B + 1]: where each sentence begins, and where the last one ends
    int64_t sentences, heads, width, query_stride, key_stride, value_stride, causal, threads;
};

struct Residual {
    const float* x;                               // [N, D]
    const void* change;                           // T [N, D]
    const int16_t* words;                         // [N, D] random; what is under ``threshold`` is dropped; null: nothing is
    const float *gain, *bias;                     // [D]
    float *normal, *spread, *out;                 // [N, D]: (s - mean) / deviation of s = x + change; [N]: 1 / deviation, neither where null;
                                                  // [N, D]: the result
    const float* to_out;                          // [N, D]: gradient, or null
    float* to_x;                                  // [N, D]
    void* to_change;                              // T [N, D]
    double *to_gain, *to_bias;                    // [threads, D], to which is added
    int64_t rows, width, threshold, threads;
    float scale, eps;                             // scale: 1 / (1 - rate)
};

namespace {

constexpr int64_t TOGETHER = 4;                   // queries whose sums are in registers at once
constexpr int64_t SUMMED = 64;                    // rows whose gradients are summed in float, before those sums are in double

inline int64_t up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

#ifdef __AVX512F__
inline float across(Floats x) { return _mm512_reduce_add_ps(x); }
inline float largest(Floats x) { return _mm512_reduce_max_ps(x); }
#else
inline float across(Floats x) {
    float sum = 0;
    for (int64_t i = 0; i < LANES; i++) sum += x[i];
    return sum;
}
inline float largest(Floats x) {
    float top = x[0];
    for (int64_t i = 1; i < LANES; i++) top = x[i] > top ? x[i] : top;
    return top;
}
#endif

const Ints COUNT = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// to [wide]: ``n`` elements, and zeros.
template <typename T>
inline void widen(const T* from, int64_t n, int64_t wide, float* to) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(to + i, load(from + i));
    for (; i < n; i++) to[i] = value(from + i);
    for (; i < wide; i++) to[i] = 0;
}

template <typename T>
inline void narrow(const float* from, int64_t n, float factor, T* to) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(to + i, load(from + i) * factor);
    for (; i < n; i++) put(to + i, from[i] * factor);
}

// What a thread works in, in whole cache lines; what is asked for stays where it is until ``used`` is 0 again.
struct Space {
    struct Part {
        size_t size;
        std::unique_ptr<Ground<float>> ground;
    };
    std::vector<Part> parts;
    size_t used = 0;

    float* of(size_t n) {
        if (used == parts.size()) parts.push_back({0, nullptr});
        Part& part = parts[used++];
        if (!part.ground || part.size < n) part = {n, std::unique_ptr<Ground<float>>(new Ground<float>(n))};
        return part.ground->at();
    }
};

// One head of one sentence: T queries, S keys. Rows are ``wide`` floats, d of them and zeros up to a multiple of LANES. Scores are products
// of words of T, ``deep`` a row; what is turned is [up(deep), padded], S and zeros up to a multiple of LANES. KNOWN: d, or 0 where the
// compiler is not told.
template <typename T, int64_t KNOWN>
struct Head {
    const Attention& c;
    const int64_t sentence, head;
    const int64_t d = KNOWN ? KNOWN : c.width / c.heads, wide = up(d), deep = up_to(d, IN_WORD<T>) / IN_WORD<T>,
                  first = c.query_starts[sentence], first_key = c.key_starts[sentence], queries = c.query_starts[sentence + 1] - first,
                  keys = c.key_starts[sentence + 1] - first_key, padded = up(keys), at = head * d;
    const float scale = 1 / std::sqrt((float)d), sharp = scale * LOG2_E;

    const T* row_of(const void* x, int64_t stride, int64_t row) const { return (const T*)x + row * stride + at; }
    // Keys that query ``t`` may see.
    int64_t limit(int64_t t) const { return c.causal ? std::min(keys, t + 1) : keys; }

    // Rows of keys or values, [padded, wide].
    void rows_of(const void* x, int64_t stride, float* to) const {
        for (int64_t s = 0; s < keys; s++) {
            const T* row = row_of(x, stride, first_key + s);
            __builtin_prefetch(row + d);  // the next head's: so far apart, no processor foresees them
            widen(row, d, wide, to + s * wide);
        }
        std::fill(to + keys * wide, to + padded * wide, 0.0f);
    }

    void words_of(const T* row, float* to) const {
        if (d % IN_WORD<T>) to[deep - 1] = 0;
        std::copy(row, row + d, (T*)to);
    }

    // Words of keys or values, turned. rows: [padded, wide], to work in.
    void turn_all(const void* x, int64_t stride, float* rows, float* to) const {
        for (int64_t s = 0; s < keys; s++) {
            const T* row = row_of(x, stride, first_key + s);
            __builtin_prefetch(row + d);
            words_of(row, rows + s * wide);
        }
        std::fill(rows + keys * wide, rows + padded * wide, 0.0f);
        for (int64_t s = 0; s < padded; s += LANES)
            for (int64_t i = 0; i < deep; i += LANES) turn(rows + s * wide + i, wide, to + i * padded + s, padded);
    }

    // sums += products of a word of each row with N vectors of words.
    template <int N>
    void add_word(const float* rows, const float* turned, Floats (&sums)[TOGETHER][N], float) const {
        Floats x[N];
        for (int k = 0; k < N; k++) x[k] = load(turned + k * LANES);
        for (int64_t j = 0; j < TOGETHER; j++) {
            const Floats row = all(rows[j * wide]);
            for (int k = 0; k < N; k++) sums[j][k] += row * x[k];
        }
    }

    template <int N>
    void add_word(const float* rows, const float* turned, Floats (&sums)[TOGETHER][N], bfloat16 kind) const {
        for (int64_t j = 0; j < TOGETHER; j++)
            for (int k = 0; k < N; k++) sums[j][k] = add_product(rows + j * wide, turned + k * LANES, sums[j][k], kind);
    }

    // to [TOGETHER, padded]: products of words [TOGETHER, wide] with what is turned, N vectors of keys from the ``s``th on.
    template <int N>
    void products_of(const float* rows, const float* turned, int64_t s, float* to) const {
        Floats sums[TOGETHER][N] = {};
#ifdef __AVX512F__
        add_products<T>(rows, wide, turned + s, padded, deep, sums);
#else  // whose registers do not hold all these sums
        for (int64_t i = 0; i < deep; i++) add_word(rows + i, turned + i * padded + s, sums, T());
#endif
        for (int64_t j = 0; j < TOGETHER; j++)
            for (int k = 0; k < N; k++) store(to + j * padded + s + k * LANES, sums[j][k]);
    }

    // The same over the first ``n`` keys and some.
    void products(const float* rows, const float* turned, int64_t n, float* to) const {
        int64_t s = 0;
        for (; s + LANES < n; s += 2 * LANES) products_of<2>(rows, turned, s, to);
        if (s < n) products_of<1>(rows, turned, s, to);
    }

    // to [TOGETHER, wide]: sums over the first ``n`` keys of weights [TOGETHER, padded] times rows [S, wide].
    void mix(const float* weights, const float* rows, int64_t n, float* to) const {
        for (int64_t i = 0; i < wide; i += LANES) {
            Floats sums[TOGETHER] = {};
            for (int64_t s = 0; s < n; s++) {
                const Floats x = load(rows + s * wide + i);
                for (int64_t j = 0; j < TOGETHER; j++) sums[j] += weights[j * padded + s] * x;
            }
            for (int64_t j = 0; j < TOGETHER; j++) store(to + j * wide + i, sums[j]);
        }
    }

    // to [S, wide] += weights [TOGETHER, padded] turned, times rows [TOGETHER, wide].
    void spread(const float* weights, const float* rows, int64_t n, float* to) const {
        for (int64_t i = 0; i < wide; i += LANES) {
            Floats x[TOGETHER];
            for (int64_t j = 0; j < TOGETHER; j++) x[j] = load(rows + j * wide + i);
            for (int64_t s = 0; s < n; s++) {
                Floats sum = load(to + s * wide + i);
                for (int64_t j = 0; j < TOGETHER; j++) sum += weights[j * padded + s] * x[j];
                store(to + s * wide + i, sum);
            }
        }
    }

    // Rows from ``t`` on of queries or of a gradient, [TOGETHER, wide]; beyond the last one zeros.
    void gather(const void* x, int64_t stride, int64_t t, float* to) const {
        for (int64_t j = 0; j < TOGETHER; j++)
            if (t + j < queries) widen(row_of(x, stride, first + t + j), d, wide, to + j * wide);
            else std::fill(to + j * wide, to + (j + 1) * wide, 0.0f);
    }

    // The same as words.
    void gather_words(const void* x, int64_t stride, int64_t t, float* to) const {
        for (int64_t j = 0; j < TOGETHER; j++)
            if (t + j < queries) {
                const T* row = row_of(x, stride, first + t + j);
                __builtin_prefetch(row + d);
                words_of(row, to + j * wide);
            } else std::fill(to + j * wide, to + (j + 1) * wide, 0.0f);
    }

    void forward(Space& space) const {
        float *values = space.of(padded * wide), *keys_turned = space.of(padded * wide), *rows = space.of(TOGETHER * wide),
              *mixed = space.of(TOGETHER * wide), *weights = space.of(TOGETHER * padded);
        turn_all(c.key, c.key_stride, values, keys_turned);
        rows_of(c.value, c.value_stride, values);
        for (int64_t t = 0; t < queries; t += TOGETHER) {
            const int64_t together = std::min(TOGETHER, queries - t), most = limit(t + together - 1);
            gather_words(c.query, c.query_stride, t, rows);
            products(rows, keys_turned, most, weights);
            float shares[TOGETHER];
            for (int64_t j = 0; j < TOGETHER; j++) {
                float* w = weights + j * padded;
                const int64_t n = limit(t + j), row = (first + t + j) * c.heads + head;
                Floats tops = all(LOWEST), sums{};
                for (int64_t s = 0; s < n; s += LANES) tops = larger(tops, COUNT < (int32_t)(n - s) ? load(w + s) * sharp : all(LOWEST));
                const float top = largest(tops);
                for (int64_t s = 0; s < up(most); s += LANES) {
                    const Floats e = COUNT < (int32_t)(n - s) ? exp2_of(load(w + s) * sharp - top) : Floats{};
                    store(w + s, e);
                    sums += e;
                }
                shares[j] = 1 / across(sums);
                if (c.tops && j < together) c.tops[row] = top, c.shares[row] = shares[j];
            }
            mix(weights, values, most, mixed);
            for (int64_t j = 0; j < together; j++) narrow(mixed + j * wide, d, shares[j], (T*)c.mixed + (first + t + j) * c.width + at);
        }
    }

    void backward(Space& space) const {
        float *key_rows = space.of(padded * wide), *rows = space.of(TOGETHER * wide), *words = space.of(TOGETHER * wide),
              *keys_turned = space.of(padded * wide), *values_turned = space.of(padded * wide),
              *to_keys = space.of(padded * wide), *to_values = space.of(padded * wide), *to_rows = space.of(TOGETHER * wide),
              *to_mixed = space.of(TOGETHER * wide), *weights = space.of(TOGETHER * padded), *to_weights = space.of(TOGETHER * padded);
        turn_all(c.value, c.value_stride, key_rows, values_turned);
        turn_all(c.key, c.key_stride, key_rows, keys_turned);
        rows_of(c.key, c.key_stride, key_rows);
        std::fill(to_keys, to_keys + padded * wide, 0.0f);
        std::fill(to_values, to_values + padded * wide, 0.0f);
        for (int64_t t = 0; t < queries; t += TOGETHER) {
            const int64_t together = std::min(TOGETHER, queries - t), most = limit(t + together - 1);
            gather_words(c.query, c.query_stride, t, words);
            products(words, keys_turned, most, weights);
            gather_words(c.to_mixed, c.width, t, words);
            products(words, values_turned, most, to_weights);
            gather(c.query, c.query_stride, t, rows);
            gather(c.to_mixed, c.width, t, to_mixed);
            for (int64_t j = 0; j < TOGETHER; j++) {
                float *w = weights + j * padded, *to_w = to_weights + j * padded;
                const bool there = j < together;
                const int64_t n = there ? limit(t + j) : 0, row = (first + t + j) * c.heads + head;
                const float top = there ? c.tops[row] : 0, share = there ? c.shares[row] : 0;
                Floats seen{};
                for (int64_t s = 0; s < up(most); s += LANES) {
                    const Floats p = COUNT < (int32_t)(n - s) ? exp2_of(load(w + s) * sharp - top) * share : Floats{};
                    store(w + s, p);
                    seen += p * load(to_w + s);
                }
                const float mean = across(seen);
                for (int64_t s = 0; s < up(most); s += LANES) store(to_w + s, load(w + s) * (load(to_w + s) - mean));
            }
            mix(to_weights, key_rows, most, to_rows);
            for (int64_t j = 0; j < together; j++) narrow(to_rows + j * wide, d, scale, (T*)c.to_query + (first + t + j) * c.width + at);
            spread(weights, to_mixed, most, to_values);
            spread(to_weights, rows, most, to_keys);
        }
        for (int64_t s = 0; s < keys; s++) {
            narrow(to_keys + s * wide, d, scale, (T*)c.to_key + (first_key + s) * c.width + at);
            narrow(to_values + s * wide, d, 1.0f, (T*)c.to_value + (first_key + s) * c.width + at);
        }
    }
};

template <typename T, int64_t KNOWN>
void run_heads(const Attention& c) {
    Thrown thrown;
#pragma omp parallel num_threads(c.threads)
    {
        const NoSubnormals quick;
        Space space;
#pragma omp for schedule(dynamic, 8)
        for (int64_t i = 0; i < c.sentences * c.heads; i++) {
            space.used = 0;
            const Head<T, KNOWN> head{c, i / c.heads, i % c.heads};
            thrown.by([&] { c.to_mixed ? head.backward(space) : head.forward(space); });
        }
    }
    thrown.on();
}

template <typename T>
void run(const Attention& c) {
    c.width / c.heads == LANES ? run_heads<T, LANES>(c) : run_heads<T, 0>(c);
}

template <typename T>
struct Normed {
    const Residual& c;
    const int64_t n = c.width;

    // x where the random word of its place keeps it, times the scale; else 0.
    Floats kept(const int16_t* words, int64_t i, Floats x) const {
        if (!words) return x;
        int16_t whole[LANES] = {};
        const int16_t* from = words + i;
        if (n - i < LANES) from = std::copy(from, from + (n - i), whole) - (n - i);
        return __builtin_convertvector(copied<Shorts>(from), Ints) >= (int32_t)c.threshold ? x * c.scale : Floats{};
    }

    void forward(int64_t row) const {
        const float* x = c.x + row * n;
        const T* change = (const T*)c.change + row * n;
        const int16_t* words = c.words ? c.words + row * n : nullptr;
        float *out = c.out + row * n, *normal = c.normal ? c.normal + row * n : out;
        Floats sum{}, square{};
        for (int64_t i = 0; i < n; i += LANES) {
            const Floats s = load_some(x + i, n - i) + kept(words, i, load_some(change + i, n - i));
            store_some(normal + i, s, n - i);
            sum += s;
        }
        const float mean = across(sum) / n;
        for (int64_t i = 0; i < n; i += LANES) {
            const Floats apart = COUNT < (int32_t)(n - i) ? load_some(normal + i, n - i) - mean : Floats{};
            square += apart * apart;
        }
        const float spread = 1 / std::sqrt(across(square) / n + c.eps);
        if (c.spread) c.spread[row] = spread;
        for (int64_t i = 0; i < n; i += LANES) {
            const Floats x_i = (load_some(normal + i, n - i) - mean) * spread;
            store_some(normal + i, x_i, n - i);
            store_some(out + i, x_i * load_some(c.gain + i, n - i) + load_some(c.bias + i, n - i), n - i);
        }
    }

    void backward(int64_t row, float* to_gain, float* to_bias) const {
        const float *to_out = c.to_out + row * n, *normal = c.normal + row * n;
        const int16_t* words = c.words ? c.words + row * n : nullptr;
        float* to_x = c.to_x + row * n;
        T* to_change = (T*)c.to_change + row * n;
        Floats sum{}, along{};
        for (int64_t i = 0; i < n; i += LANES) {
            const Floats g = load_some(to_out + i, n - i) * load_some(c.gain + i, n - i);
            sum += g;
            along += g * load_some(normal + i, n - i);
        }
        const float mean = across(sum) / n, slope = across(along) / n, spread = c.spread[row];
        for (int64_t i = 0; i < n; i += LANES) {
            const Floats g = load_some(to_out + i, n - i), x = load_some(normal + i, n - i);
            const Floats to_sum = (g * load_some(c.gain + i, n - i) - mean - x * slope) * spread;
            store_some(to_x + i, to_sum, n - i);
            store_some(to_change + i, kept(words, i, to_sum), n - i);
            store_some(to_gain + i, load_some(to_gain + i, n - i) + g * x, n - i);
            store_some(to_bias + i, load_some(to_bias + i, n - i) + g, n - i);
        }
    }
};

template <typename T>
void run(const Residual& c) {
    const Normed<T> work{c};
    const int64_t share = (c.rows + c.threads - 1) / c.threads, n = c.width;
    std::vector<std::vector<float>> places(c.threads, std::vector<float>(2 * n));
#pragma omp parallel for num_threads(c.threads) schedule(static, 1)
    for (int64_t k = 0; k < c.threads; k++) {
        const int64_t end = std::min(c.rows, (k + 1) * share);
        std::vector<float>& sums = places[k];
        for (int64_t row = k * share; row < end;) {
            const int64_t stop = std::min(end, row + SUMMED);
            if (!c.to_out)
                for (; row < stop; row++) work.forward(row);
            else {
                std::fill(sums.begin(), sums.end(), 0.0f);
                for (; row < stop; row++) work.backward(row, sums.data(), sums.data() + n);
                for (int64_t i = 0; i < n; i++) c.to_gain[k * n + i] += sums[i], c.to_bias[k * n + i] += sums[n + i];
            }
        }
    }
}

}  // namespace

extern "C" int attention_float32(const Attention* c) { return failed([&] { run<float>(*c); }); }
extern "C" int attention_bfloat16(const Attention* c) { return failed([&] { run<bfloat16>(*c); }); }
extern "C" int residual_float32(const Residual* c) { return failed([&] { run<float>(*c); }); }
extern "C" int residual_bfloat16(const Residual* c) { return failed([&] { run<bfloat16>(*c); }); }
