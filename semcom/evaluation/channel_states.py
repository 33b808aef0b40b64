"""What the gains that sentences meet make of an SNR: the SNR of equal capacity."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from semcom.channel.channels import Channel, Fading
from semcom.data.batching import Encoded, by_length

BATCH = 64


def powers(channel: Channel, encoded: Sequence[Encoded], channel_dim: int, seed: int) -> list[np.ndarray]:
    """|h|^2 of each sentence's complex symbols, [S·C/2], under draw 0. channel_dim: C.

    Those that the channel has, whatever its receiver estimates: no bound holds for powers that are believed.
    """
    known = replace(channel, csi="perfect") if isinstance(channel, Fading) else channel
    found = {}
    for batch in by_length(encoded, BATCH):
        draw = batch.draw(channel, channel_dim, seed=seed, number=0)
        silence = torch.zeros(*batch.source.shape, channel_dim)
        gain = known.observe(silence, draw, 0.0).gain.abs().square()
        gain = gain.expand(*batch.source.shape, channel_dim // 2)
        for sentence, tokens, of_one in zip(batch.sentences, batch.lengths, gain):
            found[sentence.id] = of_one[:tokens].flatten().double().numpy()
    return [found[e.sentence.id] for e in encoded]


def equivalent(power: np.ndarray, snr: float) -> float:
    """The SNR in dB at which a channel without fading has the capacity that symbols of these powers have
    together; of equal powers that of each."""
    capacity = np.log2(1 + power * 10 ** (snr / 10)).mean()
    return float(10 * np.log10(max(np.exp2(capacity) - 1, 1e-30)))


def states(
    of_sentences: Sequence[np.ndarray], snrs: Sequence[float], members: Sequence[Sequence[int]]
) -> np.ndarray:
    """[K, N] in dB: ``equivalent`` of the block that each sentence is in.

    of_sentences: ``powers``. members: places of the sentences of each block.
    """
    found = np.empty((len(snrs), sum(map(len, members))))
    for k, snr in enumerate(snrs):
        for places in members:
            found[k, list(places)] = equivalent(np.concatenate([of_sentences[i] for i in places]), snr)
    return found
