"""The dial: the divergence asked for and the one reached, what it costs, and the same amount of other
kinds."""

from collections import Counter
from collections.abc import Mapping, Sequence

from semcom.base.messages import N_
from semcom.evaluation import frames, measures
from semcom.evaluation.dialled import BETWEEN, KNOWLEDGE_PATH, LEARNING, Dial
from semcom.evaluation.intervals import Interval
from semcom.evaluation.ladders import CALIBRATED, TRAINING, WORDS_LOST, Comparison, Kind, Ladder, Rung
from semcom.evaluation.study import Row
from semcom.evaluation.targets import BLEU_DROP, PREFIXES, TARGETS
from semcom.models.architecture import ENDS
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table
from semcom.report.figures import Curve
from semcom.report.sections.study_report import RUNGS_SHARE, StudyReport, curve_data, value_of

SHOWN_SCALES = 4
SHOWN_COMPARISONS = 24
PATHS = {
    LEARNING: N_("learning path"),
    KNOWLEDGE_PATH: N_("knowledge path"),
    BETWEEN: N_("path between two checkpoints"),
}
REFERENCE_CURVE = "teacher"


def blocks(report: StudyReport) -> list[Block]:
    ladders = report.study.dialled.ladders
    if not ladders:
        return []
    return [_asked_and_reached(report), *_curves(report, ladders), *_same_amount(report)]


def _asked_and_reached(report: StudyReport) -> Table:
    _, dialled = report.gettext, report.study.dialled
    rows = dialled.rows
    paths = [_short_path(report, ladder) for ladder in dialled.ladders for _rung in ladder.rungs]
    scales = [scale_told(report, rung.dial) for ladder in dialled.ladders for rung in ladder.rungs]
    shown = rows.assign(path=paths, scale=scales)
    # Their intervals would make the page too wide; matrix.csv has them.
    plain = [name for name in ("agreement_rate", CALIBRATED) if name in rows]
    shown[plain] = shown[plain].map(value_of, na_action="ignore")
    several = len(set(scales)) > 1
    columns = {
        "run": Column(_("hybrid")),
        "path": Column(_("path")),
        **({"scale": Column(_("of what"))} if several else {}),
        "target": Column(_("asked")),
        "reached": Column(_("reached here"), 4),
        "recorded": Column(_("reached on the ladder's own test"), 4),
        **{name: _column(report, name) for name in ("bleu", *plain)},
        WORDS_LOST: _column(report, WORDS_LOST),
    }
    caption = _(
        "Hybrids that were dialled to a divergence{scale}: what was asked, and what they have, on the "
        "sentences of this report and, as recorded, on those they were tested on when they were made; what "
        "else they have here, at {snr}."
    )
    scale = "" if several else _(", {scale}").format(scale=scales[0])
    note = _(
        "A dash: its measure, SNR or channel was not measured here, it was dialled against another teacher, "
        "or nothing was recorded."
    )
    return report.table(
        "dial",
        caption.format(scale=scale, snr=report.snr),
        columns,
        shown,
        report.in_one([note, _(RUNGS_SHARE)]),
    )


def _short_path(report: StudyReport, ladder: Ladder) -> str:
    """With sizes only where they tell it from another."""
    kind = ladder.kind
    sizes = {other.architecture for other in _alike(report, kind)}
    told = _with_sizes(report, kind) if len(sizes) > 1 else _path_and_part(report, kind)
    return told + _training_told(report, kind)


def _alike(report: StudyReport, kind: Kind) -> set[Kind]:
    """Kinds of one path and part."""
    kinds = {ladder.kind for ladder in report.study.dialled.ladders}
    return {other for other in kinds if (other.path, other.part) == (kind.path, kind.part)}


def _training_told(report: StudyReport, kind: Kind) -> str:
    """Settings of the training in which a kind differs from others of its path and part."""
    values = zip(*(other.training for other in _alike(report, kind)))
    differing = [setting for setting, of_all in zip(TRAINING, values) if len(set(of_all)) > 1]
    value = dict(zip(TRAINING, kind.training))
    more = report.gettext(", {setting} {value}")
    return "".join(more.format(setting=name, value=value[name] or "–") for name in differing)


def _column(report: StudyReport, name: str) -> Column:
    """Of a measure, or of the words lost."""
    known = {measure.name: measure for measure in measures.MEASURES}
    if name not in known:
        return Column(report.gettext("words lost"), 4)
    return Column(report.gettext(known[name].label), known[name].decimals)


def path_told(report: StudyReport, kind: Kind) -> str:
    """Kind of path, part, sizes, and what of the training tells it from others."""
    return _with_sizes(report, kind) + _training_told(report, kind)


def _with_sizes(report: StudyReport, kind: Kind) -> str:
    _ = report.gettext
    ends = {"encoder": ["transmitter"], "decoder": ["receiver"]}.get(kind.part, list(ENDS))
    sizes = [kind.architecture.size(end) for end in ends]
    told = [
        _("{layers} layers of width {width}").format(layers=getattr(size, "layers", "–"), width=size.d_model)
        for size in sizes
    ]
    sizes_told = " + ".join(dict.fromkeys(told))
    return _("{what}, {more}").format(what=_path_and_part(report, kind), more=sizes_told)


def _path_and_part(report: StudyReport, kind: Kind) -> str:
    path = report.gettext(PATHS[kind.path]) if kind.path in PATHS else kind.path
    return report.gettext("{what}, {more}").format(what=path, more=kind.part)


def scale_told(report: StudyReport, dial: Dial) -> str:
    """What a target is a value of: measure, prefixes, SNR, channel, topics, and a reference that is not this
    study's."""
    _ = report.gettext
    named = {measure.name: _(measure.label) for measure in measures.MEASURES}
    named |= {measure.gap_name: report.followed_label(measure) for measure in measures.with_gap()}
    named[BLEU_DROP] = _(TARGETS[BLEU_DROP].title)
    told = _("{measure} ({prefix}) at {snr:g} dB, {channel}").format(
        measure=named.get(dial.measure, dial.measure),
        prefix=_(PREFIXES[dial.prefix]) if dial.prefix in PREFIXES else dial.prefix,
        snr=dial.snr,
        channel=dial.channel,
    )
    if dial.topics is not None:
        told += _(", topics {topics}").format(topics=_(", ").join(dial.topics))
    if not dial.is_from(report.study.pairing.teacher):
        told += _(", from another teacher ({fingerprint})").format(fingerprint=dial.teacher)
    return told


# --- what a divergence costs


def _curves(report: StudyReport, ladders: Sequence[Ladder]) -> list[Figure]:
    """A figure a scale, since targets of two do not stand on one axis."""
    by_scale: dict[tuple[object, ...], list[Ladder]] = {}
    for ladder in ladders:
        by_scale.setdefault(ladder.dial.scale, []).append(ladder)
    shown = list(by_scale.values())[:SHOWN_SCALES]
    return [_curves_of_scale(report, of_scale, number) for number, of_scale in enumerate(shown, 1)]


def _curves_of_scale(report: StudyReport, ladders: Sequence[Ladder], number: int) -> Figure:
    _, dial = report.gettext, ladders[0].dial
    named = {_curve_name(ladder): ladder for ladder in ladders}
    furthest = max(rung.dial.target for ladder in ladders for rung in ladder.rungs)
    reference = report.study.row(report.study.pairing.reference)["bleu"]
    panels: dict[str, dict[str, Curve]] = {}
    for name, title in (("bleu", "BLEU"), (WORDS_LOST, "share of words lost")):
        curves = {label: _curve(report, ladder, name) for label, ladder in named.items()}
        teachers = reference if name == "bleu" else _teachers_words_lost(report)
        curves[REFERENCE_CURVE] = [] if teachers is None else [(0.0, teachers), (furthest, teachers)]
        panels[f"{title} at {report.snr}"] = curves
    caption = _(
        "BLEU and words lost at {snr} by the divergence asked for, {scale}: a line a path, in one colour "
        "those that differ in their seed alone. Dashed grey: the teacher's own pair."
    )
    return Figure(
        report.name(f"dial_curve_{number}"),
        caption.format(snr=report.snr, scale=scale_told(report, dial)),
        _("Curves over the divergence asked for, a panel a measure and a line a path."),
        frames.none_where_missing(curve_data(panels)),
        figures.curves(
            panels,
            references=[REFERENCE_CURVE],
            across=f"asked: {_axis_title(dial)}",
            kinds={label: ladder.kind for label, ladder in named.items()},
        ),
    )


def _axis_title(dial: Dial) -> str:
    """In English, as all labels in figures."""
    titles = {measure.name: measure.title_with_unit for measure in measures.MEASURES}
    titles |= {measure.gap_name: f"{measure.title} gap, {measure.unit}" for measure in measures.with_gap()}
    titles[BLEU_DROP] = TARGETS[BLEU_DROP].title
    return f"{titles.get(dial.measure, dial.measure)}, at {dial.snr:g} dB"


def _curve_name(ladder: Ladder) -> str:
    return f"{ladder.kind.path}, {ladder.kind.part}: {ladder.name}"


def _curve(report: StudyReport, ladder: Ladder, name: str) -> Curve:
    values = report.study.dialled.rows.set_index("run")[name]
    points = [(rung.dial.target, values[rung.run.label]) for rung in ladder.rungs]
    return [(target, value) for target, value in points if isinstance(value, Interval)]


def _teachers_words_lost(report: StudyReport) -> Interval | None:
    lost = report.lost
    reference = report.pair(report.study.pairing.reference)
    found = lost[(lost["pair"] == reference) & (lost["by"] == "all") & (lost["class"] == "words")]
    return None if found.empty else found["lost"].iloc[0]


# --- the same amount, another kind


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
    return report.gettext(", ").join(rung.run.label for rung in rungs) + report.in_brackets(told)
