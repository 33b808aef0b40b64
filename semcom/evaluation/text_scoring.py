"""How the texts of one table are compared: BLEU's tokeniser, whether chrF counts words, and what both sides
become before."""

import importlib.util
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from semcom.base.errors import SemcomError
from semcom.base.messages import N_
from semcom.data.languages import LANGUAGES, UNDETERMINED, divides_words, language_of
from semcom.evaluation import text_metrics

JAPANESE, KOREAN = "ja-mecab", "ko-mecab"
EXTRAS = {
    JAPANESE: ("MeCab", "python -m pip install 'sacrebleu[ja]'"),
    KOREAN: ("mecab_ko", "python -m pip install 'sacrebleu[ko]'"),
}
"""Tokenisers that need more than sacrebleu: a module of it, and the command that installs it."""
UNDIVIDED_SHARE = 0.1
"""Of sentences in scripts without blanks from which on mixed text is cut as they are."""
SHORT_SHARE = 0.25
"""Of sentences without a 4-gram from which on BLEU says little of them all."""

TOO_SHORT = N_(
    "{short:,} of {all:,} sentences have fewer than four words as BLEU cuts them ({tokenizer}), and so no "
    "4-gram: BLEU says little of them, exact sentences and chrF more."
)


@dataclass(frozen=True)
class TextScoring:
    """tokenizer: sacrebleu's name of the one that BLEU's words come from. words: whether chrF counts words
    too (chrF++); not where the script has no blanks. normalization: what hypotheses and references become
    first, nfkc, nfc or identity. instead_of: the tokeniser of the language, where it is not installed."""

    tokenizer: str = "13a"
    words: bool = True
    normalization: str = "nfkc"
    instead_of: str = field(default="", compare=False)

    def normalize(self, text: str) -> str:
        """In one form, blanks folded: some forms are made of a blank and a mark."""
        if text.isascii() or self.normalization == "identity":
            return text
        normal = unicodedata.normalize("NFKC" if self.normalization == "nfkc" else "NFC", text)
        return " ".join(normal.split())

    @property
    def key(self) -> dict[str, object]:
        """All that a score depends on."""
        return {name: value for name, value in asdict(self).items() if name != "instead_of"}

    @property
    def record(self) -> dict[str, object]:
        """What no score is quoted without."""
        return {
            "bleu_signature": text_metrics.bleu_signature(self.tokenizer),
            "chrf_signature": text_metrics.chrf_signature(self.words),
            "text_normalization": self.normalization,
        }

    def __str__(self) -> str:
        bleu, chrf = text_metrics.bleu_signature(self.tokenizer), text_metrics.chrf_signature(self.words)
        return f"BLEU {bleu}; {text_metrics.chrf_name(self.words)} {chrf}; texts in {self.form}"

    @property
    def form(self) -> str:
        """The normalisation as a reader knows it."""
        return "the form they have" if self.normalization == "identity" else self.normalization.upper()

    # --- of texts understood and those that they are compared with, N each

    def bleu(self, hypotheses: Sequence[str], references: Sequence[str]) -> float:
        """Corpus BLEU, 0 to 100."""
        ours, theirs = self._normalized(hypotheses, references)
        return text_metrics.bleu(ours, theirs, self.tokenizer)

    def bleu_statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """[N, 10], ``BLEU_COLUMNS``."""
        ours, theirs = self._normalized(hypotheses, references)
        return text_metrics.bleu_statistics(ours, theirs, self.tokenizer)

    def chrf_statistics(self, hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """[N, 24], ``CHRF_COLUMNS``."""
        ours, theirs = self._normalized(hypotheses, references)
        return text_metrics.chrf_statistics(ours, theirs, self.words)

    def exact(self, hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """[N, 1], 1 where both are one text in one form."""
        return self.exact_as_written(*self._normalized(hypotheses, references))

    def exact_as_written(self, hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """[N, 1], 1 where both are one text to the character."""
        same = [ours == theirs for ours, theirs in zip(hypotheses, references)]
        return np.array(same, dtype=np.float64).reshape(-1, 1)

    def _normalized(self, *sides: Sequence[str]) -> list[list[str]]:
        return [[self.normalize(text) for text in texts] for texts in sides]

    # --- of references alone

    def too_short(self, references: Sequence[str]) -> int:
        """How many of them have no four words in a row, as BLEU's tokeniser cuts them."""
        words = [text_metrics.words_of(self.normalize(text), self.tokenizer) for text in references]
        return sum(count < text_metrics.BLEU_ORDER for count in words)

    def bleu_says_little(self, references: Sequence[str]) -> bool:
        return self.too_short(references) > SHORT_SHARE * len(references)

    def lines_about(self, references: Sequence[str]) -> list[str]:
        """What a reader of their scores should know beside them."""
        lines = []
        if self.instead_of:
            lines.append(
                f"BLEU's words are characters: {self.instead_of} is not installed; install it: "
                f"{EXTRAS[self.instead_of][1]}"
            )
        if self.bleu_says_little(references):
            short, all_of_them = self.too_short(references), len(references)
            lines.append(TOO_SHORT.format(short=short, all=all_of_them, tokenizer=self.tokenizer))
        return lines


def scoring_for(
    texts: Sequence[str],
    language: str = UNDETERMINED,
    *,
    recorded: Iterable[object] = (),
    tokenizer: str = "auto",
    normalization: str = "nfkc",
) -> TextScoring:
    """How these texts are scored.

    language: given, or found in them. recorded: those of the models and vocabularies measured, asked where
    that is undetermined. tokenizer: as asked for; ``auto`` follows the language. Raises SemcomError for one
    that is not installed.
    """
    wanted, words = _wanted(texts, _language(language, recorded))
    if tokenizer == "auto":
        if is_installed(wanted):
            return TextScoring(wanted, words, normalization)
        return TextScoring("char", words, normalization, instead_of=wanted)
    if not is_installed(tokenizer):
        module, command = EXTRAS[tokenizer]
        raise SemcomError(
            f"--bleu-tokenizer {tokenizer}: needs {module}, which is not installed; install it: {command}"
        )
    return TextScoring(tokenizer, words, normalization)


def is_installed(tokenizer: str) -> bool:
    return tokenizer not in EXTRAS or importlib.util.find_spec(EXTRAS[tokenizer][0]) is not None


def _language(language: str, recorded: Iterable[object]) -> str:
    """The language of the texts, else the one that is recorded."""
    if language != UNDETERMINED:
        return language
    known = {code for code in recorded if isinstance(code, str) and code in LANGUAGES} - {UNDETERMINED}
    return known.pop() if len(known) == 1 else UNDETERMINED


def _wanted(texts: Sequence[str], code: str) -> tuple[str, bool]:
    """Tokeniser of texts in a language, and whether chrF counts words: those of their part without blanks
    where it is large, for 13a would take each of its sentences for one word. sacrebleu's zh and ja-mecab cut
    Latin letters as 13a does, or nearly."""
    if LANGUAGES[code].characters_a_word is None:
        undivided = [text for text in texts if not divides_words(text)]
        if len(undivided) <= UNDIVIDED_SHARE * len(texts):
            return LANGUAGES[code].bleu_tokenizer, True
        code = language_of(undivided)
    language = LANGUAGES[code]
    return ("char" if language.characters_a_word is None else language.bleu_tokenizer), False


# --- scores of several records


def scored_alike(records: Iterable[Mapping[str, object]]) -> bool:
    """Whether BLEU of these records may stand side by side: by one tokeniser, of texts in one form."""
    return len({way for record in records if (way := way_of(record))}) < 2


def way_of(record: Mapping[str, object]) -> str:
    """Tokeniser and normalisation of a record's BLEU; empty where it has none. An earlier one says no
    normalisation: its text was English, of one form."""
    signature = record.get("bleu_signature")
    if not isinstance(signature, str):
        return ""
    parts = dict(part.partition(":")[::2] for part in signature.split("|"))
    return f"{parts.get('tok', '?')}, {record.get('text_normalization', 'nfkc')}"
