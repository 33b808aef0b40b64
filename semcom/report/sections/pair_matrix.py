"""Sender × receiver: every pair's measures at one SNR, and over all."""

from semcom.base.messages import N_
from semcom.evaluation import measures
from semcom.evaluation.measures import Measure
from semcom.evaluation.pairs import (
    CODE,
    INTEROPERABLE,
    KNOWLEDGE,
    NOISE,
    OTHER_DRAW,
    OWN,
    REFERENCE,
    UNKNOWN,
    UNRELATED,
)
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table, Text
from semcom.report.sections.study_report import StudyReport, curve_data

KINDS = {
    KNOWLEDGE: N_("knowledge"),
    INTEROPERABLE: N_("interoperable"),
    CODE: N_("code mismatch"),
    UNKNOWN: N_("unknown"),
    REFERENCE: N_("teacher"),
    NOISE: N_("noise"),
    OWN: N_("one student"),
    UNRELATED: N_("unrelated ends"),
}
NOISE_CURVE = "the channel's noise"


def blocks(report: StudyReport) -> list[Block]:
    tables_by_snr = [_by_snr(report, measure) for measure in report.first_shown(measures.by_snr())]
    return [*_left_out(report), _matrix(report), _makeup(report), _curves(report), *tables_by_snr]


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
    caption = _("Every transmitter into every receiver at {snr}, {channel}, with 95 % bootstrap intervals.")
    columns = {
        "transmitter": Column(_("transmitter")),
        "receiver": Column(_("receiver")),
        "kind": Column(_("kind")),
        **_measured(report),
    }
    found = study.matrix[study.matrix["snr"] == study.reference_snr]
    other_draw = found["draw"].map(lambda draw: _(OTHER_DRAW) if draw else "")
    kinds = found["kind"].map(lambda kind: _(KINDS[kind]))
    named = found.assign(receiver=found["receiver"] + other_draw, kind=kinds)
    return report.table(
        "matrix",
        caption.format(snr=report.snr, channel=report.channel),
        columns,
        # Where nothing is compared there is no p.
        named.reindex(columns=list(columns)),
        _note(report),
    )


def _note(report: StudyReport) -> str:
    _ = report.gettext
    beside_noise = [measure for measure in measures.in_matrix() if measure.beside_noise]
    note = _(
        "p: of no difference from the teacher's own pair, by {trials:,} paired swaps of sentences, "
        "Holm-corrected for each measure over all pairs and SNRs of this channel. {ratios}: over the "
        "{measures} of the teacher from itself under another draw. matrix.csv has every measure and SNR."
    )
    return note.format(
        trials=report.study.trials,
        ratios=report.listed([_over_noise(report, measure) for measure in beside_noise]),
        measures=report.listed([_(measure.label) for measure in beside_noise]),
    )


def _measured(report: StudyReport) -> dict[str, Column]:
    """By their names: the measures, each with its p and its ratio to the noise where it has them."""
    _ = report.gettext
    columns: dict[str, Column] = {}
    for measure in report.first_shown(measures.in_matrix()):
        label = _(measure.label)
        columns[measure.name] = Column(label, measure.decimals)
        if measure.tested:
            columns[measure.p_name] = Column(_("p ({measure})").format(measure=label), is_p=True)
        if measure.beside_noise:
            columns[measure.over_noise_name] = Column(_over_noise(report, measure), 2)
    return columns


def _over_noise(report: StudyReport, measure: Measure) -> str:
    return report.gettext("{measure} / noise").format(measure=report.gettext(measure.label))


def _makeup(report: StudyReport) -> Table:
    """Of every pair beside the teacher's own."""
    _, study = report.gettext, report.study
    shown = [measures.named("kl_divergence"), *measures.of_makeup()]
    columns = {
        "pair": Column(_("pair")),
        "calibration_temperature": Column(_("temperature"), 3),
        **{measure.name: Column(_(measure.label), measure.decimals) for measure in shown},
    }
    found = study.matrix[study.matrix["snr"] == study.reference_snr]
    caption = _(
        "What the divergence of every pair is made of at {snr}, {channel}, with 95 % bootstrap intervals."
    )
    note = _(
        "Temperature: by which a pair's logits are divided to come nearest to the teacher's distributions, "
        "fitted on validation sentences at {snr}; above 1 the pair is too sure, below 1 not sure enough. "
        "What it takes off KL is confidence, what it leaves is content. The worst 5 % of sentences hold 0.05 "
        "of KL where all diverge alike, nearly all of it where the mean is a few catastrophes."
    )
    return report.table(
        "divergence_makeup",
        caption.format(snr=report.snr, channel=report.channel),
        columns,
        found[found["kind"] != REFERENCE].replace({"pair": report.pairs_told()}),
        note.format(snr=report.snr),
    )


def _curves(report: StudyReport) -> Figure:
    _, study = report.gettext, report.study
    panels: dict[str, dict[str, figures.Curve]] = {}
    for measure in measures.with_curve():
        pairs = study.compared if measure.to_teacher else report.first_draws
        curves = {report.pair(pair): report.curve(pair, measure.name) for pair in pairs}
        if measure.to_teacher:
            curves[NOISE_CURVE] = report.curve(study.pairing.noise, measure.name)
        panels[measure.title_with_unit] = curves
    in_nats = [measure.title_with_unit for measure in measures.with_curve() if measure.unit == measures.NATS]
    titles = [_(measure.title) for measure in measures.MEASURES if measure in measures.with_curve()]
    caption = _(
        "{measures} of every pair (transmitter → receiver) by SNR; bands, where there are few curves, are "
        "95 % intervals. Dashed grey: the teacher against itself under an independent draw of the channel."
    )
    return Figure(
        report.name("matrix_by_snr"),
        caption.format(measures=report.listed(titles)),
        _("Curves over SNR, a panel a measure and a curve a pair."),
        curve_data(panels),
        figures.curves(panels, dashed=NOISE_CURVE, logarithmic=in_nats),
    )


def _by_snr(report: StudyReport, measure: Measure) -> Table:
    pairing = report.study.pairing
    pairs = [pair for pair in pairing.pairs if not measure.to_teacher or pair.key != pairing.reference.key]
    title = report.with_unit(measure.title, measure)
    caption = report.gettext("{measure}, by SNR in dB ({channel}).")
    return report.table_by_snr(
        f"{measure.name}_by_snr",
        caption.format(measure=title, channel=report.channel),
        measure.decimals,
        {report.pair(pair): (pair, measure.name) for pair in pairs},
    )
