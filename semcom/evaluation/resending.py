"""A sentence sent twice where the receiver is unsure of it: what a bit of feedback is worth, beside what the
same channel uses bring without it.

Letters: N sentences, K sums of a sentence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log10

import numpy as np
import torch

from semcom.data.batching import Encoded, by_length
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import losses
from semcom.evaluation import bootstrap, measures, text_metrics
from semcom.evaluation.intervals import Interval
from semcom.evaluation.scores import Decoded, Entrant, Meeting, Row, decode, score, sums_of, through_channel
from semcom.evaluation.sums import TO_SENT

BELOW, RANDOM, ORACLE, STRONGER = "below threshold", "at random", "oracle", "more energy"
POLICIES = {
    BELOW: "sent again where the receiver's own mean log-probability a token is below a threshold",
    RANDOM: "as many channel uses again, of any sentences: measures of the mean counts over all choices",
    ORACLE: "as many channel uses again at most, where the second decoding is known to gain, the most "
    "sentence BLEU a channel use first; no worse than below threshold",
    STRONGER: "all sent once, with as much energy",
}
"""Ways to spend the same channel uses -> what they are."""
REPLICATES = 1000


@dataclass(frozen=True)
class Resending:
    """Sentences that one entrant may be sent a second time. validation: those that thresholds are set on,
    none of which is measured. once: what ``scores.decode`` made of the ``encoded``, an SNR each."""

    entrant: Entrant
    validation: Sequence[Encoded]
    encoded: Sequence[Encoded]
    once: Sequence[Decoded]
    vocabulary: Vocabulary
    meeting: Meeting

    def rows(self, shares: Sequence[float]) -> list[Row]:
        """Rows as ``scores.score_all`` has them, one for each SNR, share and policy, over all sentences.

        shares: of the validation sentences, as many are below a threshold. Beside the measures a row has its
        ``policy``, ``share``, ``threshold`` in nats, ``resent`` (of the sentences), ``channel_uses`` (over
        those of sending once), and of the first policy the gain in BLEU over random resending, an
        ``Interval``.
        """
        limits = self.thresholds(shares)
        receptions = self._receptions()
        asked = [[one.sureness < limit for limit in at_snr] for one, at_snr in zip(receptions, limits)]
        stronger = self._stronger([[one.uses(a) for a in at_snr] for one, at_snr in zip(receptions, asked)])
        found: list[Row] = []
        for snr, one, at_snr, again in zip(self.meeting.snrs, receptions, limits, asked):
            for share, limit, resent in zip(shares, at_snr, again):
                of_share = one.policies(resent, self.meeting.seed)
                of_share.append(one.row(STRONGER, resent, next(stronger)))
                common = {**self._where(snr), "share": share, "threshold": float(limit)}
                found += [{**common, **row} for row in of_share]
        return found

    def thresholds(self, shares: Sequence[float]) -> np.ndarray:
        """[SNRs, shares] in nats: quantiles of the sureness of validation sentences."""
        decoded = decode(self.entrant, self.validation, self.vocabulary, self.meeting)
        found = sureness(self.entrant, self.validation, decoded, self.meeting)
        return np.quantile(found, shares, axis=1).T

    def _where(self, snr: float) -> Row:
        channel = str(self.meeting.channel)
        return {"model": self.entrant.label, "channel": channel, "snr": float(snr), "topic": ""}

    def _receptions(self) -> "list[_Receptions]":
        scoring, channel = self.meeting.scoring, self.meeting.channel
        each = self.entrant.model.architecture.channel_dim // 2
        costs = np.array([float(channel.uses(len(e.source) * each)) for e in self.encoded])
        sure = sureness(self.entrant, self.encoded, self.once, self.meeting)
        both = replace(self.meeting, receptions=2)
        twice = decode(self.entrant, self.encoded, self.vocabulary, both)
        return [
            _Receptions(costs, of_snr, *(sums_of(d, self.encoded, scoring) for d in decodings))
            for of_snr, *decodings in zip(sure, self.once, twice)
        ]

    def _stronger(self, uses: Sequence[Sequence[float]]) -> Iterator[Row]:
        """Measures of sending all once, with the energy of so many channel uses, [SNRs, shares] one after the
        other."""
        snrs = [snr + 10 * log10(more) for snr, at_snr in zip(self.meeting.snrs, uses) for more in at_snr]
        meeting = replace(self.meeting, snrs=snrs)
        for decoded in decode(self.entrant, self.encoded, self.vocabulary, meeting):
            yield score(decoded, self.encoded, meeting.scoring)


@dataclass(frozen=True)
class _Receptions:
    """What N sentences came to at one SNR. costs: [N] channel uses of each. sureness: [N]. once, twice:
    [N, K], ``sums_of`` what was decoded of one reception and of two."""

    costs: np.ndarray
    sureness: np.ndarray
    once: np.ndarray
    twice: np.ndarray

    def uses(self, again: np.ndarray) -> float:
        """Channel uses, over those of sending once. again: [N], how often each sentence is sent again."""
        return 1 + float(self.costs @ again) / float(self.costs.sum())

    def policies(self, asked: np.ndarray, seed: int) -> list[Row]:
        """Of those that send again, where the receiver asks for the sentences ``asked``, [N]."""
        below, random = asked.astype(float), np.full(len(asked), self.uses(asked) - 1)
        oracle = self.oracle(asked).astype(float)
        rows = [self.row(name, again) for name, again in ((BELOW, below), (RANDOM, random), (ORACLE, oracle))]
        rows[0]["bleu_over_random"] = self._gain(below, seed)
        return rows

    def row(self, policy: str, again: np.ndarray, measured: Row | None = None) -> Row:
        """measured: the measures, where they are not those of what is decoded after sending ``again``."""
        resent = {"resent": 0.0 if measured else float(np.mean(again)), "channel_uses": self.uses(again)}
        return {"policy": policy, **resent, **(measured or self._measures(again))}

    def oracle(self, asked: np.ndarray) -> np.ndarray:
        """[N] for no more channel uses than the sentences ``asked`` take, those whose sentence BLEU the
        second decoding raises most a channel use. As BLEU of summed counts is no mean of theirs, the
        ``asked`` ones, or of these the ones that gain, where BLEU is higher so."""
        gains = self.gains()
        order = np.argsort(-gains / self.costs, kind="stable")
        greedy = np.zeros(len(order), bool)
        left = float(self.costs @ asked) * (1 + 1e-9)
        for place in order[gains[order] > 0]:
            if self.costs[place] <= left:
                greedy[place] = True
                left -= self.costs[place]
        ways = [greedy, asked & (gains > 0), asked.astype(bool)]
        return ways[int(np.argmax([self._bleu(again.astype(float)) for again in ways]))]

    def gains(self) -> np.ndarray:
        """[N] in sentence BLEU, by which the second decoding is better than the first."""
        once, twice = (
            text_metrics.bleu_of(sums[:, measures.slices()[TO_SENT.columns]])
            for sums in (self.once, self.twice)
        )
        return np.nan_to_num(twice - once)

    def _bleu(self, again: np.ndarray) -> float:
        return float(measures.of_sentences(self._kept(again), [measures.named("bleu")])["bleu"])

    def _measures(self, again: np.ndarray) -> Row:
        once = np.ones((1, len(again)))
        values = measures.of_sentences(self._kept(again), measures.alone(), once)
        found = {name: None if np.isnan(value[0]) else float(value[0]) for name, value in values.items()}
        return {**found, "sentences": len(again)}

    def _kept(self, again: np.ndarray) -> np.ndarray:
        """[N, K]: of what is sent again, the second decoding counts."""
        return (1 - again)[:, None] * self.once + again[:, None] * self.twice

    def _gain(self, below: np.ndarray, seed: int) -> Interval | None:
        """In BLEU over random resending at as many channel uses, with the interval over sentences."""
        weights = bootstrap.resamples(len(below), REPLICATES, seed)
        bleu = [measures.named("bleu")]
        ours = measures.of_sentences(self._kept(below), bleu, weights)["bleu"]
        # Random resending spends in each sample of sentences what the receiver asks for there.
        share = (weights @ (self.costs * below) / (weights @ self.costs))[:, None]
        once, twice = weights @ self.once, weights @ self.twice
        theirs = measures.of_sums((1 - share) * once + share * twice, bleu)["bleu"]
        return bootstrap.interval(ours - theirs)


@torch.inference_mode()
def sureness(
    entrant: Entrant, encoded: Sequence[Encoded], decodings: Sequence[Decoded], meeting: Meeting
) -> np.ndarray:
    """[SNRs, N] the receiver's mean log-probability a token, eos included, of what it decoded itself, in
    nats.

    decodings: of the ``encoded``, one an SNR of the ``meeting``. What was cut at the greatest length is told
    as if it had ended there.
    """
    found = []
    for snr, decoded in zip(meeting.snrs, decodings):
        said = [Encoded(e.sentence, e.source, pieces) for e, pieces in zip(encoded, decoded.pieces)]
        of_each = _sureness_at(entrant, said, replace(meeting, snrs=[snr]))
        found.append([of_each[e.sentence.id] for e in encoded])
    return np.array(found)


def _sureness_at(entrant: Entrant, said: Sequence[Encoded], meeting: Meeting) -> dict[int, float]:
    """By id of the sentence."""
    model = entrant.model.to(meeting.device).eval()
    found: dict[int, float] = {}
    for batch in meeting.processes.share(by_length(said, meeting.batch_size)):
        batch = batch.to(meeting.device)
        (received,) = through_channel(model, batch, meeting)
        states = model.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
        logs = losses.log_softmax(model.receiver.project(states))
        of_tokens = logs.gather(-1, batch.target_out[batch.target_mask][:, None]).squeeze(-1).double()
        means = [float(part.mean()) for part in of_tokens.split(batch.target_lengths)]
        found |= dict(zip((sentence.id for sentence in batch.sentences), means))
    return {id: mean for part in meeting.processes.gather(found) for id, mean in part.items()}
