"""The same sentences and the same draws through several transceivers: what each understood, and its scores as
rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from semcom.base.distributed import ALONE, Processes
from semcom.channel.channels import Channel
from semcom.data.batching import Batch, Encoded, by_length, collate
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import losses
from semcom.evaluation import text_metrics
from semcom.models.decoding import Search
from semcom.models.link import send
from semcom.models.transceiver import Transceiver

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, object]
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

    processes: batches are dealt out among them; what is found is the same on each.
    """

    channel: Channel
    snrs: Sequence[float]
    seed: int
    device: torch.device
    batch_size: int
    quiet: bool = False
    processes: Processes = ALONE
    search: Search = Search()


@dataclass
class Decoded:
    """What one entrant understood at one SNR, in the order of the sentences. cross_entropy: nats a target
    token."""

    texts: list[str]
    pieces: list[list[int]]
    cross_entropy: list[float] = field(default_factory=list)


def _batches(encoded: Sequence[Encoded], meeting: Meeting, what: str) -> Iterator[Batch]:
    share = meeting.processes.share(by_length(encoded, meeting.batch_size))
    for batch in tqdm(
        share,
        desc=what,
        unit="batch",
        disable=meeting.quiet or not meeting.processes.is_main,
        leave=False,
        dynamic_ncols=True,
    ):
        yield batch.to(meeting.device)


def through_channel(model: Transceiver, batch: Batch, meeting: Meeting) -> list[Tensor]:
    """What arrives of each sentence at each SNR; the transmitter runs once, all SNRs share its draw."""
    return send(model.transmitter, batch, meeting.channel, meeting.snrs, seed=meeting.seed).received[0]


@torch.inference_mode()
def decode(
    entrant: Entrant, encoded: Sequence[Encoded], vocabulary: Vocabulary, meeting: Meeting
) -> list[Decoded]:
    """Decodings of all sentences, one ``Decoded`` an SNR; all SNRs of a batch are decoded together."""
    model = entrant.model.to(meeting.device).eval()
    pieces: list[dict[int, list[int]]] = [{} for _ in meeting.snrs]
    entropy: list[dict[int, float]] = [{} for _ in meeting.snrs]
    for batch in _batches(encoded, meeting, f"decoding {entrant.label}"):
        arrived = through_channel(model, batch, meeting)
        everything = meeting.search(
            model.receiver, torch.cat(arrived), batch.source_mask.repeat(len(arrived), 1)
        )
        for k, at_snr in enumerate(arrived):
            state = model.receiver(at_snr, batch.source_mask, batch.target_in)
            rows = losses.cross_entropy(
                model.receiver.project(state[batch.target_mask]), batch.target_out[batch.target_mask]
            )
            for i, sentence in enumerate(batch.sentences):
                pieces[k][sentence.id] = everything[k * len(batch) + i]
            for sentence, part in zip(batch.sentences, rows.split(batch.target_lengths)):
                entropy[k][sentence.id] = float(part.double().sum())
    pieces, entropy = (_joined(by_snr, meeting) for by_snr in (pieces, entropy))
    results = []
    for by_id, nats in zip(pieces, entropy):
        ordered = [by_id[e.sentence.id] for e in encoded]
        results.append(Decoded(vocabulary.decode(ordered), ordered, [nats[e.sentence.id] for e in encoded]))
    return results


def _joined(by_snr: list[dict], meeting: Meeting) -> list[dict]:
    """What all processes found, one dictionary an SNR."""
    return [
        {key: value for part in parts for key, value in part.items()}
        for parts in zip(*meeting.processes.gather(by_snr))
    ]


def score(decoded: Decoded, encoded: Sequence[Encoded], keep: Sequence[int] | None = None) -> Row:
    """BLEU, token accuracy, share of exact sentences and cross-entropy over the sentences at ``keep``
    (default all)."""
    keep = range(len(encoded)) if keep is None else keep
    references = [encoded[i].source[1:-1] for i in keep]
    tokens = sum(len(r) + 1 for r in references)
    matches = sum(text_metrics.token_matches(decoded.pieces[i], r) for i, r in zip(keep, references))
    return {
        "bleu": text_metrics.bleu([decoded.texts[i] for i in keep], [encoded[i].sentence.text for i in keep]),
        "token_accuracy": matches / tokens,
        "exact": sum(decoded.pieces[i] == r for i, r in zip(keep, references)) / len(keep),
        "cross_entropy": sum(decoded.cross_entropy[i] for i in keep)
        / sum(encoded[i].target_tokens for i in keep),
        "sentences": len(keep),
    }


def score_all(
    entrants: Sequence[Entrant], encoded: Sequence[Encoded], vocabulary: Vocabulary, meeting: Meeting
) -> tuple["pd.DataFrame", dict[str, list[Decoded]]]:
    """Rows of ``score``: each entrant at each SNR, over all sentences and over those of each topic; and the
    decodings.

    Rows of topic ``SEEN`` and ``UNSEEN`` sum up the topics that every entrant has seen and the others: one
    partition for all.
    """
    import pandas as pd

    rows: list[Row] = []
    decodings = {}
    known = [e.seen_topics for e in entrants if e.seen_topics is not None]
    groups = _by_topic(encoded, frozenset.intersection(*known) if known else None)
    for entrant in entrants:
        decodings[entrant.label] = decode(entrant, encoded, vocabulary, meeting)
        for snr, decoded in zip(meeting.snrs, decodings[entrant.label]):
            common = {"model": entrant.label, "channel": str(meeting.channel), "snr": float(snr)}
            rows.append({**common, "topic": "", **score(decoded, encoded)})
            for topic, keep in groups.items():
                rows.append({**common, "topic": topic, **score(decoded, encoded, keep)})
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


def floor_score(encoded: Sequence[Encoded]) -> Row:
    """``score`` of each reference against another test sentence of the same length (or the nearest): what no
    understanding exceeds. At least two sentences."""
    partner = text_metrics.shuffled_partners([len(e.source) for e in encoded])
    other = Decoded(
        [encoded[i].sentence.text for i in partner],
        [encoded[i].source[1:-1] for i in partner],
        [0.0] * len(encoded),
    )
    return {**score(other, encoded), "cross_entropy": None}


@torch.inference_mode()
def least_sure(model: Transceiver, sentence: Encoded) -> Tensor:
    """[V] logits, on the CPU, at the place of a sentence received without noise where the receiver is least
    sure of the next piece."""
    batch = collate([sentence]).to(next(model.parameters()).device)
    signal, _ = model.transmitter(batch.source, batch.source_mask)
    logits = (
        model.receiver.project(model.receiver(signal, batch.source_mask, batch.target_in)[0]).double().cpu()
    )
    logs = logits.log_softmax(-1)
    return logits[int((logs.exp() * logs).sum(-1).argmin())]
