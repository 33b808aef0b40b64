// The losses of a chunk whose logits are there, and sums of bfloat16. rows.py runs this.

#include "rows.h"

namespace {

// Logits and their gradient are whole, and in one place.
template <typename T>
struct Whole {
    struct Units {};

    const Chunk& c;

    void prepare(int64_t) {}
    void project(int64_t, int64_t) {}
    T* gradient(int64_t, int64_t from) { return (T*)c.logits + from * c.rows; }
    void carry(int64_t, int64_t, int64_t) {}
    void finish(int64_t) {}
};

template <typename T>
void run(const Chunk& c) {
    Whole<T> whole{c};
    with_work<T, false>(c, [&](auto&& work) { work.run(whole); });
}

}  // namespace

extern "C" void row_losses_float32(const Chunk* c) { run<float>(*c); }
extern "C" void row_losses_bfloat16(const Chunk* c) { run<bfloat16>(*c); }

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
