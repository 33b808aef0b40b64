"""What the verbs that measure share: labels, test sentences, warnings."""

import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.errors import SemcomError, escape
from semcom.base.messages import N_, Message
from semcom.base.widths import columns, padded
from semcom.commands.run_record import BEST
from semcom.data import corpus
from semcom.data.batching import Encoded
from semcom.data.corpus_files import is_pickle
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import WordVocabulary
from semcom.evaluation import measures, text_metrics
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.scores import Entrant
from semcom.evaluation.settings import EvaluationConfig
from semcom.evaluation.sums import CHRF, TO_SENT
from semcom.evaluation.text_scoring import TextScoring, scoring_for
from semcom.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

REFERENCE_PREFERRED = 12.0
CHARACTERS_NAMED = 3
RECEIVER_KNOWS = N_("the receiver knows how many symbols were sent")


def entrants(loaded: Sequence[tuple[str, Checkpoint]]) -> list[Entrant]:
    return [Entrant(label, c.model, c.seen_topics()) for label, c in loaded]


def labels(paths: Sequence[str]) -> list[str]:
    """File names without suffix, of a run's best student the folder's instead; where two are alike, with as
    many folders as tell them apart."""
    parts = [_parts(path) for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(p[-depth:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{'/'.join(p)} ({i})" for i, p in enumerate(parts, 1)]


def _parts(path: str) -> tuple[str, ...]:
    *folders, name = Path(path).parts or (path,)
    if name == BEST and folders and folders[-1] not in ("..", "/"):
        return tuple(folders)
    # A folder such as . or / is told apart too, before it is refused.
    return (*folders, Path(name).stem or name)


def test_split(whole: corpus.Corpus, sentences: int, split: str = "test") -> list[corpus.Sentence]:
    """At most ``sentences`` of the test split, or of that named, or with "all" of all, chosen by hash, so
    that every topic and file has its share."""
    test = whole.sentences if split == "all" else whole.split(split)
    if not test:
        raise SemcomError(
            f"--corpus: no sentence falls into the {split} split (5 % by hash); give some hundreds at least, "
            "or --split all where no model has learned from any of them"
        )
    return list(test.lowest(sentences))


def validation_split(
    whole: corpus.Corpus, sentences: int, measured: Iterable[corpus.Sentence] = ()
) -> list[corpus.Sentence]:
    """At most ``sentences`` of the validation split that are not ``measured``, chosen by hash."""
    taken = {sentence.id for sentence in measured}
    held_out = whole.split("validation").lowest(sentences + len(taken))
    return [sentence for sentence in held_out if sentence.id not in taken][:sentences]


def scoring_of(
    settings: EvaluationConfig, language: str, texts: Sequence[str], recorded: Iterable[object]
) -> TextScoring:
    """How these texts of a language are scored, with a line where their BLEU needs one. recorded: languages
    of the models, taken where that of the texts is undetermined."""
    scoring = scoring_for(
        texts,
        language,
        recorded=recorded,
        tokenizer=settings.bleu_tokenizer,
        normalization=settings.text_normalization,
    )
    for line in scoring.lines_about(texts):
        log.warning(line)
    return scoring


def tell_losses(vocabulary: Vocabulary, texts: Sequence[str], scoring: TextScoring) -> None:
    """A line where a vocabulary of pieces cannot give back all of these texts, however well a receiver
    does. Of words another line tells what they lack."""
    if isinstance(vocabulary, WordVocabulary):
        return
    back = vocabulary.decode(vocabulary.encode(texts))
    lost = [pair for pair, same in zip(zip(texts, back), scoring.exact(back, texts)[:, 0]) if not same]
    if lost:
        log.warning(
            f"{len(lost):,} of {len(texts):,} sentences cannot come back whole, their vocabulary "
            f"({vocabulary}) loses {_characters_lost(lost, scoring)}; with all else right BLEU is "
            f"{scoring.bleu(back, texts):.2f}; a vocabulary of --normalization nfkc loses the least"
        )


def _characters_lost(pairs: Iterable[tuple[str, str]], scoring: TextScoring) -> str:
    """The most frequent ones, by their names."""
    missing: Counter[str] = Counter()
    for sent, back in pairs:
        missing += Counter(scoring.normalize(sent)) - Counter(scoring.normalize(back))
    most = [c for c, _ in missing.most_common(CHARACTERS_NAMED)]
    return ", ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip() for c in most) or "their order"


def languages_of(models: Iterable[Checkpoint]) -> list[object]:
    """Recorded in checkpoints and in their vocabularies."""
    return [language for c in models for language in (c.config.get("language"), c.vocabulary.language)]


def texts_of(encoded: Sequence[Encoded]) -> list[str]:
    """What was sent."""
    return [e.sentence.text for e in encoded]


def measures_of(scoring: TextScoring, texts: Sequence[str]) -> list[Measure]:
    """Measures of a transceiver by itself, in the order in which they are shown: what says most of these
    texts first."""
    found = measures.alone()
    return measures.first_of_short_texts(found) if scoring.bleu_says_little(texts) else found


def without_twins(found: Sequence[Measure], rows: "pd.DataFrame") -> list[Measure]:
    """Those to show: of two tables of the same numbers the first; files have both."""
    twins = rows["exact_as_written"].equals(rows["exact"])
    return [measure for measure in found if not (twins and measure.name == "exact_as_written")]


def title_of(measure: Measure, scoring: TextScoring) -> str:
    if CHRF in measure.sums:
        return text_metrics.chrf_name(scoring.words)
    return measure.title_with_unit


def signature_of(measure: Measure, scoring: TextScoring) -> str:
    """Without which a score is not quoted; empty for what has none."""
    of_sums = {TO_SENT: "bleu_signature", CHRF: "chrf_signature"}
    names = [name for needed, name in of_sums.items() if needed in measure.sums]
    return f"{scoring.record[names[0]]}; texts in {scoring.form}" if names else ""


def heading(measure: Measure, scoring: TextScoring) -> str:
    """Of a table: title and signature."""
    title, signature = title_of(measure, scoring), signature_of(measure, scoring)
    return f"{title} ({signature})" if signature else title


MEASURED_ON = {
    "test": N_("{number} test sentences"),
    "validation": N_("{number} validation sentences (--split validation; test is left alone)"),
    "all": N_("{number} sentences of the whole corpus (--split all)"),
}


def described(number: int, settings: EvaluationConfig) -> Message:
    """How many sentences of what."""
    return Message(MEASURED_ON[settings.split], number=number)


def foreign_splits(
    made: Sequence[tuple[str, Mapping[str, object]]], used: CorpusConfig, split: str = "test"
) -> list[str]:
    """A warning for a model that learned elsewhere, itself or in its teacher, and so perhaps from what the
    hash calls the test split.

    made: name and ``Checkpoint.config`` of each.
    """
    imported = [name for name, record in made if isinstance(record.get("imported_from"), str)]
    pickles = [escape(path) for path in used.corpus if is_pickle(path)]
    if not imported or not pickles or split == "all":
        return []
    return [
        f"warning: {imported[0]} was imported, or learned from a model that was, and is measured on the 5 % "
        f"of {pickles[0]} that a hash calls {split}: the hash split means nothing to a model trained "
        "elsewhere: measure it on its own test_data.pkl with --split all"
    ]


def nearest(snrs: Sequence[float], wanted: float) -> float:
    return min(snrs, key=lambda snr: abs(snr - wanted))


def examples(sent: Sequence[str], understood: Mapping[str, Sequence[str]], scoring: TextScoring) -> str:
    """What was sent and what was understood, by label; ``=``: the same in the form in which texts are
    compared. understood: as many texts as were sent, at least."""
    width = max(columns(escape(label)) for label in ["sent", *understood])
    lines = []
    for i, text in enumerate(sent):
        lines.append(f"{padded('sent', width)}  {escape(text)}")
        for label, texts in understood.items():
            same = scoring.normalize(texts[i]) == scoring.normalize(text)
            lines.append(f"{padded(escape(label), width)}  {'=' if same else escape(texts[i])}")
    return "\n".join(lines)
