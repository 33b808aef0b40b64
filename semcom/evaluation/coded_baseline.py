"""A coded digital link on the draws that the transceivers meet: text, source code, CRC, channel code, QAM and
back, by as many complex symbols for each sentence as its transceiver takes.

Letters: N sentences, K SNRs, M sums of ``measures.columns``, S source tokens, C real channel dimensions a
token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from semcom.channel import coded_link
from semcom.channel.channels import Channel
from semcom.channel.coded_link import Arrived
from semcom.channel.draws import Draw, sample
from semcom.channel.ts38212 import Scheme, block_sizes
from semcom.data.batching import Encoded
from semcom.evaluation import measures
from semcom.evaluation.sums import PieceSum, TextSums
from semcom.evaluation.text_scoring import TextScoring

if TYPE_CHECKING:
    from semcom.data.source_codes import SourceCode

Bits = np.ndarray
"""[number] of uint8, 0 or 1."""
EMPTY, BEST_EFFORT = "empty", "best effort"
FAILURES = (EMPTY, BEST_EFFORT)
"""What is made of a block whose CRC fails: nothing, or what its bits decode to."""


USUAL_CRC = 16


@dataclass(frozen=True)
class Offered:
    """N sentences to be sent. encoded: as the transceiver takes them. channel_dim: its C."""

    encoded: Sequence[Encoded]
    channel_dim: int

    @cached_property
    def symbols(self) -> list[int]:
        """[N] complex symbols, S·C/2 each."""
        return [len(e.source) * self.channel_dim // 2 for e in self.encoded]

    @cached_property
    def texts(self) -> list[str]:
        return [e.sentence.text for e in self.encoded]


@dataclass(frozen=True)
class Framing:
    """How sentences become blocks. packed: several a block, as many as it holds. header_bits: paid a sentence
    for telling S and the number of its bits. resend: once more where the CRC fails. crc: its bits."""

    packed: bool = False
    header_bits: int = 0
    resend: bool = False
    crc: int = USUAL_CRC

    @property
    def label(self) -> str:
        """After the name of a scheme."""
        parts = {
            "packed": self.packed,
            "header paid": self.header_bits,
            "resent": self.resend,
            f"CRC {self.crc}": self.crc != USUAL_CRC,
        }
        return "".join(f", {part}" for part, is_so in parts.items() if is_so)

    def scheme(self, bits_per_symbol: int) -> Scheme:
        return Scheme(bits_per_symbol, self.crc, self.header_bits)

    def members(self, lengths: Sequence[int]) -> list[list[int]]:
        """Places of the sentences of each block, of source bits ``lengths``."""
        if not self.packed:
            return [[place] for place in range(len(lengths))]
        return coded_link.packed(lengths, self.scheme(2))


class Link(Protocol):
    """The source bits of N sentences through CRC, channel code, modulation and the draws of the sentences, at
    an SNR in dB."""

    def __call__(
        self, sources: Sequence[Bits], bits_per_symbol: int, framing: Framing, snr: float
    ) -> Sequence[Arrived]: ...


@dataclass(frozen=True)
class CodedLink:
    """The link of 5G's LDPC code, over the draws that ``scores.Meeting`` has: those of ``seed``, number 0; of
    what is sent once more number 1."""

    offered: Offered
    channel: Channel
    seed: int

    def __call__(
        self, sources: Sequence[Bits], bits_per_symbol: int, framing: Framing, snr: float
    ) -> Sequence[Arrived]:
        return coded_link.transmit_blocks(
            sources,
            self.offered.symbols,
            framing.scheme(bits_per_symbol),
            self.channel,
            self._first,
            snr,
            pack=framing.packed,
            again=self._second if framing.resend else None,
        )

    @cached_property
    def _first(self) -> Draw:
        return self._draw(0)

    @cached_property
    def _second(self) -> Draw:
        return self._draw(1)

    def _draw(self, number: int) -> Draw:
        ids = [e.sentence.id for e in self.offered.encoded]
        lengths = [len(e.source) for e in self.offered.encoded]
        width = self.offered.channel_dim
        return sample(ids, lengths, width, seed=self.seed, number=number, channel=self.channel)


@dataclass(frozen=True)
class Understood:
    """What arrived of N sentences at K SNRs by one scheme.

    fits: [N], whether the sentence's block can be carried. whole: [K, N], whether its CRC held. sent: [K, N],
    how often it was sent. by_failure: one of ``FAILURES`` -> [K, N, M] sums; texts: and -> [K, N] texts.
    """

    fits: np.ndarray
    whole: np.ndarray
    sent: np.ndarray
    by_failure: dict[str, np.ndarray]
    texts: dict[str, np.ndarray]


# Seven arguments: what is sent (sentences, code, modulation) and how (framing, link, SNRs), scored how.
def understand(
    offered: Offered,
    code: "SourceCode",
    bits_per_symbol: int,
    framing: Framing,
    link: Link,
    snrs: Sequence[float],
    scoring: TextScoring,
) -> Understood:
    """What a receiver makes of all sentences at each SNR.

    A sentence whose block cannot be carried is not sent: nothing of it arrives, and its symbols are lost.
    """
    sources = code.encode_all(offered.texts)
    arrived = [link(sources, bits_per_symbol, framing, snr) for snr in snrs]
    sent = np.array([[one.sent for one in at_snr] for at_snr in arrived])
    whole = np.array([[one.crc_ok for one in at_snr] for at_snr in arrived])
    read = _texts(code, [one.bits for at_snr in arrived for one in at_snr if one.sent])
    texts = np.full(sent.shape, "", object)
    texts[sent > 0] = read
    by_failure = {EMPTY: np.where(whole, texts, ""), BEST_EFFORT: texts}
    sums = {
        failure: np.stack([text_sums(at_snr, offered, scoring) for at_snr in by_failure[failure]])
        for failure in FAILURES
    }
    return Understood(sent[0] > 0, whole, sent, sums, by_failure)


def _texts(code: "SourceCode", arrived: Sequence[Bits]) -> list[str]:
    """Decoded; what is alike, once."""
    distinct = {bits.tobytes(): bits for bits in arrived}
    read = dict(zip(distinct, code.decode_all(list(distinct.values()))))
    return [read[bits.tobytes()] for bits in arrived]


def text_sums(texts: Sequence[str], offered: Offered, scoring: TextScoring) -> np.ndarray:
    """[N, M] of texts; not a number what is of pieces or of distributions, which a coded link has not."""
    found = np.full((len(texts), len(measures.columns())), np.nan)
    for needed in measures.all_sums():
        column = found[:, measures.slices()[needed.columns]]
        if isinstance(needed, TextSums) and not needed.compares:
            column[:] = needed.of(scoring, list(texts), offered.texts)
        elif isinstance(needed, PieceSum) and needed.of_sent:
            column[:, 0] = [needed.of((), e.source[1:-1]) for e in offered.encoded]
    return found


Share = dict[str, object]


def shares(
    offered: Offered, code: "SourceCode", modulations: dict[str, int], framing: Framing
) -> list[Share]:
    """What a source code comes to beside the symbols that there are, by modulation: how many sentences fit,
    in the mean how many bits and symbols, and bits of information a coded bit.

    A sentence a block, whatever ``framing`` packs.
    """
    lengths = [len(bits) for bits in code.encode_all(offered.texts)]
    rows: list[Share] = []
    for name, bits_per_symbol in modulations.items():
        scheme = framing.scheme(bits_per_symbol)
        sizes = [block_sizes(n + framing.header_bits, m, scheme) for n, m in zip(lengths, offered.symbols)]
        blocks = [n + framing.header_bits + framing.crc for n in lengths]
        rates = [k / (m * bits_per_symbol) for k, m in zip(blocks, offered.symbols)]
        rows.append(
            {
                "source_code": code.name,
                "modulation": name,
                "fits": float(np.mean([size is not None for size in sizes])),
                "source_bits": float(np.mean(lengths)),
                "symbols": float(np.mean(offered.symbols)),
                "rate": float(np.mean(rates)),
            }
        )
    return rows
