"""The verb ``evaluate``: checkpoints side by side under the same draws."""

import logging
from collections.abc import Sequence
from pathlib import Path

from semcom.base import distributed, output_files
from semcom.base.device import resolve_device
from semcom.base.errors import escape
from semcom.base.settings import RunConfig
from semcom.channel.settings import ChannelConfig
from semcom.commands.inputs import load_corpus, make_channel
from semcom.commands.measuring import (
    RECEIVER_KNOWS,
    REFERENCE_PREFERRED,
    corpus_of_runs,
    described,
    entrants,
    foreign_splits,
    labels,
    nearest,
    test_split,
)
from semcom.data import batching
from semcom.data.settings import CorpusConfig
from semcom.evaluation.scores import Decoded, Meeting, Row, floor_score, score_all
from semcom.evaluation.settings import EvaluationConfig
from semcom.evaluation.text_metrics import bleu_signature
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.report import tables

log = logging.getLogger(__name__)


def _same_vocabulary(loaded: Sequence[Checkpoint]) -> None:
    for other in loaded[1:]:
        checkpoint.check_same_vocabulary(loaded[0], other)


def evaluate(
    paths: Sequence[str],
    settings: EvaluationConfig,
    corpus_settings: CorpusConfig,
    channel_settings: ChannelConfig,
    run: RunConfig,
    output: str | None,
    overwrite: bool,
) -> list[Row]:
    """BLEU, token accuracy, exact sentences of checkpoints side by side under the same draws, with the
    floor."""
    device = resolve_device(run.device)
    together = distributed.join(device)

    def prepare() -> tuple[list[tuple[str, Checkpoint]], Path | None, list[batching.Encoded]]:
        loaded = [(label, checkpoint.load(path)) for label, path in zip(labels(paths), paths)]
        _same_vocabulary([c for _, c in loaded])
        picture = output_files.companion("--output", output, ".png") if output else None
        if output:
            outputs = {"--output": output, "--output (its picture)": picture}
            output_files.check_outputs(outputs, [*paths, *corpus_settings.corpus])
            for flag, path in outputs.items():
                output_files.check_room(flag, path, named=True, overwrite=overwrite, folder=False)
        used = corpus_of_runs(corpus_settings, [c.config for _, c in loaded])
        vocabulary = loaded[0][1].vocabulary
        test = test_split(load_corpus(used, vocabulary), settings.sentences, settings.split)
        for line in foreign_splits([(c.name, c.config) for _, c in loaded], used, settings.split):
            log.info(line)
        return loaded, picture, batching.encode(test, vocabulary, leave_out_long=True)

    loaded, picture, encoded = together.from_main(prepare)
    meeting = Meeting(
        make_channel(channel_settings),
        settings.snr,
        run.seed,
        device,
        settings.eval_batch_size,
        run.quiet,
        together,
        Search(settings.beam_width, settings.length_penalty),
    )
    rows, decodings = score_all(entrants(loaded), encoded, loaded[0][1].vocabulary, meeting)
    floor = floor_score(encoded) if len(encoded) > 1 else {}
    overall = [row for row in rows if not row["topic"]]
    by_topic = [row for row in rows if row["topic"]]
    log.info(
        f"\n{described(len(encoded), settings)}, {meeting.channel}, SNR in dB per complex symbol before equalisation, seed {run.seed}; "
        f"{meeting.search}; {RECEIVER_KNOWS}"
    )
    for measure, title in (
        ("bleu", f"BLEU ({bleu_signature()})"),
        ("token_accuracy", "token accuracy"),
        ("exact", "exact sentences"),
        ("cross_entropy", "cross-entropy, nats a token"),
    ):
        log.info(f"\n{title}\n{tables.pivot(overall, 'model', 'snr', measure)}")
        if floor.get(measure) is not None:
            log.info(f"floor (another sentence of the same length, or the nearest): {floor[measure]:.4g}")
    reference = nearest(settings.snr, REFERENCE_PREFERRED)
    if by_topic:
        at_reference = [dict(row) for row in by_topic if row["snr"] == reference]
        for row in at_reference:
            row["topic, sentences"] = f"{row['topic']}, {row['sentences']}"
        log.info(
            f"\nBLEU by topic at {reference:g} dB\n{tables.pivot(at_reference, 'topic, sentences', 'model', 'bleu', str)}"
        )
    if settings.examples:
        at_snr = {label: d[settings.snr.index(reference)] for label, d in decodings.items()}
        log.info(_examples(encoded, at_snr, settings.examples, reference))
    if output and together.is_main:
        common = {"channel": str(meeting.channel), "snr": None, "topic": ""}
        seeds = {"seed": run.seed, "decoding": str(meeting.search), "bleu_signature": bleu_signature()}
        tables.write_csv(
            output, [{**row, **seeds} for row in [*rows, {"model": "(floor)", **common, **floor}]]
        )
        tables.plot_by_snr(overall, {"bleu": "BLEU", "token_accuracy": "token accuracy"}, picture)
        log.info(f"\nmade {escape(output)} and {escape(picture)}")
    return rows


def _examples(
    encoded: Sequence[batching.Encoded], decodings: dict[str, Decoded], count: int, snr: float
) -> str:
    width = max(map(len, ["sent", *decodings]))
    lines = [f"\nwhat was understood at {snr:g} dB"]
    for i, e in enumerate(encoded[:count]):
        lines.append(f"{'sent'.ljust(width)}  {escape(e.sentence.text)}")
        for label, decoded in decodings.items():
            same = decoded.texts[i] == e.sentence.text
            lines.append(f"{escape(label).ljust(width)}  {'=' if same else escape(decoded.texts[i])}")
    return "\n".join(lines)
