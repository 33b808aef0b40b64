"""A path of weights as a few stops that a hand can slide over: hybrids, each with its divergence and BLEU."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from semcom.base import progress
from semcom.data.batching import Encoded
from semcom.evaluation import scores
from semcom.evaluation.ruler import Ruler
from semcom.evaluation.scores import Entrant, Meeting
from semcom.evaluation.targets import TARGETS
from semcom.models.checkpoint import Checkpoint
from semcom.models.path import Path
from semcom.models.transceiver import Transceiver

COUNT = 11


@dataclass(frozen=True)
class Stop:
    """A place of a path, from 0 to 1.
    between: labels of the path's corners on either side; both the same at a corner. kl: KL from the reference
    after gold prefixes, nats a token; bleu: 0 to 100. hybrid: what stands there.
    """

    place: float
    between: tuple[str, str]
    kl: float
    bleu: float
    hybrid: Checkpoint


def stops(
    path: Path,
    reference: Transceiver,
    best: Checkpoint,
    encoded: Sequence[Encoded],
    meeting: Meeting,
    count: int = COUNT,
) -> list[Stop]:
    """``count`` evenly spaced places, two at least, each measured on the sentences ``encoded`` at the one SNR
    of ``meeting``.

    best: the end of the path; all but the weights of the hybrids is its.
    """
    vocabulary = best.vocabulary
    target = TARGETS["kl_divergence"]
    ruler = Ruler(reference, target, [encoded], vocabulary, meeting)
    silent = replace(meeting, quiet=True)
    found = []
    places = [k / (count - 1) for k in range(count)]
    for place in progress.each(places, "measuring the path", quiet=meeting.quiet):
        model = path.at(place).to(meeting.device)
        with torch.inference_mode():
            ours, theirs = (sums.sum(0) for sums in ruler.sums_of_all(model))
            (decoded,) = scores.decode(Entrant(f"{place:g}", model), encoded, vocabulary, silent)
        bleu = scores.score(decoded, encoded, meeting.scoring)["bleu"]
        assert isinstance(bleu, float)
        hybrid = replace(best, model=model, metrics={}, path="")
        found.append(Stop(place, _between(path, place), float(target.value(ours, theirs)), bleu, hybrid))
    return found


def _between(path: Path, place: float) -> tuple[str, str]:
    before = max(k for k, corner in enumerate(path.places) if corner <= place)
    after = min(k for k, corner in enumerate(path.places) if corner >= place)
    return path.labels[before], path.labels[after]
