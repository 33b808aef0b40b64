"""The verb ``transmit``: what each receiver understands of a sentence."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from semcom.base.device import resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.base.settings import RunConfig
from semcom.channel.settings import ChannelConfig
from semcom.commands.inputs import load_teacher, make_channel
from semcom.commands.measuring import RECEIVER_KNOWS, labels
from semcom.data import batching, corpus
from semcom.data.vocabulary import WordVocabulary
from semcom.evaluation.scores import Meeting, through_channel
from semcom.evaluation.settings import EvaluationConfig
from semcom.models import checkpoint
from semcom.models.decoding import Search
from semcom.report import tables

log = logging.getLogger(__name__)


def transmit(
    texts: Sequence[str],
    paths: Sequence[str],
    settings: EvaluationConfig,
    channel_settings: ChannelConfig,
    run: RunConfig,
) -> None:
    """Send sentences and print what each checkpoint's receiver understood."""
    device = resolve_device(run.device)
    loaded = (
        [(label, checkpoint.load(path)) for label, path in zip(labels(paths), paths)]
        if paths
        else [("teacher", load_teacher(None))]
    )
    channel, snrs, search = (
        make_channel(channel_settings),
        settings.snr,
        Search(settings.beam_width, settings.length_penalty),
    )
    log.info(f"{channel}, seed {run.seed}; {search}; {RECEIVER_KNOWS}")
    for text in texts:
        text = corpus.clean(text)
        if not text:
            raise SemcomError(
                'transmit: the sentence is empty; for example: python -m semcom transmit "We support this report."'
            )
        log.info(f"sent: {escape(text)}")
        rows = []
        words = {
            c.vocabulary.fingerprint: c.vocabulary
            for _, c in loaded
            if isinstance(c.vocabulary, WordVocabulary)
        }
        for vocabulary in words.values():
            log.info(f"in words: {escape(vocabulary.decode(vocabulary.encode([text]))[0])}")
        # The draw is that of the sentence as measurements have it.
        drawn = corpus.make_sentence(next(iter(words.values())).normalize(text) if words else text)
        for label, c in loaded:
            batch = batching.collate(batching.encode([replace(drawn, text=text)], c.vocabulary)).to(device)
            model = c.model.to(device)
            with torch.inference_mode():
                received = through_channel(model, batch, Meeting(channel, snrs, run.seed, device, 1))
                decoded = c.vocabulary.decode(
                    search(model.receiver, torch.cat(received), batch.source_mask.repeat(len(snrs), 1))
                )
            rows += [[label, f"{snr:g} dB", understood] for snr, understood in zip(snrs, decoded)]
        log.info(tables.table(rows, ["model", str(channel), "understood"]))
