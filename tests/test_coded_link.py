"""The coded link: to the bit without noise, like Sionna's own chain with it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from semcom.base.errors import SemcomError
from semcom.channel import bounds, sionna_code
from semcom.channel.channels import AWGN, Rayleigh
from semcom.channel.coded_link import packed, transmit_blocks
from semcom.channel.draws import Draw, sample
from semcom.channel.ts38212 import MODULATIONS, Scheme, block_sizes, sent_positions

WIDTH = 16
QPSK = Scheme(2)


@pytest.fixture
def sionna():
    pytest.importorskip("sionna.phy.fec.ldpc")


def texts(lengths, seed=0):
    """Random bits of these numbers."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 2, length, dtype=np.uint8) for length in lengths]


def drawn(tokens, number=0, first=0):
    ids = range(first, first + len(tokens))
    return sample(ids, tokens, WIDTH, seed=0, number=number)


def symbols_of(tokens):
    return [length * WIDTH // 2 for length in tokens]


class Spy:
    """A channel that keeps what was sent through it."""

    def __init__(self, channel):
        self.channel, self.signals = channel, []

    def observe(self, signal, draw, snr_db):
        self.signals.append(signal)
        return self.channel.observe(signal, draw, snr_db)


def right(found, bits):
    return [arrived.crc_ok and np.array_equal(arrived.bits, row) for arrived, row in zip(found, bits)]


TOKENS = [7, 12, 30, 9]


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    "scheme", [*map(Scheme, MODULATIONS), Scheme(2, crc=11), Scheme(4, header_bits=10)], ids=str
)
def test_without_noise_every_bit_arrives(sionna, scheme, pack):
    """Empty texts, repeated bits and both base graphs among them."""
    rates = [0.3, 0.5, 0.8, 0.0]
    bits = texts([int(r * s * scheme.bits_per_symbol) for r, s in zip(rates, symbols_of(TOKENS))])
    found = transmit_blocks(bits, symbols_of(TOKENS), scheme, AWGN(), drawn(TOKENS), 100.0, pack=pack)
    assert all(right(found, bits)) and {arrived.sent for arrived in found} == {1}


@pytest.mark.parametrize("pack", [False, True])
def test_channel_uses_are_equal_exactly_at_unit_energy(sionna, pack):
    channel = Spy(AWGN())
    tokens = [11, 17, 25] * 20
    bits = texts([70, 150, 20] * 20)
    transmit_blocks(bits, symbols_of(tokens), Scheme(8), channel, drawn(tokens), 5.0, pack=pack)
    (signal,) = channel.signals
    used = torch.arange(signal.shape[1]) < torch.tensor(tokens)[:, None]
    energy = signal.unflatten(-1, (-1, 2)).square().sum(-1)
    assert ((energy > 0) == used[..., None]).all()
    assert energy[used].mean() == pytest.approx(1, abs=0.02)


def test_what_no_code_carries_is_not_sent(sionna):
    channel, tokens = Spy(AWGN()), [17, 17]
    bits = texts([280, 115])
    found = transmit_blocks(bits, symbols_of(tokens), QPSK, channel, drawn(tokens), 30.0)
    assert [arrived.sent for arrived in found] == [0, 1] and right(found, bits) == [False, True]
    assert len(found[0].bits) == 0 and (channel.signals[0][0] == 0).all()
    assert transmit_blocks(bits[:1], [136], QPSK, AWGN(), drawn([17]), 30.0)[0].sent == 0


def test_a_lost_block_keeps_its_best_effort(sionna):
    bits = texts([115] * 4)
    found = transmit_blocks(bits, [136] * 4, QPSK, AWGN(), drawn([17] * 4), -10.0)
    assert not any(arrived.crc_ok for arrived in found)
    assert [len(arrived.bits) for arrived in found] == [115] * 4
    assert np.mean(np.concatenate([a.bits for a in found]) == np.concatenate(bits)) > 0.55


def test_sentences_are_packed_in_their_order_up_to_a_code_block():
    assert packed([4000, 4000, 432, 1, 8432, 5], QPSK) == [[0, 1, 2], [3], [4], [5]]
    assert packed([4216, 4216], Scheme(2, header_bits=10)) == [[0], [1]]


def test_a_packed_block_spans_its_sentences_fades(sionna):
    """One of three that meets no gain is carried by the others; of two, all three are lost together."""
    tokens, bits = [17] * 3, texts([115] * 3)
    draws = drawn(tokens)
    link = (bits, [136] * 3, QPSK, Rayleigh(), draws, 10.0)
    draws.scatter[:] = torch.tensor([[1.0, 0.0], [0.0, 1e-9], [0.0, 1.0]])
    assert right(transmit_blocks(*link), bits) == [True, False, True]
    assert all(right(transmit_blocks(*link, pack=True), bits))
    draws.scatter[2] = 1e-9
    assert right(transmit_blocks(*link), bits) == [True, False, False]
    assert {arrived.crc_ok for arrived in transmit_blocks(*link, pack=True)} == {False}


def test_the_batch_changes_nothing(sionna):
    tokens, bits = [9, 17, 30, 17], texts([60, 115, 200, 120])
    together = transmit_blocks(bits, symbols_of(tokens), QPSK, Rayleigh(), drawn(tokens), 3.0)
    for i, length in enumerate(tokens):
        (alone,) = transmit_blocks(
            bits[i : i + 1], symbols_of([length]), QPSK, Rayleigh(), drawn([length], first=i), 3.0
        )
        assert np.array_equal(alone.bits, together[i].bits) and alone.crc_ok == together[i].crc_ok


def spied_llrs(monkeypatch):
    """What decoders are given."""
    given, decode = [], sionna_code.decoded
    monkeypatch.setattr(sionna_code, "decoded", lambda llr, *rest: given.append(llr) or decode(llr, *rest))
    return given


class Estimated:
    """A link whose receiver's estimate of the gain is off by a known variance."""

    def observe(self, signal, draw, snr_db):
        z = torch.view_as_complex(signal.unflatten(-1, (-1, 2)).contiguous())
        n = torch.view_as_complex(draw.noise.unflatten(-1, (-1, 2)).contiguous()) * 0.1
        gain = torch.full_like(z, 0.5 - 0.3j)
        self.y = (0.5 - 0.2j) * z + n
        return SimpleNamespace(y=self.y, gain=gain, error=torch.tensor(0.04), n0=torch.tensor([[[0.02]]]))


def test_repeated_bits_have_the_sum_of_their_llrs(sionna, monkeypatch):
    """QPSK by its formula: log P(1)/P(0) = -2 sqrt(2) Re(conj(h) y) / (N0 + error), the imaginary part for
    the second bit; 20 + 16 bits on 136 symbols, each coded bit 272/180 times."""
    given, link = spied_llrs(monkeypatch), Estimated()
    transmit_blocks(texts([20]), [136], QPSK, link, drawn([17]), 0.0)
    size = block_sizes(20, 136, QPSK)
    matched = (link.y * (0.5 + 0.3j)).flatten()
    llr = -(8**0.5) / 0.06 * torch.stack((matched.real, matched.imag), -1).flatten().double()
    wanted = np.zeros(size.mother.length)
    for value, place in zip(llr.tolist(), sent_positions(size)):
        wanted[place] += value
    systematic = size.k - 2 * size.lifting
    wanted[systematic : systematic + size.mother.information - size.k] = -20
    assert size.distinct < size.n
    np.testing.assert_allclose(given[0][0].numpy(), wanted, rtol=1e-3, atol=1e-3)


def test_chase_combining_adds_both_receptions(sionna, monkeypatch):
    """At an SNR where half the blocks fail once, two sendings are worth 3 dB: nearly all arrive."""
    given, tokens = spied_llrs(monkeypatch), [17] * 60
    bits, symbols = texts([115] * 60), symbols_of(tokens)
    arguments = (bits, symbols, QPSK, AWGN())
    once = transmit_blocks(*arguments, drawn(tokens), 0.75)
    second = transmit_blocks(*arguments, drawn(tokens, number=1), 0.75)
    failed = [not arrived.crc_ok for arrived in once]
    assert 15 < sum(failed) < 45 and len(second) == 60
    apart = [torch.cat(given[: len(given) // 2]), torch.cat(given[len(given) // 2 :])]
    given.clear()
    found = transmit_blocks(*arguments, drawn(tokens), 0.75, again=drawn(tokens, number=1))
    combined = torch.cat(given)[60:]
    wanted = (apart[0] + apart[1])[failed]
    sent = (wanted != 0) & (combined != -20)
    torch.testing.assert_close(combined[sent], wanted[sent])
    assert [arrived.sent for arrived in found] == [1 + lost for lost in failed]
    assert sum(right(found, bits)) >= 58


def sionna_errors(k, n, bits_per_symbol, base_graph, snr_db, blocks):
    """Of its own chain, by its own AWGN layer."""
    from sionna.phy import config
    from sionna.phy.channel import AWGN as Noise
    from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
    from sionna.phy.mapping import BinarySource, Demapper, Mapper

    config.seed = 1
    encoder = LDPC5GEncoder(k, n, num_bits_per_symbol=bits_per_symbol, bg=f"bg{base_graph}")
    decoder = LDPC5GDecoder(encoder, num_iter=sionna_code.ROUNDS * sionna_code.ITERATIONS)
    n0 = torch.tensor(10 ** (-snr_db / 10))
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        sent = BinarySource()([blocks, k])
        y = Noise()(Mapper("qam", bits_per_symbol)(encoder(sent)), n0)
        heard = decoder(Demapper("app", "qam", bits_per_symbol)(y, n0))
    return int((heard != sent).any(1).sum())


def our_errors(source_bits, tokens, scheme, snr_db, blocks):
    noise = torch.randn(blocks, tokens, WIDTH, generator=torch.Generator().manual_seed(2))
    draws = Draw(torch.zeros(blocks), torch.zeros(blocks, 2), noise)
    bits, symbols = texts([source_bits] * blocks), symbols_of([tokens] * blocks)
    return blocks - sum(right(transmit_blocks(bits, symbols, scheme, AWGN(), draws, snr_db), bits))


def same_rate(ours, theirs, blocks):
    """Two counts of equal probability, at 1 in 10,000."""
    pooled = (ours + theirs) / (2 * blocks)
    return abs(ours - theirs) / blocks <= 3.9 * (2 * pooled * (1 - pooled) / blocks) ** 0.5


@pytest.mark.parametrize("snr_db", [0.75, 1.25, 1.75])
def test_block_error_rates_are_those_of_sionnas_own_chain(sionna, snr_db):
    size = block_sizes(115, 136, QPSK)
    theirs = sionna_errors(size.k, size.n, 2, size.base_graph, snr_db, 250)
    assert same_rate(our_errors(115, 17, QPSK, snr_db, 250), theirs, 250)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source_bits, tokens, bits_per_symbol, middle",
    [(280, 17, 4, 6.8), (500, 17, 6, 12.9), (1000, 30, 6, 14.3), (620, 17, 8, 16.2)],
)
@pytest.mark.parametrize("aside", [-0.5, 0.0, 0.5])
def test_block_error_rates_of_higher_modulations(sionna, source_bits, tokens, bits_per_symbol, middle, aside):
    """Base graph 1 among them."""
    size = block_sizes(source_bits, tokens * WIDTH // 2, Scheme(bits_per_symbol))
    theirs = sionna_errors(size.k, size.n, bits_per_symbol, size.base_graph, middle + aside, 300)
    ours = our_errors(source_bits, tokens, Scheme(bits_per_symbol), middle + aside, 300)
    assert same_rate(ours, theirs, 300)


def test_the_normal_approximation_is_reached_within_a_decibel(sionna):
    """500 bits on 504 symbols of QPSK: 1 dB above where any code could lose a block in ten, ours loses fewer,
    and at that SNR itself more."""
    snrs = np.arange(-1, 3, 0.01)
    tenth = snrs[np.argmax(bounds.normal_error(516, 504, snrs) < 0.1)]
    assert our_errors(500, 63, QPSK, tenth, 60) > 12
    assert our_errors(500, 63, QPSK, tenth + 1, 100) <= 10


def test_over_rayleigh_it_lies_a_decibel_and_a_half_within_the_normal_approximation(sionna):
    """131 coded bits on 136 symbols of QPSK at 6 dB, 300 fades: above what any code could do there, below
    what any could do at 4.5 dB, each within 4 standard deviations."""
    tokens = [17] * 300
    bits = texts([115] * 300)
    found = transmit_blocks(bits, symbols_of(tokens), QPSK, Rayleigh(), drawn(tokens), 6.0)
    lost = 1 - np.mean(right(found, bits))
    least, most = bounds.rayleigh_normal_error(131, 136, [6.0, 4.5])
    assert least - 4 * (least / 300) ** 0.5 < lost < most + 4 * (most / 300) ** 0.5
    nominal = bounds.rayleigh_normal_error(131, 136, 6.0)
    power = drawn(tokens).scatter.double().square().sum(-1).numpy()
    met = bounds.normal_error(131, 136, 6.0 + 10 * np.log10(power))
    assert met.mean() <= lost and abs(met.mean() - nominal) < 4 * (nominal / 300) ** 0.5


def test_without_sionna_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sionna_code, "find_spec", lambda name: None)
    with pytest.raises(SemcomError, match=r"install it with: pip install \.\[phy\]") as told:
        transmit_blocks(texts([115]), [136], QPSK, AWGN(), drawn([17]), 0.0)
    assert len(str(told.value)) < 200 and "\n" not in str(told.value)


def test_a_broken_sionna_is_told(monkeypatch):
    def broken(name):
        raise ImportError("no h5py\nhere")

    monkeypatch.setattr(sionna_code, "find_spec", lambda name: object())
    monkeypatch.setattr(sionna_code, "import_module", broken)
    with pytest.raises(SemcomError, match="cannot be imported") as told:
        sionna_code.require()
    assert "\n" not in str(told.value)


def test_the_global_generator_is_the_users(sionna):
    state = torch.get_rng_state()
    transmit_blocks(texts([115]), [136], QPSK, AWGN(), drawn([17]), 0.0)
    assert torch.equal(state, torch.get_rng_state())
