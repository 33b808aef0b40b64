"""The verb ``transmit``: what each receiver understands of a sentence."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from semcom.base.advice import meant_path
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import make_channel
from semcom.commands import chosen_way
from semcom.commands.inputs import load_teacher
from semcom.commands.measuring import RECEIVER_KNOWS, labels
from semcom.commands.settings import TransmitSettings
from semcom.data import batching, corpus, fit
from semcom.data.cleaning import check_argument, clean
from semcom.data.reading import typed_lines
from semcom.data.word_vocabulary import WordVocabulary
from semcom.evaluation import frames
from semcom.evaluation.heard_sentence import as_sent
from semcom.evaluation.scores import Meeting, through_channel
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.report import tables

log = logging.getLogger(__name__)

CHARACTERS_A_PIECE = 4
"""Of English, about; it only tells whether there is much to decode."""


def transmit(settings: TransmitSettings) -> None:
    """Send sentences and print what each checkpoint's receiver understood."""
    texts = _texts(settings)
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    paths = settings.checkpoints
    if paths:
        loaded = [
            (label, checkpoint.load(path, "--checkpoints")) for label, path in zip(labels(paths), paths)
        ]
    else:
        loaded = [("teacher", load_teacher(None, "--checkpoints"))]
    meeting = Meeting(make_channel(settings.channel), settings.evaluation.snr, settings.run.seed, device, 1)
    tokens = sum(map(len, texts)) // CHARACTERS_A_PIECE
    search, _ = chosen_way.search_for(settings.evaluation, [c.model for _, c in loaded], tokens, device)
    log.info(f"{meeting.channel}, seed {meeting.seed}; {search}; {RECEIVER_KNOWS}")
    _warn_of_unknown(texts, loaded)
    for text in texts:
        _send(text, loaded, meeting, search)


def _warn_of_unknown(texts: Sequence[str], loaded: Sequence[tuple[str, Checkpoint]]) -> None:
    """Once for each vocabulary that is not one of such text."""
    vocabularies = {c.vocabulary.fingerprint: c.vocabulary for _, c in loaded}
    cleaned = [clean(text) for text in texts]
    for vocabulary in vocabularies.values():
        for line in fit.warnings_about(vocabulary, cleaned):
            log.info(line)


def _texts(settings: TransmitSettings) -> list[str]:
    """The sentence, or the lines of standard input."""
    last = settings.checkpoints[-1] if settings.checkpoints else None
    if settings.sentence is None and last is not None and not Path(last).exists():
        raise SemcomError(
            f"--checkpoints {escape(last)}: no such file{meant_path(last)}; if that is the sentence, give it "
            'first: python -m semcom transmit "a sentence" --checkpoints FILE'
        )
    if settings.sentence is None:
        texts = typed_lines(sys.stdin.buffer)
    else:
        texts = [check_argument(settings.sentence, "transmit: the sentence")]
    if not any(text.strip() for text in texts):
        raise _empty()
    return texts


def _empty() -> SemcomError:
    return SemcomError(
        'transmit: the sentence is empty; for example: python -m semcom transmit "We support this report."'
    )


def _send(typed: str, loaded: Sequence[tuple[str, Checkpoint]], meeting: Meeting, search: Search) -> None:
    sentence = as_sent(typed, [c.vocabulary for _, c in loaded])
    text = sentence.text
    if not text:
        raise _empty()
    _show_sent(typed, text, loaded)
    rows: list[list[object]] = []
    for label, c in loaded:
        understood = _understood(c, sentence, meeting, search)
        rows += [[label, f"{snr:g} dB", text] for snr, text in zip(meeting.snrs, understood)]
    log.info(tables.text(frames.frame_of(rows, ["model", str(meeting.channel), "understood"])))


def _show_sent(typed: str, text: str, loaded: Sequence[tuple[str, Checkpoint]]) -> None:
    """What each vocabulary makes of the text, which is what its transmitter is given; beside it what was
    typed, where that differs."""
    models: dict[str, list[str]] = {}
    in_words: dict[str, None] = {}
    for label, c in loaded:
        known = c.vocabulary.decode(c.vocabulary.encode([text]))[0]
        if isinstance(c.vocabulary, WordVocabulary):
            in_words[known] = None
            known = text
        models.setdefault(known, []).append(label)
    if list(models) != [typed]:
        log.info(f"typed: {escape(typed)}")
    for sent, labels_of_it in models.items():
        by = f" by {', '.join(map(escape, labels_of_it))}" if len(models) > 1 else ""
        log.info(f"sent{by}: {escape(sent)}")
    for words in in_words:
        log.info(f"in words: {escape(words)}")


def _understood(c: Checkpoint, sentence: corpus.Sentence, meeting: Meeting, search: Search) -> list[str]:
    """What the receiver makes of the sentence at each SNR."""
    batch = batching.collate(batching.encode([sentence], c.vocabulary)).to(meeting.device)
    model = c.model.to(meeting.device)
    with torch.inference_mode():
        received = torch.cat(through_channel(model, batch, meeting))
        mask = batch.source_mask.repeat(len(meeting.snrs), 1)
        return c.vocabulary.decode(search(model.receiver, received, mask))
