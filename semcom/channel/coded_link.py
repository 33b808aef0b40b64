"""The coded link: source bits -> CRC -> 5G LDPC -> QAM -> the channel's own draws -> bits.

Letters: B sentences, S source tokens, C real channel dimensions a token; k and n of ``ts38212``.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semcom.channel import sionna_code
from semcom.channel.draws import Draw
from semcom.channel.model import Channel
from semcom.channel.observation import Observation
from semcom.channel.ts38212 import GREATEST_K, BlockSize, MotherCode, Scheme, block_sizes, sent_positions

LEAST_NOISE = 1e-10
"""Noise power that a demapper is told, at least: a channel without noise divides by none."""
LEAST_GAIN = 1e-12
"""Of |h|^2."""
LLRS_AT_ONCE = 30_000
"""Of a decoding: what fits the processor's cache is decoded fastest."""


@dataclass(frozen=True)
class Arrived:
    """What the receiver has of a sentence.

    bits: its source bits as they were decoded, right or wrong; none where nothing was sent. crc_ok: whether
    the CRC of its block holds. sent: how often its block was sent: 0 where no code carries it, 2 where the
    first CRC failed and ``again`` was given.
    """

    bits: np.ndarray
    crc_ok: bool
    sent: int


def packed(source_bits: Sequence[int], scheme: Scheme) -> list[list[int]]:
    """Sentences in their order, as many a block as k <= 8448 allows: indices, block by block.

    source_bits: of each sentence. All of a block wait for its last sentence, and are lost together.
    """
    groups: list[list[int]] = []
    room = 0
    for index, bits in enumerate(source_bits):
        needed = bits + scheme.header_bits
        if not groups or needed > room:
            groups.append([])
            room = GREATEST_K - scheme.crc
        groups[-1].append(index)
        room -= needed
    return groups


# Eight arguments: what is sent and how, what it meets, and two choices that most callers leave.
@torch.inference_mode()
def transmit_blocks(
    bits: Sequence[np.ndarray],
    symbols: Sequence[int],
    scheme: Scheme,
    channel: Channel,
    draws: Draw,
    snr_db: Tensor | float,
    *,
    pack: bool = False,
    again: Draw | None = None,
) -> list[Arrived]:
    """Each sentence through the channel, on exactly its symbols and its own draw.

    bits: B rows of 0 and 1, uint8. symbols: B numbers of complex symbols, S_i C/2. draws: of the B sentences.
    snr_db: a number or [B]. pack: several sentences a block, as ``packed`` groups them; each part of it meets
    its sentence's draw. again: the draw of a second sending of the same coded bits, for blocks whose CRC
    fails (Chase, IEEE Trans. Commun. 33(5), 1985: both LLRs are added).

    Raises SemcomError where Sionna is not installed.
    """
    sionna_code.require()
    lengths = [len(row) for row in bits]
    groups = packed(lengths, scheme) if pack else [[index] for index in range(len(bits))]
    blocks = _Blocks.of(bits, symbols, scheme, groups)
    device = draws.noise.device
    signal = blocks.signal(draws.noise)
    first = blocks.soft_bits(channel.observe(signal, draws, snr_db))
    found = blocks.decoded(first, device)
    failed = [row for row, (_, crc_ok) in enumerate(found) if not crc_ok]
    times = [1] * len(found)
    if again is not None and failed:
        second = blocks.soft_bits(channel.observe(signal, again, snr_db))
        combined = [first[row] + second[row] for row in failed]
        for row, result in zip(failed, blocks.decoded(combined, device, failed)):
            found[row], times[row] = result, 2
    return blocks.arrived(found, times)


@dataclass(frozen=True)
class _Blocks:
    """Blocks that a code carries.

    bits, symbols: of all sentences. members: of each block, its sentences. sizes: of each block.
    """

    bits: Sequence[np.ndarray]
    symbols: Sequence[int]
    scheme: Scheme
    members: list[list[int]]
    sizes: list[BlockSize]

    @classmethod
    def of(
        cls,
        bits: Sequence[np.ndarray],
        symbols: Sequence[int],
        scheme: Scheme,
        groups: Sequence[list[int]],
    ) -> "_Blocks":
        carried: list[tuple[list[int], BlockSize]] = []
        for group in groups:
            source_bits = sum(len(bits[i]) + scheme.header_bits for i in group)
            size = block_sizes(source_bits, sum(symbols[i] for i in group), scheme)
            if size is not None:
                carried.append((group, size))
        return cls(bits, symbols, scheme, [group for group, _ in carried], [size for _, size in carried])

    def payload(self, block: int) -> np.ndarray:
        """[k - CRC] headers and source bits of its sentences."""
        header = self.scheme.header_bits
        parts = [(_binary(len(self.bits[i]), header), self.bits[i]) for i in self.members[block]]
        return np.concatenate([part for pair in parts for part in pair])

    def batches(self, chosen: Sequence[int]) -> Iterator[tuple[MotherCode, list[int]]]:
        """Places in ``chosen`` whose blocks share a mother code, a few at a time."""
        alike: dict[MotherCode, list[int]] = defaultdict(list)
        for place, block in enumerate(chosen):
            alike[self.sizes[block].mother].append(place)
        for code, places in alike.items():
            step = max(1, LLRS_AT_ONCE // code.length)
            for start in range(0, len(places), step):
                yield code, places[start : start + step]

    def signal(self, like: Tensor) -> Tensor:
        """[B, S, C] of shape, kind and device of ``like``: each sentence's symbols from its first on."""
        rows = np.zeros((like.shape[0], like.shape[1] * like.shape[2] // 2), dtype=np.complex64)
        coded: list[np.ndarray] = [np.empty(0)] * len(self.sizes)
        for code, blocks in self.batches(range(len(self.sizes))):
            for block, sent in zip(blocks, self._encoded(code, blocks, like.device)):
                coded[block] = sent[sent_positions(self.sizes[block])]
        if coded:
            bits = torch.from_numpy(np.concatenate(coded)).to(like.device)
            mapped = sionna_code.mapped(bits, self.scheme.bits_per_symbol).cpu().numpy()
            ends = np.cumsum([self.symbols[i] for i in self._sentences()])
            for i, part in zip(self._sentences(), np.split(mapped, ends[:-1])):
                rows[i, : len(part)] = part
        return torch.view_as_real(torch.from_numpy(rows)).reshape(like.shape).to(like)

    def _sentences(self) -> list[int]:
        """Those that are sent, block by block."""
        return [i for group in self.members for i in group]

    def _encoded(self, code: MotherCode, blocks: Sequence[int], device: torch.device) -> np.ndarray:
        """[blocks, code.length] coded bits."""
        crc = self.scheme.crc
        bits = np.zeros((len(blocks), code.information - crc), dtype=np.float32)
        for row, block in zip(bits, blocks):
            payload = self.payload(block)
            row[len(row) - len(payload) :] = payload
        checked = sionna_code.with_crc(torch.from_numpy(bits).to(device), crc).cpu().numpy()
        information = np.zeros_like(checked)
        for row, behind, block in zip(information, checked, blocks):
            k = self.sizes[block].k
            row[:k] = behind[len(behind) - k :]
        return sionna_code.encoded(torch.from_numpy(information).to(device), code).cpu().numpy()

    def soft_bits(self, seen: Observation) -> list[np.ndarray]:
        """Of each block, [n] log P(1)/P(0) by what the receiver knows of gain and noise."""
        if not self.sizes:
            return []
        power = seen.gain.abs().square().clamp_min(LEAST_GAIN)
        symbols = (seen.y * seen.gain.conj() / power).flatten(1)
        noise = ((seen.n0 + seen.error) / power).clamp_min(LEAST_NOISE).expand_as(seen.y).flatten(1)
        sentences = self._sentences()
        y = torch.cat([symbols[i, : self.symbols[i]] for i in sentences])
        no = torch.cat([noise[i, : self.symbols[i]] for i in sentences])
        llr = sionna_code.demapped(y.to(torch.complex64), no.float(), self.scheme.bits_per_symbol)
        return np.split(llr.cpu().numpy(), np.cumsum([size.n for size in self.sizes])[:-1])

    def decoded(
        self, soft: Sequence[np.ndarray], device: torch.device, chosen: Sequence[int] | None = None
    ) -> list[tuple[np.ndarray, bool]]:
        """Payload and whether the CRC holds, of the ``chosen`` blocks (default all), of LLRs ``soft``."""
        chosen = range(len(self.sizes)) if chosen is None else chosen
        found: list[tuple[np.ndarray, bool]] = [(np.empty(0, np.uint8), False)] * len(chosen)
        for code, places in self.batches(chosen):
            sizes = [self.sizes[chosen[place]] for place in places]
            results = self._decoded(code, sizes, [soft[place] for place in places], device)
            for place, result in zip(places, results):
                found[place] = result
        return found

    def _decoded(
        self, code: MotherCode, sizes: Sequence[BlockSize], soft: Sequence[np.ndarray], device: torch.device
    ) -> list[tuple[np.ndarray, bool]]:
        known_zero = -sionna_code.greatest_llr(code, device)
        llr = np.zeros((len(sizes), code.length), dtype=np.float32)
        for row, size, values in zip(llr, sizes, soft):
            row += np.bincount(sent_positions(size), values, code.length)
            row[size.k - 2 * size.lifting : code.information - 2 * size.lifting] = known_zero
        ends = torch.tensor([size.k for size in sizes], device=device)

        def holds(bits: Tensor, rows: Tensor) -> Tensor:
            return sionna_code.crc_holds(_ending_at(bits, ends[rows]), self.scheme.crc)

        decided = sionna_code.decoded(torch.from_numpy(llr).to(device), code, holds)
        good = holds(decided, torch.arange(len(sizes), device=device)).tolist()
        bits = decided.cpu().numpy().astype(np.uint8)
        return [(row[: size.k - self.scheme.crc], ok) for row, size, ok in zip(bits, sizes, good)]

    def arrived(self, found: Sequence[tuple[np.ndarray, bool]], times: Sequence[int]) -> list[Arrived]:
        """Sentence by sentence."""
        result = [Arrived(np.empty(0, np.uint8), False, 0)] * len(self.bits)
        for members, (payload, crc_ok), sent in zip(self.members, found, times):
            start = 0
            for i in members:
                start += self.scheme.header_bits
                end = start + len(self.bits[i])
                result[i] = Arrived(payload[start:end], crc_ok, sent)
                start = end
        return result


def _binary(number: int, width: int) -> np.ndarray:
    """The last ``width`` binary digits of a number, the highest first."""
    return np.array([number >> place & 1 for place in reversed(range(width))], dtype=np.uint8)


def _ending_at(bits: Tensor, ends: Tensor) -> Tensor:
    """Rows of ``bits`` up to their ``ends``, moved to the right over zeros."""
    places = torch.arange(bits.shape[1], device=bits.device) - (bits.shape[1] - ends)[:, None]
    return torch.where(places >= 0, bits.gather(1, places.clamp_min(0)), 0.0)
