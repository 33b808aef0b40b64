"""The divergence report as a ``Document``: all studies, what goes with them, and how they were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semcom.evaluation.intervals import Interval
from semcom.evaluation.study import Study
from semcom.report import figures
from semcom.report.catalogue import Say
from semcom.report.document import Block, Column, Document, Figure, Section, Table, Text
from semcom.report.sections import Chapter


@dataclass(frozen=True)
class Similarities:
    """Sentence similarity at the reference SNR, by pair; floor: shuffled pairs of equal length; ceiling: a
    sentence with itself."""

    pairs: Mapping[str, Interval]
    rescaled: Mapping[str, Interval]
    floor: float
    ceiling: float


@dataclass(frozen=True)
class Foreign:
    """A pair of another vocabulary or signal width: text measures alone. rows: of pair, SNR and measures."""

    rows: Sequence[Mapping[str, Any]]


@dataclass
class Findings:
    """All that a report is made of. lost: ``Study.words_lost`` of each study; teachers: the name of each
    one's. histories: a run's label -> its epochs. similarity: of each study, or why it cannot be had.
    temperature: probabilities of the likeliest pieces by temperature."""

    studies: Sequence[Study]
    lost: Sequence[Sequence[Mapping[str, Any]]]
    teachers: Sequence[str]
    signature: str
    similarity: Sequence[Similarities] | str
    foreign: Sequence[Foreign] = ()
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    temperature: tuple[Mapping[float, Sequence[float]], Sequence[str]] | None = None
    provenance: Sequence[tuple[str, str]] = ()


def compose(findings: Findings, language: str) -> Document:
    """The report of all studies, in ``language`` (en or zh)."""
    w = Say(language)
    teachers = findings.teachers if len(set(findings.teachers)) > 1 else [""] * len(findings.teachers)
    chapters = [
        Chapter(study, w, lost, number, teacher, len(findings.studies) > 1)
        for number, (study, lost, teacher) in enumerate(zip(findings.studies, findings.lost, teachers), 1)
    ]
    common = [
        Section(name, w(title), blocks)
        for name, title, blocks in (
            ("similarity", "Sentence similarity", _similarity(findings, w)),
            ("foreign", "Other vocabularies", _foreign(findings, w)),
            ("training", "How the runs were trained", _training(findings, w)),
            ("definitions", "Definitions", _definitions(findings, w)),
        )
        if blocks
    ]
    return Document(
        w("Semantic divergence of mismatched ends"),
        language,
        [line for chapter in chapters for line in chapter.summary()],
        [section for chapter in chapters for section in chapter.sections()] + common,
        [(w(label), value) for label, value in findings.provenance],
    )


def _similarity(findings: Findings, w: Say) -> list[Block]:
    if isinstance(findings.similarity, str):
        return [Text(w("Not measured: {reason}", reason=findings.similarity))]
    return [
        Table(
            f"similarity_{number}",
            w(
                "Cosine of sentence embeddings (all-MiniLM-L6-v2) at {snr:g} dB, {channel}: floor {floor:.3f} (shuffled pairs of equal "
                "length), ceiling {ceiling:.3f}.",
                snr=study.reference_snr,
                channel=study.channel,
                floor=found.floor,
                ceiling=found.ceiling,
            ),
            [Column(w("pair")), Column(w("similarity"), 4), Column(w("rescaled"), 4)],
            [[label, score, found.rescaled[label]] for label, score in found.pairs.items()],
            w(
                "Rescaled: 0 at the floor, 1 at the ceiling. A wrong number or name may lower it little: read it beside the words lost."
            ),
        )
        for number, (study, found) in enumerate(zip(findings.studies, findings.similarity), 1)
    ]


def _foreign(findings: Findings, w: Say) -> list[Block]:
    columns = [
        Column(w("pair")),
        Column(w("channel")),
        Column(w("SNR, dB"), 0),
        Column("BLEU", 2),
        Column(w("exact"), 4),
    ]
    return [
        Table(
            f"foreign_{number}",
            w(
                "A pair of another vocabulary or signal width than the teacher's: text measures alone, tokens do not "
                "compare."
            ),
            columns,
            [[row["pair"], row["channel"], row["snr"], row["bleu"], row["exact"]] for row in group.rows],
        )
        for number, group in enumerate(findings.foreign, 1)
    ]


def _training(findings: Findings, w: Say) -> list[Block]:
    blocks: list[Block] = []
    if findings.histories:
        data = [{"run": label, **row} for label, history in findings.histories.items() for row in history]
        blocks.append(
            Figure(
                "training",
                w(
                    "Training of the runs; the parts of each one's loss are in training_curves.png of its folder."
                ),
                w("Loss, validation, learning rate and temperature by epoch, a curve a run."),
                data,
                figures.trainings(findings.histories),
                (13.0, 4.0),
            )
        )
    if findings.temperature:
        rows, pieces = findings.temperature
        data = [
            {"temperature": t, "piece": piece, "probability": p}
            for t, probabilities in rows.items()
            for piece, p in zip(pieces, probabilities)
        ]
        blocks.append(
            Figure(
                "temperature_effect",
                w(
                    "The teacher's distribution over the next piece, at one place of a test sentence, at several temperatures."
                ),
                w("Bars of probability a piece and temperature."),
                data,
                figures.temperature_effect(rows, pieces),
            )
        )
    return blocks


def _definitions(findings: Findings, w: Say) -> list[Block]:
    return [
        Text(text)
        for text in (
            w(
                "SNR is per complex symbol before equalisation; the signal has mean power 1 per complex symbol, each sentence by itself. The receiver "
                "knows how many symbols were sent. All pairs meet the same draws of fading and noise."
            ),
            w(
                "BLEU is sacrebleu's ({signature}) of free-running text. Cross-entropy, KL(teacher ‖ pair), JS and agreement are of next-piece "
                'distributions at temperature 1 on gold prefixes, nats a token, end of sentence included; "own prefix" is on what the teacher itself '
                "decoded.",
                signature=findings.signature,
            ),
            w(
                "Intervals are percentiles of a bootstrap over sentences, the same resamples for all pairs; over seeds they are Student's t."
            ),
        )
    ]
