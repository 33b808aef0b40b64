"""Pilot sentences on their way: what arrives of one transmitter, and what another sends for them."""

from collections.abc import Sequence

import torch

from semcom.channel.channels import Channel
from semcom.data.batching import Encoded, by_length
from semcom.distillation.aligners import Pilots
from semcom.models.link import send
from semcom.models.transceiver import Transceiver

BATCH = 64


# Seven arguments: who is sent what, through what, and under which draws.
@torch.no_grad()
def received_pilots(
    sender: Transceiver,
    listener: Transceiver,
    encoded: Sequence[Encoded],
    channel: Channel,
    snr: float | tuple[float, float],
    *,
    seed: int,
    number: int = 0,
) -> Pilots:
    """Rows of all tokens of the sentences, on the CPU: what arrives of the sender's signals, equalised, and
    what the listener's own transmitter sends for them.

    snr: in dB; of a range (low, high), each sentence has the SNR there that its draw gives it. seed, number:
    of the draws.
    """
    device = next(sender.parameters()).device
    arrived, wanted, sentence, seen = [], [], [], 0
    for batch in by_length(encoded, BATCH):
        there = batch.to(device)
        sent = send(sender.transmitter, there, channel, [snr], seed=seed, numbers=[number])
        own, _ = listener.transmitter(there.source, there.source_mask)
        arrived.append(there.of_sources(sent.received[number][0]).double().cpu())
        wanted.append(there.of_sources(own).double().cpu())
        places = torch.arange(seen, seen + len(batch))
        sentence.append(places.repeat_interleave(torch.tensor(batch.lengths)))
        seen += len(batch)
    return Pilots(torch.cat(arrived), torch.cat(wanted), torch.cat(sentence))
