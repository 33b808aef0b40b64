"""Tiny transceivers and sentences for the tests. Pieces are ids 4 to V-1, so no sentencepiece model is
needed."""

import json
import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from semcom.channel.channels import make_channel
from semcom.channel.draws import Draw
from semcom.channel.settings import ChannelConfig
from semcom.commands.completion import completion
from semcom.commands.recorded_flags import recorded
from semcom.data.batching import Encoded, collate
from semcom.data.corpus import Sentence
from semcom.data.vocabulary import BOS, EOS
from semcom.data.word_vocabulary import WordVocabulary
from semcom.models.architecture import Architecture
from semcom.models.transceiver import Transceiver, build
from semcom.models.transformer import TransformerSize

V, C = 24, 8
CPU = torch.device("cpu")


def size(layers=2, width=16, heads=2, hidden=32):
    return TransformerSize(layers, width, heads, hidden)


def architecture(transmitter=None, receiver=None, *, vocab_size=V, channel_dim=C, dropout=0.0):
    return Architecture(vocab_size, transmitter or size(), receiver or size(), channel_dim, dropout)


def transceiver(*ends, seed=0, **choice) -> Transceiver:
    model = build(architecture(*ends, **choice), seed).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                # Fresh weights say nearly the same whatever they hear; an untrained toy should not.
                module.weight *= 2
                module.bias.zero_()
    return model


def sharp(*sizes, seed=1, noise=0.0):
    """Untrained, but sharp and of about the sentences' lengths; with noise on its weights a relative of the
    one without."""
    model = transceiver(*(sizes or (size(1), size(1))), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.receiver.decoder.projection.weight.mul_(3)
        model.receiver.decoder.projection.bias[EOS] = 4
        for weights in model.parameters():
            weights += noise * weights.abs().mean() * torch.randn(weights.shape, generator=generator)
    return model


def encoded(number, shortest=3, longest=5, *, seed=0, vocab_size=V) -> list[Encoded]:
    """Sentences of uniformly random pieces; nothing but the channel tells one piece from another."""
    rng = random.Random(seed)
    made = []
    for _ in range(number):
        pieces = [rng.randrange(4, vocab_size) for _ in range(rng.randint(shortest, longest))]
        made.append(Encoded(Sentence(rng.getrandbits(64), " ".join(map(str, pieces))), [BOS, *pieces, EOS]))
    return made


class Numbers:
    """A vocabulary whose text is the ids themselves."""

    fingerprint = "numbers"

    def decode(self, ids):
        return [" ".join(map(str, pieces)) for pieces in ids]


def channel_of(kind, rician_k=1.0, equalizer="zf"):
    return make_channel(ChannelConfig(channel=kind, rician_k=rician_k, equalizer=equalizer))


def through(model, batch, channel, snr, *, seed=0, number=0):
    """Received symbols of a batch at one SNR."""
    signal, _ = model.transmitter(batch.source, batch.source_mask)
    draw = batch.draw(channel, model.architecture.channel_dim, seed=seed, number=number)
    return channel.apply(signal, draw, snr)


@contextmanager
def spoken() -> Iterator[list[str]]:
    """The lines that the package says meanwhile in this thread, warnings marked as on the console."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(
        "warning: " * (record.levelno == logging.WARNING) + record.getMessage()
    )
    thread = threading.get_ident()
    handler.addFilter(lambda record: record.thread == thread)
    log = logging.getLogger("semcom")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def silent(lengths, width=C):
    """A draw without noise, at the middle of the SNR range, with |h| = 1."""
    scatter = torch.tensor([[1.0, 0.0]]).repeat(len(lengths), 1)
    return Draw(torch.full((len(lengths),), 0.5), scatter, torch.zeros(len(lengths), max(lengths), width))


def bits(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same_bits(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def collated(number, shortest=3, longest=5, **choice):
    return collate(encoded(number, shortest, longest, **choice))


def word_json(words) -> dict:
    """What public DeepSC code writes as vocab.json: the four special words, then ``words``."""
    return {
        "token_to_idx": {word: i for i, word in enumerate(["<PAD>", "<START>", "<END>", "<UNK>", *words])}
    }


def word_vocabulary(words) -> WordVocabulary:
    return WordVocabulary(json.dumps(word_json(words)).encode())


def finished_run(folder, settings, **result):
    """What a distillation leaves that says it has finished. result: values of its record."""
    folder.mkdir(parents=True)
    best = folder / "best_student_model.pt"
    best.write_bytes(b"weights")
    ended = {"test_scores": [], "wall_seconds": 12.0, **completion({best.name: best})}
    record = {**settings.record(), "settings": recorded(settings), **ended, **result}
    (folder / "distillation_config.json").write_text(json.dumps(record))
