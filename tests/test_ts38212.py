"""Block sizes of TS 38.212: by hand, by brute force, and as Sionna's encoder has them."""

import numpy as np
import pytest

from semcom.base.errors import SemcomError
from semcom.channel.ts38212 import LIFTING_SIZES, Scheme, block_sizes, sent_positions

QPSK = Scheme(2)


def test_a_caption_by_hand():
    """115 bits of words on 136 symbols of QPSK: base graph 2, K_b = 6, Z = 22 (6 x 22 = 132 >= 131)."""
    size = block_sizes(115, 136, QPSK)
    assert (size.k, size.n, size.base_graph, size.lifting) == (131, 272, 2, 22)
    assert size.fillers == 10 * 22 - 131 and size.repetition == 1
    assert size.mother.information == 132


def test_qpsk_cannot_carry_the_characters_of_a_caption():
    assert block_sizes(280, 136, QPSK) is None
    assert block_sizes(280, 136, Scheme(4)).n == 544


def test_the_highest_rate_is_the_last_that_is_carried():
    assert block_sizes(948 - 16, 512, QPSK) is not None
    assert block_sizes(948 - 15, 512, QPSK) is None


@pytest.mark.parametrize(
    "source_bits, n, base_graph",
    [
        (292, 400, 2),  # 7.2.2: A <= 292, the CRC left out
        (293, 400, 1),
        (293, 600, 2),  # A <= 3824 and R <= 0.67
        (3824, 6000, 2),
        (3825, 6000, 1),
    ],
)
def test_the_base_graph_follows_the_source_bits_and_the_rate(source_bits, n, base_graph):
    assert block_sizes(source_bits, n // 2, QPSK).base_graph == base_graph


def test_there_are_the_51_lifting_sizes_of_the_standard():
    assert len(LIFTING_SIZES) == 51 and LIFTING_SIZES[:6] == [2, 3, 4, 5, 6, 7] and LIFTING_SIZES[-1] == 384


@pytest.mark.parametrize("source_bits", [8448 - 15, 10**6])
def test_longer_than_a_code_block_is_not_carried(source_bits):
    assert block_sizes(source_bits, 10**6, QPSK) is None


@pytest.mark.parametrize("source_bits, times", [(10, 5), (4000, 3)])
def test_below_the_lowest_rate_coded_bits_are_repeated(source_bits, times):
    k = source_bits + 16
    size = block_sizes(source_bits, 4 * times * k, QPSK)
    assert size.distinct == times * k and size.n == 8 * times * k and size.repetition == 8
    counts = np.bincount(sent_positions(size), minlength=size.mother.length)
    assert set(counts) <= {0, 8} and (counts == 8).sum() == size.distinct


def test_positions_are_the_circular_buffer_read_bit_by_bit_then_interleaved():
    """The loops of sections 5.4.2.1 and 5.4.2.2 as the standard writes them."""
    size = block_sizes(20, 60, Scheme(6))
    mother, start = size.mother, 2 * size.lifting
    known = set(range(size.k - start, mother.information - start))
    buffer = [place for place in range(5 * mother.information) if place not in known][: size.distinct]
    selected = [buffer[j % len(buffer)] for j in range(size.n)]
    wanted = [0] * size.n
    for j in range(size.n // 6):
        for i in range(6):
            wanted[i + j * 6] = selected[i * (size.n // 6) + j]
    assert sent_positions(size).tolist() == wanted


def test_an_empty_text_is_a_block_of_its_crc():
    size = block_sizes(0, 40, Scheme(2, crc=11))
    assert size.k == 11 and size.lifting == 2 and size.fillers == 9 and size.mother.information == 12


@pytest.mark.parametrize("wrong", [{"bits_per_symbol": 3}, {"bits_per_symbol": 2, "crc": 24}])
def test_what_a_scheme_can_be(wrong):
    with pytest.raises(SemcomError, match="allowed are"):
        Scheme(**wrong)


def sizes_of_all_kinds():
    rng = np.random.default_rng(0)
    for source_bits in [1, 2, 176, 177, 544, 545, 624, 625, *rng.integers(3, 2000, 8), 3824, 8432]:
        bits_per_symbol = int(rng.choice((2, 4, 6, 8)))
        symbols = int((source_bits + 16) * rng.uniform(1.1, 2.9) / bits_per_symbol) + 1
        yield block_sizes(int(source_bits), symbols, Scheme(bits_per_symbol))


def test_sizes_and_interleaver_are_those_of_sionna():
    ldpc = pytest.importorskip("sionna.phy.fec.ldpc")
    for size in sizes_of_all_kinds():
        its = ldpc.LDPC5GEncoder(
            size.k, size.n, num_bits_per_symbol=size.bits_per_symbol, bg=f"bg{size.base_graph}"
        )
        assert (its.k, its.n, its.z, its.k_filler) == (size.k, size.n, size.lifting, size.fillers)
        assert np.array_equal(np.sort(sent_positions(size))[its.out_int.numpy()], sent_positions(size))
