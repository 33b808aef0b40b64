"""The same sentences and the same draws through several transceivers: what each understood, and its scores as
rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from semcom.base.distributed import ALONE, Processes
from semcom.base.progress import Progress
from semcom.base.side_by_side import GoOn, side_by_side
from semcom.channel.channels import Channel
from semcom.data.batching import Batch, Encoded, by_length, collate
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import losses
from semcom.evaluation import measures, text_metrics
from semcom.evaluation.sums import Distributions, PieceSum, TokenRows, TokenSum
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.decoding import Search
from semcom.models.link import NOISELESS, heard_by, send, send_again
from semcom.models.transceiver import Receiver, Transceiver

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, object]
_Read = tuple[list[int], dict[str, float]]
"""The pieces decoded of a sentence, and its sums over target tokens."""
WRONG = TokenSum("wrong", lambda rows: rows.ours.choice != rows.targets, compares=False)
"""How many pieces of a sentence are foretold wrongly."""
SEEN, UNSEEN = "(seen)", "(not seen)"


@dataclass(frozen=True)
class Entrant:
    """A transceiver under a label. seen_topics: those its trained ends have seen, None where that is not
    known."""

    label: str
    model: Transceiver
    seen_topics: frozenset[str] | None = None


@dataclass(frozen=True)
class Meeting:
    """Where entrants meet: the channel, SNRs in dB, the seed of the draws, the device, the batch size and the
    search for the text.

    processes: batches are dealt out among them; what is found is the same on each. scoring: how texts are
    compared. receptions: how often each sentence is sent, each time under a draw of its own, before it is
    decoded from all that was received.
    """

    channel: Channel
    snrs: Sequence[float]
    seed: int
    device: torch.device
    batch_size: int
    quiet: bool = False
    processes: Processes = ALONE
    search: Search = Search()
    scoring: TextScoring = TextScoring()
    receptions: int = 1


@dataclass
class Decoded:
    """What one entrant understood at one SNR, in the order of the sentences. token_sums: name of a sum over
    target tokens that needs no reference -> that of each sentence."""

    texts: list[str]
    pieces: list[list[int]]
    token_sums: dict[str, list[float]] = field(default_factory=dict)


def through_channel(model: Transceiver, batch: Batch, meeting: Meeting) -> list[Tensor]:
    """What the receiver is given of each sentence at each SNR; the transmitter runs once, all SNRs share its
    draw."""
    link = model.transmitter, batch, meeting.channel, meeting.snrs
    if meeting.receptions > 1:
        sent = send_again(*link, seed=meeting.seed, numbers=range(meeting.receptions))
    else:
        sent = send(*link, seed=meeting.seed)
    return sent.heard_by(model.receiver)


def decode(
    entrant: Entrant, encoded: Sequence[Encoded], vocabulary: Vocabulary, meeting: Meeting
) -> list[Decoded]:
    """Decodings of all sentences, one ``Decoded`` an SNR."""
    model = entrant.model.to(meeting.device).eval()
    share = meeting.processes.share(by_length(encoded, meeting.batch_size))
    with Progress(len(share), f"decoding {entrant.label}", quiet=meeting.quiet) as bar:

        def of_batch(batch: Batch, go_on: GoOn) -> list[dict[int, _Read]]:
            found = _read(model, batch.to(meeting.device), meeting)
            bar.advance()
            return found

        found = side_by_side(of_batch, share, meeting.device)
    by_snr = [
        {id: read for of_batch in found for id, read in of_batch[k].items()} for k in range(len(meeting.snrs))
    ]
    results = []
    for read in _joined(by_snr, meeting):
        ordered = [read[e.sentence.id] for e in encoded]
        pieces = [pieces for pieces, _ in ordered]
        sums = [sums for _, sums in ordered]
        by_name = {name: [of_one[name] for of_one in sums] for name in (sums[0] if sums else ())}
        results.append(Decoded(vocabulary.decode(pieces), pieces, by_name))
    return results


def _read(model: Transceiver, batch: Batch, meeting: Meeting) -> list[dict[int, _Read]]:
    """A dictionary an SNR: a sentence's id -> what was made of it."""
    arrived = through_channel(model, batch, meeting)
    sums = [_token_sums(model.receiver, at_snr, batch) for at_snr in arrived]
    known = torch.tensor([[of_one.pop(WRONG.name) == 0 for of_one in at_snr] for at_snr in sums])
    pieces = decoded(model.receiver, batch, arrived, known, meeting.search)
    ids = [sentence.id for sentence in batch.sentences]
    return [dict(zip(ids, zip(said, summed))) for said, summed in zip(pieces, sums)]


def decoded(
    receiver: Receiver, batch: Batch, received: Sequence[Tensor], known: Tensor, search: Search
) -> list[list[list[int]]]:
    """A list of decodings an SNR; those of all SNRs are decoded together. received: [B, S, C] an SNR.

    known: [SNRs, B], whether all that the receiver foretells after gold prefixes is what was sent. Then
    greedy decoding says just that, as its prefixes are the gold ones, and need not be done.
    """
    found = [batch.target_pieces() for _ in received]
    asked = ~known if search.width == 1 else torch.ones_like(known)
    at_snr, of_sentence = asked.to(batch.source.device).nonzero().unbind(1)
    if len(at_snr):
        arrived = torch.stack(list(received))[at_snr, of_sentence]
        made = search(receiver, arrived, batch.source_mask[of_sentence])
        for k, i, pieces in zip(at_snr.tolist(), of_sentence.tolist(), made):
            found[k][i] = pieces
    return found


def _token_sums(receiver: Receiver, received: Tensor, batch: Batch) -> list[dict[str, float]]:
    """Of each sentence, teacher-forced, the sums over target tokens that need no reference, by name; and
    ``WRONG``."""
    states = receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
    ours = Distributions(losses.log_softmax(receiver.project(states)), states)
    rows = TokenRows(batch.target_out[batch.target_mask], ours, None)
    found: list[dict[str, float]] = [{} for _ in batch.sentences]
    for needed in (*measures.all_sums(), WRONG):
        values = needed.of(rows) if isinstance(needed, TokenSum) and not needed.compares else None
        if values is not None:
            for of_one, part in zip(found, values.split(batch.target_lengths)):
                of_one[needed.columns[0]] = float(part.double().sum())
    return found


def _joined(by_snr: list[dict], meeting: Meeting) -> list[dict]:
    """What all processes found, one dictionary an SNR."""
    return [
        {key: value for part in parts for key, value in part.items()}
        for parts in zip(*meeting.processes.gather(by_snr))
    ]


def sums_of(decoded: Decoded, encoded: Sequence[Encoded], scoring: TextScoring) -> np.ndarray:
    """[N, K] of each sentence what the measures are functions of; not a number where there is none, as of
    sums that need a reference."""
    sums = np.full((len(encoded), len(measures.columns())), np.nan)
    sent, texts = [e.source[1:-1] for e in encoded], [e.sentence.text for e in encoded]
    for needed in measures.all_sums():
        column = sums[:, measures.slices()[needed.columns]]
        if isinstance(needed, TokenSum):
            if needed.name in decoded.token_sums:
                column[:, 0] = decoded.token_sums[needed.name]
        elif isinstance(needed, PieceSum):
            column[:, 0] = [needed.of(ours, theirs) for ours, theirs in zip(decoded.pieces, sent)]
        elif not needed.compares:
            column[:] = needed.of(scoring, decoded.texts, texts)
    return sums


def score(decoded: Decoded, encoded: Sequence[Encoded], scoring: TextScoring) -> Row:
    """The measures that need no reference over the sentences, None where one cannot be had."""
    return _score(sums_of(decoded, encoded, scoring))


def _score(sums: np.ndarray) -> Row:
    """sums: [N, K] of N sentences."""
    values = measures.of_sentences(sums, measures.alone())
    found = {name: None if np.isnan(value) else float(value) for name, value in values.items()}
    return {**found, "sentences": len(sums)}


def score_all(
    entrants: Sequence[Entrant],
    encoded: Sequence[Encoded],
    vocabulary: Vocabulary,
    meeting: Meeting,
    known: Mapping[str, list[Decoded]] = MappingProxyType({}),
) -> tuple["pd.DataFrame", dict[str, list[Decoded]]]:
    """Rows of ``score``: each entrant at each SNR, over all sentences and over those of each topic; and the
    decodings, of an entrant whose model stands under another label too made once.

    known: by label, decodings that are there already.

    Rows of topic ``SEEN`` and ``UNSEEN`` sum up the topics that every entrant has seen and the others: one
    partition for all.
    """
    import pandas as pd

    rows: list[Row] = []
    decodings: dict[str, list[Decoded]] = {}
    seen = [e.seen_topics for e in entrants if e.seen_topics is not None]
    groups = _by_topic(encoded, frozenset.intersection(*seen) if seen else None)
    for entrant in entrants:
        same = [e.label for e in entrants if e.model is entrant.model and e.label in decodings]
        if entrant.label in known:
            decodings[entrant.label] = known[entrant.label]
        elif same:
            decodings[entrant.label] = decodings[same[0]]
        else:
            decodings[entrant.label] = decode(entrant, encoded, vocabulary, meeting)
        for snr, decoded in zip(meeting.snrs, decodings[entrant.label]):
            common = {"model": entrant.label, "channel": str(meeting.channel), "snr": float(snr)}
            sums = sums_of(decoded, encoded, meeting.scoring)
            rows.append({**common, "topic": "", **_score(sums)})
            for topic, keep in groups.items():
                rows.append({**common, "topic": topic, **_score(sums[keep])})
    return pd.DataFrame(rows), decodings


def _by_topic(encoded: Sequence[Encoded], seen: frozenset[str] | None) -> dict[str, list[int]]:
    """Places of the sentences of each topic, and of those of topics seen and not; one without topic is in
    none."""
    import pandas as pd

    topics = pd.Series([e.sentence.topic for e in encoded], dtype=object).dropna()
    groups = {topic: of_one.index.tolist() for topic, of_one in topics.groupby(topics)}
    if seen is not None:
        known = topics.isin(seen).map({True: SEEN, False: UNSEEN})
        groups |= {name: of_one.index.tolist() for name, of_one in topics.groupby(known)}
    return dict(sorted(groups.items()))


def floor_score(encoded: Sequence[Encoded], scoring: TextScoring) -> Row:
    """``score`` of each reference against another test sentence of the same length (or the nearest): what no
    understanding exceeds. At least two sentences."""
    partner = text_metrics.shuffled_partners([len(e.source) for e in encoded])
    other = Decoded(
        [encoded[i].sentence.text for i in partner],
        [encoded[i].source[1:-1] for i in partner],
    )
    return score(other, encoded, scoring)


@torch.inference_mode()
def least_sure(model: Transceiver, sentence: Encoded) -> Tensor:
    """[V] logits, on the CPU, at the place of a sentence received without noise where the receiver is least
    sure of the next piece."""
    batch = collate([sentence]).to(next(model.parameters()).device)
    signal, _ = model.transmitter(batch.source, batch.source_mask)
    heard = heard_by(model.receiver, signal, NOISELESS)
    states = model.receiver(heard, batch.source_mask, batch.target_in)[0]
    logits = model.receiver.project(states).double().cpu()
    logs = logits.log_softmax(-1)
    return logits[int((logs.exp() * logs).sum(-1).argmin())]
