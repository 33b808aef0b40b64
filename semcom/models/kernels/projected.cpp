// Projection to the vocabulary, cross-entropy, distillation and their gradient, of which logits are never a matrix in memory.
// projected_losses.py runs this; fused_linear_loss has the same values in torch.
//
// Rows (target tokens) are taken a chunk at a time, pieces a strip at a time. First pass: the logits of a strip and a panel of rows, made
// and looked at in the first cache, add to the sums of their rows; of each is kept an exponential, a number in the products' type, relative
// to the strip's largest. Second pass: a block of strips becomes its gradient in the second cache, which is multiplied there by weights
// and states. A vector holds one piece of LANES rows, so no sum runs across a vector. Any NaN reaches its row's losses.
//
// Letters: N rows, n rows of a chunk, V pieces, D width of the student's states, E of the teacher's.

#include "register_products.h"
#include "row_sums.h"

struct Projected {
    const float *state, *weight, *bias;                          // [N, D], [V, D], [V]
    const float *teacher_state, *teacher_weight, *teacher_bias;  // [N, E], [V, E], [V], or null
    const float *temperature, *ce_weight, *kd_weight;            // [N]
    const int64_t* targets;                                      // [N]
    float *to_state, *to_weight, *to_bias;                       // gradients [N, D], [V, D], [V]; the first two may be null
    double* sums;                                                // [3]: of the weighted loss, CE, KD
    int64_t rows, pieces, width, teacher_width, chunk, teacher_bfloat16, threads;
};

namespace {

constexpr int64_t VECTORS = 3, PANEL = VECTORS * LANES;  // rows, and
constexpr int64_t GROUP = 8;                             // pieces, whose logits are in registers at once
constexpr int64_t STRIP = 48, BLOCK = 4 * STRIP;         // pieces
constexpr int64_t TALL = 12, WIDE = 2 * LANES;           // a part of a gradient that is in registers at once

template <typename T>
constexpr int64_t PANEL_WORDS = PANEL / IN_WORD<T>;  // of one piece and the rows of a panel

inline float* words(void* numbers) { return (float*)numbers; }

// to: ``n`` numbers as words, the last one filled with zeros.
inline void to_words(const float* from, int64_t n, float* to, float) { std::copy(from, from + n, to); }
inline void to_words(const float* from, int64_t n, float* to, bfloat16) {
    to[n / 2] = 0;
    for (int64_t i = 0; i < n; i += LANES) store_some((bfloat16*)to + i, load_some(from + i, n - i), n - i);
}

// to [up_to(width, WIDE)]: words of the numbers of two rows that stand one above the other, the second one zeros where null.
template <typename T>
inline void to_pairs(const float* even, const float* odd, int64_t width, float* to) {
    const auto some = [&](const float* row, int64_t k) { return row && k < width ? load_some(row + k, width - k) : Floats{}; };
    for (int64_t k = 0; k < up_to(width, WIDE); k += LANES) store(to + k, word_of<T>(some(even, k), some(odd, k)));
}

// The factors of one model's logits, as words in the order in which they are read.
template <typename T>
struct Model {
    const int64_t width, pieces, deep = (width + IN_WORD<T> - 1) / IN_WORD<T>, padded = up_to(pieces, STRIP);
    const Ground<float> weights, bias, panels;  // [V / GROUP, deep, GROUP], [V], [n / PANEL, deep, PANEL]

    Model(int64_t width, int64_t pieces, int64_t chunk)
        : width(width), pieces(pieces), weights(padded * deep), bias(padded), panels(chunk * deep) {}

    // Of the pieces of a group; one that is not there never wins.
    void take_weights(const float* weight, const float* given_bias, int64_t group) const {
        std::vector<float> row(deep + LANES);
        for (int64_t r = 0; r < GROUP; r++) {
            const int64_t v = group * GROUP + r;
            const bool there = v < pieces;
            if (there) to_words(weight + v * width, width, row.data(), T());
            float* to = weights.at(group * deep * GROUP + r);
            for (int64_t k = 0; k < deep; k++) to[k * GROUP] = there ? row[k] : 0;
            *bias.at(v) = there ? given_bias[v] : -INFINITY;
        }
    }

    // Of ``rows`` rows from ``state`` on, and zeros.
    void take_states(const float* state, int64_t rows, int64_t panel) const {
        std::vector<float> row(deep + LANES);
        for (int64_t j = 0; j < PANEL; j++) {
            const bool there = panel * PANEL + j < rows;
            if (there) to_words(state + (panel * PANEL + j) * width, width, row.data(), T());
            float* to = panels.at(panel * deep * PANEL + j);
            for (int64_t k = 0; k < deep; k++) to[k * PANEL] = there ? row[k] : 0;
        }
    }

    // to [STRIP, PANEL].
    void logits(int64_t strip, int64_t panel, float* to) const {
        for (int64_t i = 0; i < STRIP; i += GROUP) {
            const int64_t v = strip * STRIP + i;
            Floats sums[GROUP][VECTORS];
            for (int64_t r = 0; r < GROUP; r++) std::fill(sums[r], sums[r] + VECTORS, all(*bias.at(v + r)));
            add_products<T>(weights.at(v * deep), Fixed<1>(), panels.at(panel * deep * PANEL), PANEL, deep, sums, Fixed<GROUP>());
            for (int64_t r = 0; r < GROUP; r++)
                for (int64_t q = 0; q < VECTORS; q++) store(to + (i + r) * PANEL + q * LANES, sums[r][q]);
        }
    }
};

// What a thread works in, and what it finds.
template <typename T>
struct Place {
    const Ground<float> ours{STRIP * PANEL}, theirs{STRIP * PANEL}, sum;
    const Ground<T> gradient;     // [n / PANEL, BLOCK, PANEL]
    const Ground<float> pairs;    // the same, as words of pieces that follow each other
    std::vector<Sums> found;      // of LANES rows each

    Place(int64_t chunk, int64_t width)
        : sum(chunk * width), gradient(chunk * BLOCK), pairs(IN_WORD<T> > 1 ? chunk * BLOCK / 2 : 1), found(chunk / LANES) {}
};

// powers: every T is 2^squares, so that e^x is e^(x / T) squared so often. What is kept of the student is then e^(x / T), else x / T.
template <typename T, typename Their, bool distils, bool powers>
struct Work {
    const Projected& c;
    const int squares;
    const int64_t chunk = c.chunk, strips = (c.pieces + STRIP - 1) / STRIP, wide = up_to(c.width, WIDE);
    const Model<T> student{c.width, c.pieces, chunk};
    const Model<Their> teacher{distils ? c.teacher_width : 0, distils ? c.pieces : 0, distils ? chunk : 0};
    const Ground<T> kept{strips * STRIP * chunk}, kept_theirs{distils ? strips * STRIP * chunk : 1};  // [strips, n / PANEL, STRIP, PANEL]
    const Ground<float> tops{strips * chunk}, their_tops{distils ? strips * chunk : 1};               // [strips, n]: largest of a strip
    // The weights for the way back to states, [V, wide], and states for that to weights, [n, wide], as words of two rows each.
    const Ground<float> back{c.to_state ? up_to(c.pieces, BLOCK) / IN_WORD<T> * wide : 1}, states{c.to_weight ? chunk / IN_WORD<T> * wide : 1};
    std::vector<float> heat = std::vector<float>(chunk), ce_weight = heat, kd_weight = heat, at_target = heat, theirs_at_target = heat,
                       to_target = heat;
    std::vector<int32_t> target_strip = std::vector<int32_t>(chunk);
    int64_t first = 0, real = 0, rows = 0;  // of the chunk: where it begins, rows that count, and with those that fill the last panel

    int64_t panels() const { return rows / PANEL; }
    int64_t tile(int64_t strip, int64_t panel) const { return (strip * panels() + panel) * STRIP * PANEL; }

    void take_weights(int64_t group) const {
        student.take_weights(c.weight, c.bias, group);
        if (distils) teacher.take_weights(c.teacher_weight, c.teacher_bias, group);
        if (!c.to_state) return;
        for (int64_t v = group * GROUP; v < std::min(c.pieces, (group + 1) * GROUP); v += IN_WORD<T>)
            to_pairs<T>(c.weight + v * c.width, v + 1 < c.pieces ? c.weight + (v + 1) * c.width : nullptr, c.width,
                        back.at(v / IN_WORD<T> * wide));
    }

    // Factors of the chunk's rows; those that only fill the last panel weigh nothing.
    void begin(int64_t at) {
        first = at, real = std::min(chunk, c.rows - at), rows = up_to(real, PANEL);
        for (int64_t j = 0; j < rows; j++) {
            const bool there = j < real;
            heat[j] = there && distils ? c.temperature[at + j] : 1;
            ce_weight[j] = there ? c.ce_weight[at + j] : 0;
            kd_weight[j] = there && distils ? c.kd_weight[at + j] : 0;
            target_strip[j] = there ? c.targets[at + j] / STRIP : -1;
        }
    }

    void take_states(int64_t panel) const {
        student.take_states(c.state + first * c.width, real, panel);
        if (distils) teacher.take_states(c.teacher_state + first * c.teacher_width, real, panel);
        if (!c.to_weight) return;
        const auto row = [&](int64_t j) { return j < real ? c.state + (first + j) * c.width : nullptr; };
        for (int64_t j = panel * PANEL; j < (panel + 1) * PANEL; j += IN_WORD<T>)
            to_pairs<T>(row(j), row(j + 1), c.width, states.at(j / IN_WORD<T> * wide));
    }

    // e^x of x / T, in units of log2, and of e^(x / T).
    template <int64_t SQUARES>
    static Floats hot(Floats soft, Floats warm, Floats heat) {
        if (!powers) return exp2_of(soft * heat);
        for (int64_t i = 0; i < SQUARES; i++) warm *= warm;
        return warm;
    }

    // work(number of squares), which compilers are to know.
    template <typename Do>
    void by_squares(Do work) const {
        switch (squares) {
            case 1: return work(Fixed<1>());
            case 2: return work(Fixed<2>());
            case 3: return work(Fixed<3>());
            default: work(Fixed<0>());
        }
    }

    // The first pass over a strip and LANES rows of a panel, whose logits are ``ours`` and ``theirs`` [STRIP, PANEL].
    template <int64_t SQUARES>
    void sum(const float* ours, const float* theirs, int64_t strip, int64_t j, Sums& s) const {
        const Floats heat = load(this->heat.data() + j), cold = 1.0f / heat, slope = LOG2_E * cold;
        Floats top = all(LOWEST), t_top = top;
        for (int64_t i = 0; i < STRIP; i++) {
            top = larger(top, load(ours + i * PANEL));
            if (distils) t_top = larger(t_top, load(theirs + i * PANEL));
        }
        Sums of_strip;
        of_strip.top = top, of_strip.t_top = t_top;
        store(tops.at(strip * rows + j), top);
        if (distils) store(their_tops.at(strip * rows + j), t_top);
        const int64_t at = tile(strip, j / PANEL) + j % PANEL;
        for (int64_t i = 0; i < STRIP; i++) {
            const Floats soft = (load(ours + i * PANEL) - top) * slope, warm = exp2_of(soft);
            of_strip.p += hot<SQUARES>(soft, warm, heat);
            store(kept.at(at + i * PANEL), powers ? warm : soft);
            if (distils) {
                const Floats y = (load(theirs + i * PANEL) - t_top) * slope, e = exp2_of(y);
                of_strip.q += warm;
                of_strip.r += e;
                of_strip.apart += y < FLOOR ? Floats{} : e * (y - soft);  // not the floor's value times a distance without bounds
                store(kept_theirs.at(at + i * PANEL), e);
            }
        }
        s.add<distils>(of_strip, cold);
    }

    // Asks for the memory of what will be kept of a strip and a panel, while products are made.
    void expect(int64_t at) const {
        for (int64_t i = 0; i < STRIP * PANEL; i += 64 / (int64_t)sizeof(T)) {
            __builtin_prefetch(kept.at(at + i), 1);
            if (distils) __builtin_prefetch(kept_theirs.at(at + i), 1);
        }
    }

    void first_pass(int64_t strip, Place<T>& place) {
        for (int64_t panel = 0; panel < panels(); panel++) {
            const float *ours = place.ours.at(), *theirs = place.theirs.at();
            expect(tile(strip, panel));
            student.logits(strip, panel, place.ours.at());
            if (distils) teacher.logits(strip, panel, place.theirs.at());
            by_squares([&](auto number) {
                for (int64_t j = panel * PANEL; j < (panel + 1) * PANEL; j += LANES)
                    sum<number>(ours + j % PANEL, theirs + j % PANEL, strip, j, place.found[j / LANES]);
            });
            for (int64_t j = panel * PANEL; j < (panel + 1) * PANEL; j++)
                if (target_strip[j] == strip) {
                    const int64_t at = (c.targets[first + j] - strip * STRIP) * PANEL + j % PANEL;
                    at_target[j] = ours[at];
                    if (distils) theirs_at_target[j] = theirs[at];
                }
        }
    }

    // Adds losses to c.sums, and finds the gradient at each row's target, its only element that is not a plain difference.
    void lose(const std::vector<Sums>& groups) {
        for (int64_t j = 0; j < real; j++) {
            const Sums& s = groups[j / LANES];
            const int64_t lane = j % LANES;
            const float heat = this->heat[j], x = at_target[j] - s.top[lane], ce = std::log(s.p[lane]) - x;
            float kd = 0, gradient = ce_weight[j] * (std::exp(x) / s.p[lane] - 1);
            if (distils) {
                const float e = std::exp((theirs_at_target[j] - s.t_top[lane]) / heat);
                kd = heat * heat * (LN_2 * s.apart[lane] / s.r[lane] + std::log(s.q[lane] / s.r[lane]));
                gradient += kd_weight[j] * heat * (std::exp(x / heat) / s.q[lane] - e / s.r[lane]);
            }
            to_target[j] = gradient;
            c.sums[0] += (double)ce_weight[j] * ce + (distils ? (double)kd_weight[j] * kd : 0.0);
            c.sums[1] += ce;
            c.sums[2] += kd;
        }
    }

    // What the exponentials of a strip and LANES rows are multiplied by.
    struct Shares {
        Floats of_p, of_q, of_r, heat;
    };

    Shares shares(int64_t strip, int64_t j, const Sums& s) const {
        const Floats heat = load(this->heat.data() + j), slope = LOG2_E / heat, down = (load(tops.at(strip * rows + j)) - s.top) * slope;
        Shares made{load(ce_weight.data() + j) / s.p * exp2_of(down * heat), Floats{}, Floats{}, heat};
        if (distils) {
            const Floats weight = load(kd_weight.data() + j) * heat, t_down = (load(their_tops.at(strip * rows + j)) - s.t_top) * slope;
            made.of_q = weight / s.q * exp2_of(down);
            made.of_r = weight / s.r * exp2_of(t_down);
        }
        return made;
    }

    template <int64_t SQUARES>
    Floats gradient(const Shares& share, int64_t at) const {
        const Floats soft = load(kept.at(at)), warm = powers ? soft : exp2_of(soft);
        Floats g = hot<SQUARES>(soft, warm, share.heat) * share.of_p;
        if (distils) g += warm * share.of_q - load(kept_theirs.at(at)) * share.of_r;
        return g;
    }

    // The gradient of a strip and a panel, to the block's at ``i0`` pieces from its start; its sum over rows to ``over_rows`` [STRIP].
    template <int64_t SQUARES>
    void differentiate(int64_t strip, int64_t panel, int64_t i0, const Sums* groups, const Place<T>& place, Floats* over_rows) const {
        Shares of[VECTORS];
        for (int64_t q = 0; q < VECTORS; q++) of[q] = shares(strip, panel * PANEL + q * LANES, groups[panel * VECTORS + q]);
        const int64_t from = tile(strip, panel), to = (panel * BLOCK + i0) * PANEL;
        for (int64_t i = 0; i < STRIP; i += 2)
            for (int64_t q = 0; q < VECTORS; q++) {
                const int64_t at = i * PANEL + q * LANES;
                const Floats even = gradient<SQUARES>(of[q], from + at), odd = gradient<SQUARES>(of[q], from + at + PANEL);
                store(place.gradient.at(to + at), even);
                store(place.gradient.at(to + at + PANEL), odd);
                if (IN_WORD<T> > 1) store(place.pairs.at((to + i * PANEL) / 2 + q * LANES), word_of<T>(even, odd));
                over_rows[i] += even;
                over_rows[i + 1] += odd;
            }
    }

    void put_target(const Place<T>& place, int64_t i, int64_t j) const {
        const int64_t panel = j / PANEL, lane = j % PANEL;
        put(place.gradient.at((panel * BLOCK + i) * PANEL + lane), to_target[j]);
        if (IN_WORD<T> > 1) put((T*)place.pairs.at((panel * BLOCK + i / 2 * 2) / 2 * PANEL + lane) + i % 2, to_target[j]);
    }

    // The second pass over the strips of a block.
    void second_pass(int64_t from, int64_t to, const Sums* groups, const Place<T>& place, bool begins) const {
        for (int64_t strip = from; strip < to; strip++) {
            Floats over_rows[STRIP] = {};
            by_squares([&](auto number) {
                for (int64_t panel = 0; panel < panels(); panel++)
                    differentiate<number>(strip, panel, (strip - from) * STRIP, groups, place, over_rows);
            });
            for (int64_t i = 0; i < std::min(STRIP, c.pieces - strip * STRIP); i++)
                for (int64_t lane = 0; lane < LANES; lane++) c.to_bias[strip * STRIP + i] += over_rows[i][lane];
        }
        for (int64_t j = 0; j < real; j++)
            if (from <= target_strip[j] && target_strip[j] < to) {
                const int64_t v = c.targets[first + j];
                put_target(place, v - from * STRIP, j);
                c.to_bias[v] -= ce_weight[j];
            }
        if (c.to_weight)
            for (int64_t v = from * STRIP; v < std::min(c.pieces, to * STRIP); v += TALL) carry_to_weight(v, v - from * STRIP, place);
        if (c.to_state)
            for (int64_t panel = 0; panel < panels(); panel++) carry_to_state(from, to, panel, place, begins);
    }

    // The gradient of TALL pieces times states.
    void carry_to_weight(int64_t v, int64_t i, const Place<T>& place) const {
        const int64_t there = std::min(TALL, c.pieces - v), steps = PANEL_WORDS<T>;
        for (int64_t k = 0; k < c.width; k += WIDE) {
            float* const to = c.to_weight + v * c.width + k;
            for (int64_t r = 0; r < there; r++) __builtin_prefetch(to + r * c.width, 1), __builtin_prefetch(to + r * c.width + LANES, 1);
            Floats sums[TALL][2] = {};
            for (int64_t panel = 0; panel < panels(); panel++)
                add_products<T>(words(place.gradient.at((panel * BLOCK + i) * PANEL)), Fixed<PANEL_WORDS<T>>(),
                                states.at(panel * steps * wide + k), wide, steps, sums);
            for (int64_t r = 0; r < there; r++)
                for (int64_t q = 0; q < 2 && k + q * LANES < c.width; q++) {
                    float* const at = to + r * c.width + q * LANES;
                    const int64_t left = c.width - k - q * LANES;
                    store_some(at, first ? load_some(at, left) + sums[r][q] : sums[r][q], left);
                }
        }
    }

    // The gradient of the rows of a panel times the weights of the strips, to the thread's sum.
    void carry_to_state(int64_t from, int64_t to, int64_t panel, const Place<T>& place, bool begins) const {
        const float* const g = IN_WORD<T> > 1 ? place.pairs.at(panel * BLOCK / 2 * PANEL) : words(place.gradient.at(panel * BLOCK * PANEL));
        const int64_t steps = (std::min(c.pieces, to * STRIP) - from * STRIP + IN_WORD<T> - 1) / IN_WORD<T>;
        for (int64_t k = 0; k < wide; k += WIDE)
            for (int64_t j = 0; j < PANEL; j += TALL) {
                float* const at = place.sum.at((panel * PANEL + j) * wide + k);
                Floats sums[TALL][2] = {};
                if (!begins)
                    for (int64_t r = 0; r < TALL; r++)
                        for (int64_t q = 0; q < 2; q++) sums[r][q] = load(at + r * wide + q * LANES);
                add_products<T>(g + j, Fixed<1>(), back.at(from * STRIP / IN_WORD<T> * wide + k), wide, steps, sums, Fixed<PANEL>());
                for (int64_t r = 0; r < TALL; r++)
                    for (int64_t q = 0; q < 2; q++) store(at + r * wide + q * LANES, sums[r][q]);
            }
    }

    void run() {
        const int64_t share = (strips + c.threads - 1) / c.threads, threads = (strips + share - 1) / share;
        std::vector<std::unique_ptr<Place<T>>> places;
        for (int64_t i = 0; i < threads; i++) places.emplace_back(new Place<T>(chunk, wide));
        const auto parallel = [&](int64_t n, auto work) {
            Thrown thrown;
#pragma omp parallel for num_threads(threads) schedule(static)
            for (int64_t i = 0; i < n; i++) {
                const NoSubnormals quick;
                thrown.by([&] { work(i); });
            }
            thrown.on();
        };
        const auto end = [&](int64_t i) { return std::min(strips, (i + 1) * share); };
        parallel(strips * STRIP / GROUP, [&](int64_t group) { take_weights(group); });
        for (int64_t at = 0; at < c.rows; at += chunk) {
            begin(at);
            parallel(panels(), [&](int64_t panel) { take_states(panel); });
            parallel(threads, [&](int64_t i) {
                std::fill(places[i]->found.begin(), places[i]->found.end(), Sums());
                for (int64_t strip = i * share; strip < end(i); strip++) first_pass(strip, *places[i]);
            });
            std::vector<Sums>& sums = places[0]->found;
            for (int64_t i = 1; i < threads; i++)
                for (int64_t g = 0; g < rows / LANES; g++) sums[g].template add<distils>(places[i]->found[g], 1.0f / load(heat.data() + g * LANES));
            lose(sums);
            parallel(threads, [&](int64_t i) {
                for (int64_t strip = i * share; strip < end(i); strip += BLOCK / STRIP)
                    second_pass(strip, std::min(end(i), strip + BLOCK / STRIP), sums.data(), *places[i], strip == i * share);
            });
            if (c.to_state) parallel(real, [&](int64_t j) { gather_state(j, places); });
        }
    }

    // What all threads found of a row.
    void gather_state(int64_t j, const std::vector<std::unique_ptr<Place<T>>>& places) const {
        for (int64_t k = 0; k < c.width; k += LANES) {
            Floats sum{};
            for (const auto& place : places) sum += load(place->sum.at(j * wide + k));
            store_some(c.to_state + (first + j) * c.width + k, sum, c.width - k);
        }
    }
};

template <typename T, typename Their>
void distil(const Projected& c) {
    const int squares = squares_of(c.temperature, c.rows);
    squares < 0 ? Work<T, Their, true, false>{c, 0}.run() : Work<T, Their, true, true>{c, squares}.run();
}

template <typename T>
void run(const Projected& c) {
    if (!c.teacher_weight) Work<T, T, false, true>{c, 0}.run();
    else if (c.teacher_bfloat16) distil<T, bfloat16>(c);
    else distil<T, float>(c);
}

}  // namespace

extern "C" int projected_losses_float32(const Projected* c) { return failed([&] { run<float>(*c); }); }
extern "C" int projected_losses_bfloat16(const Projected* c) { return failed([&] { run<bfloat16>(*c); }); }
