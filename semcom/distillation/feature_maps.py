"""Linear maps beside a student, by which its features are compared with a teacher's of other widths."""

from collections.abc import Iterable

import torch
from torch import nn

from semcom.models.architecture import Architecture


def feature_maps(
    student: Architecture, teacher: Architecture, features: Iterable[str], seed: int
) -> nn.ModuleDict:
    """Linear maps from the student's widths to the teacher's, where they differ."""
    ends = {"encoder": "transmitter", "decoder": "receiver"}
    maps, generator = nn.ModuleDict(), torch.Generator().manual_seed(seed)
    for name in sorted(ends.keys() & set(features)):
        ours, theirs = (getattr(a, ends[name]).d_model for a in (student, teacher))
        if ours != theirs:
            linear = nn.Linear(ours, theirs, bias=False)
            nn.init.normal_(linear.weight, std=ours**-0.5, generator=generator)
            maps[name] = linear
    return maps
