"""Pairs beside which a divergence stands: what a little less signal, or another teacher, makes of it."""

from collections.abc import Iterable

from semcom.evaluation.pairs import DECIBEL, End, Pair, Pairing
from semcom.evaluation.runs import Run
from semcom.models.checkpoint import Checkpoint, fingerprint_of


def add(pairing: Pairing, teacher: Checkpoint, others: Iterable[Run], *, noisy: bool) -> None:
    """The teacher at 1 dB less at every SNR, where the channel is ``noisy``, and of ``others`` each teacher
    that differs from this one in its seed alone, in its own pair. They are measured after given prefixes
    alone, which is what KL needs."""
    reference = pairing.reference
    added = [Pair(reference.transmitter, reference.receiver, DECIBEL, forced=True)] if noisy else []
    for run in others:
        pair = _own_pair(run)
        joins = run.checkpoint.vocabulary.fingerprint == teacher.vocabulary.fingerprint
        if joins and run.differs_in_seed(teacher) and pair.key not in pairing.others:
            pairing.others[pair.key] = run
            added.append(pair)
    pairing.pairs[2:2] = added


def _own_pair(run: Run) -> Pair:
    model, topics = run.checkpoint.model, run.checkpoint.topics_by_end()
    sender, listener = fingerprint_of(model.transmitter), fingerprint_of(model.receiver)
    return Pair(
        End(run.label, model.transmitter, sender, topics["transmitter"], run.checkpoint.path),
        End(run.label, model.receiver, listener, topics["receiver"], run.checkpoint.path),
        forced=True,
    )
