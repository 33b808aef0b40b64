"""What the teacher understood of the sentences that a run is scored on, made once for all runs of a sweep
that meet the same draws."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from semcom import __version__
from semcom.base.shared_store import SharedStore
from semcom.commands.distil_run import DistillationRun
from semcom.data.batching import Encoded
from semcom.data.vocabulary import Vocabulary
from semcom.evaluation.measures import columns
from semcom.evaluation.scores import Decoded, Entrant, Meeting, decode

FORMAT = 1


def decodings_of_teacher(
    run: DistillationRun, teacher: Entrant, encoded: Sequence[Encoded], meeting: Meeting
) -> list[Decoded]:
    """One ``Decoded`` an SNR."""
    vocabulary = run.teacher.vocabulary
    alone = meeting.processes.count == 1
    store = SharedStore(run.settings.shared if alone else None)

    def make() -> list[Decoded]:
        return decode(teacher, encoded, vocabulary, meeting)

    def whole(plain: Any) -> list[Decoded]:
        return [_whole(at_snr, encoded, vocabulary) for at_snr in plain]

    return store.get("teacher", _depends_on(run, encoded, meeting), make, _plain, whole)


def _depends_on(run: DistillationRun, encoded: Sequence[Encoded], meeting: Meeting) -> dict[str, object]:
    """All that decides the decodings, to their last bits."""
    ids = b"".join(e.sentence.id.to_bytes(8, "little") for e in encoded)
    device = meeting.device
    return {
        "format": FORMAT,
        "columns": columns(),
        "teacher": run.teacher.fingerprint,
        "architecture": run.teacher.model.architecture.to_dict(),
        "vocabulary": run.teacher.vocabulary.fingerprint,
        "sentences": hashlib.sha256(ids).hexdigest(),
        "channel": meeting.channel.key,
        "snrs": [float(snr) for snr in meeting.snrs],
        "seed": meeting.seed,
        "batch_size": meeting.batch_size,
        "search": meeting.search.key,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": [__version__, torch.__version__],
    }


def _plain(decoded: Sequence[Decoded]) -> Any:
    return [{"pieces": at_snr.pieces, "token_sums": at_snr.token_sums} for at_snr in decoded]


def _whole(plain: Any, encoded: Sequence[Encoded], vocabulary: Vocabulary) -> Decoded:
    pieces, sums = plain["pieces"], plain["token_sums"]
    if any(len(values) != len(encoded) for values in (pieces, *sums.values())):
        raise ValueError("of other sentences")
    if not all(0 <= piece < len(vocabulary) for said in pieces for piece in said):
        raise ValueError("of another vocabulary")
    return Decoded(vocabulary.decode(pieces), pieces, sums)
