"""The verb ``audit``: one model scored as the public DeepSC script scores it and as this tool does, one habit
changed at a time."""

import logging
from collections.abc import Sequence
from pathlib import Path

from semcom.base import output_files
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import CHANNELS, Channel, make_channel
from semcom.channel.settings import KINDS
from semcom.commands.inputs import load_corpus
from semcom.commands.measuring import (
    REFERENCE_PREFERRED,
    corpus_of_runs,
    described,
    foreign_splits,
    nearest,
    test_split,
)
from semcom.commands.settings import AuditSettings
from semcom.data import batching
from semcom.evaluation import text_metrics
from semcom.evaluation.deepsc_scoring import (
    BLEU_4,
    CORPUS,
    FADES,
    FORCED,
    HABITS,
    PER_COMPLEX,
    POWER,
    PUBLIC,
    changes,
    over_public_link,
    power_line,
    scores,
)
from semcom.evaluation.scores import Meeting, Row
from semcom.models import checkpoint
from semcom.report import plots, tables

log = logging.getLogger(__name__)


def audit(given: AuditSettings) -> list[Row]:
    """Score a checkpoint the public way and the right way; print, and write with ``output``, what each habit
    moves. Returns long rows."""
    path, output, overwrite = given.checkpoint, given.output, given.outputs.overwrite
    settings, corpus_settings, channel_settings = given.evaluation, given.corpus, given.channel
    run = given.run
    keep_freed_memory()
    channel = make_channel(channel_settings)
    _check_counterpart(channel)
    if channel_settings.equalizer != "zf":
        raise SemcomError(
            f"--equalizer {channel_settings.equalizer}: the public script inverts the fade; leave it out"
        )
    device = resolve_device(run.device)
    loaded = checkpoint.load(path)
    picture = output_files.companion("--output", output, ".png") if output else None
    if output and picture:
        outputs: dict[str, str | Path] = {"--output": output, "--output (its picture)": picture}
        output_files.check_files(outputs, [path, *corpus_settings.corpus], overwrite=overwrite)
    used = corpus_of_runs(corpus_settings, [loaded.config])
    whole = load_corpus(used, loaded.vocabulary)
    chosen = {s.id for s in test_split(whole, settings.sentences, settings.split)}
    for line in foreign_splits([(loaded.name, loaded.config)], used, settings.split):
        log.info(line)
    encoded = batching.encode(
        [s for s in whole.sentences if s.id in chosen], loaded.vocabulary, leave_out_long=True
    )
    meeting = Meeting(channel, settings.snr, run.seed, device, settings.eval_batch_size, run.quiet)
    link = over_public_link(loaded.model, encoded, meeting)
    found = scores(loaded.model, encoded, loaded.vocabulary, meeting, link)
    reference = nearest(settings.snr, REFERENCE_PREFERRED)
    log.info(_account(found, settings.snr, reference, meeting, described(len(encoded), settings), link.roots))
    about = {
        "seed": run.seed,
        "channel": str(meeting.channel),
        "split": settings.split,
        "sentences": len(encoded),
        "corpus": whole.name,
        "corpus_fingerprint": whole.fingerprint,
        "checkpoint": Path(path).name,
        "fingerprint": loaded.fingerprint,
        "bleu_signature": text_metrics.bleu_signature(),
    }
    versions = {
        name: value
        for name, value in environment(device).items()
        if name in ("semcom", "torch", "sacrebleu", "device")
    }
    rows = [{**row, **about, **versions} for row in long_rows(found, settings.snr)]
    if output and picture:
        tables.write_csv(output, rows)
        plots.plot_audit([row for row in rows if row["row"] != FORCED], reference, picture)
        log.info(f"\nmade {escape(output)} and {escape(picture)}")
    return rows


def _check_counterpart(channel: Channel) -> None:
    """Raises SemcomError where the public code has none."""
    if channel.public_link is None:
        what = "no such channel" if KINDS[channel.name].noisy else "no channel without noise"
        known = [name for name, other in CHANNELS.items() if other().public_link is not None]
        raise SemcomError(
            f"--channel {channel.name}: the public script has {what}; allowed are {', '.join(known)}"
        )


def long_rows(found: dict[int, list[float]], snrs: Sequence[float]) -> list[Row]:
    """One row of plain values for each of ``HABITS`` that was measured, at each SNR. change: None where
    nothing stands above."""
    moved = changes(found)
    return [
        {
            "row": row,
            "habit": HABITS[row],
            "snr": float(snr),
            "score": found[row][k],
            "change": moved[row][k] if row in moved else None,
        }
        for row in found
        for k, snr in enumerate(snrs)
    ]


def _account(
    found: dict[int, list[float]],
    snrs: Sequence[float],
    reference: float,
    meeting: Meeting,
    measured: str,
    roots: Sequence[float],
) -> str:
    """What a reader is told on the console."""
    moved, at = changes(found), list(snrs).index(reference)
    header = ["row", "what it changes in the row above", *(f"{snr:g} dB" for snr in snrs)]
    absent = [row for row in HABITS if row not in found]
    public, right = found[PUBLIC][at], found[PER_COMPLEX][at]
    return "\n".join(
        [
            f"\n{measured}, {meeting.channel}, seed {meeting.seed}, greedy decoding; the same draws in all rows",
            power_line(roots),
            f"an SNR label means, down to row {max(found.keys() - {PER_COMPLEX})}, what the public script means by it; in row {PER_COMPLEX}, dB per "
            "complex symbol before equalisation",
            *([f"not on this channel: rows {' and '.join(map(str, absent))}"] if absent else []),
            *(
                [
                    f"one fade a batch: rows down to {POWER} rest on {len(roots)} of them, so in part on chance; more --sentences, more fades"
                ]
                if FADES in found
                else []
            ),
            f"\nscore, all from 0 to 100 (BLEU-1 up to row {CORPUS}, times 100; then BLEU: {text_metrics.bleu_signature()})",
            tables.text(tables.frame_of(([row, HABITS[row], *found[row]] for row in found), header), 2),
            f"\nchange against the row above (row {FORCED} stands apart; in another order the changes would be shared out otherwise)",
            tables.text(
                tables.frame_of(([row, HABITS[row], *moved[row]] for row in moved), header), 2, signed=True
            ),
            "",
            _largest("the habit that moves the score most", moved, at, reference),
            _largest(
                "of the link and the decoding, scored alike",
                {row: by_snr for row, by_snr in moved.items() if row > BLEU_4},
                at,
                reference,
            ),
            f"the public script would print {public / 100:.4f} at {reference:g} dB (BLEU-1; {public:.2f} above); measured rightly it is "
            f"{right:.2f} (BLEU-4)",
        ]
    )


def _largest(what: str, moved: dict[int, list[float]], at: int, reference: float) -> str:
    row = max(moved, key=lambda row: abs(moved[row][at]))
    return f"{what} at {reference:g} dB: {HABITS[row]} (row {row}, {moved[row][at]:+.2f})"
