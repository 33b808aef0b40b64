"""The handwritten digits, and who sees which of them.

scikit-learn ships 1,797 grey images of 8 x 8 pixels (E. Alpaydin, C. Kaynak, UCI 1998).
"""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from semcom.commands.digits_plan import Plan

CLASSES = 10
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
TEST_SEED = 0


class Digits:
    """images: [N, 1, 8, 8], 0 to 1; classes: [N]; views: [9 N, 1, 8, 8], each image shifted by up to a pixel,
    view v of image i at 9 i + v."""

    def __init__(self):
        loaded = load_digits()
        self.images = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 16
        self.classes = torch.tensor(loaded.target, dtype=torch.int64)
        padded = F.pad(self.images, (1, 1, 1, 1))
        self.views = torch.stack(
            [padded[..., 1 + down : 9 + down, 1 + right : 9 + right] for down, right in SHIFTS], 1
        ).flatten(0, 1)


@dataclass(frozen=True)
class Split:
    """Numbers of images. The teacher sees ``transfer`` with all labels, the student with those of
    ``labelled`` alone."""

    test: Tensor
    validation: Tensor
    transfer: Tensor
    labelled: Tensor


def split(classes: Tensor, plan: Plan, seed: int) -> Split:
    """The same test images for every seed, so that no seed, one that settings are chosen by or another,
    learns or validates on them; the rest by seed; labels in equal numbers by class."""
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(TEST_SEED))
    test, rest = order[: plan.test], order[plan.test :]
    rest = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))]
    transfer = rest[plan.validation :]
    each = plan.labelled // CLASSES
    labelled = torch.cat([transfer[classes[transfer] == c][:each] for c in range(CLASSES)])
    return Split(test, rest[: plan.validation], transfer, labelled)
