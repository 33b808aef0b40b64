"""Coded baselines without a code: what bounds and the normal approximation let any code of these source bits
hope for.

Letters: N sentences, K SNRs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from semcom.channel import bounds
from semcom.channel.channels import Channel, Rayleigh
from semcom.channel.draws import sample
from semcom.data.source_codes import SourceCode
from semcom.evaluation.baseline_curves import Curve, Row, rows_of
from semcom.evaluation.coded_baseline import Framing, Offered, text_sums
from semcom.evaluation.text_scoring import TextScoring

SHANNON, NORMAL, OUTAGE = "Shannon bound", "normal approximation", "Rayleigh outage"
Error = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Bits, complex symbols and SNR in dB of blocks -> the probability that a block is lost."""


@dataclass(frozen=True)
class Bounded:
    """Where N sentences meet their bounds. states: [K, N] in dB, what the gain of its block makes of a
    sentence's SNR. seed: of the draws."""

    offered: Offered
    channel: Channel
    snrs: Sequence[float]
    states: np.ndarray
    seed: int


def curves(of: Bounded, code: SourceCode, framing: Framing, scoring: TextScoring) -> list[Curve]:
    """Of one source code, its bits without a CRC.

    A sentence arrives with probability 1 - e: ``arrived`` is the mean of that; for the texts the place of a
    sentence in its draw, uniform in [0, 1), decides, which is one for all SNRs.
    """
    nominal = np.broadcast_to(np.asarray(of.snrs, float)[:, None], of.states.shape)
    wanted: list[tuple[str, Error, np.ndarray]] = [
        (SHANNON, bounds.shannon_error, of.states),
        (NORMAL, bounds.normal_error, of.states),
    ]
    # Its formula is of one gain a block, which the receiver knows.
    if isinstance(of.channel, Rayleigh) and of.channel.fading == "block" and not framing.packed:
        wanted.append((OUTAGE, bounds.rayleigh_outage, nominal))
    texts = np.array(code.restored(of.offered.texts), object)
    lengths = [len(bits) for bits in code.encode_all(of.offered.texts)]
    places = _places(of, framing, lengths)
    bits, symbols = of_blocks(lengths, framing), of_blocks(of.offered.symbols, framing, lengths)
    framed = {"packed": framing.packed, "header_bits": framing.header_bits, "resend": framing.resend}
    found = []
    for name, error_of, states in wanted:
        error = error_of(bits, symbols, states)
        arrives = places >= error
        understood = np.where(arrives, texts, "")
        sums = np.stack([text_sums(at_snr, of.offered, scoring) for at_snr in understood])
        label = f"{code.name} + {name}{framing.label}"
        about = {"channel": str(of.channel), "source_code": code.name, "adaptation": name}
        rows = [{"model": label, **row, **about, **framed} for row in rows_of(sums, of.snrs, _arrived(error))]
        found.append(Curve(label, rows, np.nan, understood))
    return found


def of_blocks(
    of_sentences: Sequence[int], framing: Framing, lengths: Sequence[int] | None = None
) -> np.ndarray:
    """[N], of each sentence the sum over its block. lengths: source bits, by which sentences are packed."""
    found = np.empty(len(of_sentences))
    for members in framing.members(of_sentences if lengths is None else lengths):
        found[members] = sum(of_sentences[place] for place in members)
    return found


def _places(of: Bounded, framing: Framing, lengths: Sequence[int]) -> np.ndarray:
    """[N], uniform in [0, 1), of the first sentence of each one's block."""
    ids = [e.sentence.id for e in of.offered.encoded]
    found = sample(ids, [1] * len(ids), 2, seed=of.seed, number=0).level.double().numpy()
    for members in framing.members(lengths):
        found[members] = found[members[0]]
    return found


def _arrived(error: np.ndarray) -> list[Row]:
    return [
        {"modulation": "", "fits": 1.0, "arrived": float(1 - at_snr.mean()), "sent": 1.0} for at_snr in error
    ]
