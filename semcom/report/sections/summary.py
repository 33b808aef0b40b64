"""The answer in a few sentences: how far, from which end, beside the channel's noise."""

import math
from collections.abc import Sequence

import pandas as pd

from semcom.base.messages import N_
from semcom.evaluation import measures, setting_trends
from semcom.evaluation.pairs import CODE, INTEROPERABLE, KNOWLEDGE, OWN, UNKNOWN, Square
from semcom.report.sections.study_report import StudyReport

SHOWN_SQUARES = 4
LEAST_USEFUL, FAR_FROM_FLOOR = 5.0, 10.0
"""Of BLEU or chrF, 0 to 100."""
KINDS = {
    KNOWLEDGE: N_("Each student end was trained through the teacher's other end: this is knowledge."),
    INTEROPERABLE: N_("The student's ends were trained with crossed pairs, so they keep the teacher's code."),
    CODE: N_("The student's ends were trained with each other alone: this is code mismatch, not knowledge."),
    UNKNOWN: N_("How these ends were trained with this teacher is not recorded."),
}
TELLING = (KNOWLEDGE, INTEROPERABLE, OWN)
"""Kinds of pairs whose divergence is not first of all that of codes which never met."""


def of_all(reports: Sequence[StudyReport]) -> list[str]:
    """Of all studies: first which teachers understand nothing, since all else rests on them."""
    useless = [line for report in reports for line in _useless_teacher(report)]
    return useless + [paragraph for report in reports for paragraph in paragraphs(report)]


def _useless_teacher(report: StudyReport) -> list[str]:
    """A line of one whose own score is about that of any other sentence in the place of the one sent."""
    measure = measures.named("chrf" if report.too_short else "bleu")
    score, floor = report.study.teachers_score(measure.name)
    if score is None or score >= useful_from(floor or 0.0):
        return []
    told = report.gettext(
        "The teacher{where} understands next to nothing: at {snr:g} dB, the highest SNR here, its {measure} "
        "is {score:.2f}; another sentence in the place of the one sent has {floor}. Whatever follows "
        "compares guesses and says nothing of knowledge: train the teacher longer, or on this kind of text."
    )
    return [
        told.format(
            where=report.where,
            snr=max(report.study.snrs),
            measure=report.gettext(measure.label),
            score=score,
            floor="–" if floor is None else f"{floor:.2f}",
        )
    ]


def useful_from(floor: float) -> float:
    """The score from which a teacher understands something: twice the floor, where that is not far off, and
    at least ``LEAST_USEFUL``."""
    return max(LEAST_USEFUL, min(2 * floor, floor + FAR_FROM_FLOOR))


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
            settings=report.gettext(", ").join(square.differing)
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
    if len(rows) == 1:
        told = _("One pair is compared{where}, {pair} ({kind}): at {snr} KL {kl:.3f} nats a token{beside}.")
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
        "Of {all} pairs{where}, {ce} differ from the teacher in cross-entropy and {bleu} in BLEU at {snr} "
        "(p < 0.05, Holm-corrected over the table)."
    )
    return told.format(
        where=report.where,
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
