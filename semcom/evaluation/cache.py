"""Finished parts of a measurement, kept on disk: a file is named after all that it depends on and holds it
too."""

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semcom import __version__
from semcom.base import locks, output_files
from semcom.base.errors import SemcomError, escape
from semcom.data.batching import Encoded
from semcom.evaluation.batch_sums import Measurement
from semcom.evaluation.measures import columns
from semcom.evaluation.pairs import Pair, PairKey
from semcom.evaluation.results import PairResult, Signals
from semcom.evaluation.scores import Meeting

log = logging.getLogger(__name__)

FORMAT = 2
LARGEST = 1_000_000_000
"""Bytes that a file may unpack to."""

Parts = dict[PairKey, tuple[PairResult, Signals]]
"""What pairs made of a chunk of sentences."""


def part_key(
    pair: Pair, measurement: Measurement, chunk: Sequence[Encoded], cka_snr: float | None
) -> dict[str, object]:
    """All that a pair's part depends on, as JSON gives it back."""
    meeting, reference = measurement.meeting, measurement.reference
    ids = b"".join(e.sentence.id.to_bytes(8, "little") for e in chunk)
    return {
        "format": FORMAT,
        "columns": columns(),
        "pair": list(pair.key),
        **({"forced": True} if pair.forced else {}),
        "reference": list(reference.key) if reference else None,
        "temperature": measurement.temperatures.get(pair.key),
        "vocabulary": measurement.vocabulary.fingerprint,
        "sentences": hashlib.sha256(ids).hexdigest(),
        "channel": meeting.channel.key,
        "snrs": [float(snr) for snr in meeting.snrs],
        "seed": meeting.seed,
        "search": meeting.search.key,
        "scoring": meeting.scoring.key,
        "states_at": cka_snr,
        "device": meeting.device.type,
        "versions": [__version__, torch.__version__],
    }


def _path(cache: str | Path, key: dict[str, object]) -> Path:
    return (
        Path(cache)
        / f"measured_{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}.npz"
    )


def wait_and_read(
    cache: str | Path,
    keys: Mapping[PairKey, dict],
    chunk: Sequence[Encoded],
    meeting: Meeting,
    held: ExitStack,
) -> Parts:
    """``read_parts``, once no other process is measuring this chunk; while ``held`` is, none begins to."""
    common = next(iter(keys.values())) | {"pair": None, "temperature": None}
    held.enter_context(locks.wait_for(_path(cache, common)))
    names = {_path(cache, key).name for key in keys.values()}
    output_files.clear_temporaries(Path(cache), lambda name: name in names)
    return read_parts(cache, keys, chunk, meeting)


def keep_parts(
    cache: str | Path,
    keys: Mapping[PairKey, dict],
    made: Parts,
) -> bool:
    """Write the parts; whether that went well."""
    for pair, (result, sent) in made.items():
        buffer = io.BytesIO()
        flat = [pieces for by_snr in result.pieces for pieces in by_snr]
        arrays: dict[str, Any] = {
            "key": np.array(json.dumps(keys[pair])),
            "sums": result.sums,
            "lengths": np.array([len(p) for p in flat]),
            "pieces": np.array([piece for p in flat for piece in p], dtype=np.int32),
            "distance": sent.distance,
            "symbols": sent.symbols,
            "cka": np.array([np.nan if value is None else value for value in (result.cka, sent.cka)]),
        }
        np.savez_compressed(buffer, **arrays, digest=np.array(digest_of(arrays)))
        try:
            output_files.write_atomically(_path(cache, keys[pair]), buffer.getvalue())
        except SemcomError as error:
            log.warning(f"{error}; the measurement goes on, an interrupted one will begin anew")
            return False
    return True


def read_parts(
    cache: str | Path,
    keys: Mapping[PairKey, dict],
    chunk: Sequence[Encoded],
    meeting: Meeting,
) -> Parts:
    """Parts that are there whole; one that is damaged or foreign is left aside, which a line says."""
    found: Parts = {}
    for pair, key in keys.items():
        path = _path(cache, key)
        try:
            arrays = arrays_of(path)
            found[pair] = _checked(arrays, key, len(meeting.snrs), len(chunk))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except Exception as error:
            why = f"{type(error).__name__}: {escape(error)[:100]}"
            log.warning(f"{escape(path)}: not to be trusted ({why}); measured again")
    return found


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """All that the file holds, by name. Raises ValueError where its digest is of something else."""
    # Opened here: of a broken archive numpy would leave the file open.
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            if sum(info.file_size for info in archive.infolist()) > LARGEST:
                raise ValueError(f"over {LARGEST:,} bytes")
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    if str(arrays.pop("digest", "")) != digest_of(arrays):
        raise ValueError("its digest is of other contents")
    return arrays


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 in hexadecimal digits, of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()


def _checked(
    stored: Mapping[str, np.ndarray], key: dict, snrs: int, sentences: int
) -> tuple[PairResult, Signals]:
    if json.loads(str(stored["key"])) != key:
        raise ValueError("made from something else")
    sums, lengths = stored["sums"], stored["lengths"]
    if (
        sums.shape != (snrs, sentences, len(columns()))
        or lengths.shape != (snrs * sentences,)
        or stored["distance"].shape != (sentences,)
    ):
        raise ValueError("of another shape")
    flat = [part.tolist() for part in np.split(stored["pieces"], np.cumsum(lengths)[:-1])]
    cka = [None if np.isnan(value) else float(value) for value in stored["cka"]]
    pieces = [flat[k * sentences : (k + 1) * sentences] for k in range(snrs)]
    return PairResult(sums, pieces, cka[0]), Signals(stored["distance"], stored["symbols"], cka[1])
