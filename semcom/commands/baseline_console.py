"""What a coded baseline shows on the console."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from semcom.base.errors import escape
from semcom.commands.baseline_inputs import Run
from semcom.commands.measuring import REFERENCE_PREFERRED, described, examples, heading, measures_of, nearest
from semcom.evaluation.baseline_curves import Curve
from semcom.report import tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

HARDLY = 0.5
"""Share of sentences below which a modulation is said not to carry a source code."""
KNOWS_NEITHER = (
    "the transceiver's transmitter knows neither the SNR nor the channel's gain; the coded link's receiver "
    "knows S and the number of bits at no cost, as the transceiver's knows S"
)

OF_BOUNDS = (
    "Shannon bound: a sentence arrives if its bits are at most the capacity of its symbols, a step\n"
    "normal approximation: how probably the best code of these symbols loses it; may lie above that step"
)
WORDS = (
    "one scheme: one modulation at all SNRs; SNR known, h known: the one chosen for the SNR, for the gain\n"
    "best effort: what the bits of a failing CRC decode to, else an empty text; packed: sentences share a "
    f"block\n{OF_BOUNDS}"
)


def show_shares(run: Run, shares: "pd.DataFrame") -> None:
    titles = {
        "source_code": "source code",
        "fits": "share that fits",
        "source_bits": "bits a sentence",
        "symbols": "symbols",
        "rate": "code rate",
    }
    log.info(
        f"\n{described(len(run.sentences.test.encoded), run.settings.evaluation)}, on the complex symbols of "
        f"{escape(run.compared.name)}; a rate above 948/1024 does not fit\n"
        f"{tables.text(shares.rename(columns=titles))}"
    )
    for code in run.codes:
        of_code = shares[shares["source_code"] == code.name]
        none = of_code[of_code["fits"] < HARDLY]["modulation"].tolist()
        if none:
            log.info(f"{' and '.join(none)} cannot carry the bits of {code.name} for most sentences")


def show(run: Run, rows: "pd.DataFrame") -> None:
    shown = rows[rows["shown"]]
    scoring = run.sentences.scoring
    log.info(
        f"\n{run.channel}, SNR in dB per complex symbol before equalisation, seed {run.settings.run.seed}; "
        f"schemes chosen on {len(run.sentences.validation.encoded)} validation sentences; {KNOWS_NEITHER}"
    )
    by_scheme = shown[shown["modulation"] != ""]
    if len(by_scheme):
        log.info(f"\nschemes by SNR\n{tables.pivot(by_scheme, 'model', 'snr', 'modulation')}")
    for measure in measures_of(scoring, run.sentences.test.texts)[:1]:
        log.info(f"\n{heading(measure, scoring)}\n{tables.pivot(shown, 'model', 'snr', measure.name)}")
    arrived = tables.pivot(shown, "model", "snr", "arrived", decimals=3)
    log.info(f"\nshare of sentences whose block arrives\n{arrived}")
    resent = shown[shown["resend"].astype(bool)]
    if len(resent):
        times = tables.pivot(resent, "model", "snr", "sent", decimals=3)
        log.info(f"\nhow often a sentence's symbols are sent, in the mean\n{times}")
    log.info(f"\n{WORDS if len(by_scheme) else OF_BOUNDS}")


def show_alike(alike: Sequence[tuple[Curve, Curve]]) -> None:
    """alike: each curve that is left out, and the one that it is."""
    for curve, same in alike:
        log.info(f"{curve.label} is {same.label}: the same modulations at these SNRs, drawn once")


def show_examples(run: Run, shown: Sequence[Curve]) -> None:
    evaluation, sentences = run.settings.evaluation, run.sentences
    reference = nearest(evaluation.snr, REFERENCE_PREFERRED)
    place = evaluation.snr.index(reference)
    understood = {curve.label: curve.texts[place].tolist() for curve in shown}
    told = examples(sentences.test.texts[: evaluation.examples], understood, sentences.scoring)
    log.info(f"\nwhat was understood at {reference:g} dB\n{told}")
