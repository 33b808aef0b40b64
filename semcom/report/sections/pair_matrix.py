"""Transmitter × receiver: the grids, every pair's measures with intervals and tests, curves over SNR."""

from semcom.base.messages import N_
from semcom.evaluation import measures
from semcom.evaluation.groups import Group
from semcom.evaluation.measures import Measure
from semcom.evaluation.pairs import (
    ANOTHER,
    CODE,
    INTEROPERABLE,
    KNOWLEDGE,
    NOISE,
    OWN,
    REFERENCE,
    UNKNOWN,
    UNRELATED,
)
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Folded, Table, Text
from semcom.report.sections import grids
from semcom.report.sections.study_report import StudyReport, curve_data

KINDS = {
    KNOWLEDGE: N_("knowledge"),
    INTEROPERABLE: N_("interoperable"),
    CODE: N_("code mismatch"),
    UNKNOWN: N_("unknown"),
    REFERENCE: N_("teacher"),
    ANOTHER: N_("other teacher"),
    NOISE: N_("noise"),
    OWN: N_("one student"),
    UNRELATED: N_("unrelated ends"),
}
LAST = 9
"""Rank of columns that are left out first."""


def blocks(report: StudyReport) -> list[Block]:
    _ = report.gettext
    return [
        *_left_out(report),
        *grids.at_reference(report),
        *grids.at_other_snrs(report),
        Folded(_("Every pair with intervals and tests"), [_matrix(report)]),
        Folded(_("What the divergence is made of"), [_makeup(report)]),
        *_at_all_snrs(report),
    ]


def _at_all_snrs(report: StudyReport) -> list[Block]:
    """Folded; none where all SNRs are alike."""
    if not report.study.noisy:
        return []
    by_snr = [_by_snr(report, measure) for measure in report.first_shown(measures.by_snr())]
    return [Folded(report.gettext("Every measure by SNR"), [_curves(report), *by_snr])]


def _left_out(report: StudyReport) -> list[Block]:
    if report.study.pairing.whole:
        return []
    text = report.gettext(
        "There are too many pairs to measure all: student ends meet the teacher's and those they belong to. "
        "--matrix all measures every pair."
    )
    return [Text(text)]


def _matrix(report: StudyReport) -> Table:
    _, study = report.gettext, report.study
    caption = _("Every pair at {snr}, with 95 % intervals.")
    several_seeds = any(len(group.pairs) > 1 for group in study.groups)
    columns = {
        "transmitter": Column(_("transmitter")),
        "receiver": Column(_("receiver")),
        "kind": Column(_("kind"), rank=LAST),
        **({"seeds": Column(_("seeds"), rank=LAST)} if several_seeds else {}),
        **_measured(report),
    }
    found = study.grouped_matrix[study.grouped_matrix["snr"] == study.reference_snr]
    ends = {
        "transmitter": [report.told(group.transmitter) for group in study.groups],
        "receiver": [_receiver(report, group) for group in study.groups],
        "kind": [_(KINDS[group.kind]) for group in study.groups],
    }
    return report.table(
        "matrix",
        caption.format(snr=report.snr),
        columns,
        # Where nothing is compared there is no p.
        found.assign(**ends).reindex(columns=list(columns)),
        _note(report),
    )


def _receiver(report: StudyReport, group: Group) -> str:
    """With what is other than in all other pairs."""
    aside = {"noise": report.gettext("other draw"), "decibel": report.gettext("1 dB less")}
    return report.told(group.receiver) + report.in_brackets(aside.get(group.role, ""))


def _note(report: StudyReport) -> str:
    _ = report.gettext
    beside_noise = [measure for measure in measures.in_matrix() if measure.beside_noise]
    note = _(
        "p: of no difference from the teacher's own pair, {test}. {ratios}: over the {measures} of the "
        "teacher from itself under another draw. matrix.csv has every measure, SNR and seed."
    )
    return note.format(
        test=report.test_told,
        ratios=report.listed([_over_noise(report, measure) for measure in beside_noise]),
        measures=report.listed([_(measure.label) for measure in beside_noise]),
    )


def _measured(report: StudyReport) -> dict[str, Column]:
    """By their names: the measures, each with its p and its ratio to the noise where it has them."""
    _ = report.gettext
    columns: dict[str, Column] = {}
    for measure in report.first_shown(measures.in_matrix()):
        label, rank = _(measure.label), _rank(report, measure)
        columns[measure.name] = Column(label, measure.decimals, rank=rank)
        if measure.tested:
            title = _("p ({measure})").format(measure=label)
            columns[measure.p_name] = Column(title, is_p=True, rank=rank + 1)
        if measure.beside_noise:
            columns[measure.over_noise_name] = Column(_over_noise(report, measure), 2, rank=rank + 2)
    return columns


def _rank(report: StudyReport, measure: Measure) -> int:
    """Those of the grids stay longest."""
    return 1 if measure in grids.shown(report) else 5


def _over_noise(report: StudyReport, measure: Measure) -> str:
    return report.gettext("{measure} / noise").format(measure=report.gettext(measure.label))


def _makeup(report: StudyReport) -> Table:
    """Of every pair beside the teacher's own."""
    _, study = report.gettext, report.study
    shown = [measures.named("kl_divergence"), *measures.of_makeup()]
    columns = {
        "pair": Column(_("pair")),
        "calibration_temperature": Column(_("fitted temperature"), 3),
        **{measure.name: Column(_(measure.label), measure.decimals) for measure in shown},
    }
    found = study.grouped_matrix[study.grouped_matrix["snr"] == study.reference_snr]
    named = found.assign(pair=[report.told(group.name) for group in study.groups])
    note = _(
        "Fitted temperature: by which a pair's logits are divided to come nearest to the teacher's "
        "distributions (above 1: too sure); what it takes off KL is confidence, what it leaves is "
        "content. The worst 5 % of sentences hold 0.05 of KL where all diverge alike, nearly all of it where "
        "few are catastrophes."
    )
    return report.table(
        "divergence_makeup",
        _("What the divergence of every pair is made of at {snr}, with 95 % intervals.").format(
            snr=report.snr
        ),
        columns,
        named[found["kind"] != REFERENCE],
        note,
    )


def _curves(report: StudyReport) -> Figure:
    _ = report.gettext
    noise = report.yardstick("noise")
    panels: dict[str, dict[str, figures.Curve]] = {}
    for measure in measures.with_curve():
        groups = report.compared if measure.to_teacher else report.apart_from_noise
        curves = {report.drawn(group.name): report.curve(group, measure.name) for group in groups}
        if measure.to_teacher and noise:
            curves[report.drawn(noise.name)] = report.curve(noise, measure.name)
        panels[report.figure_title(measure)] = curves
    in_nats = [
        report.figure_title(measure) for measure in measures.with_curve() if measure.unit == measures.NATS
    ]
    titles = [report.with_unit(measure.title, measure) for measure in measures.with_curve()]
    references = [report.drawn(group.name) for group in [report.study.groups[0], noise] if group]
    caption = _(
        "{measures} of every pair (transmitter → receiver) by SNR; bands are 95 % intervals. Dashed grey: "
        "the teacher against itself under another draw of the channel."
    )
    return Figure(
        report.name("matrix_by_snr"),
        caption.format(measures=report.listed(titles)) + figures.left_out(panels, _, references),
        _("Curves over SNR, a panel a measure and a curve a pair."),
        curve_data(panels),
        figures.curves(panels, references, report.in_figure(figures.SNR), in_nats),
    )


def _by_snr(report: StudyReport, measure: Measure) -> Table:
    groups = report.compared if measure.to_teacher else report.apart_from_noise
    if measure.to_teacher and (noise := report.yardstick("noise")):
        groups = [noise, *groups]
    caption = report.gettext("{measure}, by SNR in dB.")
    return report.table_by_snr(
        f"{measure.name}_by_snr",
        report.caption(caption, measure),
        measure.decimals,
        [(report.told(group.name), group, measure.name) for group in groups],
        # Of those that a paper prints there are five: where ends are told apart, their table is one.
        in_paper=measure.name == "bleu" and not report.study.pairing.squares,
    )
