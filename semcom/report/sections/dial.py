"""The dial: the divergence asked for and the one reached, what it costs, and the same amount of other
kinds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from semcom.evaluation import frames, measures
from semcom.evaluation.ladders import CALIBRATED, WORDS_LOST, Comparison, Kind, Ladder, Rung
from semcom.evaluation.study import Row
from semcom.report.document import Block, Column, Folded, Table
from semcom.report.sections import dial_curves
from semcom.report.sections.dial_curves import over_seeds
from semcom.report.sections.dial_names import Family, family_told, path_told, scale_told, what
from semcom.report.sections.study_report import RUNGS_SHARE, StudyReport, value_of

SHOWN_COMPARISONS = 24


def blocks(report: StudyReport) -> list[Block]:
    ladders = report.study.dialled.ladders
    if not ladders:
        return []
    families = _families(ladders)
    same = _same_amount(report)
    folded = [Folded(report.gettext("The same amount, another kind"), same)] if same else []
    return [_asked_and_reached(report, families), *dial_curves.figures_of(report, families), *folded]


def _families(ladders: Sequence[Ladder]) -> list[list[Ladder]]:
    """In the order of their first ladders; another ladder of the same seed begins another."""
    families: list[list[Ladder]] = []
    for ladder in ladders:
        alike = [family for family in families if what(family) == what([ladder])]
        free = [family for family in alike if ladder.seed not in [other.seed for other in family]]
        if free:
            free[0].append(ladder)
        else:
            families.append([ladder])
    return families


def _asked_and_reached(report: StudyReport, families: Sequence[Family]) -> Table:
    _ = report.gettext
    rows = [row for family in families for row in _rows(report, family, families)]
    scales = list(dict.fromkeys(row["scale"] for row in rows))
    shown = ["bleu", *(name for name in ("agreement_rate", CALIBRATED) if name in rows[0]), WORDS_LOST]
    several_seeds = any(row["seeds"] > 1 for row in rows)
    columns = {
        "path": Column(_("path")),
        **({"scale": Column(_("of what"), rank=4)} if len(scales) > 1 else {}),
        "target": Column(_("asked")),
        **({"seeds": Column(_("seeds"), rank=6)} if several_seeds else {}),
        "reached": Column(_("reached here"), 4),
        "recorded": Column(_("reached on the dial's own test"), 4, rank=5),
        **{name: replace(_column(report, name), rank=number) for number, name in enumerate(shown, 1)},
    }
    caption = _(
        "Dialled to a divergence{scale}: what was asked, and what the hybrids have, here and, as recorded, "
        "on the sentences of their own test; what else they have here, at {snr}."
    )
    scale = "" if len(scales) > 1 else _(", {scale}").format(scale=scales[0])
    note = _(
        "A dash: its measure, SNR or channel was not measured here, it was dialled against another teacher, "
        "or nothing was recorded."
    )
    return report.table(
        "dial",
        caption.format(scale=scale, snr=report.snr),
        columns,
        frames.frame_of(rows),
        report.in_one([note, _(RUNGS_SHARE)]),
    )


def _rows(report: StudyReport, family: Family, families: Sequence[Family]) -> list[Row]:
    """One a target, of several seeds means."""
    known = report.study.dialled.rows.set_index("run")
    measured = [name for name in ("bleu", "agreement_rate", CALIBRATED, WORDS_LOST) if name in known]
    targets = sorted({rung.dial.target for ladder in family for rung in ladder.rungs})
    rows: list[Row] = []
    for target in targets:
        labels = [rung.run.label for ladder in family for rung in ladder.rungs if rung.dial.target == target]
        of_each = known.loc[labels]
        values = {name: over_seeds(of_each[name].tolist()) for name in ("reached", "recorded", *measured)}
        # Their intervals would make the page too wide.
        plain = {name: value_of(values[name]) for name in ("agreement_rate", CALIBRATED) if name in values}
        rows.append(
            {
                "path": family_told(report, family, families),
                "scale": scale_told(report, family[0].dial),
                "target": target,
                "seeds": len(labels),
                **values,
                **plain,
            }
        )
    return rows


def _column(report: StudyReport, name: str) -> Column:
    """Of a measure, or of the words lost."""
    known = {measure.name: measure for measure in measures.MEASURES}
    if name not in known:
        return Column(report.gettext("words lost"), 4)
    return Column(report.gettext(known[name].label), known[name].decimals)


def _same_amount(report: StudyReport) -> list[Table]:
    _, found = report.gettext, report.study.dialled.same_amount()
    if not found:
        return []
    repeated = Counter(_what_is_compared(comparison) for comparison in found)
    rows = [
        row
        for comparison in found[:SHOWN_COMPARISONS]
        for row in _side_by_side(report, comparison, repeated[_what_is_compared(comparison)] > 1)
    ]
    decimals = tuple(row["places"] for row in rows)
    columns = {
        "first": Column(_("first")),
        "second": Column(_("second")),
        "asked": Column(_("asked of both")),
        "seeds": Column(_("seeds")),
        "measure": Column(_("measure")),
        "ours": Column(_("of the first"), by_row=decimals),
        "theirs": Column(_("of the second"), by_row=decimals),
        "difference": Column(_("first less second"), by_row=decimals),
    }
    caption = _(
        "The same amount, another kind: hybrids of two paths of which the same divergence was asked, or "
        "whose KL here is the same within 5 %, at {snr}{first}."
    )
    note = _(
        "Differences are paired: of several seeds mean and 95 % interval over seeds (Student's t), of one "
        "seed a bootstrap over sentences, which says nothing about another seed."
    )
    told = caption.format(snr=report.snr, first=report.first(found, SHOWN_COMPARISONS))
    return [report.table("dial_same_amount", told, columns, frames.frame_of(rows), note)]


def _what_is_compared(comparison: Comparison) -> tuple[object, ...]:
    return comparison.kinds, comparison.asked


def _side_by_side(report: StudyReport, comparison: Comparison, named: bool) -> list[Row]:
    sides: Mapping[str, object] = {
        "first": _hybrids(report, comparison.first, comparison.kinds[0], named),
        "second": _hybrids(report, comparison.second, comparison.kinds[1], named),
        "asked": comparison.asked,
        "seeds": len(comparison.first),
    }
    return [
        {
            **sides,
            "measure": _column(report, name).title,
            "places": _column(report, name).places,
            "ours": value_of(ours),
            "theirs": value_of(theirs),
            "difference": apart,
        }
        for name, (ours, theirs, apart) in comparison.values.items()
    ]


def _hybrids(report: StudyReport, rungs: Sequence[Rung], kind: Kind, named: bool) -> str:
    """Of one seed the hybrid and its kind, of several the kind alone; these ``named`` where other hybrids of
    this kind stand in the table for the same."""
    told = path_told(report, kind)
    if len(rungs) > 1 and not named:
        return told
    hybrids = dict.fromkeys(report.told(report.study.name_of(rung.run)) for rung in rungs)
    return report.gettext("; ").join(hybrids) + report.in_brackets(told)
