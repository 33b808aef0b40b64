"""Sections on all studies together: sentence similarity, other vocabularies, training, definitions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from semcom.base.messages import said
from semcom.evaluation import frames, text_metrics
from semcom.evaluation.intervals import Interval
from semcom.evaluation.study import Row, Study
from semcom.evaluation.text_scoring import TextScoring
from semcom.report import figures, training_figures
from semcom.report.document import Block, Column, Figure, Table, Text
from semcom.report.names_in_words import channel_told

Translate = Callable[[str], str]


@dataclass(frozen=True)
class Similarities:
    """Sentence similarity at the reference SNR, by the name of a group of pairs; floor: shuffled pairs of
    equal length; ceiling: a sentence with itself."""

    pairs: Mapping[str, Interval | None]
    rescaled: Mapping[str, Interval | None]
    floor: float
    ceiling: float


@dataclass(frozen=True)
class TemperatureEffect:
    """A teacher's probabilities of its likeliest ``pieces`` by temperature."""

    probabilities: Mapping[float, Sequence[float]]
    pieces: Sequence[str]


def similarity(
    studies: Sequence[Study], measured: Sequence[Similarities] | str, _: Translate
) -> Sequence[Block]:
    """measured: of each study, or why it cannot be had."""
    if isinstance(measured, str):
        return [Text(said(measured, _))]
    return [
        _similarity_of_a_study(number, study, found, _)
        for number, (study, found) in enumerate(zip(studies, measured), 1)
    ]


def _similarity_of_a_study(number: int, study: Study, found: Similarities, _: Translate) -> Table:
    caption = _(
        "Cosine of sentence embeddings (all-MiniLM-L6-v2) at {snr:g} dB, {channel}: floor {floor:.3f} "
        "(shuffled pairs of equal length), ceiling {ceiling:.3f}."
    )
    note = _(
        "Rescaled: 0 at the floor, 1 at the ceiling. A wrong number or name may lower it little: read it "
        "beside the words lost."
    )
    columns = {
        "pair": Column(_("pair")),
        "similarity": Column(_("similarity"), 4),
        "rescaled": Column(_("rescaled"), 4),
    }
    rows = [[said(name, _), score, found.rescaled[name]] for name, score in found.pairs.items()]
    filled = caption.format(
        snr=study.reference_snr,
        channel=said(channel_told(study.channel), _),
        floor=found.floor,
        ceiling=found.ceiling,
    )
    return Table(f"similarity_{number}", filled, columns, frames.frame_of(rows, list(columns)), note)


def other_vocabularies(measured: Sequence[Sequence[Row]], _: Translate) -> Sequence[Block]:
    """measured: of each checkpoint, rows of pair, channel, SNR and measures."""
    caption = _(
        "A pair of another vocabulary or signal width than the teacher's: text measures alone, tokens do not "
        "compare."
    )
    columns = {
        "pair": Column(_("pair")),
        "channel": Column(_("channel")),
        "snr": Column(_("SNR, dB"), 0),
        "bleu": Column(_("BLEU"), 2),
        "chrf": Column(_("chrF"), 2),
        "exact": Column(_("exact"), 4),
    }
    told = [[{**row, "channel": said(channel_told(row["channel"]), _)} for row in rows] for rows in measured]
    return [
        Table(f"foreign_{number}", caption, columns, frames.frame_of(rows))
        for number, rows in enumerate(told, 1)
    ]


def training(
    histories: Mapping[str, Sequence[Row]],
    groups: Mapping[str, str],
    temperature: TemperatureEffect | None,
    _: Translate,
    in_figure: Translate,
) -> Sequence[Block]:
    """histories: a run's label -> its epochs. groups: a run's label -> what it and its other seeds are
    called. in_figure: of labels in figures."""
    curves = [_training_curves(histories, groups, _, in_figure)] if histories else []
    return curves + ([_temperature_effect(temperature, _, in_figure)] if temperature else [])


def _training_curves(
    histories: Mapping[str, Sequence[Row]], groups: Mapping[str, str], _: Translate, in_figure: Translate
) -> Figure:
    """Runs that differ in their seeds are one curve."""
    seeds: dict[str, list[Sequence[Row]]] = {}
    for run, epochs in histories.items():
        seeds.setdefault(said(groups.get(run, run), in_figure), []).append(epochs)
    curves = {name: training_figures.mean_over_seeds(of_seeds) for name, of_seeds in seeds.items()}
    told = _("Training of the runs; the parts of each one's loss are in training_curves.png of its folder.")
    if len(curves) < len(histories):
        told += _(" Each line or bar is a mean over seeds.")
    rows = [{"run": label, **epoch} for label, epochs in histories.items() for epoch in epochs]
    return Figure(
        "training",
        told + figures.left_out({"": curves}, _),
        _("Loss, validation, learning rate and temperature by epoch, a curve a run."),
        frames.none_where_missing(frames.frame_of(rows)),
        training_figures.trainings(curves, in_figure),
    )


def _temperature_effect(effect: TemperatureEffect, _: Translate, in_figure: Translate) -> Figure:
    rows = [
        {"temperature": temperature, "piece": piece, "probability": probability}
        for temperature, probabilities in effect.probabilities.items()
        for piece, probability in zip(effect.pieces, probabilities)
    ]
    return Figure(
        "temperature_effect",
        _(
            "The teacher's distribution over the next piece, at one place of a test sentence, at several "
            "temperatures."
        ),
        _("Points of probability, a piece and temperature each."),
        frames.frame_of(rows),
        training_figures.temperature_effect(
            effect.probabilities, [said(piece, in_figure) for piece in effect.pieces], in_figure
        ),
    )


def definitions(scoring: TextScoring, _: Translate) -> Sequence[Block]:
    snr = _(
        "SNR is per complex symbol before equalisation; the signal has mean power 1 per complex symbol, each "
        "sentence by itself. The receiver knows how many symbols were sent. All pairs meet the same draws of "
        "fading and noise."
    )
    measures = _(
        "BLEU ({bleu}) and {chrf_name} ({chrf}) are sacrebleu's, of free-running text. Cross-entropy, "
        "KL(teacher ‖ pair), JS and agreement are of next-piece distributions at temperature 1 on gold "
        'prefixes, nats a token, end of sentence included; "own prefix" is on what the teacher itself '
        "decoded."
    )
    forms = _(
        "What was sent and what was understood are compared in one form ({form}), whatever the vocabularies "
        "make of text; sentences that are exact as written are exact without it too."
    )
    intervals = _(
        "Intervals are percentiles of a bootstrap over sentences, the same resamples for all pairs; over "
        "seeds they are Student's t."
    )
    record = scoring.record
    signed = measures.format(
        bleu=record["bleu_signature"],
        chrf=record["chrf_signature"],
        chrf_name=text_metrics.chrf_name(scoring.words),
    )
    return [Text(snr), Text(signed), Text(forms.format(form=_form(scoring, _))), Text(intervals)]


def _form(scoring: TextScoring, _: Translate) -> str:
    return _("the form they have") if scoring.normalization == "identity" else scoring.form
