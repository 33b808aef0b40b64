// Cross-entropy, distillation and their gradient over a chunk of logits, in two passes, and sums of bfloat16. row_losses.py runs this;
// fused_linear_loss has the same values in torch.
//
// Logits are [V, n]: pieces down, rows (target tokens) across. A vector holds one piece of LANES rows, so no sum runs across a
// vector. The first pass finds maxima and sums at once (Milakov and Gimelshein 2018, arXiv 1805.02867), tile by tile: sums
// of tiles' sums keep float32 exact over many pieces. Any NaN reaches its row's losses.

#include "row_sums.h"

constexpr int64_t BLOCK = 128;  // pieces that a thread takes at a time
constexpr int64_t TILE = 32;    // pieces that are summed at a time

// rows is a multiple of LANES; rows from ``real`` on are padding, of weights 0 and temperature 1.
struct Chunk {
    void* logits;                                      // [V, n]; become the gradient
    void* teacher;                                     // the same, or null; overwritten
    const float *bias, *teacher_bias;                  // [V], not in the logits yet
    const float *temperature, *ce_weight, *kd_weight;  // [n]
    const int64_t* targets;                            // [n]
    float* to_bias;                                    // [V]; the gradient's sum over rows is added
    double* sums;                                      // [3]: of the weighted loss, CE, KD
    int64_t pieces, rows, real, threads;
};

namespace {

// powers: every T is 2^squares, so that e^x is e^(x / T) squared so often, which costs less than another exponential.
template <typename T, bool distils, bool powers>
struct Work {
    const Chunk& c;
    const int squares;
    const int64_t rows = c.rows;
    T* const logits = (T*)c.logits;
    T* const teacher = (T*)c.teacher;
    std::vector<float> tops = std::vector<float>(distils ? (c.pieces + TILE - 1) / TILE * c.rows : 0);

    // LANES rows from the ``j``th on of the pieces of a tile, which begins at ``v0``. No processor foresees the order of these reads, so the
    // next tile is asked for ahead.
    struct Column {
        T *logits, *teacher;
        const float *bias, *teacher_bias;
        const int64_t down, next;

        Floats student(int64_t i) const { return load(logits + i * down) + bias[i]; }
        Floats taught(int64_t i) const { return load(teacher + i * down) + teacher_bias[i]; }
        void ahead(int64_t i) const {
            __builtin_prefetch(logits + i * down + next, 0, 2);
            if (distils) __builtin_prefetch(teacher + i * down + next, 0, 2);
        }
    };

    Column column(int64_t v0, int64_t j) const {
        const int64_t at = v0 * rows + j;
        return {logits + at, distils ? teacher + at : nullptr, c.bias + v0, distils ? c.teacher_bias + v0 : nullptr, rows,
                (uintptr_t)logits % 64 ? 0 : TILE * rows};  // every cache line once
    }

    // e^x of x / T, in units of log2, and of e^(x / T).
    Floats hot(Floats soft, Floats warm, Floats heat) const {
        if (!powers) return exp2_of(soft * heat);
        for (int i = 0; i < squares; i++) warm *= warm;
        return warm;
    }

    void sum(int64_t from, int64_t to, Sums* groups) {
        for (int64_t v0 = from; v0 < to; v0 += TILE) {
            const int64_t count = std::min(TILE, to - v0);
            for (int64_t j = 0; j < rows; j += LANES) {
                Sums& s = groups[j / LANES];
                const Column at = column(v0, j);
                const Floats heat = distils ? load(c.temperature + j) : all(1), cold = 1.0f / heat, slope = LOG2_E * cold;
                Floats top = s.top, t_top = s.t_top;
                for (int64_t i = 0; i < count; i++) {
                    at.ahead(i);
                    top = larger(top, at.student(i));
                    if (distils) t_top = larger(t_top, at.taught(i));
                }
                s.rebase<distils>(top, t_top, cold);
                if (distils) store(tops.data() + v0 / TILE * rows + j, t_top);
                Floats p{}, q{}, r{}, apart{};
                for (int64_t i = 0; i < count; i++) {
                    const Floats soft = (at.student(i) - top) * slope, warm = exp2_of(soft);
                    p += hot(soft, warm, heat);
                    if (distils) {
                        const Floats y = (at.taught(i) - t_top) * slope, e = exp2_of(y);
                        q += warm;
                        r += e;
                        apart += y < FLOOR ? Floats{} : e * (y - soft);  // not the floor's value times a distance without bounds
                        store(at.teacher + i * rows, e);
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
            const int64_t lane = j % LANES, v = c.targets[j], at = v * rows + j;
            const float heat = c.temperature[j], x = value(logits + at) + c.bias[v] - s.top[lane];
            const float ce = std::log(s.p[lane]) - x;
            float kd = 0, gradient = c.ce_weight[j] * (std::exp(x) / s.p[lane] - 1);
            if (distils) {
                const float e = value(teacher + at) * std::exp((tops[v / TILE * rows + j] - s.t_top[lane]) / heat);
                kd = heat * heat * (LN_2 * s.apart[lane] / s.r[lane] + std::log(s.q[lane] / s.r[lane]));
                gradient += c.kd_weight[j] * heat * (std::exp(x / heat) / s.q[lane] - e / s.r[lane]);
            }
            to_target[j] = gradient;
            c.sums[0] += (double)c.ce_weight[j] * ce + (distils ? (double)c.kd_weight[j] * kd : 0.0);
            c.sums[1] += ce;
            c.sums[2] += kd;
        }
    }

    // The logits of the pieces ``from`` to ``to`` become their gradient.
    void differentiate(int64_t from, int64_t to, const Sums* groups) const {
        for (int64_t v0 = from; v0 < to; v0 += TILE) {
            const int64_t count = std::min(TILE, to - v0);
            Floats over_rows[TILE] = {};
            for (int64_t j = 0; j < rows; j += LANES) {
                const Sums& s = groups[j / LANES];
                const Column at = column(v0, j);
                const Floats heat = distils ? load(c.temperature + j) : all(1), slope = LOG2_E / heat, top = s.top;
                const Floats of_p = load(c.ce_weight + j) / s.p, weight = load(c.kd_weight + j) * heat, of_q = weight / s.q;
                const Floats of_r = distils ? weight / s.r * exp2_of((load(tops.data() + v0 / TILE * rows + j) - s.t_top) * slope) : Floats{};
                for (int64_t i = 0; i < count; i++) {
                    at.ahead(i);
                    const Floats soft = (at.student(i) - top) * slope, warm = exp2_of(soft);
                    Floats g = hot(soft, warm, heat) * of_p;
                    if (distils) g += warm * of_q - load(at.teacher + i * rows) * of_r;
                    store(at.logits + i * rows, g);
                    over_rows[i] += g;
                }
            }
            for (int64_t i = 0; i < count; i++)
                for (int64_t lane = 0; lane < LANES; lane++) c.to_bias[v0 + i] += over_rows[i][lane];
        }
    }

    // What ``lose`` found, at the targets among the pieces ``from`` to ``to``.
    void aim(int64_t from, int64_t to, const std::vector<float>& to_target) const {
        for (int64_t j = 0; j < c.real; j++) {
            const int64_t v = c.targets[j];
            if (v < from || v >= to) continue;
            put(logits + v * rows + j, to_target[j]);
            c.to_bias[v] -= c.ce_weight[j];
        }
    }

    void run() {
        const int64_t threads = c.threads, blocks = (c.pieces + BLOCK - 1) / BLOCK, share = (blocks + threads - 1) / threads * BLOCK;
        std::vector<std::vector<Sums>> found(threads, std::vector<Sums>(rows / LANES));
        std::vector<float> to_target(c.real);
        const auto blockwise = [&](int64_t i, auto work) {
            const int64_t end = std::min(c.pieces, (i + 1) * share);
            for (int64_t v = i * share; v < end; v += BLOCK) work(v, std::min(end, v + BLOCK));
        };
#pragma omp parallel num_threads(threads)
        {
            const NoSubnormals quick;
#pragma omp for schedule(static, 1)
            for (int64_t i = 0; i < threads; i++)
                blockwise(i, [&](int64_t from, int64_t to) { sum(from, to, found[i].data()); });
#pragma omp single
            {
                for (int64_t i = 1; i < threads; i++)
                    for (size_t g = 0; g < found[0].size(); g++) found[0][g].template add<distils>(found[i][g], 1.0f / load(c.temperature + g * LANES));
                lose(found[0], to_target);
            }
#pragma omp for schedule(static, 1)
            for (int64_t i = 0; i < threads; i++)
                blockwise(i, [&](int64_t from, int64_t to) {
                    differentiate(from, to, found[0].data());
                    aim(from, to, to_target);
                });
        }
    }
};

template <typename T>
void run(const Chunk& c) {
    if (!c.teacher) return Work<T, false, true>{c, 0}.run();
    const int squares = squares_of(c.temperature, c.real);
    squares < 0 ? Work<T, true, false>{c, 0}.run() : Work<T, true, true>{c, squares}.run();
}

}  // namespace

extern "C" int row_losses_float32(const Chunk* c) { return failed([&] { run<float>(*c); }); }
extern "C" int row_losses_bfloat16(const Chunk* c) { return failed([&] { run<bfloat16>(*c); }); }

// to [n] += from.
extern "C" void add_bfloat16(float* to, const void* from, int64_t n, int64_t threads) {
    const int64_t share = ((n + LANES - 1) / LANES + threads - 1) / threads * LANES;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int64_t k = 0; k < threads; k++) {
        const int64_t end = std::min(n, (k + 1) * share);
        int64_t i = k * share;
        for (; i + LANES <= end; i += LANES) store(to + i, load(to + i) + load((const bfloat16*)from + i));
        for (; i < end; i++) to[i] += value((const bfloat16*)from + i);
    }
}
