"""The verb ``audit``: one model scored as the public DeepSC script scores it and as this tool does, one habit
changed at a time."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from semcom.base import output_files, places
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import differs, flag_of
from semcom.channel.channels import CHANNELS, Channel, make_channel
from semcom.channel.settings import ChannelConfig, is_noisy
from semcom.commands import chosen_way
from semcom.commands.inputs import load_corpus
from semcom.commands.measuring import (
    REFERENCE_PREFERRED,
    described,
    foreign_splits,
    languages_of,
    nearest,
    scoring_of,
    test_split,
    texts_of,
)
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.commands.settings import AuditSettings
from semcom.data import batching
from semcom.data.batching import Encoded
from semcom.data.corpus import Corpus
from semcom.data.settings import CorpusConfig
from semcom.evaluation import frames
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
    without_blanks,
)
from semcom.evaluation.scores import Meeting, Row
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.report import plots, tables

log = logging.getLogger(__name__)

DECODINGS = 3
"""Of each sentence at each SNR, in the rows of the table that are decoded apart."""


def audit(given: AuditSettings) -> list[Row]:
    """Score a checkpoint the public way and the right way; print, and write with ``output``, what each habit
    moves. Returns long rows."""
    with ExitStack() as held:
        return _audit(given, held)


def _audit(given: AuditSettings, held: ExitStack) -> list[Row]:
    keep_freed_memory()
    channel = _channel(given.channel)
    device = resolve_device(given.run.device)
    loaded = checkpoint.load(given.checkpoint)
    used = corpus_of_runs(given.corpus, [loaded.config])
    picture = _picture(given, used, held)
    whole, encoded = _sentences(given, used, loaded)
    settings = given.evaluation
    tokens = DECODINGS * chosen_way.target_tokens(encoded)
    search, way = chosen_way.search_for(settings, [loaded.model], tokens, device)
    meeting = Meeting(
        channel,
        settings.snr,
        given.run.seed,
        device,
        settings.eval_batch_size,
        given.run.quiet,
        search=search,
        scoring=scoring_of(settings, whole.language, texts_of(encoded), languages_of([loaded])),
    )
    link = over_public_link(loaded.model, encoded, meeting)
    found = scores(loaded.model, encoded, loaded.vocabulary, meeting, link)
    reference = nearest(settings.snr, REFERENCE_PREFERRED)
    account = _Account(found, settings.snr, reference, link.roots, meeting.scoring, _divided(encoded))
    log.info(
        f"\n{described(len(encoded), settings)}, {channel}, seed {given.run.seed}, greedy decoding; "
        "the same draws in all rows\n" + account.text()
    )
    measured = {"sentences": len(encoded), **_origin(whole, loaded, device), **meeting.scoring.record}
    about = {"seed": given.run.seed, "channel": str(channel), "split": settings.split, **measured}
    about[chosen_way.RECORDED] = way
    rows = [{**row, **about} for row in long_rows(found, settings.snr)]
    if given.output and picture:
        tables.write_csv(given.output, rows)
        plots.plot_audit([row for row in rows if row["row"] != FORCED], reference, picture)
        log.info(f"\nmade {escape(given.output)} and {escape(picture)}")
    return rows


def _channel(settings: ChannelConfig) -> Channel:
    """Raises SemcomError for what the public code has no counterpart of."""
    for name in ("fading", "csi"):
        if differs(settings, name):
            given = f"{flag_of(name)} {getattr(settings, name)}"
            raise SemcomError(f"{given}: the public script has one gain, and knows it; leave it out")
    channel = make_channel(settings)
    if channel.public_link is None:
        what = "no such channel" if is_noisy(channel.name) else "no channel without noise"
        known = [name for name, other in CHANNELS.items() if other.of(settings).public_link is not None]
        raise SemcomError(
            f"--channel {channel.name}: the public script has {what}; allowed are {', '.join(known)}"
        )
    if settings.equalizer != "zf":
        raise SemcomError(
            f"--equalizer {settings.equalizer}: the public script inverts the fade; leave it out"
        )
    return channel


def _picture(given: AuditSettings, used: CorpusConfig, held: ExitStack) -> Path | None:
    """Where the picture goes, once it and the rows have a place, whose locks go to ``held``."""
    if not given.output:
        return None
    picture = output_files.companion("--output", given.output, ".png")
    outputs = plots.outputs(given.output, picture)
    inputs = [given.checkpoint, *used.corpus]
    places.reserve_files(outputs, inputs, overwrite=given.outputs.overwrite, held=held)
    return picture


def _sentences(given: AuditSettings, used: CorpusConfig, loaded: Checkpoint) -> tuple[Corpus, list[Encoded]]:
    """The corpus, and those of its sentences that are sent, in reading order."""
    whole = load_corpus(used, loaded.vocabulary, quiet=given.run.quiet)
    split = given.evaluation.split
    chosen = {s.id for s in test_split(whole, given.evaluation.sentences, split)}
    for line in foreign_splits([(loaded.name, loaded.config)], used, split):
        log.info(line)
    in_order = whole.sentences.of_ids(chosen)
    return whole, batching.encode(in_order, loaded.vocabulary, leave_out_long=True)


def _divided(encoded: Sequence[Encoded]) -> bool:
    return not without_blanks(texts_of(encoded))


def _origin(whole: Corpus, loaded: Checkpoint, device: torch.device) -> Row:
    versions = environment(device)
    return {
        "corpus": whole.name,
        "corpus_fingerprint": whole.fingerprint,
        "checkpoint": Path(loaded.path).name,
        "fingerprint": loaded.fingerprint,
        **{name: versions[name] for name in versions if name in ("semcom", "torch", "sacrebleu", "device")},
    }


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


@dataclass(frozen=True)
class _Account:
    """What a reader is told of the scores on the console. found: row -> score by SNR. reference: the SNR at
    which habits are compared. roots: root mean square of each public batch. scoring: of texts. divided:
    whether blanks divide the words sent, as the public script has it."""

    found: dict[int, list[float]]
    snrs: Sequence[float]
    reference: float
    roots: Sequence[float]
    scoring: TextScoring
    divided: bool

    def text(self) -> str:
        moved = changes(self.found)
        header = ["row", "what it changes in the row above", *(f"{snr:g} dB" for snr in self.snrs)]
        scored = frames.frame_of(([row, HABITS[row], *by_snr] for row, by_snr in self.found.items()), header)
        changed = frames.frame_of(([row, HABITS[row], *by_snr] for row, by_snr in moved.items()), header)
        return "\n".join(
            [
                *self.reading(),
                f"\nscore, all from 0 to 100 (BLEU-1 up to row {CORPUS}, times 100; then BLEU: "
                f"{self.scoring.record['bleu_signature']}; texts in {self.scoring.form})",
                tables.text(scored, 2),
                f"\nchange against the row above (row {FORCED} stands apart; in another order the changes "
                "would be shared out otherwise)",
                tables.text(changed, 2, signed=True),
                "",
                *self.conclusions(moved),
            ]
        )

    def reading(self) -> list[str]:
        """What the labels mean, and what is missing or uncertain."""
        last_public = max(self.found.keys() - {PER_COMPLEX})
        absent = [str(row) for row in HABITS if row not in self.found]
        lines = [
            power_line(self.roots),
            f"an SNR label means, down to row {last_public}, what the public script means by it; "
            f"in row {PER_COMPLEX}, dB per complex symbol before equalisation",
        ]
        if absent:
            lines.append(f"not on this channel: rows {' and '.join(absent)}")
        if not self.divided:
            lines.append(
                f"these sentences have no blanks between words, where the public script cuts: in rows up to "
                f"{CORPUS} a sentence is one word, right or wrong; these rows and the change to row {BLEU_4} "
                "tell nothing of what is understood"
            )
        if FADES in self.found:
            lines.append(
                f"one fade a batch: rows down to {POWER} rest on {len(self.roots)} of them, so in part on "
                "chance; more --sentences, more fades"
            )
        return lines

    def conclusions(self, moved: dict[int, list[float]]) -> list[str]:
        at = list(self.snrs).index(self.reference)
        public, right = self.found[PUBLIC][at], self.found[PER_COMPLEX][at]
        at_reference = {row: by_snr[at] for row, by_snr in moved.items()}
        alike = {row: change for row, change in at_reference.items() if row > BLEU_4}
        # Nor is a change from sentences to words one of a habit.
        of_all = [self.largest("the habit that moves the score most", at_reference)] if self.divided else []
        return [
            *of_all,
            self.largest("of the link and the decoding, scored alike", alike),
            f"the public script would print {public / 100:.4f} at {self.reference:g} dB "
            f"(BLEU-1; {public:.2f} above); measured rightly it is {right:.2f} (BLEU-4)",
        ]

    def largest(self, what: str, changed: dict[int, float]) -> str:
        row = max(changed, key=lambda row: abs(changed[row]))
        return f"{what} at {self.reference:g} dB: {HABITS[row]} (row {row}, {changed[row]:+.2f})"
