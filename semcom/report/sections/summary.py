"""The answer in a few sentences: how far, from which end, beside the channel's noise."""

import math

import pandas as pd

from semcom.base.messages import N_
from semcom.evaluation import setting_trends
from semcom.evaluation.pairs import CODE, INTEROPERABLE, KNOWLEDGE, OWN, UNKNOWN, Square
from semcom.report.sections.study_report import StudyReport

SHOWN_SQUARES = 4
KINDS = {
    KNOWLEDGE: N_("Each student end was trained through the teacher's other end: this is knowledge."),
    INTEROPERABLE: N_("The student's ends were trained with crossed pairs, so they keep the teacher's code."),
    CODE: N_("The student's ends were trained with each other alone: this is code mismatch, not knowledge."),
    UNKNOWN: N_("How these ends were trained with this teacher is not recorded."),
}
TELLING = (KNOWLEDGE, INTEROPERABLE, OWN)
"""Kinds of pairs whose divergence is not first of all that of codes which never met."""


def paragraphs(report: StudyReport) -> list[str]:
    return [*_too_short(report), *_found(report)]


def _too_short(report: StudyReport) -> list[str]:
    return [report.too_short] if report.too_short else []


def _found(report: StudyReport) -> list[str]:
    _ = report.gettext
    if not report.study.compared:
        nothing = _(
            "Only the teacher's own pair was measured{where}: there is nothing that could diverge from it."
        )
        return [nothing.format(where=report.where)]
    squares = report.study.pairing.squares[:SHOWN_SQUARES]
    rows = [report.study.row(pair) for pair in report.study.compared]
    return [
        *(_cost_of_a_student(report, square) for square in squares),
        _largest_divergence(report, rows),
        _significant(report, rows),
        *_dialled(report),
    ]


def kind_of(report: StudyReport, square: Square) -> str:
    """What the square's differences are, and what its runs differ in beside."""
    kind = report.gettext(KINDS[square.kind])
    if square.differing:
        kind += report.gettext(" The two runs differ in {settings}.").format(
            settings=", ".join(square.differing)
        )
    return kind


def _cost_of_a_student(report: StudyReport, square: Square) -> str:
    effects = report.study.effects(square)
    at_reference = effects["snr"] == report.study.reference_snr
    effect = effects[at_reference & (effects["measure"] == "cross_entropy")].iloc[0]
    told = report.gettext(
        "{label}{where}: at {snr} a student at both ends costs {total:.3f} nats a token of cross-entropy: "
        "{transmitter:.3f} from the transmitter, {receiver:.3f} from the receiver, {interaction:.3f} from "
        "their meeting. {kind}"
    )
    return told.format(
        label=square.label,
        where=report.where,
        snr=report.snr,
        kind=kind_of(report, square),
        total=effect["total"],
        transmitter=effect["transmitter"],
        receiver=effect["receiver"],
        interaction=effect["interaction"],
    )


def _largest_divergence(report: StudyReport, rows: list[pd.Series]) -> str:
    _ = report.gettext
    worst = max(rows, key=lambda row: (row["kind"] in TELLING, row["kl_divergence"].value))
    ratio, beside = worst["kl_divergence_over_noise"], ""
    if ratio and ratio.high < math.inf:
        beside = _(", {ratio:.2f} times what the channel's own noise makes of the teacher").format(
            ratio=ratio
        )
    told = _(
        "The largest divergence{where} at {snr} is that of {pair} ({kind}): KL {kl:.3f} nats a token{beside}."
    )
    return told.format(
        where=report.where,
        snr=report.snr,
        pair=worst["pair"],
        kind=_(worst["kind"]),
        kl=worst["kl_divergence"],
        beside=beside,
    )


def _significant(report: StudyReport, rows: list[pd.Series]) -> str:
    told = report.gettext(
        "Of {all} pairs, {ce} differ from the teacher in cross-entropy and {bleu} in BLEU at {snr} (p < "
        "0.05, Holm-corrected over the table)."
    )
    return told.format(
        all=len(rows),
        ce=sum(row["cross_entropy_p"] < setting_trends.ALPHA for row in rows),
        bleu=sum(row["bleu_p"] < setting_trends.ALPHA for row in rows),
        snr=report.snr,
    )


def _dialled(report: StudyReport) -> list[str]:
    ladders = report.study.dialled.ladders
    if not ladders:
        return []
    within = report.study.dialled.within()
    told = report.gettext(
        "Dialled to a divergence{where}: {all} hybrids, ladders: {ladders}. Of {measured} hybrids whose "
        "measure, SNR and channel are measured here, {within} have what was asked of them, within 5 % or "
        "their 95 % interval."
    )
    return [
        told.format(
            all=sum(len(ladder.rungs) for ladder in ladders),
            ladders=len(ladders),
            where=report.where,
            measured=len(within),
            within=sum(within),
        )
    ]
