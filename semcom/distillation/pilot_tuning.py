"""Going on with one end's training on pilots, so that it and a foreign end understand one another.

``decoder`` tunes B's receiver on what arrived of A's pilots. ``surrogate`` first teaches a copy of B's own
transmitter to send what arrived of A's, which takes nothing but the pilots and what B holds, and tunes the
receiver on B's own sentences through that copy beside. Pilots are received once: every pass sees one noise.
``encoder`` tunes A's transmitter through B's receiver, for which gradients have to be fed back over the link,
and every pass is another transmission: a genie's way, to compare with and not to build.
"""

import copy
from collections.abc import Sequence

import torch

from semcom.base.errors import SemcomError
from semcom.channel.channels import Channel
from semcom.data.batching import Encoded
from semcom.distillation import surrogates
from semcom.distillation.aligner_settings import TUNED, TuningConfig
from semcom.distillation.aligners import fit_aligner
from semcom.distillation.objectives import Frozen
from semcom.distillation.pilot_task import PilotTask, Received, linked, train
from semcom.distillation.pilots import received_pilots
from semcom.models.settings import RECEIVER_PARTS
from semcom.models.transceiver import Transceiver, splice, with_aligner

START = "linear"
"""The map that a receiver is tuned behind on pilots alone, or where it could not hear the sender without."""
SHARE_OF_PILOTS = 0.5
"""Weight of the pilots beside the sentences that a surrogate sends."""


# Many arguments: who is tuned, on what, through what; callers name each.
def tuned(
    way: str,
    sender: Transceiver,
    listener: Transceiver,
    pilots: Sequence[Encoded],
    *,
    texts: Sequence[Encoded] = (),
    channel: Channel,
    snr: float | tuple[float, float],
    seed: int,
    number: int = 0,
    device: torch.device | None = None,
    config: TuningConfig | None = None,
    compiled: bool = False,
) -> Transceiver:
    """The sender's transmitter and the listener's receiver, joined by one of ``TUNED``, on ``device``.

    texts: sentences of the listener's own corpus, for ``surrogate``. snr: in dB, or a range of which each
    pilot has the SNR that its draw gives it. seed, number: of the draws; with the same ones
    ``received_pilots`` gives what arrived here. compiled: by compiled kernels, on CPUs. The models given stay
    as they are. Raises SemcomError for another way, no pilots, no texts where they are needed, and a training
    whose loss is not finite.
    """
    if way not in TUNED:
        raise SemcomError(f"{way!r} tunes no end; allowed are {' '.join(TUNED)}")
    if not pilots:
        raise SemcomError(f"way {way}: needs pilots, one at least")
    if way == "surrogate" and not texts:
        raise SemcomError("way surrogate: needs sentences of the listener's own beside the pilots")
    device = device or next(sender.parameters()).device
    sender, listener = (copy.deepcopy(model).to(device) for model in (sender, listener))
    snrs = snr if isinstance(snr, tuple) else (snr, snr)
    compiled = compiled and device.type == "cpu"
    received = Received(pilots, channel, snrs, seed, number, config or TuningConfig(), compiled)
    if way == "encoder":
        return _tuned_transmitter(sender, listener, received)
    return _tuned_receiver(sender, listener, received, texts if way == "surrogate" else ())


def _tuned_transmitter(sender: Transceiver, listener: Transceiver, received: Received) -> Transceiver:
    joined = splice(sender, listener, RECEIVER_PARTS)
    link = linked(joined.architecture, joined.transmitter, Frozen(joined.receiver))
    task = PilotTask(received.objective(link), received)
    task.again = True
    train(task, received.config.tuning_lr, received.config.tuning_steps)
    return joined.requires_grad_().eval()


def _tuned_receiver(
    sender: Transceiver, listener: Transceiver, received: Received, texts: Sequence[Encoded]
) -> Transceiver:
    if texts and sender.architecture.channel_dim == listener.architecture.channel_dim:
        joined = splice(sender, listener, RECEIVER_PARTS)
    else:
        joined = _behind_a_map(sender, listener, received)
    link = linked(joined.architecture, Frozen(joined.transmitter), joined.receiver)
    task = PilotTask(received.objective(link), received)
    config = received.config
    if texts:
        surrogate = surrogates.fitted(sender, listener, received)
        task.learnt_from = list(received.pilots)
        task.beside = surrogates.sending(texts, surrogate, joined, received)
        task.objective.weights = {"ce": SHARE_OF_PILOTS, "texts": 1.0}
        train(task, config.tuning_lr, config.surrogate_steps, keep="last")
    else:
        train(task, config.tuning_lr, config.tuning_steps)
    return joined.requires_grad_().eval()


def _behind_a_map(sender: Transceiver, listener: Transceiver, received: Received) -> Transceiver:
    # A map that knew those held out would hide how little there is to learn from the others.
    kept, _ = received.split()
    draws = {"seed": received.seed, "number": received.number}
    rows = received_pilots(sender, listener, kept, received.channel, received.snrs, **draws)
    device = next(sender.parameters()).device
    return with_aligner(sender, listener, fit_aligner(START, rows, seed=received.seed).to(device))
