"""Sequence-level distillation (Kim and Rush 2016, arXiv 1606.07947): the teacher's own decodings as targets,
kept on disk.

A file of decodings is named after all that they depend on and holds it too; one that is damaged or foreign is
made again.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semcom.base import json_files, locks, output_files
from semcom.base.distributed import ALONE, Processes
from semcom.base.errors import SemcomError, escape
from semcom.base.progress import Progress
from semcom.base.side_by_side import GoOn, side_by_side
from semcom.channel.channels import Channel
from semcom.data.batching import Encoded, collate
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import EOS
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search, length_limit
from semcom.models.link import send

log = logging.getLogger(__name__)

FORMAT = 1
LARGEST = 4_000_000_000
"""Bytes of a file: twenty million sentences."""
CACHE = "checkpoints/cache"
SENT_TOGETHER = 256  # sentences of similar length that go through the teacher at a time

Key = dict[str, object]
Pieces = dict[int, list[int]]
"""Sentence id -> what the teacher understood, without bos and eos."""


@dataclass(frozen=True)
class Decoding:
    """How the teacher decodes a sentence: sent once through its transmitter, the channel at an SNR drawn for
    it within ``snr_range`` (dB) and its receiver. The draw is number 0 of ``seed``; training takes 1 and
    on."""

    teacher: Checkpoint
    channel: Channel
    snr_range: tuple[float, float]
    search: Search
    seed: int

    def key(self, encoded: Sequence[Encoded]) -> Key:
        """All that decodings depend on, as JSON gives it back. Of the sentences, their set."""
        ids = sorted({e.sentence.id for e in encoded})
        return {
            "format": FORMAT,
            "teacher": self.teacher.fingerprint,
            "architecture": self.teacher.model.architecture.to_dict(),
            "vocabulary": self.teacher.vocabulary.fingerprint,
            "sentences": hashlib.sha256(b"".join(i.to_bytes(8, "little") for i in ids)).hexdigest(),
            "channel": self.channel.key,
            "snr_range": [float(snr) for snr in self.snr_range],
            "search": self.search.key,
            "seed": self.seed,
        }


def teacher_sentences(
    by: Decoding,
    encoded: Sequence[Encoded],
    *,
    device: torch.device,
    quiet: bool,
    folder: str | Path = CACHE,
    together: Processes = ALONE,
) -> tuple[list[Encoded], dict[str, object]]:
    """The sentences in their order, each with the teacher's decoding of it as its target; an empty decoding
    is an empty target. And for the record of a run, the file that keeps them and the share that is exactly
    what was sent.

    If ``folder`` keeps these decodings, they are read instead. Several processes share the work; the main one
    alone reads, writes and speaks. Where another run is decoding the same, this one waits for it.
    """
    started = time.monotonic()
    key = by.key(encoded)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = Path(folder) / f"teacher_sentences_{digest[:16]}.json"
    made = f"read from {escape(path)}"
    with ExitStack() as held:
        pieces = together.from_main(_read, path, key, encoded, by.teacher, held)
        if pieces is None:
            pieces = _decode(by, encoded, device, together, quiet)
            kept = together.from_main(_keep, path, key, pieces)
            made = f"{by.search}, {time.monotonic() - started:,.0f} s"
            made += f", kept in {escape(path)}" if kept else ""
    number = sum(pieces[e.sentence.id] == e.source[1:-1] for e in encoded)
    exact = number / len(encoded)
    if together.is_main:
        log.info(
            f"sequence level: the teacher's decodings of {len(encoded):,} training sentences, "
            f"{number:,} ({exact:.1%}) of them exactly what was sent; {made}"
        )
    targets = [replace(e, target=pieces[e.sentence.id]) for e in encoded]
    return targets, {"file": str(path), "exact": exact}


def _decode(
    by: Decoding, encoded: Sequence[Encoded], device: torch.device, together: Processes, quiet: bool
) -> Pieces:
    # Before inference mode: what is moved within could not be trained through afterwards.
    model = by.teacher.model.to(device).eval()
    ordered = sorted(encoded, key=lambda e: (-len(e.source), e.sentence.id))
    groups = [ordered[start : start + SENT_TOGETHER] for start in range(0, len(ordered), SENT_TOGETHER)]
    share = together.share(groups)
    with Progress(len(share), "teacher's decodings", quiet=quiet) as bar:

        def of_group(group: Sequence[Encoded], go_on: GoOn) -> Pieces:
            go_on()
            batch = collate(group).to(device)
            sent = send(model.transmitter, batch, by.channel, [by.snr_range], seed=by.seed)
            (received,) = sent.heard_by(model.receiver)
            decoded = by.search(model.receiver, received, batch.source_mask)
            bar.advance()
            return {e.sentence.id: pieces[: _longest(e)] for e, pieces in zip(group, decoded)}

        found = side_by_side(of_group, share, device)
    return {key: pieces for parts in together.gather(found) for part in parts for key, pieces in part.items()}


def _longest(e: Encoded) -> int:
    """Most pieces of a target: as many as are decoded, and eos must find a position too."""
    return min(length_limit(len(e.source)), MAX_POSITIONS - 1)


def _keep(path: Path, key: Key, pieces: Pieces) -> bool:
    """Write the decodings, a line each; whether that went well."""
    try:
        lines = {str(i): " ".join(map(str, pieces[i])) for i in sorted(pieces)}
        output_files.write_json(path, json_files.digested({"key": key, "pieces": lines}))
    except SemcomError as error:
        log.warning(f"{error}; this run goes on, the next one will decode again")
        return False
    return True


def _read(
    path: Path, key: Key, encoded: Sequence[Encoded], teacher: Checkpoint, held: ExitStack
) -> Pieces | None:
    """The decodings that ``path`` holds; None where there are none, or none to be trusted, which one line
    says. While ``held`` is, nobody else makes them."""
    held.enter_context(locks.wait_for(path))
    output_files.clear_temporaries(path.parent, lambda name: name == path.name)
    try:
        stored = json_files.undigested(json_files.read(path, LARGEST))
        return _checked(stored, key, encoded, teacher.model.architecture.vocab_size)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = escape(json_files.problem(error))
        log.warning(f"{escape(path)}: no decodings to be trusted ({why}); the teacher decodes again")
        return None


def _checked(stored: Mapping[str, object], key: Key, encoded: Sequence[Encoded], vocab_size: int) -> Pieces:
    """What a file held, as decodings that ``_decode`` could have found for ``key``. Raises ValueError for
    anything else."""
    if stored.get("key") != key:
        raise ValueError("made from something else")
    lines = stored.get("pieces")
    if not isinstance(lines, dict) or lines.keys() != {str(e.sentence.id) for e in encoded}:
        raise ValueError("its sentences are others")
    pieces = {
        e.sentence.id: [int(piece) for piece in str(lines[str(e.sentence.id)]).split()] for e in encoded
    }
    for e in encoded:
        found = pieces[e.sentence.id]
        if len(found) > _longest(e) or not all(0 <= piece < vocab_size and piece != EOS for piece in found):
            raise ValueError(f"sentence {e.sentence.id} cannot have been decoded so")
    return pieces
