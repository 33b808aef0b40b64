"""One sentence over a channel, and what several receivers make of it: words, symbols, attention.

Letters: S source tokens, T pieces understood, C real channel dimensions a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from semcom.base.errors import SemcomError
from semcom.channel.channels import Channel
from semcom.channel.observation import complex_symbols
from semcom.data import batching
from semcom.data.batching import Batch
from semcom.data.cleaning import clean
from semcom.data.languages import language_of
from semcom.data.sentences import Sentence, make_sentence
from semcom.data.vocabulary import BOS, Vocabulary
from semcom.data.word_vocabulary import WordVocabulary
from semcom.evaluation import lost_words, text_metrics
from semcom.evaluation.text_scoring import TextScoring, scoring_for
from semcom.evaluation.word_rules import WordRules, rules_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.link import Transmission, send
from semcom.models.protocols import Receiver

GREEDY = Search()
Words = tuple[tuple[str, bool], ...]
"""Words of a text in their order, and of each whether the other text has it too."""


@dataclass(frozen=True)
class Heard:
    """What one receiver made of the sentence.

    sent: the text as its vocabulary gives it to the transmitter. text: what it understood. marked: the words
    sent, and whether each arrived; said: the words understood, and whether each was sent. lost: words that
    did not arrive. score: sacrebleu's chrF of ``text`` beside ``sent``, 0 to 100 (with words in it where the
    script has blanks). signal, received: [S, C/2] complex, what its transmitter sent, and what is left of it
    after the channel and the equaliser. attention: [T, S], from which symbols it took each piece, rows sum to
    1 (see ``protocols.Receiver.attention``); None where it does not attend. pieces: T names of the pieces
    understood; symbols: S names of the tokens whose symbols were sent.
    """

    label: str
    sent: str
    text: str
    marked: Words
    said: Words
    lost: int
    score: float
    signal: np.ndarray
    received: np.ndarray
    attention: np.ndarray | None
    pieces: tuple[str, ...]
    symbols: tuple[str, ...]


# Six arguments and the search: whose link, what is sent, over what, at which SNR, under which draw.
def hear(
    models: Mapping[str, Checkpoint],
    text: str | Sentence,
    channel: Channel,
    snr: float,
    seed: int,
    search: Search = GREEDY,
) -> list[Heard]:
    """What the receiver of each of ``models`` (by label) makes of one sentence that its own transmitter sends
    over ``channel`` at ``snr`` dB.

    text: as typed, or what ``as_sent`` has made of it. All meet the draw that the sentence has under ``seed``
    wherever this package measures it. Raises SemcomError for an empty or too long sentence.
    """
    sentence = as_sent(text, [c.vocabulary for c in models.values()])
    if not sentence.text:
        raise SemcomError('the sentence is empty; give one, such as "We support this report."')
    scoring, rules = ways_of(sentence.text)
    found = []
    for label, c in models.items():
        sending = transmitted(c, sentence, channel, [snr], seed)
        beside = Beside(c.vocabulary, sentence.text, scoring, rules)
        found.append(_heard(label, c, sending, beside, search))
    return found


def _heard(
    label: str, c: Checkpoint, sending: tuple[Batch, Transmission], beside: "Beside", search: Search
) -> Heard:
    batch, sent = sending
    receiver, vocabulary = c.model.receiver, c.vocabulary
    with torch.inference_mode():
        given = sent.heard_by(receiver)[0]
        pieces = search(receiver, given, batch.source_mask)[0]
        attention = attention_of(receiver, given, batch.source_mask, pieces)
    text = vocabulary.decode([pieces])[0]
    marked, said = beside.marked(text)
    return Heard(
        label=label,
        sent=beside.sent,
        text=text,
        marked=marked,
        said=said,
        lost=sum(not arrived for _, arrived in marked),
        score=float(beside.scores([text])[0]),
        signal=complex_symbols(sent.signal)[0].cpu().numpy(),
        received=complex_symbols(sent.received[0][0])[0].cpu().numpy(),
        attention=attention,
        pieces=tuple(vocabulary.spelled(pieces)),
        symbols=tuple(vocabulary.spelled(batch.source[0].tolist())),
    )


def as_sent(typed: str | Sentence, vocabularies: Sequence[Vocabulary]) -> Sentence:
    """The sentence of what was typed, cleaned, under the id by which measurements draw what it meets."""
    if isinstance(typed, Sentence):
        return typed
    text = clean(typed)
    of_words = [vocabulary for vocabulary in vocabularies if isinstance(vocabulary, WordVocabulary)]
    drawn = make_sentence(of_words[0].normalize(text) if of_words else text)
    return replace(drawn, text=text)


def ways_of(text: str) -> tuple[TextScoring, WordRules]:
    """How a text of its language is scored and divided into words."""
    language = language_of([text])
    return scoring_for([text], language), rules_of(language)


# Six arguments: who sends what over which channel, at which SNRs, under which draws.
def transmitted(
    checkpoint: Checkpoint,
    sentence: Sentence,
    channel: Channel,
    snrs: Sequence[float],
    seed: int,
    numbers: Sequence[int] = (0,),
) -> tuple[Batch, Transmission]:
    """A batch of the one sentence, and what arrives of it under each draw at each SNR."""
    model = checkpoint.model
    batch = batching.collate(batching.encode([sentence], checkpoint.vocabulary))
    # An end that another program runs has no parameters.
    batch = batch.to(next((weights.device for weights in model.parameters()), "cpu"))
    with torch.inference_mode():
        return batch, send(model.transmitter, batch, channel, snrs, seed=seed, numbers=numbers)


def attention_of(
    receiver: Receiver, given: Tensor, source_mask: Tensor, pieces: Sequence[int]
) -> np.ndarray | None:
    """[T, S] of the T ``pieces`` it said; None where it does not attend. given: [1, S, ..], mask [1, S]."""
    target_in = torch.tensor([[BOS, *pieces]], device=given.device)
    attention = receiver.attention(given, source_mask, target_in)
    return None if attention is None else attention[0, :-1].cpu().numpy()


class Beside:
    """The sentence as one vocabulary gives it to the transmitter, beside what is understood of it."""

    def __init__(self, vocabulary: Vocabulary, text: str, scoring: TextScoring, rules: WordRules):
        self.sent = vocabulary.normalize(text)
        self.scoring, self.rules = scoring, rules
        self.words = lost_words.Sent([scoring.normalize(self.sent)], rules)

    def marked(self, understood: str) -> tuple[Words, Words]:
        """The words sent, and whether each arrived; the words understood, and whether each was sent."""
        text = self.scoring.normalize(understood)
        lost, added = self.words.lost([text])[0], lost_words.lost(text, self.words.texts[0], self.rules)
        sent = zip(self.words.words[0], lost)
        said = zip(self.rules.words(text), added)
        return tuple((word, not it) for word, it in sent), tuple((word, not it) for word, it in said)

    def arrived(self, understood: Sequence[str]) -> np.ndarray:
        """[N] the share of the words sent that arrived in each text, 0 to 1."""
        each = [self.words.lost([self.scoring.normalize(text)])[0] for text in understood]
        return np.array([1 - sum(lost) / max(1, len(lost)) for lost in each])

    def scores(self, understood: Sequence[str]) -> np.ndarray:
        """[N] sacrebleu's chrF of each text, 0 to 100."""
        return text_metrics.chrf_of(self.scoring.chrf_statistics(understood, [self.sent] * len(understood)))
