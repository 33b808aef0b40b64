"""``evaluate --resend``: sentences sent again where the receiver is unsure, in tables and a picture."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.errors import SemcomError
from semcom.commands.measuring import entrants, validation_split
from semcom.data import batching, corpus
from semcom.data.batching import Encoded
from semcom.data.vocabulary import Vocabulary
from semcom.evaluation import frames
from semcom.evaluation.intervals import Interval
from semcom.evaluation.resending import BELOW, POLICIES, Resending
from semcom.evaluation.scores import Decoded, Meeting
from semcom.evaluation.settings import EvaluationConfig
from semcom.models.checkpoint import Checkpoint
from semcom.report import plots, tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SUFFIX = "-resending.png"
INDEX = "share asked, sent again"
ACROSS = "channel uses (1: sent once)"
FEW = 10
"""Validation sentences below a threshold, under which it is a rough one."""
EXPLAINED = (
    "thresholds are set on {validation:,} validation sentences at each SNR; two receptions are combined by "
    "maximum ratio (awgn: 3.01 dB more) and the second decoding is kept; the receiver's bit back is free"
)


def picture_of(picture: Path) -> Path:
    """Beside the picture of all measures."""
    return picture.with_name(f"{picture.stem}{SUFFIX}")


def outputs(picture: Path) -> dict[str, str | Path]:
    """As ``plots.outputs`` has them."""
    of_resending = plots.outputs("", picture_of(picture))
    return {f"{name}, resending": path for name, path in of_resending.items() if path}


def validation_of(
    shares: Sequence[float],
    settings: EvaluationConfig,
    source: corpus.Corpus,
    measured: Sequence[corpus.Sentence],
    vocabulary: Vocabulary,
) -> list[Encoded]:
    """Sentences that thresholds are set on, as many as are measured at most; none where no share is resent.

    Raises SemcomError where there are none.
    """
    if not shares:
        return []
    held_out = validation_split(source, settings.sentences, measured)
    encoded = batching.encode(held_out, vocabulary, leave_out_long=True)
    if not encoded:
        raise SemcomError(
            f"--resend {shares[0]:g}: no validation sentence is left to set the threshold on; give a larger "
            "--corpus, or measure --split test"
        )
    if min(shares) * len(encoded) < FEW:
        log.warning(
            f"--resend {min(shares):g}: its threshold has {min(shares) * len(encoded):.1f} of "
            f"{len(encoded):,} validation sentences below it, so the share of test sentences will differ "
            "from it; more --sentences, where the corpus has them, make it a better one"
        )
    return encoded


def score(
    loaded: Sequence[tuple[str, Checkpoint]],
    validation: Sequence[Encoded],
    encoded: Sequence[Encoded],
    decodings: Mapping[str, Sequence[Decoded]],
    meeting: Meeting,
    shares: Sequence[float],
) -> "pd.DataFrame":
    """Rows of ``Resending`` of all models."""
    vocabulary = loaded[0][1].vocabulary
    rows = [
        row
        for entrant in entrants(loaded)
        for row in Resending(
            entrant, validation, encoded, decodings[entrant.label], vocabulary, meeting
        ).rows(shares)
    ]
    return frames.frame_of(rows)


def show(rows: "pd.DataFrame", once: "pd.DataFrame", validation: int, others: Sequence[str] = ()) -> None:
    """Tables of BLEU, gain and channel uses by SNR. once: rows of all sentences sent once. others: channels
    over which none is sent again."""
    log.info(f"\nsentences sent again: {EXPLAINED.format(validation=validation)}")
    if others:
        told = " ".join(dict.fromkeys(others))
        log.info(
            f"  over {rows['channel'].iloc[0]} alone: of --channels {told} sentences sent once are measured"
        )
    for name, told in POLICIES.items():
        log.info(f"  {name}: {told}")
    named = _named(rows)
    sent_once = once.assign(**{INDEX: [_line(model, "sent once", rows) for model in once["model"]]})
    both = frames.frame_of([*frames.records(sent_once), *frames.records(named)])
    log.info(f"\nBLEU\n{tables.pivot(both, INDEX, 'snr', 'bleu', decimals=2)}")
    asked = named[named["policy"] == BELOW]
    reached = asked.assign(percent=100 * asked["resent"])
    resent = tables.pivot(reached, INDEX, "snr", "percent", decimals=1)
    log.info(f"\n% of the sentences that are sent again\n{resent}")
    uses = tables.pivot(asked, INDEX, "snr", "channel_uses", decimals=3)
    log.info(f"\nchannel uses, of those of sending once\n{uses}")
    gains = asked.assign(bleu_over_random=[_told(gain) for gain in asked["bleu_over_random"]])
    log.info(
        f"\ngain in BLEU over random resending, 95 % over sentences\n"
        f"{tables.pivot(gains, INDEX, 'snr', 'bleu_over_random', decimals=2)}"
    )


def _named(rows: "pd.DataFrame") -> "pd.DataFrame":
    lines = [
        _line(model, f"{100 * share:g} % asked, {policy}", rows)
        for model, share, policy in zip(rows["model"], rows["share"], rows["policy"])
    ]
    return rows.assign(**{INDEX: lines})


def _line(model: str, told: str, rows: "pd.DataFrame") -> str:
    """The model is told where there are several."""
    return told if rows["model"].nunique() == 1 else f"{model}: {told}"


def _told(gain: object) -> str:
    return f"{gain:+.2f}" if isinstance(gain, Interval) else "-"


def plot(rows: "pd.DataFrame", once: "pd.DataFrame", picture: Path) -> None:
    """BLEU over channel uses, a panel for each model and SNR."""
    several = rows["model"].nunique() > 1
    panels = {}
    for (model, snr), of_panel in rows.groupby(["model", "snr"], sort=False):
        start = once[(once["model"] == model) & (once["snr"] == snr)]["bleu"].iloc[0]
        title = f"BLEU at {snr:g} dB" + (f", {model}" if several else "")
        panels[title] = {
            str(policy): _curve(of_policy.sort_values("channel_uses"), start)
            for policy, of_policy in of_panel.groupby("policy", sort=False)
        }
    plots.plot_over(panels, ACROSS, picture_of(picture))


def _curve(rows: "pd.DataFrame", start: float) -> list[tuple[float, Interval]]:
    """start: what is understood of sentences sent once."""
    uses, values = [1.0, *rows["channel_uses"].round(2)], [start, *rows["bleu"]]
    return [(at, Interval(value, value, value)) for at, value in zip(uses, values)]
