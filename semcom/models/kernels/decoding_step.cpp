// One step of a transformer's decoder for many rows, each after its own earlier tokens, in float. packed_decoding.py runs this;
// transformer.py's DecoderState has the same values in torch.
//
// Letters: N rows, B sentences, M tokens of what was received, all sentences' end to end; D model width; H lanes of a group of heads, W width
// of queries, keys and values. These lie as [W / H, H]: head by head within each dimension, so that a vector holds all heads of few
// dimensions, and scores and weights of all heads are computed at once. H is a power of two, at most LANES; W a multiple of LANES.
//
// A row is computed by one thread, from its own numbers alone and always in the same order.

#include "products.h"

struct Step {
    const int64_t* tokens;                        // [N]
    const float *embedding, *position;            // [V, D], [D]: of this step's position
    // Of each layer, packed weights and biases (zeros beyond the outputs): query, key and value of what was said [3 W]; what becomes of what
    // they mix [D]; query of what was received [W], what becomes of that [D]; feed-forward up [F] and down [D].
    const float *own, *own_bias, *own_output, *own_output_bias, *query, *query_bias, *output, *output_bias, *up, *up_bias, *down, *down_bias;
    const float* norms;                           // [layers, 3, 2, D]: gain and bias
    const int64_t* pages;                         // addresses of float [2, layers, its slots, PAGE, W]: keys and values of PAGE tokens
    const int64_t* page_slots;                    // of each page
    const int32_t* slots;                         // [N, slots_stride]: where in its page each token of a row lies
    const float *memory_keys, *memory_values;     // [layers, M, W]
    const int64_t *starts, *sentences;            // [B + 1]: where each sentence begins, and where the last one ends; [N]: whose a row is
    float* states;                                // [N, D up to PACKED]: the result
    int64_t rows, layers, width, inner, heads, hidden, length, slots_stride, memory_tokens, threads;
    float scale, eps;                             // scale: of embeddings
};

namespace {

constexpr int64_t PAGE = 16;
constexpr int64_t TILE = 48;                      // rows that go through a layer together: what they need stays in cache

template <typename T>
inline T* at(T* x, int64_t i, int64_t size) { return x + i * size; }

// The sum over what is in the same place of each group of ``heads`` lanes, in all of them.
inline Floats over_groups(Floats x, int64_t heads) {
    if (heads <= 1) x += CHOSEN(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    if (heads <= 2) x += CHOSEN(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    if (heads <= 4) x += CHOSEN(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    if (heads <= 8) x += CHOSEN(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    return x;
}

// What one query makes of the values of ``tokens`` tokens; keys and values say where they lie. Queries are scaled, in units of 2^x.
template <typename Place>
inline void attend(const float* query, int64_t tokens, Place keys, Place values, int64_t inner, int64_t heads, float* weights, float* mixed) {
    Floats top = all(LOWEST);
    const auto score = [&](int64_t t, Floats sum) {
        const Floats its = over_groups(sum, heads);
        store(weights + t * LANES, its);
        top = larger(top, its);
    };
    int64_t t = 0;
    for (; t + 1 < tokens; t += 2) {
        const float *one = keys(t), *other = keys(t + 1);
        Floats sum{}, other_sum{};
        for (int64_t i = 0; i < inner; i += LANES) {
            sum += load(query + i) * load(one + i);
            other_sum += load(query + i) * load(other + i);
        }
        score(t, sum);
        score(t + 1, other_sum);
    }
    for (; t < tokens; t++) {
        const float* one = keys(t);
        Floats sum{};
        for (int64_t i = 0; i < inner; i += LANES) sum += load(query + i) * load(one + i);
        score(t, sum);
    }
    Floats total{};
    for (t = 0; t < tokens; t++) {
        const Floats weight = exp2_of(load(weights + t * LANES) - top);
        store(weights + t * LANES, weight);
        total += weight;
    }
    const Floats share = 1.0f / total;
    constexpr int64_t MOST = 8;                   // vectors of sums at once
    for (int64_t i = 0; i < inner; i += MOST * LANES) {
        Floats sums[MOST] = {};
        const int64_t vectors = std::min(MOST, (inner - i) / LANES);
        for (t = 0; t < tokens; t++) {
            const float* value = values(t) + i;
            const Floats weight = load(weights + t * LANES);
            if (vectors == MOST)
                for (int j = 0; j < MOST; j++) sums[j] += weight * load(value + j * LANES);
            else
                for (int j = 0; j < vectors; j++) sums[j] += weight * load(value + j * LANES);
        }
        for (int j = 0; j < vectors; j++) store(mixed + i + j * LANES, sums[j] * share);
    }
}

// What a thread works in. Rows of every part are ``*_stride`` apart.
struct Scratch {
    const int64_t wide, triple, hidden;
    std::vector<float> own, mixed, change, middle, weights;

    Scratch(const Step& c)
        : wide(up_to(c.inner, PACKED)), triple(up_to(3 * c.inner, PACKED)), hidden(up_to(c.hidden, PACKED)), own(TILE * triple), mixed(TILE * wide),
          change(TILE * up_to(c.width, PACKED)), middle(TILE * hidden) {}

    float* weights_of(int64_t tokens) {
        if ((int64_t)weights.size() < tokens * LANES) weights.resize(2 * tokens * LANES);
        return weights.data();
    }
};

struct Work {
    const Step& c;
    const int64_t wide = up_to(c.width, PACKED);

    // to [rows, outputs up to PACKED]: x times packed weights, plus bias; if ``positive``, what is below 0 is 0.
    void product(const float* x, int64_t stride, int64_t rows, int64_t inputs, const float* weights, const float* bias, int64_t outputs, float* to,
                 bool positive = false) const {
        const int64_t to_stride = up_to(outputs, PACKED);
        for (int64_t panel = 0; panel < to_stride; panel += PACKED)
            in_groups(rows, 0, [&](auto number, int64_t first) {
                multiply<decltype(number)::number>(x + first * stride, stride, weights + panel * inputs, inputs, [&](int row, int64_t at, const Floats* sums) {
                    for (int k = 0; k < VECTORS; k++) {
                        const int64_t place = panel + at + k * LANES;
                        const Floats sum = sums[k] + load(bias + place);
                        store(to + (first + row) * to_stride + place, positive ? larger(all(0), sum) : sum);
                    }
                });
            });
    }

    // x = LayerNorm(x + change), rows ``wide`` apart.
    void normed(float* x, const float* change, int64_t rows, const float* gain, const float* bias) const {
        for (int64_t row = 0; row < rows; row++) {
            float *to = x + row * wide;
            const float* more = change + row * wide;
            Floats sum{}, square{};
            for (int64_t i = 0; i < c.width; i += LANES) {
                const Floats s = load(to + i) + load(more + i);
                store(to + i, s);
                sum += s;
            }
            const float mean = across(sum) / c.width;
            for (int64_t i = 0; i < c.width; i += LANES) {
                const Floats s = load(to + i) - mean;
                square += s * s;
            }
            const float spread = 1 / std::sqrt(across(square) / c.width + c.eps);
            for (int64_t i = 0; i < c.width; i += LANES) store(to + i, (load(to + i) - mean) * spread * load(gain + i) + load(bias + i));
        }
    }

    void embed(int64_t row) const {
        const float* piece = at(c.embedding, c.tokens[row], c.width);
        float* to = at(c.states, row, wide);
        for (int64_t i = 0; i < c.width; i += LANES) store(to + i, load(piece + i) * c.scale + load(c.position + i));
    }

    // Where the keys (kind 0) or the values (1) of what a row has said lie.
    struct Said {
        const Step& c;
        int64_t kind, layer, row;
        float* operator()(int64_t t) const {
            const int64_t slot = c.slots[row * c.slots_stride + t], of_layer = (kind * c.layers + layer) * c.page_slots[t / PAGE];
            return (float*)c.pages[t / PAGE] + ((of_layer + slot) * PAGE + t % PAGE) * c.inner;
        }
    };

    // Where those of what was received for a row lie.
    struct Received {
        const float* first;
        int64_t inner, tokens;
        Received(const Step& c, const float* memory, int64_t layer, int64_t row) : inner(c.inner) {
            const int64_t sentence = c.sentences[row], begin = c.starts[sentence];
            tokens = c.starts[sentence + 1] - begin;
            first = memory + (layer * c.memory_tokens + begin) * inner;
        }
        const float* operator()(int64_t t) const { return first + t * inner; }
    };

    void attend_to_said(int64_t layer, int64_t first, int64_t rows, Scratch& s) const {
        const int64_t tokens = c.length + 1;
        for (int64_t r = 0; r < rows; r++) {
            const float* query = s.own.data() + r * s.triple;
            const Said keys{c, 0, layer, first + r}, values{c, 1, layer, first + r};
            std::copy_n(query + c.inner, c.inner, keys(c.length));
            std::copy_n(query + 2 * c.inner, c.inner, values(c.length));
            attend(query, tokens, keys, values, c.inner, c.heads, s.weights_of(tokens), s.mixed.data() + r * s.wide);
        }
    }

    void attend_to_received(int64_t layer, int64_t first, int64_t rows, Scratch& s) const {
        for (int64_t r = 0; r < rows; r++) {
            const Received keys(c, c.memory_keys, layer, first + r), values(c, c.memory_values, layer, first + r);
            attend(s.own.data() + r * s.wide, keys.tokens, keys, values, c.inner, c.heads, s.weights_of(keys.tokens), s.mixed.data() + r * s.wide);
        }
    }

    void layer_of(int64_t layer, int64_t first, int64_t rows, Scratch& s) const {
        float* x = at(c.states, first, wide);
        const float* norms = at(c.norms, layer, 6 * c.width);
        product(x, wide, rows, c.width, at(c.own, layer, s.triple * c.width), at(c.own_bias, layer, s.triple), 3 * c.inner, s.own.data());
        attend_to_said(layer, first, rows, s);
        product(s.mixed.data(), s.wide, rows, c.inner, at(c.own_output, layer, wide * c.inner), at(c.own_output_bias, layer, wide), c.width, s.change.data());
        normed(x, s.change.data(), rows, norms, norms + c.width);

        product(x, wide, rows, c.width, at(c.query, layer, s.wide * c.width), at(c.query_bias, layer, s.wide), c.inner, s.own.data());
        attend_to_received(layer, first, rows, s);
        product(s.mixed.data(), s.wide, rows, c.inner, at(c.output, layer, wide * c.inner), at(c.output_bias, layer, wide), c.width, s.change.data());
        normed(x, s.change.data(), rows, norms + 2 * c.width, norms + 3 * c.width);

        product(x, wide, rows, c.width, at(c.up, layer, s.hidden * c.width), at(c.up_bias, layer, s.hidden), c.hidden, s.middle.data(), true);
        product(s.middle.data(), s.hidden, rows, c.hidden, at(c.down, layer, wide * c.hidden), at(c.down_bias, layer, wide), c.width, s.change.data());
        normed(x, s.change.data(), rows, norms + 4 * c.width, norms + 5 * c.width);
    }
};

void run(const Step& c) {
    const Work work{c};
    const int64_t share = up_to((c.rows + c.threads - 1) / c.threads, TOGETHER);
    Thrown thrown;
#pragma omp parallel for num_threads(c.threads) schedule(static, 1)
    for (int64_t k = 0; k < c.threads; k++) {
        const NoSubnormals quick;
        thrown.by([&] {
            Scratch scratch(c);
            const int64_t begin = std::min(c.rows, k * share), end = std::min(c.rows, begin + share);
            for (int64_t row = begin; row < end; row++) work.embed(row);
            for (int64_t layer = 0; layer < c.layers; layer++)
                for (int64_t row = begin; row < end; row += TILE) work.layer_of(layer, row, std::min(TILE, end - row), scratch);
        });
    }
    thrown.on();
}

}  // namespace

extern "C" int decoding_step_float32(const Step* c) { return failed([&] { run(*c); }); }
