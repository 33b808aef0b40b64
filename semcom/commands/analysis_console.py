"""What an analysis shows on the console: the answer, where the files are, what to type next; with
``--verbose`` the other tables too."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from semcom.base.errors import escape
from semcom.base.messages import N_, Message, said
from semcom.base.settings import OutputConfig
from semcom.commands.analyse_settings import ANALYSED, MORE_SNRS, AnalysisSettings
from semcom.commands.analysis_results import Analysis
from semcom.commands.measuring import RECEIVER_KNOWS, described
from semcom.evaluation import frames, measures
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.study import Row, Study
from semcom.report import formats, tables
from semcom.report.catalogue import translation
from semcom.report.document import Answer, Column, Document, Table

log = logging.getLogger(__name__)

Translate = Callable[[str], str]

OTHER_VOCABULARIES = {"bleu": N_("BLEU"), "chrf": N_("chrF"), "exact": N_("exact")}
"""Columns of checkpoints whose tokens do not compare with their teacher's."""
ALWAYS = ("bleu", "kl_divergence")
"""Measures that are shown however narrow the console is."""
OF_REPORT = ("effects", "price", "dial", "alignment", "trends")
"""Beginnings of the names of the report's tables that ``--verbose`` prints too."""


def show(analysis: Analysis, document: Document | None, made: Sequence[Path]) -> None:
    """document: the report, None without one. made: the results file and, of a report, its folder."""
    language = analysis.settings.report.lang
    _ = translation(language).gettext
    for answer in document.answers if document else ():
        _show_answer(answer, language)
    if document is None or analysis.settings.verbose:
        for study, teacher in zip(analysis.studies, analysis.teachers):
            _show_study(analysis, study, teacher.path, made[0])
    if document and analysis.settings.verbose:
        _show_tables(document)
    if analysis.other_vocabularies:
        _show_others(analysis, _)
    log.info(f"\n{_conditions(analysis, document)}\n{_where(made, _)}")
    if line := _next(analysis.settings, _):
        log.info(line)


def _conditions(analysis: Analysis, document: Document | None) -> str:
    """Under which all was measured, as tables of the report say it, a line each that differs; without a
    report, how texts are scored."""
    told = [answer.table.conditions for answer in document.answers if answer.table] if document else []
    different = [escape(conditions) for conditions in dict.fromkeys(told) if conditions]
    return "\n".join(different) or str(analysis.scoring)


# --- of the report


def _show_answer(answer: Answer, language: str) -> None:
    lines = [answer.of, *answer.before, answer.sentence]
    log.info("\n" + "\n".join(escape(line) for line in lines if line))
    if answer.table:
        _show_table(answer.table, language)
    for line in answer.beside:
        log.info(escape(line))


def _show_table(table: Table, language: str, file: str = "") -> None:
    """file: that has all of it, where that is not its CSV."""
    log.info(f"\n{escape(table.caption)}\n{formats.aligned(table, language, file)}")


def _show_tables(document: Document) -> None:
    for table in document.tables():
        if table.name.startswith(OF_REPORT):
            _show_table(table, document.language)


# --- of a study


def _show_study(analysis: Analysis, study: Study, teacher: str, results: Path) -> None:
    """teacher, results: their files."""
    settings = analysis.settings
    language = settings.report.lang
    _ = translation(language).gettext
    told = Message(
        N_("divergence from teacher {teacher}; {sentences}, {channel}, seed {seed}, {decoding}; {known}"),
        teacher=escape(teacher),
        sentences=described(analysis.sentences, settings.evaluation),
        channel=study.channel,
        seed=settings.run.seed,
        decoding=analysis.search.told,
        known=Message(RECEIVER_KNOWS),
    )
    log.info(f"\n{said(told, _)}")
    _show_table(_at_reference(study, _), language, escape(results))
    if settings.verbose:
        for measure in measures.followed():
            if not measure.gap:
                _show_by_snr(study, measure, _)


def _at_reference(study: Study, _: Translate) -> Table:
    """A row a group of runs, with intervals."""
    shown = [(_name_of(measure), measure) for measure in measures.on_console()]
    rows = []
    for group in study.groups:
        found = study.group_row(group)
        cells = {name: found.get(name) for name, _measure in shown}
        rows.append({"pair": said(group.name, _), **cells})
    columns = {"pair": Column(_("pair"))}
    for rank, (name, measure) in enumerate(shown):
        label = _(measure.label)
        title = _("{measure} gap").format(measure=label) if measure.gap else label
        columns[name] = Column(title, measure.decimals, rank=0 if name in ALWAYS else rank + 1)
    caption = _("At {snr:g} dB, with 95 % intervals; KL, JS and the cross-entropy gap in nats a token.")
    told = caption.format(snr=study.reference_snr)
    return Table("at_reference", told, columns, frames.frame_of(rows))


def _name_of(measure: Measure) -> str:
    """Of its column in a matrix."""
    return measure.gap_name if measure.gap else measure.name


def _show_by_snr(study: Study, measure: Measure, _: Translate) -> None:
    rows: list[Row] = []
    pair = _("pair")
    for group in study.groups:
        for snr in study.snrs:
            cell = study.group_row(group, snr).get(measure.name)
            row = {pair: said(group.name, _), "snr": snr, measure.name: cell.value if cell else None}
            rows.append(row)
    title = _(measure.title)
    if measure.unit:
        title = _("{measure}, {unit}").format(measure=title, unit=_(measure.unit))
    told = _("{measure}, by SNR in dB").format(measure=title)
    log.info(f"\n{told}\n{tables.pivot(rows, pair, 'snr', measure.name)}")


def _show_others(analysis: Analysis, _: Translate) -> None:
    rows = [
        [row["pair"], row["channel"], row["snr"], *(row[name].value for name in OTHER_VOCABULARIES)]
        for rows in analysis.other_vocabularies
        for row in rows
    ]
    titles = [_("model"), _("channel"), _("SNR, dB"), *map(_, OTHER_VOCABULARIES.values())]
    table = tables.text(frames.frame_of(rows, titles))
    told = _("of another vocabulary or signal width than the teacher's: text measures alone")
    log.info(f"\n{told}\n{table}")


# --- what was made, and what comes next


def _where(made: Sequence[Path], _: Translate) -> str:
    results, *folders = made
    if not folders:
        return _("made {results}").format(results=escape(results))
    told = _(
        "made {page} (open it in a browser), report.md, tables.tex, CSVs and figures beside it, and {results}"
    )
    return told.format(page=escape(folders[0] / "report.html"), results=escape(results))


def _next(settings: AnalysisSettings, _: Translate) -> str:
    """More of the same; empty where a verb asked that has lines of its own."""
    if settings.request.command is None:
        return ""
    named = settings.files.output is not None or settings.report.report_dir is not None
    again = replace(settings, outputs=OutputConfig(overwrite=named))
    if settings.evaluation.snr == ANALYSED.snr:
        more = replace(again, evaluation=replace(settings.evaluation, snr=MORE_SNRS))
        few = " ".join(f"{snr:g}" for snr in settings.snrs)
        told = _("measured at {few} dB; next, at more SNRs: {command}")
        return told.format(few=few, command=more.command())
    if not settings.verbose:
        return _("next, for more tables here: {command}").format(
            command=replace(again, verbose=True).command()
        )
    return ""
