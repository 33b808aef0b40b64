"""The verb ``evaluate``: checkpoints side by side under the same draws."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from semcom.base import distributed, output_files, places
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.distributed import Processes
from semcom.base.errors import escape
from semcom.channel.channels import make_channel
from semcom.commands import (
    beside_baselines,
    chosen_way,
    evaluate_channels,
    evaluate_onnx,
    evaluate_resending,
)
from semcom.commands.baseline_record import Baseline
from semcom.commands.inputs import load_corpus
from semcom.commands.measuring import (
    RECEIVER_KNOWS,
    REFERENCE_PREFERRED,
    described,
    entrants,
    examples,
    foreign_splits,
    heading,
    languages_of,
    measures_of,
    nearest,
    scoring_of,
    tell_losses,
    test_split,
    texts_of,
    title_of,
    without_twins,
)
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.commands.settings import EvaluateSettings
from semcom.data import batching
from semcom.evaluation import frames, measures
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.scores import Decoded, Meeting, Row, floor_score, score_all
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.report import figures, plots, tables
from semcom.report.look import Draw

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prepared:
    """validation: sentences that thresholds of ``--resend`` are set on. search: for the text. way: the line
    about its kernels. scoring: of the sentences' texts. picture: beside the output, if there is one.
    baselines: curves beside those of the models. measured_on: which text, for the files."""

    loaded: list[tuple[str, Checkpoint]]
    encoded: list[batching.Encoded]
    validation: list[batching.Encoded]
    search: Search
    way: str
    scoring: TextScoring
    picture: Path | None
    baselines: list[Baseline]
    measured_on: dict[str, str]


def evaluate(settings: EvaluateSettings) -> "pd.DataFrame":
    """The measures that need no reference, of checkpoints side by side under the same draws, with the
    floor."""
    evaluation = settings.evaluation
    once = replace(evaluation, snr=tuple(dict.fromkeys(evaluation.snr)))
    with ExitStack() as held:
        return _evaluate(replace(settings, evaluation=once), held)


def _evaluate(settings: EvaluateSettings, held: ExitStack) -> "pd.DataFrame":
    keep_freed_memory()
    device = resolve_device(evaluate_onnx.device_of(settings))
    together = distributed.join(device)
    prepared = together.from_main(_prepare, settings, device, held)
    meeting = _meeting(settings, prepared, device, together)

    vocabulary = prepared.loaded[0][1].vocabulary
    rows, decodings = score_all(entrants(prepared.loaded), prepared.encoded, vocabulary, meeting)
    sentences = prepared.loaded, prepared.encoded
    rows = evaluate_channels.with_costs(rows, *sentences, meeting.channel)
    uses = evaluate_channels.uses_of(*sentences, meeting.channel)
    floor = floor_score(prepared.encoded, meeting.scoring) if len(prepared.encoded) > 1 else {}

    following = _show(settings, meeting, prepared, rows, floor)
    for use in dict.fromkeys(map(str, uses.values())):
        of_these = [label for label in uses if str(uses[label]) == use]
        of_some = f" of {', '.join(map(escape, of_these))}" if len(of_these) < len(uses) else ""
        log.info(f"\nchannel uses{of_some}: {use}")
    evaluate_channels.tell_charge(evaluate_channels.charged(*sentences, meeting.channel))
    if settings.evaluation.examples:
        _show_examples(settings, meeting.scoring, prepared.encoded, decodings)
    resent = _resent(settings, prepared, meeting, rows, decodings)
    rows = _through_others(settings, prepared, meeting, rows)
    latency = evaluate_onnx.latency(settings, prepared.loaded, prepared.encoded, meeting)
    if prepared.picture and together.is_main:
        _write(settings, prepared, meeting, rows, resent, floor)
        evaluate_onnx.write(latency, prepared.picture)
    if following:
        log.info(following)
    return rows


def _resent(
    settings: EvaluateSettings,
    prepared: _Prepared,
    meeting: Meeting,
    rows: "pd.DataFrame",
    decodings: Mapping[str, Sequence[Decoded]],
) -> "pd.DataFrame | None":
    """Rows of ``--resend``, where it is given."""
    shares = settings.resending.resend
    if not shares:
        return None
    sentences = prepared.validation, prepared.encoded
    resent = evaluate_resending.score(prepared.loaded, *sentences, decodings, meeting, shares)
    overall, others = rows[rows["topic"] == ""], settings.channels
    evaluate_resending.show(resent, overall, len(prepared.validation), others)
    return resent


def _through_others(
    settings: EvaluateSettings, prepared: _Prepared, meeting: Meeting, rows: "pd.DataFrame"
) -> "pd.DataFrame":
    """``rows`` and those of ``--channels``, where it is given."""
    import pandas as pd

    sentences = prepared.loaded, prepared.encoded
    others = evaluate_channels.score(settings.channel, settings.channels, *sentences, meeting)
    if others is None:
        return rows
    rows = pd.concat([rows, others], ignore_index=True)
    first = measures_of(meeting.scoring, texts_of(prepared.encoded))[0]
    evaluate_channels.show(
        rows, prepared.loaded, first, nearest(settings.evaluation.snr, REFERENCE_PREFERRED)
    )
    return rows


def _prepare(settings: EvaluateSettings, device: torch.device, held: ExitStack) -> _Prepared:
    """Outputs reserved, checkpoints and sentences read; locks go to ``held``."""
    paths, output, evaluation = settings.checkpoints, settings.output, settings.evaluation
    loaded = evaluate_onnx.loaded(settings)
    for _, other in loaded[1:]:
        checkpoint.check_same_vocabulary(loaded[0][1], other)
    baselines = beside_baselines.read(settings.baseline, [label for label, _ in loaded])
    used = corpus_of_runs(settings.corpus, [c.config for _, c in loaded])
    picture = output_files.companion("--output", output, ".png") if output else None
    if output and picture:
        outputs = plots.outputs(output, picture)
        if settings.resending.resend:
            outputs |= evaluate_resending.outputs(picture)
        if settings.channels:
            outputs |= evaluate_channels.outputs(picture)
        outputs |= evaluate_onnx.outputs(settings, picture)
        inputs = [*paths, *settings.baseline, *used.corpus]
        places.reserve_files(outputs, inputs, overwrite=settings.outputs.overwrite, held=held)
    vocabulary = loaded[0][1].vocabulary
    source = load_corpus(used, vocabulary, quiet=settings.run.quiet)
    test = test_split(source, evaluation.sentences, evaluation.split)
    for line in foreign_splits([(c.name, c.config) for _, c in loaded], used, evaluation.split):
        log.info(line)
    encoded = batching.encode(test, vocabulary, leave_out_long=True)
    validation = evaluate_resending.validation_of(
        settings.resending.resend, evaluation, source, test, vocabulary
    )
    scoring = scoring_of(evaluation, source.language, texts_of(encoded), languages_of(c for _, c in loaded))
    models = [c.model for _, c in loaded]
    beside_baselines.check(baselines, settings, models, encoded, source.fingerprint, scoring)
    tell_losses(vocabulary, texts_of(encoded), scoring)
    search, way = evaluate_onnx.search_for(evaluation, models, chosen_way.target_tokens(encoded), device)
    measured_on = {"corpus": source.name, "corpus_fingerprint": source.fingerprint}
    return _Prepared(loaded, encoded, validation, search, way, scoring, picture, baselines, measured_on)


def _meeting(
    settings: EvaluateSettings, prepared: _Prepared, device: torch.device, together: Processes
) -> Meeting:
    evaluation, run = settings.evaluation, settings.run
    return Meeting(
        make_channel(settings.channel),
        evaluation.snr,
        run.seed,
        device,
        evaluation.eval_batch_size,
        run.quiet,
        together,
        prepared.search,
        prepared.scoring,
    )


def _show(
    settings: EvaluateSettings,
    meeting: Meeting,
    prepared: _Prepared,
    rows: "pd.DataFrame",
    floor: Row,
) -> str:
    """Returns what to do next, if there is something."""
    overall, by_topic = rows[rows["topic"] == ""], rows[rows["topic"] != ""]
    encoded, snrs = prepared.encoded, settings.evaluation.snr
    together = beside_baselines.with_baselines(overall, prepared.baselines, snrs)
    log.info(
        f"\n{described(len(encoded), settings.evaluation)}, {meeting.channel}, SNR in dB per complex symbol "
        f"before equalisation, seed {meeting.seed}; {meeting.search}; {RECEIVER_KNOWS}"
    )
    for measure in without_twins(measures_of(meeting.scoring, texts_of(encoded)), rows):
        table = tables.pivot(together.dropna(subset=[measure.name]), "model", "snr", measure.name)
        log.info(f"\n{heading(measure, meeting.scoring)}\n{table}")
        lowest = floor.get(measure.name)
        if lowest is not None:
            log.info(f"floor (another sentence of the same length, or the nearest): {lowest:.4g}")
    first = measures_of(meeting.scoring, texts_of(encoded))[0]
    following = ""
    if prepared.baselines:
        following = beside_baselines.show_crossings(overall, prepared.baselines, snrs, first)
    if len(by_topic):
        _show_topics(by_topic, first, nearest(snrs, REFERENCE_PREFERRED))
    return following


def _show_topics(by_topic: "pd.DataFrame", first: Measure, reference: float) -> None:
    at_reference = by_topic[by_topic["snr"] == reference]
    topics = at_reference["topic"] + ", " + at_reference["sentences"].astype(str)
    at_reference = at_reference.assign(**{"topic, sentences": topics})
    table = tables.pivot(at_reference, "topic, sentences", "model", first.name, str)
    log.info(f"\n{first.title_with_unit} by topic at {reference:g} dB\n{table}")


def _show_examples(
    settings: EvaluateSettings,
    scoring: TextScoring,
    encoded: Sequence[batching.Encoded],
    decodings: Mapping[str, Sequence[Decoded]],
) -> None:
    evaluation, shown = settings.evaluation, encoded[: settings.evaluation.examples]
    reference = nearest(evaluation.snr, REFERENCE_PREFERRED)
    place = evaluation.snr.index(reference)
    at_reference = {label: by_snr[place].texts for label, by_snr in decodings.items()}
    told = examples(texts_of(shown), at_reference, scoring)
    log.info(f"\nwhat was understood at {reference:g} dB\n{told}")


def _teacher(loaded: Sequence[tuple[str, Checkpoint]]) -> str | None:
    """The label of the first that another names as its teacher."""
    named = {c.config.get("teacher_fingerprint") for _, c in loaded}
    return next((label for label, c in loaded if c.fingerprint in named), None)


def _write(
    settings: EvaluateSettings,
    prepared: _Prepared,
    meeting: Meeting,
    rows: "pd.DataFrame",
    resent: "pd.DataFrame | None",
    floor: Row,
) -> None:
    """All rows as CSV, those over all sentences as a picture; of sentences sent again another picture."""
    output, picture = str(settings.output), prepared.picture
    assert picture is not None, "an output has its picture"
    of_floor = {"model": "(floor)", "channel": str(meeting.channel), "snr": None, "topic": "", **floor}
    common = {
        "seed": meeting.seed,
        "decoding": str(meeting.search),
        chosen_way.RECORDED: prepared.way,
        "split": settings.evaluation.split,
        **prepared.measured_on,
        **meeting.scoring.record,
    }
    all_rows: list[Row] = [*frames.records(frames.none_where_missing(rows)), of_floor]
    if resent is not None:
        all_rows += frames.records(frames.none_where_missing(frames.flat(resent)))
    fingerprints = {label: c.fingerprint for label, c in prepared.loaded}
    all_rows = [{**row, "fingerprint": fingerprints.get(str(row["model"]))} for row in all_rows]
    tables.write_csv(output, [{**row, **common} for row in all_rows])
    overall = rows[(rows["topic"] == "") & (rows["channel"] == str(meeting.channel))]
    shown = without_twins(measures.alone(), rows)
    titles = {measure.name: title_of(measure, meeting.scoring) for measure in shown}
    plots.save(_drawn(settings, prepared, overall, titles, floor), picture)
    made = [output, picture]
    if resent is not None:
        evaluate_resending.plot(resent, overall, picture)
        made.append(evaluate_resending.picture_of(picture))
    if rows["channel"].nunique() > 1:
        evaluate_channels.plot(rows, shown[0], picture)
        made.append(evaluate_channels.picture_of(picture))
    log.info(f"\nmade {' and '.join(map(escape, made))}")


def _drawn(
    settings: EvaluateSettings,
    prepared: _Prepared,
    overall: "pd.DataFrame",
    titles: Mapping[str, str],
    floor: Row,
) -> Draw:
    """Curves of models and baselines, a panel a measure (name -> title); in the first, where they cross."""
    baselines, snrs = prepared.baselines, settings.evaluation.snr
    together = beside_baselines.with_baselines(overall, baselines, snrs)
    kinds = beside_baselines.kinds(overall, baselines) if baselines else None
    drawn = plots.by_snr(together, titles, _teacher(prepared.loaded), floor, kinds)
    first = measures.named(next(iter(titles)))
    return figures.marked(drawn, beside_baselines.marks(overall, baselines, snrs, first))
