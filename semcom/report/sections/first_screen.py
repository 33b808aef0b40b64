"""The first screen of a study: what was found in one sentence, one figure and one table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from semcom.base.messages import said
from semcom.evaluation import frames, measures, research_question
from semcom.evaluation.groups import YARDSTICKS, Group
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.pairs import Pair
from semcom.evaluation.research_question import Finding, Line
from semcom.evaluation.study import Row
from semcom.report.document import Answer, Cell, Column, Styled, Table
from semcom.report.rounding import places_of, plain
from semcom.report.sections import first_beside, first_figure, first_sentence
from semcom.report.sections.dial import scale_told
from semcom.report.sections.first_costs import KL, max_step, prices_of
from semcom.report.sections.first_sentence import setting_told
from semcom.report.sections.study_report import StudyReport

MARKS = ((0.01, "†"), (0.05, "*"))
"""Of p, the smallest first."""
ALIKE = 0.05


def answer(report: StudyReport) -> Answer:
    """What was found of the study."""
    quality = measures.named("chrf" if report.too_short else "bleu")
    found = research_question.finding_of(report.study, quality)
    before = [*first_beside.useless_teacher(report, quality), *filter(None, [report.too_short])]
    sentence = first_sentence.sentence(report, found)
    if found.question == "nothing":
        return Answer(sentence, before=before)
    figure, table = first_figure.figure(report, found), _table(report, found)
    return Answer(sentence, figure, table, before, first_beside.lines(report, found))


# --- the table


def _table(report: StudyReport, found: Finding) -> Table:
    """A row a pair or value of the setting, then the yardsticks of KL."""
    _ = report.gettext
    lines = [_row(report, found, line) for line in found.lines]
    yardsticks = _yardsticks(report)
    rows = [*lines, *yardsticks]
    columns = _columns(report, found, lines)
    for name in (KL, "over_noise"):
        # A yardstick may be far below all else.
        own = [_places([row], name, measures.named(KL)) for row in yardsticks]
        of_lines = [columns[name].places] * len(lines)
        columns[name] = replace(columns[name], by_row=(*of_lines, *own))
    for name, told in _notes(report, found).items():
        if name in columns:
            columns[name] = replace(columns[name], note=told)
    caption = _("What was found at {snr}, {channel}, with 95 % intervals.")
    table = report.table(
        "first",
        caption.format(snr=report.snr, channel=report.channel),
        columns,
        frames.frame_of([{name: row.get(name) for name in columns} for row in rows], list(columns)),
        _note(report, found, columns),
    )
    return replace(table, in_paper=True)


def _columns(report: StudyReport, found: Finding, lines: Sequence[Row]) -> dict[str, Column]:
    """At most seven; those of a single seed, or of nothing asked, left out."""
    _, kl, quality = report.gettext, measures.named(KL), found.quality
    columns = {
        "line": Column(_first_title(report, found)),
        "seeds": Column(_("seeds"), rank=4),
        "reached": Column(_("reached"), _places(lines, "reached", kl)),
        quality.name: Column(_title(report, found, quality), _places(lines, quality.name, quality)),
        KL: Column(_title(report, found, kl), _places(lines, KL, kl), rank=1),
        "over_noise": Column(_("KL / noise"), _places(lines, "over_noise", kl), rank=2),
        "gap": Column(_("dB"), 1, rank=3),
    }
    unused = [name for name in ("seeds", "reached") if all(row[name] is None for row in lines)]
    if all(row["reached"] == row[KL] for row in lines):
        unused.append("reached")  # what was asked for is KL itself
    return {name: column for name, column in columns.items() if name not in unused}


def _first_title(report: StudyReport, found: Finding) -> str:
    if found.sweep is not None:
        return setting_told(report.gettext, found.sweep.setting)
    return report.gettext("asked") if found.ladders else report.gettext("transmitter → receiver")


def _title(report: StudyReport, found: Finding, measure: Measure) -> str:
    """Of the measure that is tested, with what the tests are of."""
    label = report.gettext(measure.label)
    tested = any(line.p is not None for line in found.lines)
    if measure != found.headline or found.over_seeds or not tested:
        return label
    return report.gettext("{measure} (this model only)").format(measure=label)


def _places(rows: Sequence[Row], name: str, measure: Measure) -> int:
    """Decimals of a column: as many as the best known of its cells supports."""
    cells = [row[name] for row in rows if row[name] is not None]
    values = [cell.value if isinstance(cell, Styled) else cell for cell in cells]
    known = [value for value in values if isinstance(value, Interval) and value.high > value.low]
    return max((places_of(value, measure.decimals) for value in known), default=measure.decimals)


def _row(report: StudyReport, found: Finding, line: Line) -> Row:
    study, kl = report.study, measures.named(KL)
    is_teacher = study.pairing.reference in line.pairs
    cells: Row = {
        "line": said(line.name, report.gettext),
        "seeds": len(line.pairs) if len(line.pairs) > 1 else None,
        "reached": line.reached,
        found.quality.name: research_question.over_pairs(study, line.pairs, found.quality),
        KL: None if is_teacher else research_question.over_pairs(study, line.pairs, kl),
        "over_noise": None if is_teacher else research_question.beside_noise(study, line.pairs, kl),
        "gap": None if is_teacher else _gap(report, line.pairs),
    }
    tested = cells[found.headline.name]
    alike = line.best or (line.p is not None and line.p >= ALIKE)
    cells[found.headline.name] = Styled(tested, bold=alike, marks=_marks(line.p))
    return cells


def _marks(p: float | None) -> str:
    return next((mark for level, mark in MARKS if p is not None and p < level), "")


def _gap(report: StudyReport, pairs: Sequence[Pair]) -> Cell:
    """What pairs need more than the teacher's, in dB."""
    prices = prices_of(report, pairs)
    bound = research_question.least_gap(prices)
    return research_question.gap_of(prices) if bound is None else f"> {plain(bound, 1)}"


def _yardsticks(report: StudyReport) -> list[Row]:
    """What KL is where no student is: a row each."""
    study, kl = report.study, measures.named(KL)
    rows: list[Row] = []
    for group in study.groups if study.noisy else ():
        if group.role in YARDSTICKS:
            ratio = None if group.role == "noise" else research_question.beside_noise(study, group.pairs, kl)
            told = _yardstick_told(report, group)
            rows.append(
                {"line": told, KL: research_question.over_pairs(study, group.pairs, kl), "over_noise": ratio}
            )
    return rows


def _yardstick_told(report: StudyReport, group: Group) -> str:
    told = said(group.name, report.gettext)
    if group.role != "other teacher":
        return told
    return told + report.in_brackets(said(group.transmitter, report.gettext))


def _note(report: StudyReport, found: Finding, columns: Mapping[str, Column]) -> str:
    asked = [scale_told(report, ladder.dial) for ladder in found.ladders[:1]]
    told = [report.gettext("Asked: {scale}.").format(scale=scale) for scale in asked]
    return report.in_one([*told, *(column.note for column in columns.values() if column.note)])


def _notes(report: StudyReport, found: Finding) -> dict[str, str]:
    """Of each column, by its name."""
    _ = report.gettext
    told = {
        KL: _("KL: nats a token."),
        "over_noise": _("KL / noise: over the KL that another draw of the channel makes of the teacher."),
        "gap": _(
            "dB: SNR needed beyond the teacher's for 90 % of the teacher's BLEU at the highest SNR; linear "
            "between SNRs measured up to {step:g} dB apart."
        ).format(step=max_step(report)),
    }
    if any(line.p is not None for line in found.lines):
        name = found.headline.name
        told[name] = report.in_one([_tests_told(report, found), *filter(None, [told.get(name)])])
    return told


def _tests_told(report: StudyReport, found: Finding) -> str:
    _ = report.gettext
    test = _("a paired t-test over the seeds") if found.over_seeds else _("paired swaps of the sentences")
    tested = _(
        "Bold: not to be told from the best in {measure}. * p < 0.05, † p < 0.01, of no difference from the "
        "best: {test}, Holm-corrected over these rows, at {snr}."
    )
    return tested.format(measure=_(found.headline.label), test=test, snr=report.snr)
