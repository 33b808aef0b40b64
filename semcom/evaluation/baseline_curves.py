"""Curves of a coded baseline over SNR: each scheme by itself, and the schemes chosen for what a transmitter
knows.

Letters: J schemes of one source code, K SNRs, N sentences, M sums of ``measures.columns``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from semcom.evaluation import measures
from semcom.evaluation.coded_baseline import EMPTY, FAILURES, Framing, Understood
from semcom.evaluation.scheme_choice import ADAPTATIONS, H_KNOWN, ONE, SNR_KNOWN, Choice, carried, choose

Row = dict[str, object]
FIXED = "fixed"
LEAST_SHARE = 0.005
FRAMED = ("packed", "header_bits", "resend")
"""Columns that say how sentences became blocks; the plainest has none of them."""


@dataclass(frozen=True)
class Schemes:
    """What one source code made of one set of sentences, framed in one way, by J modulations.

    understood: of each modulation. states: [K, N] in dB of the blocks. snrs: [K]. goes_by: [J, N], the
    modulation that a sentence goes by; None: each by that itself.
    """

    code: str
    modulations: Sequence[str]
    framing: Framing
    snrs: Sequence[float]
    understood: Sequence[Understood]
    states: np.ndarray
    goes_by: np.ndarray | None = None

    def with_denser(self) -> "Schemes":
        """Each sentence that a modulation cannot carry goes by the next denser one that can."""
        places = carried(np.stack([each.fits for each in self.understood]))
        return replace(self, understood=[self._by(of_each) for of_each in places], goes_by=places)

    def _by(self, places: np.ndarray) -> Understood:
        """places: [N] of modulations."""
        sentences = np.arange(len(places))

        def taken(arrays: Sequence[np.ndarray]) -> np.ndarray:
            """J arrays [K, N, ...] -> [K, N, ...]."""
            return np.stack(arrays)[places, :, sentences].swapaxes(0, 1)

        all_of = self.understood
        return Understood(
            fits=np.stack([each.fits for each in all_of])[places, sentences],
            whole=taken([each.whole for each in all_of]),
            sent=taken([each.sent for each in all_of]),
            by_failure={name: taken([each.by_failure[name] for each in all_of]) for name in FAILURES},
            texts={name: taken([each.texts[name] for each in all_of]) for name in FAILURES},
        )

    def gone_by(self, chosen: np.ndarray) -> np.ndarray:
        """[K, N] places of modulations that were chosen -> of those that sentences go by."""
        return chosen if self.goes_by is None else self.goes_by[chosen, np.arange(chosen.shape[1])]

    def sums(self, failure: str) -> np.ndarray:
        """[J, K, N, M]."""
        return np.stack([of_one.by_failure[failure] for of_one in self.understood])

    def known(self, adaptation: str) -> np.ndarray:
        """[K, N] in dB, what a transmitter of this adaptation knows of the channel."""
        nominal = np.broadcast_to(np.asarray(self.snrs, float)[:, None], self.states.shape)
        return self.states if adaptation == H_KNOWN else nominal

    @property
    def fades(self) -> bool:
        """Whether a sentence's state is another than the mean SNR."""
        return not np.allclose(self.states, self.known(ONE), atol=1e-6)


@dataclass(frozen=True)
class Curve:
    """label: of its rows. rows: one an SNR. validation_bleu: its mean over the SNRs. texts: [K, N], what was
    understood."""

    label: str
    rows: Sequence[Row]
    validation_bleu: float
    texts: np.ndarray


def curves(validation: Schemes, test: Schemes, adaptations: Sequence[str], channel: str) -> list[Curve]:
    """All curves of one source code and framing. The choice of schemes is made on ``validation`` alone; a
    sentence that the chosen one cannot carry goes by the next denser one."""
    found = []
    carrying = validation.with_denser(), test.with_denser()
    # Without fading a transmitter that knows h knows the mean SNR.
    wanted = [name for name in adaptations if name != H_KNOWN or test.fades]
    for failure in FAILURES:
        for place, modulation in enumerate(test.modulations):
            fixed = Choice(np.empty(0), np.array([place]))
            found.append(_curve(FIXED, modulation, fixed, (validation, test, failure, channel)))
        for adaptation in wanted:
            choice = choose(adaptation, carrying[0].sums(failure), validation.known(adaptation))
            of_one = f"{test.modulations[choice.schemes[0]]}" if adaptation == ONE else ""
            found.append(_curve(adaptation, of_one, choice, (*carrying, failure, channel)))
    return found


def _curve(adaptation: str, modulation: str, choice: Choice, of: tuple[Schemes, Schemes, str, str]) -> Curve:
    validation, test, failure, channel = of
    known = test.known(adaptation)
    fits, whole, times = (
        choice.taken(np.stack(of_schemes), known).mean(1)
        for of_schemes in (
            [np.broadcast_to(each.fits, known.shape) for each in test.understood],
            [each.whole for each in test.understood],
            [each.sent for each in test.understood],
        )
    )
    about = {
        "source_code": test.code,
        "adaptation": adaptation,
        "packed": test.framing.packed,
        "header_bits": test.framing.header_bits,
        "resend": test.framing.resend,
        "on_failure": failure,
    }
    gone_by = test.gone_by(choice.of(known))
    by_snr = [
        {
            "modulation": _shares(gone_by[k], test.modulations),
            "fits": float(fits[k]),
            "arrived": float(whole[k]),
            "sent": float(times[k]),
        }
        for k in range(len(test.snrs))
    ]
    rows = rows_of(choice.taken(test.sums(failure), known), test.snrs, by_snr)
    label = label_of(test, adaptation, modulation, failure)
    rows = [{"model": label, "channel": channel, **row, **about} for row in rows]
    at_validation = choice.taken(validation.sums(failure), validation.known(adaptation)).sum(1)
    bleu = measures.of_sums(at_validation, [measures.named("bleu")])["bleu"]
    texts = choice.taken(np.stack([each.texts[failure] for each in test.understood]), known)
    return Curve(label, rows, float(np.nan_to_num(bleu).mean()), texts)


def rows_of(sums: np.ndarray, snrs: Sequence[float], by_snr: Sequence[Row]) -> list[Row]:
    """Scores at each SNR, None where there is none, and beside them ``by_snr``. sums: [K, N, M]."""
    rows: list[Row] = []
    for at_snr, snr, beside in zip(sums, snrs, by_snr):
        values = measures.of_sentences(at_snr, measures.alone())
        scores = {name: None if np.isnan(value) else float(value) for name, value in values.items()}
        rows.append({"snr": float(snr), "topic": "", **scores, "sentences": len(at_snr), **beside})
    return rows


def label_of(schemes: Schemes, adaptation: str, modulation: str, failure: str) -> str:
    """For example "lm + LDPC, SNR known, packed"; a scheme that is the same at all SNRs is named."""
    by = f" {modulation}" if modulation else ""
    known = f", {ADAPTATIONS[adaptation]}" if adaptation in ADAPTATIONS else ""
    kept = "" if failure == EMPTY else f", {failure}"
    return f"{schemes.code} + LDPC{by}{known}{schemes.framing.label}{kept}"


def _shares(places: np.ndarray, modulations: Sequence[str]) -> str:
    """The modulation of all, or how many per cent go by each; none that rounds to none."""
    shares = [(name, float((places == place).mean())) for place, name in enumerate(modulations)]
    used = [(name, share) for name, share in shares if share >= LEAST_SHARE]
    return used[0][0] if len(used) == 1 else ", ".join(f"{name} {share:.0%}" for name, share in used)


def shown_of(found: Sequence[Curve]) -> list[Curve]:
    """The few curves that stand in tables and pictures: of the source code that does best on validation
    sentences, which comes first, a block a sentence by each adaptation, and packed, with a header paid and
    resent where the mean SNR is known; of other source codes the one of known SNR.

    Of what is made of a failing block, what does better on validation sentences.
    """
    best: dict[tuple[object, ...], Curve] = {}
    for curve in (each for each in found if each.rows[0]["adaptation"] != FIXED):
        key = tuple(curve.rows[0][name] for name in (*FRAMED, "source_code", "adaptation"))
        if key not in best or curve.validation_bleu > best[key].validation_bleu:
            best[key] = curve
    if not best:
        return []
    code = max(best.values(), key=lambda curve: curve.validation_bleu).rows[0]["source_code"]
    adaptations = [curve.rows[0]["adaptation"] for curve in best.values()]
    usual = SNR_KNOWN if SNR_KNOWN in adaptations else adaptations[0]
    plainest = min(_framing(curve) for curve in best.values())

    def is_shown(curve: Curve) -> bool:
        of_usual = curve.rows[0]["adaptation"] == usual
        of_code = curve.rows[0]["source_code"] == code
        plain = _framing(curve) == plainest
        return (of_code and (plain or of_usual)) or (plain and of_usual)

    shown = [curve for curve in best.values() if is_shown(curve)]
    return sorted(shown, key=lambda curve: curve.rows[0]["source_code"] != code)


def told_once(shown: Sequence[Curve]) -> tuple[list[Curve], list[tuple[Curve, Curve]]]:
    """Those that send otherwise than each before them, and the others, each with the one that it is."""
    kept: list[Curve] = []
    alike: list[tuple[Curve, Curve]] = []
    for curve in shown:
        same = next((each for each in kept if _what_is_sent(each) == _what_is_sent(curve)), None)
        if same is None:
            kept.append(curve)
        else:
            alike.append((curve, same))
    return kept, alike


def _what_is_sent(curve: Curve) -> list[Row]:
    return [{name: row[name] for name in row if name not in ("model", "adaptation")} for row in curve.rows]


def _framing(curve: Curve) -> tuple[bool, ...]:
    return tuple(bool(curve.rows[0][name]) for name in FRAMED)
