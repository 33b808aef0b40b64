"""How long each end of a transceiver takes for a sentence on this machine, and how large it is on disk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch

from semcom.channel.channels import Channel
from semcom.data.batching import Batch, Encoded, collate
from semcom.evaluation.scores import Entrant, Row
from semcom.models import checkpoint
from semcom.models.decoding import Search
from semcom.models.link import send
from semcom.models.protocols import Receiver, Transmitter

ROUNDS = {1: 100, 64: 16}
"""Batch size -> batches measured at most."""
SECONDS, LEAST = 30.0, 3
"""All ends together and a batch size, after which no further round begins, but for the first ``LEAST``."""
WARM_UP = 1
Taken = tuple[float, float]
"""Seconds of wall time, and of all threads on processors."""
UPPER = 95
"""Percent of the batches that take no longer than the upper figure."""


@dataclass(frozen=True)
class Setting:
    """What sentences go through while ends are timed: a channel at an SNR in dB, seed of its draws, search
    for the text."""

    channel: Channel
    snr: float
    seed: int
    search: Search


def latencies(entrants: Sequence[Entrant], encoded: Sequence[Encoded], setting: Setting) -> list[Row]:
    """A row for each entrant, end and batch size: median and upper milliseconds a sentence, of wall time and
    of processor time, which the load of other programs hardly lengthens; and bytes of the end on disk.

    A receiver decodes to the end of the sentences; the channel is not timed. Entrants run in turn, so that a
    machine that slows down slows all. Sentences come as they are given, over again where they are fewer.
    """
    rows: list[Row] = []
    for size, rounds in ROUNDS.items():
        seconds = _seconds(entrants, _batches(encoded, size, rounds + WARM_UP), setting)
        for entrant in entrants:
            for end in ("transmitter", "receiver"):
                wall, cpu = 1000 * np.array(seconds[entrant.label, end]).T / size
                rows.append(
                    {
                        "model": entrant.label,
                        "end": end,
                        "batch": size,
                        "batches": len(wall),
                        "median_ms": float(np.median(wall)),
                        "upper_ms": float(np.percentile(wall, UPPER)),
                        "median_cpu_ms": float(np.median(cpu)),
                        "upper_cpu_ms": float(np.percentile(cpu, UPPER)),
                        "bytes": _bytes_of(entrant.model.end(end)),
                    }
                )
    return rows


def _batches(encoded: Sequence[Encoded], size: int, count: int) -> list[Batch]:
    again = cycle(encoded)
    return [collate(list(islice(again, size))) for _ in range(count)]


@torch.inference_mode()
def _seconds(
    entrants: Sequence[Entrant], batches: Sequence[Batch], setting: Setting
) -> dict[tuple[str, str], list[Taken]]:
    taken: dict[tuple[str, str], list[Taken]] = {}
    until = time.perf_counter() + SECONDS
    for number, batch in enumerate(batches):
        if number >= WARM_UP + LEAST and time.perf_counter() > until:
            break
        for entrant in entrants:
            sending, hearing = _timed(entrant, batch, setting)
            if number >= WARM_UP:
                taken.setdefault((entrant.label, "transmitter"), []).append(sending)
                taken.setdefault((entrant.label, "receiver"), []).append(hearing)
    return taken


def _timed(entrant: Entrant, batch: Batch, setting: Setting) -> tuple[Taken, Taken]:
    """Of the transmitter and of the receiver."""
    transmitter, receiver = entrant.model.transmitter, entrant.model.receiver
    started = _now()
    made = transmitter(batch.source, batch.source_mask)
    sending = _since(started)
    sent = send(lambda *_: made, batch, setting.channel, [setting.snr], seed=setting.seed)
    (received,) = sent.heard_by(receiver)
    started = _now()
    setting.search(receiver, received, batch.source_mask)
    return sending, _since(started)


def _now() -> Taken:
    return time.perf_counter(), time.process_time()


def _since(started: Taken) -> Taken:
    wall, cpu = _now()
    return wall - started[0], cpu - started[1]


def _bytes_of(end: Transmitter | Receiver) -> int:
    """Of its graphs, or of its saved weights."""
    of_graphs = getattr(end, "bytes_on_disk", None)
    return checkpoint.weights_size(end) if of_graphs is None else int(of_graphs)
