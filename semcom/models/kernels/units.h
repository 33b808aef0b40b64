// Products of matrices of floats by matrix units that multiply bfloat16 (AMX), each product of two floats as exact as a float is.
//
// A float is the sum of three bfloat16. Of the nine products of two floats' parts, the six largest hold all that a float's rounding lets
// be seen (Henry, Tang and Heinecke 2019, arXiv 1904.06376, section 3); sums are floats, so the fewer numbers they run over, the better.
// What is infinite, or above 3.38e38, makes every sum that it enters one that is no number; parts under 1e-38 are lost.
//
// A factor has an outer index, which the product keeps, and an inner one, over which it sums. It is kept as tiles of 16 outer by 32
// inner numbers, [outer / 16][inner / 32][PARTS], in the order that its side of the product asks for.

#pragma once

#include "vectors.h"

#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512BF16__) && defined(__linux__)
#define MATRIX_UNITS

#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr int64_t SIDE = 16, DEPTH = 32, PLACES = SIDE * DEPTH;  // of a tile; numbers of 2 bytes
constexpr int64_t PARTS = 3;

typedef uint16_t Part;

inline int64_t tiles_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

// Whether Linux lets this process use them, which must be asked for.
inline bool units_permitted() { return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */) == 0; }

// While it lives, this thread's matrix units are set up for whole tiles.
struct TileUnits {
    TileUnits() {
        struct { uint8_t palette = 1, rest[15] = {}; uint16_t bytes[16] = {}; uint8_t rows[16] = {}; } shape;
        for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = SIDE;
        asm volatile("ldtilecfg %0" ::"m"(shape));
    }
    ~TileUnits() { _tile_release(); }
};

inline Floats first_of(const float* from, int64_t n) {
    return (Floats)_mm512_maskz_loadu_ps(n >= LANES ? 0xffff : n <= 0 ? 0 : (1 << n) - 1, from);
}

// The parts of 32 numbers, each to a tile's row.
inline void split(Floats low, Floats high, Part* to) {
    for (int p = 0; p < PARTS; p++) {
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
        std::memcpy(to + p * PLACES, &both, sizeof both);
        if (p + 1 == PARTS) break;
        low -= (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(both)), 16);
        high -= (Floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1)), 16);
    }
}

// Tiles of 16 outer rows of ``from``, of which ``outer`` are there, by 32 inner columns, of which ``inner`` are; zeros for the others.
// half: from the first LANES columns to the others.
inline void tiles_by_outer(const float* from, int64_t stride, int64_t half, int64_t outer, int64_t inner, Part* to) {
    for (int64_t i = 0; i < SIDE; i++) {
        const bool there = i < outer;
        split(first_of(from + i * stride, there ? inner : 0), first_of(from + i * stride + half, there ? inner - LANES : 0), to + i * DEPTH);
    }
}

// The same of 32 inner rows by 16 outer columns: rows of pairs, an inner number and the next one.
inline void tiles_by_inner(const float* from, int64_t stride, int64_t outer, int64_t inner, Part* to) {
    const __m512i paired = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int64_t i = 0; i < DEPTH; i += 2) {
        Part* row = to + i / 2 * DEPTH;
        split(first_of(from + i * stride, i < inner ? outer : 0), first_of(from + (i + 1) * stride, i + 1 < inner ? outer : 0), row);
        for (int p = 0; p < PARTS; p++) {
            const __m512i apart = copied<__m512i>(row + p * PLACES), pairs = _mm512_permutexvar_epi16(paired, apart);
            std::memcpy(row + p * PLACES, &pairs, sizeof pairs);
        }
    }
}

// From one of these orders to the other: a tile is 16 by 16 pairs.
inline void turn_tiles(Part* tiles) {
    for (int p = 0; p < PARTS; p++) turn((const float*)(tiles + p * PLACES), LANES, (float*)(tiles + p * PLACES), LANES);
}

// Left factors have their outer index down, right ones their pairs.
enum class Order { OUTER, INNER };  // of the rows of what is packed

template <bool left, Order rows>
inline void pack(const float* from, int64_t stride, int64_t outer, int64_t inner, Part* to, int64_t half = LANES) {
    rows == Order::OUTER ? tiles_by_outer(from, stride, half, outer, inner, to) : tiles_by_inner(from, stride, outer, inner, to);
    if (left != (rows == Order::OUTER)) turn_tiles(to);
}

#define AT_LEFT_0(p) _tile_loadd(4, left + (p) * PLACES, 64);
#define AT_LEFT_1(p) _tile_loadd(5, left + left_next + (p) * PLACES, 64);
#define AT_RIGHT_0(p) _tile_loadd(6, right + (p) * PLACES, 64);
#define AT_RIGHT_1(p) _tile_loadd(7, right + right_next + (p) * PLACES, 64);
#define TIMES(to, a, b) _tile_dpbf16ps(to, a, b);
// The four products of two left and two right tiles; the next part of one side is asked for as soon as the last one is done with.
#define FOUR TIMES(0, 4, 6) TIMES(1, 4, 7) TIMES(2, 5, 6) TIMES(3, 5, 7)
#define FOUR_THEN_LEFT(p) TIMES(0, 4, 6) TIMES(1, 4, 7) AT_LEFT_0(p) TIMES(2, 5, 6) TIMES(3, 5, 7) AT_LEFT_1(p)
#define FOUR_THEN_RIGHT(p) TIMES(0, 4, 6) TIMES(2, 5, 6) AT_RIGHT_0(p) TIMES(1, 4, 7) TIMES(3, 5, 7) AT_RIGHT_1(p)

// Where tiles of a product lie: numbers from a row of a tile to the next one, and from a tile to those below and beside it.
struct Grid {
    int64_t stride, down = SIDE * stride, across = SIDE;
};

// to [32, 32] = or += left [32, inner] times right [inner, 32], of ``steps`` times 32 inner numbers; ``*_next``: from a tile to its neighbour's.
__attribute__((noinline)) void four_tiles(const Part* left, int64_t left_next, const Part* right, int64_t right_next, int64_t steps,
                                          float* to, Grid grid, bool add) {
    asm volatile("" ::: "memory");  // what was packed is in memory
    if (add) {
        _tile_loadd(0, to, grid.stride * 4);
        _tile_loadd(1, to + grid.across, grid.stride * 4);
        _tile_loadd(2, to + grid.down, grid.stride * 4);
        _tile_loadd(3, to + grid.down + grid.across, grid.stride * 4);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t k = 0; k < steps; k++, left += PARTS * PLACES, right += PARTS * PLACES) {
        AT_LEFT_0(0) AT_RIGHT_0(2) AT_RIGHT_1(2) AT_LEFT_1(0)
        // Small products first: 0 2, 0 1, 1 1, 1 0, 2 0, 0 0.
        FOUR_THEN_RIGHT(1) FOUR_THEN_LEFT(1) FOUR_THEN_RIGHT(0) FOUR_THEN_LEFT(2) FOUR_THEN_LEFT(0) FOUR
    }
    _tile_stored(0, to, grid.stride * 4);
    _tile_stored(1, to + grid.across, grid.stride * 4);
    _tile_stored(2, to + grid.down, grid.stride * 4);
    _tile_stored(3, to + grid.down + grid.across, grid.stride * 4);
}

// to [16, 16].
__attribute__((noinline)) void one_tile(const Part* left, const Part* right, int64_t steps, float* to, int64_t stride, bool add) {
    asm volatile("" ::: "memory");
    if (add) {
        _tile_loadd(0, to, stride * 4);
    } else {
        _tile_zero(0);
    }
    for (int64_t k = 0; k < steps; k++, left += PARTS * PLACES, right += PARTS * PLACES) {
        _tile_loadd(4, left, 64);
        _tile_loadd(6, right + 2 * PLACES, 64);
        _tile_loadd(7, right + PLACES, 64);
        TIMES(0, 4, 6)
        _tile_loadd(5, left + PLACES, 64);
        TIMES(0, 4, 7)
        _tile_loadd(6, right, 64);
        TIMES(0, 5, 7)
        TIMES(0, 5, 6)
        _tile_loadd(5, left + 2 * PLACES, 64);
        TIMES(0, 5, 6)
        TIMES(0, 4, 6)
    }
    _tile_stored(0, to, stride * 4);
}

// A packed factor, or what is left of one: its first tile, and how many tiles lie between two with neighbouring outer indices.
struct Factor {
    Part* parts;
    int64_t steps;

    static int64_t size(int64_t tiles, int64_t steps) { return tiles * steps * PARTS * PLACES; }
    int64_t next() const { return size(1, steps); }
    Factor at(int64_t tile, int64_t step = 0) const { return {parts + tile * next() + size(1, step), steps}; }
};

// to [16 down, 16 across] = or += left times right, summed over ``steps`` tiles.
inline void product(Factor left, int64_t down, Factor right, int64_t across, int64_t steps, float* to, Grid grid, bool add) {
    for (int64_t j = 0; j < across; j += 2)
        for (int64_t i = 0; i < down; i += 2) {
            if (i + 1 < down && j + 1 < across) {
                four_tiles(left.at(i).parts, left.next(), right.at(j).parts, right.next(), steps, to + i * grid.down + j * grid.across, grid, add);
                continue;
            }
            for (int64_t k = i; k < std::min(down, i + 2); k++)
                for (int64_t m = j; m < std::min(across, j + 2); m++)
                    one_tile(left.at(k).parts, right.at(m).parts, steps, to + k * grid.down + m * grid.across, grid.stride, add);
        }
}

}  // namespace

#endif
