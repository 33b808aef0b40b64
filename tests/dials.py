"""Finished runs for the tests of the dial; and ladders without it: hybrids on the straight line between two
checkpoints, with records as the dial writes them."""

import json
from pathlib import Path

import pytest
import torch
from cli_support import TINY_TRAINING, distil, leave_out_scores

from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint

SEEN = ["migration", "trade"]
RUNS = {
    "decoder": ["--distill-part", "decoder", "--lr", 0.01],
    "encoder": ["--distill-part", "encoder", "--student-init", "random", "--lr", 0.01, "--seed", 7],
    "full": ["--student-layers", 1, "--student-d-model", 8, "--student-init", "random"],
    "further": [
        *("--distill-part", "decoder", "--student-layers", 3, "--student-init", "teacher"),
        *("--distill-weight", 0, "--lr", 0.01, "--topics", *SEEN),
    ],
    "random": ["--distill-part", "decoder", "--student-layers", 3, "--student-init", "random"],
}


def distil_runs(folder, teacher):
    """Finished runs of these names in ``folder``; "from" started from the best student of "decoder"."""
    start = ["--student-checkpoint", folder / "decoder/best_student_model.pt"]
    again = {"from": ["--distill-part", "decoder", *start]}
    with pytest.MonkeyPatch.context() as patched:
        leave_out_scores(patched)
        for name, flags in {**RUNS, **again}.items():
            where = ["--output-path", folder / name, "--teacher-checkpoint", teacher]
            assert distil(*where, *TINY_TRAINING, "--steps", 14, *flags) == 0


def record(target=0.1, place=0.5, **changes):
    """What a dialled checkpoint has under "dial"."""
    return {
        "path": "learning",
        "place": place,
        "segments": 1,
        "points": ["start", "best"],
        "measure": "kl_divergence",
        "prefix": "gold",
        "target": target,
        "snr": 6.0,
        "channel": "awgn",
        "topics": None,
        "validation": target,
        "validation_error": 0.001,
        "validation_sentences": 1000,
        "test": target * 1.01,
        "test_low": target * 0.97,
        "test_high": target * 1.05,
        "test_sentences": 1000,
        "evaluations": 7,
        "run": "runs/decoder",
        **changes,
    }


def between(start, end, place):
    """The transceiver at a place on the line from one to the other."""
    ours, theirs = start.state_dict(), end.state_dict()
    model = type(end)(end.architecture)
    model.load_state_dict({name: torch.lerp(ours[name], theirs[name], place) for name in theirs})
    return model.eval()


def write_ladder(folder, start, best: Checkpoint, places, *, hybrids=None, **changes):
    """Checkpoints at ``places`` (target -> place) and ladder.json in ``folder``; hybrids: where they go."""
    folder, beside = Path(folder), Path(hybrids or folder)
    entries = []
    for target, place in places.items():
        dial = record(target, place, **changes)
        path = beside / f"hybrid_{target:g}.pt"
        model = between(start, best.model, place)
        config = {**best.config, "dial": dial}
        checkpoint.save(Checkpoint(model, best.vocabulary, best.origin, {}, config), path)
        entries.append({"target": target, "file": str(path), **dial, "by_snr": {}, "price": {}})
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"finished": True, "path": "learning", "targets": list(places), "hybrids": entries}
    (folder / "ladder.json").write_text(json.dumps(whole))
    return entries
