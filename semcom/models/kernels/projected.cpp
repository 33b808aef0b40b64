// Projection to the vocabulary, losses and gradients of states and weights in one, by matrix units: of logits and their gradient no more
// leaves a core's cache than the logits of one chunk of rows. rows.py runs this; fused has the same values in torch.
//
// Letters: V pieces, N rows, n rows of a chunk (or as many as are left, and on to a multiple of LANES), D width of the student's states,
// K of the teacher's.

#include "rows.h"
#include "units.h"

struct Projected {
    const float *state, *weight, *bias;                            // [N, D], [V, D], [V]
    const float *teacher_state, *teacher_weight, *teacher_bias;    // [N, K], [V, K], [V], or null
    const float *temperature, *ce_weight, *kd_weight;              // [N and up to LANES - 1 more], 1, 0, 0 in these
    const int64_t* targets;                                        // as many
    float *to_state, *to_weight, *to_bias;                         // [N, D] or null, [V and up to LANES - 1 more, D] or null, [V] of zeros
    double* sums;                                                  // [3] zeros, to which those of the weighted loss, CE and KD are added
    void* space;                                                   // what projected_space asks for, at a multiple of 64
    int64_t pieces, rows, width, teacher_width, chunk, threads;
};

#ifdef MATRIX_UNITS
namespace {

// Cuts what is asked for from memory that begins at ``space``, or counts it.
struct Cutter {
    const uintptr_t space;
    int64_t used = 0;

    template <typename T>
    T* of(int64_t n) {
        T* const part = (T*)(space + used);
        used += (n * sizeof(T) + 63) / 64 * 64;
        return part;
    }
    Factor factor(int64_t tiles, int64_t steps) { return {of<Part>(Factor::size(tiles, steps)), steps}; }
};

constexpr Grid IN_BLOCK{LANES, SIDE * LANES, BLOCK * LANES};  // tiles of logits, where ``Places`` has them together

struct Tiled {
    typedef TileUnits Units;

    const Projected& c;
    const bool taught = c.teacher_state;
    const int64_t most = std::min(c.chunk, tiles_of(c.rows, LANES) * LANES), piece_tiles = tiles_of(c.pieces, SIDE), width_tiles = c.width / SIDE,
                  all_logits = tiles_of(c.pieces, BLOCK) * BLOCK * most;
    Cutter cut{(uintptr_t)c.space};
    // Outer and inner index: pieces and width; width and pieces; rows and width; width and rows.
    const Factor weight = cut.factor(piece_tiles, tiles_of(c.width, DEPTH)), turned = cut.factor(c.to_state ? width_tiles : 0, tiles_of(c.pieces, DEPTH)),
                 teacher_weight = cut.factor(taught ? piece_tiles : 0, tiles_of(c.teacher_width, DEPTH)),
                 states = cut.factor(most / SIDE, weight.steps), teacher_states = cut.factor(taught ? most / SIDE : 0, teacher_weight.steps),
                 states_turned = cut.factor(c.to_weight ? width_tiles : 0, tiles_of(most, DEPTH));
    float *const logits = cut.of<float>(all_logits), *const teacher = cut.of<float>(taught ? all_logits : 0);

    // Of a thread that has blocks: the gradient of a block's logits, laid out as they are, and as left and right factor; what the block adds to
    // the gradient of weights, [BLOCK, D]; what all its blocks add to that of states, [D, n].
    struct Own {
        float* to_logits;
        Factor left, right;
        float *to_weights, *to_states;
        bool begun = false;
    };
    std::vector<Own> own = owned();

    // Of the chunk at hand: its first row, how many it has, and as padded; tiles that these fill as inner index.
    int64_t start = 0, real = 0, n = 0, row_steps = 0;

    std::vector<Own> owned() {
        std::vector<Own> all(std::min(c.threads, tiles_of(c.pieces, BLOCK)));
        const int64_t weights = c.to_weight ? BLOCK : 0, rows = c.to_state ? most : 0;
        for (Own& o : all)
            o = {cut.of<float>(BLOCK * most), cut.factor(weights / SIDE, states_turned.steps), cut.factor(rows / SIDE, BLOCK / DEPTH),
                 cut.of<float>(weights * c.width), cut.of<float>(c.width * rows)};
        return all;
    }

    // Of a matrix [rows, width], the tiles at rows ``tile``; rows are the outer index.
    template <bool left>
    static void pack_rows(const float* from, int64_t rows, int64_t width, int64_t tile, Factor to) {
        for (int64_t s = 0; s < tiles_of(width, DEPTH); s++)
            pack<left, Order::OUTER>(from + tile * SIDE * width + s * DEPTH, width, rows - tile * SIDE, width - s * DEPTH, to.at(tile, s).parts);
    }

    // The one at columns ``tile``, and rows ``step``; columns are the outer index.
    template <bool left>
    static void pack_columns(const float* from, int64_t rows, int64_t width, int64_t tile, int64_t step, Factor to) {
        pack<left, Order::INNER>(from + step * DEPTH * width + tile * SIDE, width, width - tile * SIDE, rows - step * DEPTH, to.at(tile, step).parts);
    }

    void pack_weights() {
#pragma omp parallel for num_threads(c.threads) schedule(static)
        for (int64_t tile = 0; tile < piece_tiles; tile++) {
            pack_rows<true>(c.weight, c.pieces, c.width, tile, weight);
            if (taught) pack_rows<true>(c.teacher_weight, c.pieces, c.teacher_width, tile, teacher_weight);
            if (c.to_state && tile % 2 == 0)
                for (int64_t column = 0; column < width_tiles; column++) pack_columns<true>(c.weight, c.pieces, c.width, column, tile / 2, turned);
        }
    }

    void prepare(int64_t i) {
        if (i < (int64_t)own.size()) own[i].begun = false;
        const float *state = c.state + start * c.width, *theirs = c.teacher_state + start * c.teacher_width;
        for (int64_t tile = i; tile < n / SIDE; tile += c.threads) {
            pack_rows<false>(state, real, c.width, tile, states);
            if (taught) pack_rows<false>(theirs, real, c.teacher_width, tile, teacher_states);
        }
        if (c.to_weight)
            for (int64_t column = i; column < width_tiles; column += c.threads)
                for (int64_t s = 0; s < row_steps; s++) pack_columns<false>(state, real, c.width, column, s, states_turned);
    }

    void project(int64_t from, int64_t to) {
        const int64_t tile = from / SIDE, down = tiles_of(to - from, SIDE), across = n / SIDE;
        product(weight.at(tile), down, states, across, weight.steps, logits + from * n, IN_BLOCK, false);
        if (taught) product(teacher_weight.at(tile), down, teacher_states, across, teacher_weight.steps, teacher + from * n, IN_BLOCK, false);
    }

    float* gradient(int64_t i, int64_t) { return own[i].to_logits; }

    void carry(int64_t i, int64_t from, int64_t to) {
        Own& o = own[i];
        const int64_t there = to - from, down = tiles_of(there, SIDE), steps = tiles_of(there, DEPTH), across = n / SIDE;
        if (c.to_weight) {
            for (int64_t tile = 0; tile < down; tile++)
                for (int64_t s = 0; s < row_steps; s++)
                    pack<true, Order::OUTER>(o.to_logits + 2 * s * IN_BLOCK.across + tile * IN_BLOCK.down, LANES, there - tile * SIDE, n - s * DEPTH,
                                             o.left.at(tile, s).parts, IN_BLOCK.across);
            float* const to_weight = c.to_weight + from * c.width;
            product(o.left, down, states_turned, width_tiles, row_steps, start ? o.to_weights : to_weight, Grid{c.width}, false);
            // Added to what earlier chunks gave as a whole: a sum over all rows, one by one, would lose more with every row.
            for (int64_t k = 0; start && k < down * SIDE * c.width; k += LANES) store(to_weight + k, load(to_weight + k) + load(o.to_weights + k));
        }
        if (c.to_state) {
            for (int64_t tile = 0; tile < across; tile++)
                for (int64_t s = 0; s < steps; s++)
                    pack<false, Order::INNER>(o.to_logits + tile * IN_BLOCK.across + s * DEPTH * LANES, LANES, SIDE, there - s * DEPTH, o.right.at(tile, s).parts);
            product(turned.at(0, from / DEPTH), width_tiles, o.right, across, steps, o.to_states, Grid{n}, o.begun);
            o.begun = true;
        }
    }

    void finish(int64_t i) {
        if (!c.to_state) return;
        for (int64_t j = i; j < real; j += c.threads)
            for (int64_t d = 0; d < c.width; d++) {
                float sum = 0;
                for (const Own& o : own)
                    if (o.begun) sum += o.to_states[d * n + j];
                c.to_state[(start + j) * c.width + d] = sum;
            }
    }

    void run() {
        pack_weights();
        for (; start < c.rows; start += c.chunk) {
            real = std::min(c.chunk, c.rows - start), n = tiles_of(real, LANES) * LANES, row_steps = tiles_of(n, DEPTH);
            const Chunk chunk{logits, c.teacher_state ? teacher : nullptr, c.bias, c.teacher_bias, c.temperature + start, c.ce_weight + start,
                              c.kd_weight + start, c.targets + start, c.to_bias, c.sums, c.pieces, n, real, c.threads};
            with_work<float, true>(chunk, [&](auto&& work) { work.run(*this); });
        }
    }
};

}  // namespace

extern "C" int64_t matrix_units() { return units_permitted(); }
extern "C" int64_t projected_space_float32(const Projected* c) { return Tiled{*c}.cut.used; }
extern "C" void projected_float32(const Projected* c) { Tiled{*c}.run(); }
#else
extern "C" int64_t matrix_units() { return 0; }
extern "C" int64_t projected_space_float32(const Projected*) { return 0; }
extern "C" void projected_float32(const Projected*) {}
#endif
