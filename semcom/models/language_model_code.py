"""The source code `lm`: arithmetic coding of a text's pieces, and of its end, under a causal model (as in
arXiv 2501.04285, where separate source and channel coding has such a coder).

Letters: B sentences, T tokens, V pieces.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from semcom.base.errors import SemcomError, escape
from semcom.data.arithmetic_coding import Bits, Part, Reader, encoded
from semcom.data.settings import MAX_POSITIONS
from semcom.data.source_code_settings import LANGUAGE_MODEL
from semcom.data.source_codes import SourceCode
from semcom.data.vocabulary import BOS, EOS, PAD, Vocabulary
from semcom.models import state_file, torch_files
from semcom.models.causal_model import MOST, CausalModel, fits
from semcom.models.checkpoint import fingerprint_of
from semcom.models.exact_causal_model import ExactCausalModel, edges
from semcom.models.tensors import check_finite
from semcom.models.transformer import TransformerSize

MOST_PIECES = MAX_POSITIONS - 2
CELLS = 1 << 22
"""Of the logits that exist at once; each takes some 40 bytes."""
WHAT = "a language model of the source code lm"
CURE = "leave it out to train one, or give the .lm.pt of an earlier baseline --output"


class LanguageModelCode(SourceCode):
    """A text returns in the vocabulary's own form of it. A model's bits are the same on any machine and in
    any batch.

    config, metrics: how the model was made, and what it came to, as plain values.
    """

    name = LANGUAGE_MODEL

    def __init__(
        self,
        model: CausalModel,
        vocabulary: Vocabulary,
        device: torch.device | str = "cpu",
        config: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
    ):
        self.model, self.vocabulary = model.eval(), vocabulary
        self.config, self.metrics = dict(config or {}), dict(metrics or {})
        self.exact = ExactCausalModel(model, torch.device(device))
        self._bits: dict[str, Bits] = {}

    @cached_property
    def fingerprint(self) -> str:
        described = f"{LANGUAGE_MODEL} {fingerprint_of(self.model)} {self.vocabulary.fingerprint}"
        return hashlib.sha256(described.encode()).hexdigest()[:16]

    def restored(self, texts: Sequence[str]) -> list[str]:
        return self.vocabulary.decode(self.vocabulary.encode(texts))

    def encode_all(self, texts: Sequence[str]) -> list[Bits]:
        """What was encoded before is remembered. Raises SemcomError for a text of more pieces than a
        transceiver takes."""
        new = [text for text in dict.fromkeys(texts) if text not in self._bits]
        pieces = self.vocabulary.encode(new)
        for text, ids in zip(new, pieces):
            if len(ids) > MOST_PIECES:
                raise SemcomError(
                    f"the sentence has {len(ids)} pieces, at most {MOST_PIECES} are allowed; "
                    f"send it in parts: {escape(text[:60])}…"
                )
        for rows in self._together([len(ids) + 1 for ids in pieces]):
            for row, parts in zip(rows, self._parts([pieces[row] for row in rows])):
                self._bits[new[row]] = bits = encoded(parts)
                bits.setflags(write=False)
        return [self._bits[text] for text in texts]

    def _together(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows of tokens by length, as many as have room at once."""
        rows: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
            if rows and (len(rows) + 1) * lengths[row] * len(self.vocabulary) > CELLS:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _parts(self, pieces: Sequence[Sequence[int]]) -> list[list[Part]]:
        """Of each row of pieces, and of its end."""
        longest = max(map(len, pieces)) + 1
        said = torch.tensor([[BOS, *ids, *[PAD] * (longest - 1 - len(ids))] for ids in pieces])
        next_ones = torch.tensor([[*ids, EOS, *[PAD] * (longest - 1 - len(ids))] for ids in pieces])
        found = edges(self.exact.start().advance(said))
        places = next_ones.to(found.device)[..., None]
        starts, ends = found.gather(-1, places)[..., 0], found.gather(-1, places + 1)[..., 0]
        both = zip(starts.tolist(), (ends - starts).tolist(), pieces)
        return [[*zip(start, own)][: len(ids) + 1] for start, own, ids in both]

    def decode_all(self, strings: Sequence[Bits]) -> list[str]:
        together = max(1, CELLS // len(self.vocabulary))
        pieces: list[list[int]] = []
        for first in range(0, len(strings), together):
            pieces += self._pieces([Reader(bits) for bits in strings[first : first + together]])
        return self.vocabulary.decode(pieces)

    def _pieces(self, readers: Sequence[Reader]) -> list[list[int]]:
        """What the messages say, a token of all of them at a time."""
        said: list[list[int]] = [[] for _ in readers]
        state, live = self.exact.start(), [*range(len(readers))]
        latest = [BOS] * len(readers)
        while live:
            found = edges(state.advance(torch.tensor(latest)[:, None])[:, 0])
            targets = torch.tensor([[readers[row].target()] for row in live], device=found.device)
            symbols = torch.searchsorted(found, targets, right=True) - 1
            starts, ends = found.gather(1, symbols), found.gather(1, symbols + 1)
            kept, latest = [], []
            for place, (symbol, start, end) in enumerate(torch.cat((symbols, starts, ends), 1).tolist()):
                row = live[place]
                is_said = readers[row].take((start, end - start)) and symbol != EOS
                if is_said and len(said[row]) < MOST_PIECES:
                    said[row].append(symbol)
                    kept.append(place)
                    latest.append(symbol)
            live = [live[place] for place in kept]
            state.keep(kept)
        return said


def write(code: LanguageModelCode, path: str | Path) -> None:
    """Atomically, with a digest. Raises SemcomError for weights that are no finite numbers."""
    weights = code.model.state_dict()
    check_finite(weights, f"{escape(path)}: not written", "try a smaller --lm-lr")
    size = asdict(code.model.size)
    state = {
        "source_code": LANGUAGE_MODEL,
        "vocabulary": code.vocabulary.fingerprint,
        "size": {name: size[name] for name in MOST},
        "weights": weights,
        "config": code.config,
        "metrics": code.metrics,
    }
    state_file.write(Path(path), state)


def read(
    path: str | Path, vocabulary: Vocabulary, flag: str = "", *, device: torch.device | str = "cpu"
) -> LanguageModelCode:
    """What ``write`` wrote. Raises SemcomError in one line, which names ``flag``, for anything else, and for
    a model of another vocabulary."""
    where = f"{flag} {escape(path)}".strip()
    if not Path(path).is_file():
        there = "is a folder, a file is wanted" if Path(path).is_dir() else "no such file"
        raise SemcomError(f"{where}: {there}; {CURE}")
    with torch_files.told(where, WHAT, CURE):
        return _rebuilt(state_file.read(Path(path), CURE, WHAT, flag), vocabulary, device, where)


def _rebuilt(
    state: state_file.State, vocabulary: Vocabulary, device: torch.device | str, where: str
) -> LanguageModelCode:
    if state.get("source_code") != LANGUAGE_MODEL or not fits(state["size"]):
        raise SemcomError(f"{where}: not {WHAT}; {CURE}")
    if state["vocabulary"] != vocabulary.fingerprint:
        raise SemcomError(f"{where}: its model is of another vocabulary than {vocabulary}; {CURE}")
    size, weights = TransformerSize(**state["size"]), state["weights"]
    with torch.device("meta"):
        wanted = {name: w.shape for name, w in CausalModel(len(vocabulary), size).state_dict().items()}
    if wanted != {name: w.shape for name, w in weights.items()}:
        raise SemcomError(f"{where}: weights and size disagree; {CURE}")
    check_finite(weights, where, CURE)
    model = CausalModel(len(vocabulary), size)
    model.load_state_dict(weights)
    return LanguageModelCode(model, vocabulary, device, state["config"], state["metrics"])
