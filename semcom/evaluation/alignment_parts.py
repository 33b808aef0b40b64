"""Finished parts of an alignment, kept on disk until all is measured: what is stopped goes on from them.

Letters: K SNRs, N sentences measured.
"""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.data.vocabulary import Vocabulary
from semcom.evaluation import cache
from semcom.evaluation.text_metrics import BLEU_COLUMNS
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.transceiver import Transceiver

log = logging.getLogger(__name__)

Name = Mapping[str, object]
"""What a part is of, in plain values."""


@dataclass
class Parts:
    """folder: None where nothing is kept. key: all that every part depends on beside its name, in plain
    values. Parts of other keys may lie there too; each file's name begins with the digest of its key."""

    folder: Path | None = None
    key: Mapping[str, object] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """How many there are."""
        return len(self._files("*.npz"))

    def read(self, name: Name, snrs: int, sentences: int) -> list[np.ndarray] | None:
        """Sums of BLEU, [N, 10] at each of K SNRs. One that is damaged is left aside, which a line says."""
        if self.folder is None:
            return None
        path = self._path(f"{_digest(name)}.npz")
        try:
            arrays = cache.arrays_of(path)
            if json.loads(str(arrays["made_from"])) != self._made_from(name):
                raise ValueError("made from something else")
            if arrays["sums"].shape != (snrs, sentences, len(BLEU_COLUMNS)):
                raise ValueError("of another shape")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            _tell_damaged(path, f"{type(error).__name__}: {escape(error)[:100]}")
            return None
        return list(arrays["sums"])

    def keep(self, name: Name, sums: Sequence[np.ndarray]) -> None:
        if self.folder is None:
            return
        arrays: dict[str, Any] = {
            "made_from": np.array(json.dumps(self._made_from(name))),
            "sums": np.stack(sums),
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays, digest=np.array(cache.digest_of(arrays)))
        path = self._path(f"{_digest(name)}.npz")
        self._written(lambda: output_files.write_atomically(path, buffer.getvalue()))

    def read_joined(self, way: str) -> Transceiver | None:
        """The pair that is written in the end."""
        if self.folder is None or not (path := self._path(f"{way}.pt")).is_file():
            return None
        try:
            return checkpoint.load(path).model
        except SemcomError as error:
            _tell_damaged(path, str(error)[:200])
            return None

    def keep_joined(self, way: str, model: Transceiver, vocabulary: Vocabulary) -> None:
        if self.folder is not None:
            path = self._path(f"{way}.pt")
            made = Checkpoint(model, vocabulary, dict.fromkeys(model.parts(), way))
            self._written(lambda: checkpoint.save(made, path))

    def discard(self) -> None:
        """Remove those of this key, and the folder where it has no others."""
        for path in self._files("*"):
            path.unlink(missing_ok=True)
        if self.folder is not None and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _made_from(self, name: Name) -> dict[str, object]:
        return json.loads(json.dumps({"key": self.key, "name": name}))

    def _path(self, end: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{_digest(self.key)}_{end}"

    def _files(self, pattern: str) -> list[Path]:
        """Temporary ones, which begin with a point, are none."""
        return [] if self.folder is None else list(self.folder.glob(f"{_digest(self.key)}_{pattern}"))

    def _written(self, write: Callable[[], None]) -> None:
        """What cannot be written ends no measurement."""
        try:
            write()
        except SemcomError as error:
            log.warning(f"{error}; the measurement goes on, an interrupted one will begin anew")
            self.folder = None


def _digest(values: Name) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _tell_damaged(path: Path, why: str) -> None:
    log.warning(f"{escape(path)}: not to be trusted ({why}); measured again")
