"""Sender × receiver: every pair's measures at one SNR, and over all."""

from semcom.base.messages import N_
from semcom.evaluation.pairs import CODE, INTEROPERABLE, KNOWLEDGE, NOISE, OWN, REFERENCE, UNKNOWN, UNRELATED
from semcom.report import figures
from semcom.report.document import Block, Cell, Column, Figure, Table, Text
from semcom.report.sections.study_report import BLEU, CROSS_ENTROPY, KL, StudyReport, curve_data

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
COLUMNS = {
    "bleu": Column(N_("BLEU"), 2),
    "bleu_p": Column(N_("p (BLEU)"), 3),
    "cross_entropy": Column(N_("cross-entropy"), 4),
    "cross_entropy_p": Column(N_("p (cross-entropy)"), 3),
    "kl_divergence": Column(N_("KL"), 4),
    "kl_divergence_over_noise": Column(N_("KL / noise"), 2),
    "agreement_rate": Column(N_("agreement"), 4),
}
CURVES = {"bleu": BLEU, "kl_divergence": KL, "cross_entropy": CROSS_ENTROPY}
BY_SNR = {
    "bleu": Column(BLEU, 2),
    "kl_divergence": Column(KL, 4),
    "cross_entropy": Column(CROSS_ENTROPY, 4),
    "js_divergence": Column(N_("JS to the teacher, nats a token"), 4),
    "token_accuracy": Column(N_("token accuracy"), 4),
}
TO_THE_TEACHER = ("kl_divergence", "js_divergence")
NOISE_CURVE = "the channel's noise"


def blocks(report: StudyReport) -> list[Block]:
    tables_by_snr = [_by_snr(report, measure) for measure in BY_SNR]
    return [*_left_out(report), _matrix(report), _curves(report), *tables_by_snr]


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
    note = _(
        "p: of no difference from the teacher's own pair, by {trials:,} paired swaps of sentences, "
        "Holm-corrected for each measure over all pairs and SNRs of this channel. KL / noise: over the KL of "
        "the teacher from itself under another draw. matrix.csv has every measure and SNR."
    )
    rows: list[list[Cell]] = []
    for pair in study.pairing.pairs:
        row = study.row(pair)
        other_draw = _(" (other draw)") if pair.draw else ""
        measured = [row.get(measure) for measure in COLUMNS]
        rows.append([row["transmitter"], row["receiver"] + other_draw, _(KINDS[row["kind"]]), *measured])
    columns = [Column(_("transmitter")), Column(_("receiver")), Column(_("kind"))]
    columns += [Column(_(column.title), column.places) for column in COLUMNS.values()]
    return report.table(
        "matrix",
        caption.format(snr=report.snr, channel=study.channel),
        columns,
        rows,
        note.format(trials=study.trials),
    )


def _curves(report: StudyReport) -> Figure:
    _, study = report.gettext, report.study
    panels: dict[str, dict[str, figures.Curve]] = {}
    for measure, title in CURVES.items():
        pairs = study.compared if measure == "kl_divergence" else report.first_draws
        panels[title] = {report.pair(pair): report.curve(pair, measure) for pair in pairs}
    panels[KL][NOISE_CURVE] = report.curve(study.pairing.noise, "kl_divergence")
    return Figure(
        report.name("matrix_by_snr"),
        _(
            "BLEU, cross-entropy and KL to the teacher of every pair (transmitter → receiver) by SNR; bands, "
            "where there are few curves, are 95 % intervals. Dashed grey: the teacher against itself under "
            "an independent draw of the channel."
        ),
        _("Three panels of curves over SNR, one curve a pair."),
        curve_data(panels),
        figures.curves(panels, dashed=NOISE_CURVE, logarithmic=(KL, CROSS_ENTROPY)),
        (12.0, 4.4),
    )


def _by_snr(report: StudyReport, measure: str) -> Table:
    _, pairing, column = report.gettext, report.study.pairing, BY_SNR[measure]
    pairs = [p for p in pairing.pairs if measure not in TO_THE_TEACHER or p.key != pairing.reference.key]
    caption = _("{measure}, by SNR in dB ({channel}).")
    return report.table_by_snr(
        f"{measure}_by_snr",
        caption.format(measure=_(column.title), channel=report.study.channel),
        column.places,
        {report.pair(pair): (pair, measure) for pair in pairs},
    )
