"""What ladders are called: their paths, and what a target is a value of."""

from collections.abc import Sequence

from semcom.base.messages import said
from semcom.evaluation import measures
from semcom.evaluation.dialled import Dial
from semcom.evaluation.ladders import TRAINING, Kind, Ladder
from semcom.evaluation.names import PATHS
from semcom.evaluation.targets import BLEU_DROP, PREFIXES, TARGETS
from semcom.models.architecture import ENDS
from semcom.report.names_in_words import PARTS, channel_told, setting_told, topic_told
from semcom.report.sections.study_report import StudyReport

Family = Sequence[Ladder]
"""Ladders that differ in the seed of their runs alone."""


def what(family: Family) -> tuple[object, ...]:
    """Equal where ladders differ in nothing but seed and place."""
    return family[0].kind, family[0].dial.scale


def family_told(report: StudyReport, family: Family, families: Sequence[Family]) -> str:
    """Path and part, with sizes and training only where they tell it from another; its folder where nothing
    else does."""
    kind = family[0].kind
    sizes = {other.architecture for other in _alike(report, kind)}
    told = _with_sizes(report, kind) if len(sizes) > 1 else _path_and_part(report, kind)
    told += _training_told(report, kind)
    twins = [other for other in families if what(other) == what(family)]
    return told + report.in_brackets(family[0].name) if len(twins) > 1 else told


def path_told(report: StudyReport, kind: Kind) -> str:
    """Kind of path, part, sizes, and what of the training tells it from others."""
    return _with_sizes(report, kind) + _training_told(report, kind)


def _with_sizes(report: StudyReport, kind: Kind) -> str:
    _ = report.gettext
    ends = {"encoder": ["transmitter"], "decoder": ["receiver"]}.get(kind.part, list(ENDS))
    sizes = [kind.architecture.size(end) for end in ends]
    told = []
    for size in sizes:
        layers = getattr(size, "layers", "–")
        template = _("1 layer of width {width}") if layers == 1 else _("{layers} layers of width {width}")
        told.append(template.format(layers=layers, width=size.d_model))
    sizes_told = " + ".join(dict.fromkeys(told))
    return _("{what}, {more}").format(what=_path_and_part(report, kind), more=sizes_told)


def _path_and_part(report: StudyReport, kind: Kind) -> str:
    path = _path(report, kind.path)
    part = report.gettext(PARTS[kind.part]) if kind.part in PARTS else kind.part
    return report.gettext("{what}, {more}").format(what=path, more=part)


def _path(report: StudyReport, path: str) -> str:
    return report.gettext(PATHS[path]) if path in PATHS else path


def axis_told(report: StudyReport, dial: Dial) -> str:
    """Kind of path, and where a study has targets of several scales, what they are values of."""
    path = _path(report, dial.path)
    scales = {ladder.dial.scale for ladder in report.study.dialled.ladders}
    if len(scales) < 2:
        return path
    return report.gettext("{what}, {more}").format(what=path, more=scale_told(report, dial))


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
        channel=said(channel_told(dial.channel), _),
    )
    if dial.topics is not None:
        topics = _(", ").join(topic_told(topic, _) for topic in dial.topics)
        told += _(", topics {topics}").format(topics=topics)
    if not dial.is_from(report.study.pairing.teacher):
        told += _(", from another teacher ({fingerprint})").format(fingerprint=dial.teacher)
    return told


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
    titles = {name: report.gettext(setting_told(name)) for name in differing}
    return "".join(more.format(setting=titles[name], value=value[name] or "–") for name in differing)


def axis_title(report: StudyReport, dial: Dial) -> str:
    """Of a figure over targets."""
    _ = report.gettext
    titles = {measure.name: report.figure_title(measure) for measure in measures.MEASURES}
    for measure in measures.with_gap():
        gap = _("{measure} gap").format(measure=_(measure.title))
        titles[measure.gap_name] = _("{measure}, {unit}").format(measure=gap, unit=_(measure.unit))
    titles[BLEU_DROP] = _(TARGETS[BLEU_DROP].title)
    title = titles.get(dial.measure, dial.measure)
    return _("{measure} at {snr}").format(measure=title, snr=f"{dial.snr:g} dB")
