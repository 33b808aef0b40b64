"""What the verbs that measure share: labels, test sentences, warnings, the scores of a summary."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from semcom.base.distributed import Processes
from semcom.base.errors import SemcomError, escape
from semcom.base.settings import RunConfig
from semcom.channel.channels import Channel
from semcom.commands.inputs import read_corpus
from semcom.data import batching, corpus
from semcom.data.settings import CorpusConfig
from semcom.evaluation.scores import SEEN, UNSEEN, Entrant, Meeting, score_all
from semcom.evaluation.settings import EvaluationConfig
from semcom.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

REFERENCE_PREFERRED = 12.0
RECEIVER_KNOWS = "the receiver knows how many symbols were sent"


def entrants(loaded: Sequence[tuple[str, Checkpoint]]) -> list[Entrant]:
    return [Entrant(label, c.model, c.seen_topics()) for label, c in loaded]


def labels(paths: Sequence[str]) -> list[str]:
    """File names without suffix; where two are alike, with as many folders as tell them apart."""
    parts = [Path(p).with_suffix("").parts for p in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(p[-depth:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{'/'.join(p)} ({i})" for i, p in enumerate(parts, 1)]


def test_split(whole: corpus.Corpus, sentences: int, split: str = "test") -> list[corpus.Sentence]:
    """At most ``sentences`` of the test split, or with ``split`` "all" of all, chosen by hash, so that every
    topic and file has its share."""
    test = whole.sentences if split == "all" else whole.split("test")
    if not test:
        raise SemcomError(
            "--corpus: no sentence falls into the test split (5 % by hash); give some hundreds at least, "
            "or --split all where no model has learned from any of them"
        )
    return sorted(test, key=lambda s: s.id)[:sentences]


def described(number: int, settings: EvaluationConfig) -> str:
    """How many sentences of what."""
    return (
        f"{number} sentences of the whole corpus (--split all)"
        if settings.split == "all"
        else f"{number} test sentences"
    )


def corpus_of_runs(settings: CorpusConfig, made: Sequence[Mapping[str, Any]]) -> CorpusConfig:
    """Without --corpus, the text files that all runs were made with, if they agree; else the built-in
    corpus."""
    used = {tuple(map(str, m["corpus"])) for m in made if isinstance(m.get("corpus"), list)}
    if settings.corpus or settings.topics or settings.exclude_topics or used <= {()}:
        return settings
    if len(used) > 1:
        log.warning(
            "these were made with different corpora; measuring on the built-in one, name another with --corpus"
        )
        return settings
    return replace(settings, corpus=used.pop())


def summary_scores(
    loaded: Sequence[tuple[str, Checkpoint]],
    settings: CorpusConfig,
    channel: Channel,
    run: RunConfig,
    device: torch.device,
    snrs: Sequence[float],
    sentences: int,
    seen_topics: Sequence[str] | None,
    together: Processes,
) -> "pd.DataFrame":
    """Scores of a few checkpoints on the test split of the corpus a run was made with.

    All topics are in it; rows apart for ``seen_topics`` and the others where there are others.
    """
    vocabulary = loaded[0][1].vocabulary
    test = together.from_main(
        lambda: test_split(
            read_corpus(replace(settings, topics=(), exclude_topics=()), vocabulary), sentences
        )
    )
    meeting = Meeting(channel, snrs, run.seed, device, 64, run.quiet, together)
    entered = [
        replace(e, seen_topics=frozenset(seen_topics) if seen_topics else None) for e in entrants(loaded)
    ]
    rows, _ = score_all(entered, batching.encode(test, vocabulary, leave_out_long=True), vocabulary, meeting)
    apart = ["", SEEN, UNSEEN] if (rows["topic"] == UNSEEN).any() else [""]
    return rows[rows["topic"].isin(apart)]


def foreign_splits(made: Sequence[tuple[str, Mapping[str, Any]]], used: CorpusConfig, split: str = "test") -> list[str]:
    """A warning for a model that learned elsewhere, itself or in its teacher, and so perhaps from what the
    hash calls the test split.

    made: name and ``Checkpoint.config`` of each.
    """
    imported = [name for name, record in made if isinstance(record.get("imported_from"), str)]
    pickles = [escape(path) for path in used.corpus if corpus.is_pickle(path)]
    if not imported or not pickles or split == "all":
        return []
    return [
        f"warning: {imported[0]} was imported, or learned from a model that was, and is measured on the 5 % of {pickles[0]} that a hash calls "
        "test: the hash split means nothing to a model trained elsewhere: measure it on its own test_data.pkl with --split all"
    ]


def nearest(snrs: Sequence[float], wanted: float) -> float:
    return min(snrs, key=lambda snr: abs(snr - wanted))
