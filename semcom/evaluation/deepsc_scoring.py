"""The audit: one model scored as the public DeepSC script scores it and as this tool does, one habit changed
at a time.

The public script is ``performance.py`` of the PyTorch code of Xie et al. 2021 (arXiv 2006.10685). Each of
``HABITS`` changes one thing in what stands above it, so what a habit is worth depends on the order. Every
sentence keeps its own draw from the first to the last, so that differences are the habits' and not the
draws'. Letters: B sentences, S source tokens, C real channel dimensions a token.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from semcom.base import progress
from semcom.channel import deepsc_link
from semcom.channel.channels import Channel
from semcom.channel.deepsc_link import PublicFading, PublicLink
from semcom.channel.draws import Draw, sample
from semcom.data import batching
from semcom.data.batching import Batch, Encoded
from semcom.data.languages import length
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import UNKNOWN, WordVocabulary
from semcom.evaluation.scores import Entrant, Meeting, decode
from semcom.evaluation.text_scoring import TextScoring
from semcom.models.channel_parts import normalize_power
from semcom.models.decoding import greedy, length_limit, until_eos
from semcom.models.link import heard_by
from semcom.models.transceiver import Receiver, Transceiver

PUBLIC_BATCH = 64  # sentences that share a fade and a power there
PUBLIC_TOKENS = 29  # decoded there at most: MAX_LENGTH 30 with START
PAD_NOISE = 1  # draw number of the noise on padded positions, where a sentence's own draw has none
PER_REAL = math.sqrt(2)  # a signal of power 1 per real dimension, in ours of power 1 per complex symbol
TWICE_DB = 10 * math.log10(2)
FORCED, PUBLIC, RIGHT_WAY_ROUND, CORPUS, BLEU_4, MASKED, LIMIT, POWER, FADES, UNIT_FADES, PER_COMPLEX = range(
    11
)
HABITS = {
    FORCED: "teacher-forced argmax, as some forks do",
    PUBLIC: "the public script",
    RIGHT_WAY_ROUND: "reference and hypothesis the right way round",
    CORPUS: "BLEU-1 of the corpus, not a mean over sentences",
    BLEU_4: "BLEU-4 of the text (sacrebleu)",
    MASKED: "source mask in decoding too",
    LIMIT: f"at most 1.5 S + 10 tokens, not {PUBLIC_TOKENS}",
    POWER: "power per sentence, over its own tokens",
    FADES: "one fade a sentence, not one a batch",
    UNIT_FADES: "E|h|^2 = 1, not 2",
    PER_COMPLEX: "SNR per complex symbol, not 3.01 dB above it",
}
"""Row -> the habit changed there; the first stands apart."""


def unigram_bleu(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU-1 of words, 0 to 1; of one sentence, its sentence BLEU-1: clipped unigram precision times
    exp(1 - r/c) where the hypotheses' c words are fewer than the references' r (Papineni et al. 2002). 0
    without a match, as nltk has it."""
    matches = sum((Counter(h) & Counter(r)).total() for h, r in zip(hypotheses, references))
    c, r = (sum(map(len, side)) for side in (hypotheses, references))
    return matches / c * math.exp(min(0.0, 1 - r / c)) if matches else 0.0


def mean_unigram_bleu(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """The mean over sentences of their BLEU-1, 0 to 1."""
    return sum(unigram_bleu([h], [r]) for h, r in zip(hypotheses, references)) / len(hypotheses)


def public_words(text: str, vocabulary: Vocabulary) -> list[str]:
    """The words of decoded text that the public score sees: tags such as <UNK> vanish, and so does the empty
    word, our full stop."""
    if isinstance(vocabulary, WordVocabulary):
        return [word for token in text.split() if (word := token.rstrip(".")) not in ("", UNKNOWN)]
    return re.sub("<[^>]+>", "", text).split()


def without_blanks(texts: Sequence[str]) -> bool:
    """Whether blanks leave most of the words of these texts undivided, so that the public score takes whole
    sentences for words."""
    between_blanks, read = (sum(length(text, unit) for text in texts) for unit in ("words", "auto"))
    return 2 * between_blanks < read


@dataclass
class Link:
    """What was understood of each sentence over the public link, for each SNR, and what the power rule met.

    forced: argmax on gold prefixes; public: greedy without source mask; masked: with it, and up to the larger
    of both limits; scaled: the same after power per sentence, up to our limit. roots: root mean square of
    each batch before scaling.
    """

    forced: list[list[list[int]]]
    public: list[list[list[int]]]
    masked: list[list[list[int]]]
    scaled: list[list[list[int]]]
    roots: list[float]

    @classmethod
    def at(cls, snrs: int) -> "Link":
        """Of as many SNRs, before a sentence is sent."""

        def nothing() -> list[list[list[int]]]:
            return [[] for _ in range(snrs)]

        return cls(nothing(), nothing(), nothing(), nothing(), [])


def public_draw(batch: Batch, channel: Channel, width: int, seed: int) -> Draw:
    """Each sentence's own draw, but for one fade, its first sentence's, and noise on padded positions too."""
    draw = batch.draw(channel, width, seed=seed, number=0)
    size = batch.source.shape[1]
    ids = [sentence.id for sentence in batch.sentences]
    padding = sample(ids, [size] * len(batch), width, seed=seed, number=PAD_NOISE).to(draw.noise.device)
    return replace(
        draw,
        scatter=draw.scatter[:1].expand(len(batch), 2),
        noise=torch.where(batch.source_mask[..., None], draw.noise, padding.noise),
    )


def counterpart(channel: Channel) -> PublicLink:
    """Its link in the public code. Raises ValueError where there is none."""
    if channel.public_link is None:
        raise ValueError(f"the public code has no channel {channel.name!r}")
    return channel.public_link


def arrivals(signal: Tensor, draw: Draw, meeting: Meeting) -> list[Tensor]:
    """What arrives of ``signal`` [B, S, C], in the public code's units, at each of its SNRs; in our units,
    which the receiver takes."""
    link = counterpart(meeting.channel)
    h = link.fades_as_ours(draw.scatter)
    return [link.receive(signal, h, draw.noise, snr) / PER_REAL for snr in meeting.snrs]


def reading_order(encoded: Sequence[Encoded], meeting: Meeting) -> Iterator[Batch]:
    """Batches of neighbours, as the public script forms them."""
    starts = range(0, len(encoded), PUBLIC_BATCH)
    for start in progress.each(starts, "the public way", quiet=meeting.quiet):
        yield batching.collate(encoded[start : start + PUBLIC_BATCH]).to(meeting.device)


@torch.inference_mode()
def over_public_link(model: Transceiver, encoded: Sequence[Encoded], meeting: Meeting) -> Link:
    """What ``model`` understands of the sentences, in their order, over the public link.

    A pad that the receiver says is a token like others here, where the public code would mask it; trained
    models say none.
    """
    model = model.to(meeting.device).eval()
    link = Link.at(len(meeting.snrs))
    by_greedy = partial(greedy, compiled=meeting.search.compiled)

    def collect(found: list[list[list[int]]], decoded: Sequence[list[int]], size: int) -> None:
        for k, at_snr in enumerate(found):
            at_snr += decoded[k * size : (k + 1) * size]

    for batch in reading_order(encoded, meeting):
        mask = batch.source_mask
        raw = model.transmitter.channel_encoder(model.transmitter.encoder(batch.source, mask)).float()
        link.roots.append(float(raw.square().mean().sqrt()))
        draw = public_draw(batch, meeting.channel, raw.shape[2], meeting.seed)
        arrived = torch.cat(arrivals(deepsc_link.scale_power(raw), draw, meeting))
        scaled = torch.cat(arrivals(normalize_power(raw, mask) * PER_REAL, draw, meeting))
        masks = mask.repeat(len(meeting.snrs), 1)
        arrived, scaled = (_heard_by(model.receiver, x, meeting) for x in (arrived, scaled))
        ours = [length_limit(n) for n in batch.lengths] * len(meeting.snrs)
        collect(link.forced, _teacher_forced(model, arrived, batch, masks), len(batch))
        collect(
            link.public,
            by_greedy(model.receiver, arrived, torch.ones_like(masks), [PUBLIC_TOKENS] * len(masks)),
            len(batch),
        )
        collect(
            link.masked,
            by_greedy(model.receiver, arrived, masks, [max(limit, PUBLIC_TOKENS) for limit in ours]),
            len(batch),
        )
        collect(link.scaled, by_greedy(model.receiver, scaled, masks), len(batch))
    return link


def _heard_by(receiver: Receiver, arrived: Tensor, meeting: Meeting) -> Tensor:
    """What the receiver is given of ``arrivals`` of all SNRs, one after the other: told is the SNR per
    complex symbol that a label stands for, where the power rule acts."""
    more = TWICE_DB + 10 * math.log10(counterpart(meeting.channel).power)
    told = torch.tensor([snr + more for snr in meeting.snrs])
    return heard_by(receiver, arrived, told.repeat_interleave(len(arrived) // len(told)))


def _teacher_forced(model: Transceiver, arrived: Tensor, batch: Batch, masks: Tensor) -> list[list[int]]:
    """The most probable piece behind each gold prefix, at the places of the sentence's own pieces, until
    eos."""
    found = []
    for received, mask in zip(arrived.split(len(batch)), masks.split(len(batch))):
        state = model.receiver(received, mask, batch.target_in)
        # Of real tokens alone: logits of all would be [B, T, V].
        pieces = model.receiver.project(state[batch.target_mask]).argmax(-1)
        found += [until_eos(said.tolist()) for said in pieces.split(batch.target_lengths)]
    return found


def link_scores(
    link: Link, encoded: Sequence[Encoded], vocabulary: Vocabulary, scoring: TextScoring
) -> dict[int, list[float]]:
    """Row -> scores by SNR, 0 to 100, of all that the public link alone decides."""
    texts = [e.sentence.text for e in encoded]
    sent = [public_words(text, vocabulary) for text in vocabulary.decode([e.said[1:-1] for e in encoded])]
    limits = [length_limit(len(e.source)) for e in encoded]

    def words_of(said: list[list[int]]) -> list[list[str]]:
        return [public_words(text, vocabulary) for text in vocabulary.decode(said)]

    def bleu(said: list[list[int]]) -> float:
        return scoring.bleu(vocabulary.decode(said), texts)

    return {
        FORCED: [100 * mean_unigram_bleu(sent, words_of(said)) for said in link.forced],
        PUBLIC: [100 * mean_unigram_bleu(sent, words_of(said)) for said in link.public],
        RIGHT_WAY_ROUND: [100 * mean_unigram_bleu(words_of(said), sent) for said in link.public],
        CORPUS: [100 * unigram_bleu(words_of(said), sent) for said in link.public],
        BLEU_4: [bleu(said) for said in link.public],
        MASKED: [bleu([pieces[:PUBLIC_TOKENS] for pieces in said]) for said in link.masked],
        LIMIT: [bleu([pieces[:limit] for pieces, limit in zip(said, limits)]) for said in link.masked],
        POWER: [bleu(said) for said in link.scaled],
    }


def excess_db(link: PublicLink) -> dict[int, float]:
    """Rows that our own link makes -> dB by which a label of them lies below the SNR that it stands for.

    The public code's unit power and noise 1/(2 SNR) per real dimension are 3.01 dB above SNR per complex
    symbol; known block fading with E|h|^2 = 2, twice our h, is another 3.01 dB. So nothing but the SNR
    differs between these rows.
    """
    excess = {}
    if isinstance(link, PublicFading):
        excess[FADES] = TWICE_DB + 10 * math.log10(link.power)
    if link.power != 1:
        excess[UNIT_FADES] = TWICE_DB
    return excess | {PER_COMPLEX: 0.0}


def scores(
    model: Transceiver,
    encoded: Sequence[Encoded],
    vocabulary: Vocabulary,
    meeting: Meeting,
    link: Link | None = None,
) -> dict[int, list[float]]:
    """Row of ``HABITS`` -> scores by SNR, 0 to 100. The last is ``scores.score``'s BLEU, and FADES and
    UNIT_FADES need a channel that fades.

    encoded: the sentences in reading order. link: ``over_public_link`` of the same, where it is there
    already.
    """
    found = link_scores(
        link or over_public_link(model, encoded, meeting), encoded, vocabulary, meeting.scoring
    )
    texts = [e.sentence.text for e in encoded]
    for row, db in excess_db(counterpart(meeting.channel)).items():
        decoded = decode(
            Entrant(f"row {row}", model),
            encoded,
            vocabulary,
            replace(meeting, snrs=[snr + db for snr in meeting.snrs]),
        )
        found[row] = [meeting.scoring.bleu(d.texts, texts) for d in decoded]
    return found


def changes(found: dict[int, list[float]]) -> dict[int, list[float]]:
    """Row -> by SNR, its score less that of the row above; the first two change nothing."""
    chain = [row for row in found if row != FORCED]
    return {
        row: [here - there for here, there in zip(found[row], found[above])]
        for above, row in zip(chain, chain[1:])
    }


def power_line(roots: Sequence[float]) -> str:
    """What the public power rule did to the batches, of these root mean squares per real dimension."""
    active = sum(root > 1 for root in roots)
    line = (
        f"public power rule: scaled down {active} of {len(roots)} batches (root mean square "
        f"{min(roots):.3g} to {max(roots):.3g} per real dimension before it; it acts above 1)"
    )
    if active == len(roots):
        return line
    weaker = -20 * math.log10(max(min(roots), 1e-12))
    return line + f"; what it left alone went out as it was, up to {weaker:.1f} dB weaker than labelled"
