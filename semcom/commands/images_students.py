"""Networks of an image pair: a teacher of all labels, its students by each arm, and what they score.

Letters: B images, C channels, V classes. A row is the number of an image.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from semcom.base.device import resolve_device
from semcom.base.errors import InterruptedRun, SemcomError, Unwise, escape
from semcom.base.progress import Progress
from semcom.commands.few_labels import Batches, Network, looked_up, outputs_of
from semcom.commands.images_settings import ARMS, LABELS, PUBLISHED, ImagesSettings, Plan
from semcom.data import image_sets
from semcom.data.image_sets import Images
from semcom.distillation.distiller import Distiller
from semcom.distillation.published import published
from semcom.distillation.settings import DistillationConfig
from semcom.models.image_networks import PAIRS, build

History = list[dict[str, float | None]]
MEASURED_AT_ONCE = 256
MOST_KEPT = 2**30
"""Bytes of a teacher's outputs; those that take more are computed at each step."""


class OfRows(nn.Module):
    """A network whose inputs are rows of images, so that a teacher's outputs can be looked up by them; or
    pixels, uint8 [B, C, 32, 32]."""

    def __init__(self, network: nn.Module, images: Images, pixels: Tensor):
        """pixels: uint8 [N, C, 32, 32] of the images, on the network's device."""
        super().__init__()
        for weights in network.parameters():
            # Of convolutions: channels last, as the inputs, are a tenth to a third faster on CPUs.
            if weights.dim() == 4:
                weights.data = weights.data.contiguous(memory_format=torch.channels_last)
        self.network, self.images, self.pixels = network, images, pixels

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.images.inputs(given if given.dim() == 4 else self.pixels[given])
        outputs: tuple[Tensor, Tensor] = self.network(inputs.contiguous(memory_format=torch.channels_last))
        return outputs

    def of_all(self, cells: int) -> tuple[Tensor, Tensor]:
        """Logits [N, V] of all images, and those of ``cells`` by ``cells`` parts of each, [N, H, W, V]."""
        network = self.eval()

        def outputs(rows: Tensor) -> tuple[Tensor, Tensor]:
            logits, grid = network(rows)
            return logits, pooled(grid, cells)

        every = torch.arange(len(self.pixels), device=self.pixels.device)
        return outputs_of(outputs, every, MEASURED_AT_ONCE)


def pooled(grid: Tensor, cells: int) -> Tensor:
    """[B, H, W, V] -> means of its places, [B, cells, cells, V]; a grid that they do not divide stays."""
    height, width = grid.shape[1:3]
    if height % cells or width % cells:
        return grid
    return F.adaptive_avg_pool2d(grid.movedim(-1, 1), cells).movedim(1, -1)


class Varied:
    """Batches with pixels in the place of rows, varied anew each time."""

    def __init__(self, batches: Batches, images: Images):
        self.batches, self.images = batches, images

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.batches.seed)
        mirrored = self.images.may_be_mirrored
        for rows, targets in self.batches:
            yield image_sets.varied(self.images.train.pixels[rows], generator, mirrored=mirrored), targets


class Passes:
    """Batches a pass at a time: each iteration gives the next ``steps`` of them."""

    def __init__(self, batches: Batches | Varied, steps: int):
        self.steps, self.left = steps, iter(batches)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from islice(self.left, self.steps)


@dataclass(frozen=True)
class Split:
    """Rows of the training images. The teacher learns from ``transfer`` with all labels, a student with those
    of ``labelled`` alone."""

    validation: Tensor
    transfer: Tensor
    labelled: Tensor
    unlabelled: Tensor


def split(classes: Tensor, labelled: int, plan: Plan, seed: int) -> Split:
    """By seed, each class in the same shares; a share of labels like that of ``labelled`` in a batch.

    Raises SemcomError where there are too few images."""
    validation, transfer = image_sets.split(classes, plan.validation, seed)
    if labelled == plan.batch:
        known, unknown = torch.arange(len(transfer)), torch.arange(0)
    else:
        known, unknown = image_sets.split(classes[transfer], labelled / plan.batch, seed)
    found = Split(validation, transfer, transfer[known], transfer[unknown])
    if not (len(validation) and len(known)):
        raise SemcomError(
            f"{len(classes)} training images of {len(classes.unique())} classes: too few to hold some "
            "out and to have labels on others; give 3 of each class at least"
        )
    return found


def loss_of(arm: str) -> DistillationConfig:
    if not arm.startswith(PUBLISHED):
        return ARMS[arm]
    with warnings.catch_warnings():
        # Of what SGD makes of the weights' sum; AdamW takes no notice.
        warnings.simplefilter("ignore", Unwise)
        return published(arm.removeprefix(PUBLISHED))


class Seed:
    """One seed: its split, its teacher, and the start weights and batches that all its students share."""

    def __init__(self, images: Images, settings: ImagesSettings, plan: Plan, seed: int):
        self.images, self.settings, self.plan, self.seed = images, settings, plan, seed
        self.device = resolve_device(settings.run.device)
        self.split = split(images.train.classes, settings.labelled, plan, seed)
        self.train, self.test = (of.pixels.to(self.device) for of in (images.train, images.test))
        self.teacher_name, self.student_name = PAIRS[settings.pair]
        self.answers: Network | None = None
        # Of these each scale's cells are means.
        self.cells = math.lcm(*(scale for arm in settings.arms for scale in loss_of(arm).scales))
        self.outputs_size = len(self.train) * (1 + self.cells**2) * len(images.names) * 4

    @property
    def asks_each_step(self) -> bool:
        return self.settings.augment or self.outputs_size > MOST_KEPT

    def teacher(self) -> tuple[nn.Module, History]:
        """Trained on all labels; its outputs are computed here, unless it is asked at each step."""
        network, transfer = self._build(self.teacher_name), self.split.transfer
        each = max(1, len(transfer) // self.plan.batch)
        batches = Batches(
            self.images.train.classes,
            (transfer, transfer[:0]),
            (self.plan.batch, 0),
            each * self.settings.teacher_epochs,
            self.seed,
        )
        distiller = self._distiller(network, None, ARMS[LABELS], self.plan.teacher_lr)
        history = self._fit(
            distiller, batches, self.settings.teacher_epochs, f"{self.teacher_name}, the teacher"
        )
        taught = OfRows(network, self.images, self.train)
        self.answers = taught if self.asks_each_step else looked_up(*taught.of_all(self.cells))
        return network, history

    def student(self, arm: str) -> tuple[nn.Module, History]:
        """A student of the few labels and, where its loss asks for them, the teacher's outputs."""
        settings, plan, s = loss_of(arm), self.plan, self.split
        each = max(1, len(s.transfer) // plan.batch)
        steps = self.settings.steps or each * self.settings.epochs
        batches = Batches(
            self.images.train.classes,
            (s.labelled, s.unlabelled),
            (self.settings.labelled, plan.batch - self.settings.labelled),
            steps,
            self.seed,
        )
        network = self._build(self.student_name)
        teacher = self.answers if settings.distils else None
        distiller = self._distiller(network, teacher, settings, plan.lr)
        return network, self._fit(
            distiller, batches, max(1, round(steps / each)), f"{self.student_name}, {arm}"
        )

    def accuracy(self, network: nn.Module) -> float:
        """On the test images, 0 to 1."""
        logits, _ = OfRows(network, self.images, self.test).of_all(cells=1)
        return float((logits.argmax(-1).cpu() == self.images.test.classes).double().mean())

    def _build(self, name: str) -> nn.Module:
        channels = self.images.train.pixels.shape[1]
        return build(name, len(self.images.names), channels, self.seed)

    def _distiller(
        self, network: nn.Module, teacher: Network | None, settings: DistillationConfig, lr: float
    ) -> Distiller:
        with warnings.catch_warnings():
            # vgg8 is larger than its teacher.
            warnings.filterwarnings("ignore", "the student has .* parameters", Unwise)
            return Distiller(
                OfRows(network, self.images, self.train),
                teacher,
                settings,
                lr=lr,
                warmup_steps=self.plan.warmup_steps,
                device=self.device,
            )

    def _fit(self, distiller: Distiller, batches: Batches, epochs: int, told: str) -> History:
        """epochs: passes, after each of which validation images are measured."""
        rows = self.split.validation
        validation = [(part, self.images.train.classes[part]) for part in rows.split(MEASURED_AT_ONCE)]
        met = Varied(batches, self.images) if self.settings.augment else batches
        passes = Passes(met, math.ceil(len(batches) / epochs))
        with Progress(len(batches), told, quiet=self.settings.run.quiet) as bar:
            # As it ended: nothing is chosen by the validation images.
            history = distiller.fit(
                passes,
                epochs,
                validation,
                on_step=lambda number, means: bar.advance(),
                keep="last",
                quiet=True,
            )
        if distiller.stopped:
            stopped = f"{escape(told)}: {distiller.stopped}; nothing was written"
            raise InterruptedRun(stopped, distiller.signal)
        return history
