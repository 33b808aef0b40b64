"""What becomes of one sentence over SNR."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from semcom.channel.channels import Channel
from semcom.data.sentences import Sentence
from semcom.evaluation import frames
from semcom.evaluation.heard_sentence import GREEDY, Beside, as_sent, transmitted, ways_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 8


# Seven arguments: whose links, what is sent, over what, at which SNRs, under how many draws of which seed.
def fate(
    models: Mapping[str, Checkpoint],
    text: str | Sentence,
    channel: Channel,
    snrs: Sequence[float],
    seed: int,
    search: Search = GREEDY,
    draws: int = DRAWS,
) -> "pd.DataFrame":
    """A row a model and SNR (in dB) of what ``heard_sentence.hear`` has of one: ``score``, chrF from 0 to
    100, and ``arrived``, the share of the words sent that arrived, 0 to 1; both are means over ``draws``
    draws of ``seed``, and ``score_here`` and ``arrived_here`` those of the first, which ``hear`` has."""
    sentence = as_sent(text, [c.vocabulary for c in models.values()])
    scoring, rules = ways_of(sentence.text)
    rows: list[dict[str, object]] = []
    for label, c in models.items():
        beside = Beside(c.vocabulary, sentence.text, scoring, rules)
        understood = _understood(c, sentence, channel, snrs, seed, search, draws)
        shape = draws, len(snrs)
        arrived, scores = (of(understood).reshape(shape) for of in (beside.arrived, beside.scores))
        rows += [
            {
                "model": label,
                "snr": float(snr),
                "score": float(scores[:, k].mean()),
                "arrived": float(arrived[:, k].mean()),
                "score_here": float(scores[0, k]),
                "arrived_here": float(arrived[0, k]),
            }
            for k, snr in enumerate(snrs)
        ]
    return frames.frame_of(rows)


# Seven arguments: as of ``fate``.
def _understood(
    c: Checkpoint,
    sentence: Sentence,
    channel: Channel,
    snrs: Sequence[float],
    seed: int,
    search: Search,
    draws: int,
) -> list[str]:
    """A text a draw and SNR, the SNRs of a draw one after the other."""
    receiver = c.model.receiver
    batch, sent = transmitted(c, sentence, channel, snrs, seed, range(draws))
    with torch.inference_mode():
        given = torch.cat([each for number in range(draws) for each in sent.heard_by(receiver, number)])
        return c.vocabulary.decode(search(receiver, given, batch.source_mask.expand(len(given), -1)))
